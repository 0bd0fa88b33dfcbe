"""Object store access through fsspec, with atomic creation of objects.

Of everything that object stores offer, this needs only one operation to be atomic: to create an
object if no other has its name.

Credentials, region and endpoint come from the environment of the storage library (`AWS_*`,
`GOOGLE_APPLICATION_CREDENTIALS`) or from fsspec's (`FSSPEC_*`).
"""

import secrets
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from app.errors import NotReady
from app.telemetry.logs import redact

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

# Stores whose filesystem passes the condition on; others check first and write afterwards.
EXTRAS: Final = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
# Seconds for one request, including the retries of the storage library.
LIMIT: Final = 8.0
OnRequest = Callable[[], None]


class InvalidBucket(Exception):
    """The bucket cannot be used; the message says why."""


class BucketUnavailable(NotReady):
    """The bucket of the versions does not answer, or rejects the request."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"The bucket of the versions {_describe(error)}.", retry_after=5)
        self.problem = redact(f"{type(error).__name__}: {error}")


def no_op() -> None:
    """Do nothing after a request."""


class Bucket:
    """The objects below one address. Every call may raise BucketUnavailable.

    `on_request` is called after each request, also one that failed.
    """

    def __init__(
        self, filesystem: "AbstractFileSystem", root: str, on_request: OnRequest = no_op
    ) -> None:
        self.filesystem, self.root = filesystem, root.rstrip("/")
        self.on_request = on_request
        self._more = {"timeout": LIMIT} if filesystem.async_impl else {}

    @classmethod
    def at(cls, url: str, on_request: OnRequest = no_op) -> "Bucket":
        """Open an address. Raises InvalidBucket if its library is not installed."""
        import fsspec  # here, because a folder does not need it

        protocol, _, root = url.partition("://")
        try:
            # Listings are not cached: changes by others must be visible.
            options = {"use_listings_cache": False, "skip_instance_cache": True}
            return cls(fsspec.filesystem(protocol, **options), root, on_request)
        except ImportError as error:
            raise InvalidBucket(
                f"its library is not installed ({error}); run pip install '.[{EXTRAS[protocol]}]'"
            ) from error
        except Exception as error:  # libraries raise anything for a bad environment
            raise InvalidBucket(BucketUnavailable(error).problem) from error

    def sizes(self, below: str = "") -> dict[str, int]:
        """Return the sizes of all objects whose names begin with `below/`, by name."""
        found = self._ask(self.filesystem.find, self._path(below).rstrip("/"), detail=True)
        start = len(self.root) + 1
        sizes = {name.lstrip("/")[start:]: int(about["size"]) for name, about in found.items()}
        for itself in ("", below.rstrip("/")):
            sizes.pop(itself, None)  # some servers list the folder itself
        return sizes

    def read(self, name: str) -> bytes | None:
        """Return the content of an object, or None if it does not exist."""
        try:
            return bytes(self._ask(self.filesystem.cat_file, self._path(name)))
        except BucketUnavailable as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise

    def create(self, name: str, content: bytes) -> bool:
        """Create an object; return False if another one has its name.

        If a response is lost, the library repeats the request. The content then shows whether the
        existing object is this one.
        """
        try:
            self._ask(self.filesystem.pipe_file, self._path(name), content, mode="create")
            return True
        except BucketUnavailable:
            there = self.read(name)
            if there is None:
                raise
            return there == content

    def empty(self, name: str) -> None:
        """Delete the content of an object. Its name stays taken."""
        self._ask(self.filesystem.pipe_file, self._path(name), b"")

    def remove(self, names: Iterable[str]) -> None:
        """Delete objects; another service may have deleted them already."""
        for name in names:
            try:
                self._ask(self.filesystem.rm_file, self._path(name))
            except BucketUnavailable as error:
                if not isinstance(error.__cause__, FileNotFoundError):
                    raise

    def check(self) -> None:
        """Check that objects can be written, and not be created twice. Raises InvalidBucket."""
        name = f"check-{secrets.token_hex(8)}"
        try:
            self.sizes()
            created = self.create(name, b"first"), self.create(name, b"second")
            self.remove([name])
        except BucketUnavailable as error:
            raise InvalidBucket(error.problem) from error
        if created != (True, False):
            raise InvalidBucket(
                "an object can be created twice: the store ignores the header If-None-Match"
            )

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def _ask(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return call(*arguments, **options, **self._more)
        except Exception as error:  # each library has its own
            raise BucketUnavailable(error) from error
        finally:
            self.on_request()


def _describe(error: Exception) -> str:
    """Return the problem, without the location of the bucket."""
    match error:
        case PermissionError():
            return "denies access"
        case FileNotFoundError():
            return "does not exist"
        case TimeoutError():
            return f"did not answer within {LIMIT:.0f} s"
    if "Credentials" in type(error).__name__:
        return "cannot be reached: there are no credentials"
    return "cannot be reached"
