"""Validators for webhooks: their URL, the secret that signs them, and the addresses allowed."""

import base64
import binascii
import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from pydantic import HttpUrl, SecretStr, TypeAdapter, ValidationError

SECRET_PREFIX: Final = "whsec_"
# The sizes of a key in bytes that the specification of Standard Webhooks allows.
KEY_BYTES: Final = range(24, 65)
EXAMPLE_URL: Final = "https://example.org/hooks"
HOST: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
URL: Final = TypeAdapter(HttpUrl)


def url(value: str) -> str:
    """Return a URL in its normal form. Raises ValueError, whose message does not contain it.

    Numbers such as 0x7f.1 become addresses, and other names become ASCII, as in a browser.
    """
    try:
        parsed = URL.validate_python(value)
    except ValidationError:
        raise ValueError(f"must be an http or https URL such as {EXAMPLE_URL}") from None
    if parsed.username or parsed.password:
        raise ValueError("must have no user name and no password: the signature is the proof")
    if parsed.fragment is not None:
        raise ValueError("must have no fragment, the part after #")
    return str(parsed)


def secret_url(value: SecretStr | None) -> SecretStr | None:
    """Return a URL that may hold a secret, in its normal form. Raises ValueError."""
    return None if value is None else SecretStr(url(value.get_secret_value()))


def without_query(url: str) -> str:
    """Return a URL for people to see. Its query is replaced, because it may hold a secret."""
    address, has_query, _ = url.partition("?")
    return f"{address}?***" if has_query else address


def secret(value: SecretStr | None) -> SecretStr | None:
    """Validate the secret of Standard Webhooks."""
    if value is not None:
        key(value)
    return value


def key(secret: SecretStr) -> bytes:
    """Return the bytes that sign. Raises ValueError."""
    text = secret.get_secret_value()
    try:
        decoded = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if not text.startswith(SECRET_PREFIX) or len(decoded) not in KEY_BYTES:
        raise ValueError(
            f"must be {SECRET_PREFIX} and the base64 of {KEY_BYTES.start} to {KEY_BYTES.stop - 1} "
            f'bytes, as from: echo "{SECRET_PREFIX}$(openssl rand -base64 32)"'
        )
    return decoded


def allowed(value: str | None) -> str | None:
    """Validate comma-separated host names, addresses and networks."""
    parse_allowed(value)
    return value


def parse_allowed(value: str | None) -> tuple[set[str], list[IPv4Network | IPv6Network]]:
    """Return the host names and the networks of the setting. Raises ValueError."""
    hosts, networks = set[str](), list[IPv4Network | IPv6Network]()
    for entry in filter(None, (part.strip().lower() for part in (value or "").split(","))):
        try:
            networks.append(ip_network(entry.strip("[]"), strict=False))
        except ValueError:
            if not HOST.fullmatch(entry):
                raise ValueError(
                    "must be comma-separated hosts, addresses and networks, such as "
                    "hooks.internal,10.1.2.3,fd00::/8"
                ) from None
            hosts.add(entry)
    return hosts, networks
