"""Which addresses a webhook may connect to."""

import pytest

from app.webhooks.addresses import AllowedAddresses


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.9.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1"),
        *("198.18.0.1", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1"),
        *("ff02::1", "2001:db8::1", "2002:7f00:1::1", "2002:a00:1::", "::ffff:127.0.0.1"),
        *("::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b::a00:1"),
        *("64:ff9b:1::1", "::7f00:1", "2001::1", "4000::1"),
    ],
)
def test_address_that_is_not_public_is_not_permitted(address):
    assert not AllowedAddresses(None).permits("hooks.example", address)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
)
def test_public_address_is_permitted(address):
    assert AllowedAddresses(None).permits("hooks.example", address)


@pytest.mark.parametrize(
    ("setting", "host", "address", "expected"),
    [
        ("10.1.0.0/16", "a.example", "10.1.2.3", True),
        ("10.1.0.0/16", "a.example", "::ffff:10.1.2.3", True),
        ("10.1.0.0/16", "a.example", "10.2.0.1", False),
        ("127.0.0.1", "a.example", "127.0.0.1", True),
        ("127.0.0.1", "a.example", "127.0.0.2", False),
        ("fd00::/8, hooks.internal", "Hooks.Internal", "10.0.0.1", True),
        ("hooks.internal", "a.hooks.internal", "10.0.0.1", False),
        ("fd00::/8", "a.example", "fd12::1", True),
    ],
)
def test_setting_names_hosts_and_networks(setting, host, address, expected):
    assert AllowedAddresses(setting).permits(host, address) is expected


@pytest.mark.parametrize(
    ("setting", "host", "expected"),
    [
        (None, "hooks.example", True),
        (None, "10.0.0.1", False),
        (None, "[::1]", False),
        (None, "localhost", False),
        (None, "api.localhost.", False),
        (None, "93.184.216.34", True),
        ("127.0.0.0/8", "localhost", True),
        ("localhost", "localhost", True),
        ("10.0.0.1", "10.0.0.1", True),
    ],
)
def test_host_alone_can_show_that_it_is_not_allowed(setting, host, expected):
    assert AllowedAddresses(setting).may_permit(host) is expected
