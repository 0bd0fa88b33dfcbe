"""Objects in a bucket, under one address.

What enters: names and bytes. What leaves: the same, through fsspec, from whichever object store the
address names. Of all that such stores can do this needs one thing to be atomic: to make an object
where there is none of its name. This module does not know what the objects are.

Keys and endpoints come from the environment of the store's own library (`AWS_*`,
`GOOGLE_APPLICATION_CREDENTIALS`) or from fsspec's (`FSSPEC_*`).
"""

import secrets
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from app.errors import NotReady
from app.telemetry.logs import redact

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

# Those whose filesystem hands the condition on to the store; others look first and write then.
EXTRAS: Final = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
# Seconds for one request, with all that the store's library tries again.
LIMIT: Final = 8.0


class InvalidBucket(Exception):
    """Nothing can be kept there; the message says why."""


class BucketUnavailable(NotReady):
    """The bucket of the versions does not answer, or refuses."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"The bucket of the versions {_said(error)}.", retry_after=5)
        self.problem = redact(f"{type(error).__name__}: {error}")


class Bucket:
    """What lies under one address. Whatever a call raises, it is BucketUnavailable."""

    def __init__(self, filesystem: "AbstractFileSystem", root: str) -> None:
        self.filesystem, self.root = filesystem, root.rstrip("/")
        self._more = {"timeout": LIMIT} if filesystem.async_impl else {}

    @classmethod
    def at(cls, url: str) -> "Bucket":
        """Open an address. Raises InvalidBucket where its library is not here."""
        import fsspec  # here, since a folder needs none of it

        protocol, _, root = url.partition("://")
        try:
            # No listing is kept: what others make must be seen.
            options = {"use_listings_cache": False, "skip_instance_cache": True}
            return cls(fsspec.filesystem(protocol, **options), root)
        except ImportError as error:
            raise InvalidBucket(f"{error}: pip install '.[{EXTRAS[protocol]}]'") from error
        except Exception as error:  # whatever the library makes of its environment
            raise InvalidBucket(BucketUnavailable(error).problem) from error

    def sizes(self, below: str = "") -> dict[str, int]:
        """List all names that begin with `below/`, with the sizes of what they hold."""
        found = self._ask(self.filesystem.find, self._path(below).rstrip("/"), detail=True)
        start = len(self.root) + 1
        sizes = {name.lstrip("/")[start:]: int(about["size"]) for name, about in found.items()}
        for itself in ("", below.rstrip("/")):
            sizes.pop(itself, None)  # which some servers list, once something was below it
        return sizes

    def read(self, name: str) -> bytes | None:
        """Return what an object holds; None where there is none."""
        try:
            return bytes(self._ask(self.filesystem.cat_file, self._path(name)))
        except BucketUnavailable as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise

    def create(self, name: str, content: bytes) -> bool:
        """Make an object; False where there is another of its name.

        An answer may be lost on its way, and libraries ask again: what is there tells whose it is.
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
        """Take away what an object holds. Its name stays."""
        self._ask(self.filesystem.pipe_file, self._path(name), b"")

    def remove(self, names: Iterable[str]) -> None:
        """Take away objects with their names; another may have been quicker."""
        for name in names:
            try:
                self._ask(self.filesystem.rm_file, self._path(name))
            except BucketUnavailable as error:
                if not isinstance(error.__cause__, FileNotFoundError):
                    raise

    def check(self) -> None:
        """Check that it can be written, and creates no object twice. Raises InvalidBucket."""
        name = f"check-{secrets.token_hex(8)}"
        try:
            self.sizes()
            created = self.create(name, b"first"), self.create(name, b"second")
            self.remove([name])
        except BucketUnavailable as error:
            raise InvalidBucket(error.problem) from error
        if created != (True, False):
            raise InvalidBucket("it lets an object be made twice (If-None-Match is not heeded)")

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def _ask(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return call(*arguments, **options, **self._more)
        except Exception as error:  # each library has its own
            raise BucketUnavailable(error) from error


def _said(error: Exception) -> str:
    """Return what is wrong, and nothing of where the bucket is."""
    match error:
        case PermissionError():
            return "refuses access"
        case FileNotFoundError():
            return "is not there"
        case TimeoutError():
            return f"did not answer within {LIMIT:.0f} s"
    if "Credentials" in type(error).__name__:
        return "cannot be asked: there are no credentials"
    return "cannot be reached"
