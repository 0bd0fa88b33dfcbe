"""Validators for settings beyond a word or a number."""

import os
import re
from pathlib import Path
from typing import Final

from dotenv.parser import parse_stream
from pydantic import SecretStr

ORIGIN: Final = r"https?://[^/\s*@]+"
HOST_NAME: Final = r"\*|[\w.-]+|\[[0-9A-Fa-f:.]+\]"
SCHEME: Final = r"([A-Za-z][A-Za-z0-9+.-]+):/"
ROOT_PATH: Final = r"(/[\w.~-]+)+"
BUCKET: Final = r"(s3a?|gs|gcs)://[^/\s@?#]+(/[^\s?#]*)?"


def key(value: SecretStr | None) -> SecretStr | None:
    """Validate a key that fits into an HTTP header."""
    if value and not re.fullmatch(r"[\x21-\x7e]{16,512}", value.get_secret_value()):
        raise ValueError("must be 16 to 512 ASCII characters without spaces")
    return value


def rate_limit(value: str | None) -> str | None:
    """Validate rates such as `10/second;1000/hour`."""
    if value is not None:
        from limits import parse_many  # takes a fifth of a second

        if any(limit.amount < 1 or limit.get_expiry() < 1 for limit in parse_many(value)):
            raise ValueError("must allow at least one request")
    return value


def origins(value: str | None) -> str | None:
    """Validate comma-separated origins, or `*`."""
    for origin in (value or "*").split(","):
        if origin.strip() != "*" and not re.fullmatch(ORIGIN, origin.strip()):
            raise ValueError("must be * or comma-separated origins such as https://a.org")
    return value


def host_names(value: str | None) -> str | None:
    """Validate comma-separated host names without ports, or `*`."""
    for name in (value or "*").split(","):
        if not re.fullmatch(HOST_NAME, name.strip(), re.ASCII):
            raise ValueError("must be * or comma-separated names without ports, such as a.example")
    return value


def path(value: Path | None) -> Path | None:
    """Return a path with `~` expanded. Raises ValueError if no file can have it."""
    if value is None:
        return None
    text = os.fsencode(value).decode(errors="replace")
    if "\0" in text or text != str(value):
        raise ValueError("must be UTF-8 text without NUL")
    try:
        return value.expanduser()
    except RuntimeError:
        user = value.parts[0]
        raise ValueError(f"{user} is the home folder of a user that does not exist") from None


def hosts(value: str) -> str:
    """Validate comma-separated addresses or names, without ports, brackets or repetitions."""
    names = [name.strip() for name in value.split(",")]
    if not all(re.fullmatch(r"[\w.:%-]+", name, re.ASCII) for name in names):
        raise ValueError("must be addresses, separated by commas, such as 127.0.0.1,::1")
    if len({*names}) < len(names):
        raise ValueError("names an address twice")
    return value


def root_path(value: str | None) -> str | None:
    """Validate a path prefix, and return it without a slash at its end."""
    prefix = (value or "").rstrip("/")
    if prefix and not re.fullmatch(ROOT_PATH, prefix, re.ASCII):
        raise ValueError("must be a path such as /mynet, without a query or escapes")
    return prefix or None


def folder_or_bucket(value: str | None) -> str | None:
    """Validate a path, or the URL of a bucket without credentials, which have other variables."""
    if value and not is_bucket(value):
        scheme = re.match(SCHEME, value)
        if scheme and not value.startswith("file:///"):
            raise ValueError(
                "must be a folder, s3://bucket/path or gs://bucket/path; set credentials and "
                "endpoint in the environment variables of the storage library"
            )
    return value


def is_bucket(url: str) -> bool:
    return re.fullmatch(BUCKET, url) is not None


def folder(url: str) -> Path:
    """Return the path of a folder, which may be a file:// URL."""
    return Path(url.removeprefix("file://")).expanduser()


def absolute_url(url: str) -> str:
    """Return the URL of the same bucket or folder, valid in any working directory."""
    return url if is_bucket(url) else str(folder(url).absolute())


def validate_env_file(path: Path, prefix: str) -> None:
    """Check the syntax of all lines with the prefix in an environment file.

    Raises ValueError with the number of the line, not its text, which may be a secret.
    """
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as stream:
        for binding in parse_stream(stream):
            text = binding.original.string
            if prefix in text.upper() and (binding.error or binding.value is None):
                line = binding.original.line + len(text) - len(text.lstrip("\n"))
                raise ValueError(f"{path}, line {line}: must be {prefix}NAME=value.")
