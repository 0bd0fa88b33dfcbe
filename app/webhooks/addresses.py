"""Addresses that webhooks may connect to: public ones, and those that the operator allows.

A client that may train could otherwise reach what only the network of the service can (server
side request forgery).
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

from app.config import webhooks

# Their last 32 bits are an IPv4 address: mapped ones, and those of NAT64 (RFC 6052).
IPV4_IN_IPV6: Final = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
LOCALHOST: Final = "localhost"


class AllowedAddresses:
    """The addresses that webhooks may connect to, by `MYNET_WEBHOOK_ALLOW`."""

    def __init__(self, setting: str | None) -> None:
        self._hosts, self._networks = webhooks.parse_allowed(setting)

    def permits(self, host: str, address: str) -> bool:
        """Return whether a webhook for `host`, as in its URL, may connect to this address."""
        ip = _unmapped(ip_address(address))
        return (
            host.lower() in self._hosts
            or any(ip in network for network in self._networks)
            or is_public(ip)
        )

    def may_permit(self, host: str) -> bool:
        """Return False if the host alone shows that it is not allowed, before it is resolved."""
        try:
            return self.permits(host, host.strip("[]"))
        except ValueError:  # a name
            name = host.lower().rstrip(".")
            is_local = name == LOCALHOST or name.endswith(f".{LOCALHOST}")
            return not is_local or self.permits(host, "127.0.0.1") or self.permits(host, "::1")


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address is one of the internet that names a single machine."""
    ip = _unmapped(address)
    if isinstance(ip, IPv6Address) and (
        ip not in GLOBAL_UNICAST or (ip.sixtofour and not is_public(ip.sixtofour))
    ):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def _unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv6Address) and any(address in network for network in IPV4_IN_IPV6):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address
