"""What a decoder process may do: nothing but compute."""

import asyncio
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from app.decoders import template_process, worker
from app.predict.preprocess import SMALL_BYTES
from app.sandbox.environment import allowed_environment
from app.sandbox.system_calls import make_filter
from tests.decoders.pool import TIMEOUT, children, decoder_pids, open_pool, read

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc"),
    pytest.mark.usefixtures("started_templates"),
]


@pytest.fixture
def in_pool(settings, monkeypatch):
    """Return what a function of the pool returns."""
    monkeypatch.setenv("MYNET_ADMIN_KEY", "secret-of-the-admin")

    def run(function):
        async def go():
            async with open_pool(settings) as decoders:
                for size in (1, SMALL_BYTES + 1):  # each of the two has answered once
                    await read(decoders, bytes(size))
                return function(decoders)

        return asyncio.run(go())

    return run


def status(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_decoder_has_no_secret_and_no_open_file_but_its_socket(in_pool):
    def read_proc(decoders):
        template = decoders._fork_server._process.pid
        return [
            (
                Path(f"/proc/{pid}/environ").read_bytes(),
                sorted(os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()),
            )
            for pid in (template, *decoder_pids(decoders))
        ]

    (template_environment, _), *decoders = in_pool(read_proc)
    assert b"secret" not in template_environment
    for environment, files in decoders:
        assert b"secret" not in environment
        assert files[:3] == ["/dev/null"] * 3
        assert len(files) == 4 and files[3].startswith("socket:")


def test_decoder_is_restricted_and_has_no_torch(in_pool):
    def read_proc(decoders):
        (pid, *_) = decoder_pids(decoders)
        limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
        maps = Path(f"/proc/{pid}/maps").read_text()
        return status(pid), {line[:26].strip(): line[26:].split()[:2] for line in limits}, maps

    fields, limits, maps = in_pool(read_proc)
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    assert "unlimited" not in limits["Max data size"]
    assert limits["Max open files"] == ["4", "4"]
    assert limits["Max file size"] == limits["Max core file size"] == ["0", "0"]
    assert "libtorch" not in maps


def test_decoders_end_with_their_server():
    code = (
        "import asyncio, os; from app.config.settings import Settings; "
        "from tests.decoders.pool import *\n"
        "async def go():\n"
        "    async with open_pool(Settings()) as pool:\n"
        "        while len(decoder_pids(pool)) < 2: await asyncio.sleep(0.01)\n"
        "        print(pool._fork_server._process.pid, *decoder_pids(pool), flush=True)\n"
        "        os.kill(os.getpid(), 9)\n"
        "asyncio.run(go())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 3, done.stderr

    async def wait():
        async with asyncio.timeout(TIMEOUT):
            while any(is_alive(pid) for pid in pids):
                await asyncio.sleep(0.05)

    asyncio.run(wait())


def is_alive(pid):
    try:
        return "app.decoders.template" in Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def forked(function):
    """Return the exit code of a sandboxed process that runs a function: 0 if it returns True."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 9
    try:
        code = 0 if function() else 1
    finally:
        os._exit(code)


def fails(call):
    try:
        call()
    except OSError:
        return True
    return False


def start_program():
    os.posix_spawn("/bin/true", ["true"], {})


ESCAPES = {
    "socket": lambda: socket.socket(),
    "file": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "program": start_program,
    "fork": os.fork,
    "signal": lambda: os.kill(os.getppid(), 0),
    "directory": lambda: os.listdir("/"),
}


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES)
def test_filter_of_system_calls_refuses(escape):
    restrict = make_filter()
    assert restrict, "libseccomp is missing"

    def run():
        from app.sandbox.limits import forbid_new_privileges

        forbid_new_privileges()
        restrict()
        return fails(escape)

    assert forked(run) == 0


def test_without_the_filter_no_file_or_socket_can_be_opened():
    """For example on macOS: the limit of open files is that of the socket."""

    def run():
        child_end, _parent_end = socket.socketpair()
        connection = worker._close_other_files(child_end.fileno())
        worker._apply_limits(None)
        assert connection.fileno() == worker.CONNECTION
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        return limit == (4, 4) and fails(socket.socket) and fails(ESCAPES["file"])

    assert forked(run) == 0


def test_environment_is_an_allowlist():
    environment = {"MYNET_ADMIN_KEY": "a", "AWS_SECRET_ACCESS_KEY": "b", "PATH": "/bin"}
    assert allowed_environment(environment) == {"PATH": "/bin"}


def test_pool_leaves_no_process_behind(settings):
    async def go():
        async with open_pool(settings):
            pass

    before = children(os.getpid())
    asyncio.run(go())
    assert set(children(os.getpid())) <= set(before), "and others may have ended"


def test_a_pool_takes_the_template_that_was_started_early(settings, monkeypatch):
    monkeypatch.setattr("app.decoders.fork_server.EXIT_TIMEOUT", TIMEOUT)  # else it is killed

    async def go():
        async with open_pool(settings) as decoders:
            process = decoders._fork_server._process
        return process

    with template_process.started_early():
        (early,) = template_process._early
        assert asyncio.run(go()) is early.process
        assert early.process.returncode == 0
        assert asyncio.run(go()) is not early.process


def test_a_template_that_was_started_early_for_nothing_is_ended():
    with pytest.raises(OSError, match="no port"), template_process.started_early():
        (early,) = template_process._early
        raise OSError("no port")
    assert early.process.returncode is not None
    assert early.control.fileno() == -1
    assert template_process._early == []
