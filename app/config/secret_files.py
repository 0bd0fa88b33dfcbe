"""Secrets in files, as Docker and Kubernetes mount them: `MYNET_ADMIN_KEY_FILE=/run/secrets/x`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

SUFFIX: Final = "_FILE"


def read_secrets(
    environment: Mapping[str, str | None], prefix: str, fields: Iterable[str]
) -> dict[str, str]:
    """Return the values of the fields whose variable names a file.

    Raises ValueError if the file cannot be read or is empty, or if the value is set as well.
    """
    values = {name.upper(): value for name, value in environment.items() if value}
    found = {}
    for field in fields:
        variable = f"{prefix}{field.upper()}"
        file = values.get(f"{variable}{SUFFIX}")
        if file is None:
            continue
        if variable in values:
            raise ValueError(f"{variable} and {variable}{SUFFIX} are both set. Set one of them.")
        found[field] = read_secret(f"{variable}{SUFFIX}", file)
    return found


def read_secret(variable: str, file: str) -> str:
    """Return the content of a file without the line break at its end. Raises ValueError."""
    try:
        secret = Path(file).expanduser().read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        problem = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ValueError(f"{variable}={file} cannot be read: {problem}.") from None
    if not secret:
        raise ValueError(f"{variable}={file} is empty. Write the secret into the file.")
    return secret
