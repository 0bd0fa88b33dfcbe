"""Registry factory: a local folder, or a folder that mirrors a bucket."""

from app.config.settings import Settings
from app.versions.bucket.object_store import Bucket, OnRequest, no_op
from app.versions.bucket.registry import BucketRegistry
from app.versions.registry import Registry


def open_registry(settings: Settings, on_request: OnRequest = no_op) -> Registry:
    """Return the registry for the settings. No request is sent to the bucket.

    `on_request` is called after each later one. Raises InvalidBucket.
    """
    if settings.bucket_url is None:
        return Registry(settings.models_dir)
    return BucketRegistry(settings.models_dir, Bucket.at(settings.bucket_url, on_request))
