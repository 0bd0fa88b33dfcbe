"""The sockets of the service: several addresses, both families, and a Unix socket."""

import os
import socket
import stat

import pytest

from app.config.settings import Settings, SettingsError, load_settings
from app.server import listening
from app.startup import StartupError


def bound(**changes):
    return listening.bound_sockets(Settings(port=0, **changes))


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@needs_ipv6
@pytest.mark.parametrize("host", ["::", "127.0.0.1,::1", "127.0.0.1, ::1"])
def test_bound_sockets_both_families_have_one_port_and_plain_addresses(host):
    with bound(host=host) as sockets:
        (port,) = {each.getsockname()[1] for each in sockets}
        for server in sockets:
            server.listen()
        for address, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
            with socket.create_connection((address, port), 120):
                (server,) = [each for each in sockets if each.family == family]
                connection, client = server.accept()
                connection.close()
                assert client[0] == address  # not ::ffff:127.0.0.1, which no proxy list names


def test_bound_sockets_address_in_use_is_named():
    with bound(host="127.0.0.1") as (first,):
        port = first.getsockname()[1]
        first.listen()
        with pytest.raises(StartupError, match=rf"MYNET_HOST=127\.0\.0\.1, MYNET_PORT={port}: "):
            listening.bound_sockets(Settings(port=port, host="127.0.0.1")).__enter__()


def test_bound_sockets_unknown_name_is_named():
    with (
        pytest.raises(StartupError, match=r"MYNET_HOST=nothing\.invalid"),
        bound(host="nothing.invalid"),
    ):
        pass


def test_unix_socket_replaces_a_stale_one_and_is_removed(tmp_path):
    path = tmp_path / "mynet.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    with bound(uds=path) as sockets:
        assert listening.urls(Settings(), sockets) == [f"unix:{path}"]
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o666
    assert not path.exists()


def test_unix_socket_in_use_or_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "mynet.sock"
    with bound(uds=path) as (first,):
        first.listen()
        with pytest.raises(StartupError, match="MYNET_UDS="):
            bound(uds=path).__enter__()
    path.write_text("a file of the user")
    with pytest.raises(StartupError, match="MYNET_UDS="):
        bound(uds=path).__enter__()
    assert path.read_text() == "a file of the user"


@pytest.mark.parametrize(
    ("host", "uds", "auth"),
    [
        ("127.0.0.1,::1", None, "none"),
        ("127.0.0.1,192.0.2.1", None, "keys"),
        ("0.0.0.0", "mynet.sock", "none"),
    ],
)
def test_access_default_needs_every_address_on_loopback(host, uds, auth):
    assert Settings(host=host, uds=uds).effective_auth == auth


@pytest.mark.parametrize("host", ["127.0.0.1,", "[::1]", "http://a", "::1,::1"])
def test_host_that_is_no_list_of_addresses_is_refused(monkeypatch, tmp_path, host):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MYNET_HOST", host)
    with pytest.raises(SettingsError, match="MYNET_HOST="):
        load_settings()
