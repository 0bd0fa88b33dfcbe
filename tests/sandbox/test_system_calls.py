"""What the filter of system calls refuses and allows."""

import ctypes
import errno
import fcntl
import os
import resource
import signal
import socket
import struct
import sys
from threading import Thread

import numpy as np
import pytest

from app.predict.preprocess import PreprocessedImage
from app.sandbox import system_calls
from app.sandbox.limits import PR_SET_PDEATHSIG
from app.sandbox.system_calls import make_filter
from tests.conftest import png
from tests.decoders.pool import decode_all
from tests.decoders.test_process import forked

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="seccomp")

FORMS = (
    *("PNG", "JPEG", "WEBP", "HEIF", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "QOI"),
    *("DIB", "PCX", "SGI", "TGA"),
)
LIBC = ctypes.CDLL(None, use_errno=True)
FIOSETOWN, SIOCSPGRP, FIOASYNC = 0x8901, 0x8902, 0x5452  # ioctl(2)
KILLER = ctypes.create_string_buffer(64)  # a `sigevent` or `siginfo`
PR_SCHED_CORE, F_SETOWN_EX, F_OWNER_PID = 62, 15, 1


def call(name, *arguments):
    """Make a system call by its name. Raises OSError."""
    import pyseccomp

    number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
    if (
        LIBC.syscall(number, *(ctypes.c_long(n) if isinstance(n, int) else n for n in arguments))
        < 0
    ):
        raise OSError(ctypes.get_errno(), name)


def set_owner(end, pid):
    fcntl.fcntl(end, F_SETOWN_EX, struct.pack("ii", F_OWNER_PID, pid))


# A function of a socket and a victim, for each way in which a process could harm another.
WAYS = {
    "limit of CPU time": lambda _, pid: resource.prlimit(pid, resource.RLIMIT_CPU, (1, 1)),
    "limits to read": lambda _, pid: resource.prlimit(pid, resource.RLIMIT_CPU),
    "F_SETOWN": lambda end, pid: fcntl.fcntl(end, fcntl.F_SETOWN, pid),
    "F_SETOWN_EX": set_owner,
    "F_SETSIG": lambda end, _: fcntl.fcntl(end, fcntl.F_SETSIG, signal.SIGKILL),
    "F_SETFL": lambda end, _: fcntl.fcntl(end, fcntl.F_SETFL, os.O_ASYNC),
    "F_NOTIFY": lambda end, _: fcntl.fcntl(end, fcntl.F_NOTIFY, fcntl.DN_ACCESS),
    "F_SETLEASE": lambda end, _: fcntl.fcntl(end, fcntl.F_SETLEASE, fcntl.F_UNLCK),
    "FIOSETOWN": lambda end, pid: fcntl.ioctl(end, FIOSETOWN, pid.to_bytes(4, sys.byteorder)),
    "SIOCSPGRP": lambda end, pid: fcntl.ioctl(end, SIOCSPGRP, pid.to_bytes(4, sys.byteorder)),
    "FIOASYNC": lambda end, _: fcntl.ioctl(end, FIOASYNC, b"\1\0\0\0"),
    "kill": lambda _, pid: os.kill(pid, signal.SIGKILL),
    "killpg": lambda _, pid: os.killpg(pid, signal.SIGKILL),
    "tkill": lambda _, pid: call("tkill", pid, signal.SIGKILL),
    "tgkill": lambda _, pid: call("tgkill", pid, pid, signal.SIGKILL),
    "rt_sigqueueinfo": lambda _, pid: call("rt_sigqueueinfo", pid, signal.SIGKILL, KILLER),
    "rt_tgsigqueueinfo": lambda _, pid: call("rt_tgsigqueueinfo", pid, pid, signal.SIGKILL, KILLER),
    "timer_create": lambda *_: call("timer_create", 1, KILLER, KILLER),
    "pidfd_open": lambda _, pid: os.pidfd_open(pid),
    "pidfd_send_signal": lambda end, _: signal.pidfd_send_signal(end.fileno(), signal.SIGKILL),
    "pidfd_getfd": lambda end, _: call("pidfd_getfd", end.fileno(), 0, 0),
    "process_vm_readv": lambda _, pid: call("process_vm_readv", pid, None, 0, None, 0, 0),
    "process_vm_writev": lambda _, pid: call("process_vm_writev", pid, None, 0, None, 0, 0),
    "process_madvise": lambda end, _: call("process_madvise", end.fileno(), None, 0, 0, 0),
    "ptrace": lambda _, pid: call("ptrace", 16, pid, 0, 0),
    "kcmp": lambda _, pid: call("kcmp", pid, pid, 0, 0, 0),
    "setpriority": lambda _, pid: os.setpriority(os.PRIO_PROCESS, pid, 19),
    "sched_setaffinity": lambda _, pid: os.sched_setaffinity(pid, {0}),
    "sched_setscheduler": lambda _, pid: os.sched_setscheduler(
        pid, os.SCHED_IDLE, os.sched_param(0)
    ),
    "PR_SCHED_CORE": lambda _, pid: call("prctl", PR_SCHED_CORE, 1, pid, 0, 0),
    "PR_SET_PDEATHSIG": lambda *_: call("prctl", PR_SET_PDEATHSIG, 0, 0, 0, 0),
    "io_uring": lambda *_: call("io_uring_setup", 1, KILLER),
}


def is_refused(way, *arguments):
    try:
        way(*arguments)
    except OSError as error:
        return error.errno == errno.EPERM
    return False


@pytest.fixture
def victim():
    """A process that only waits; it must still do so when the test ends."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    yield pid
    assert os.waitpid(pid, os.WNOHANG) == (0, 0), "the victim has ended"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@pytest.fixture
def ends():
    """The two sockets of a connection."""
    end, other_end = socket.socketpair()
    with end, other_end:
        yield end, other_end


def restricted(function):
    """Return the exit code of a process with the filter that runs a function."""
    restrict = make_filter()

    def run():
        restrict()
        return function()

    return forked(run)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_no_way_leads_to_another_process(victim, ends, way):
    assert restricted(lambda: is_refused(way, ends[0], victim)) == 0


def test_input_sends_no_signal_to_another_process(victim, ends):
    end, other_end = ends

    def attack():
        commands = ("F_SETOWN", "F_SETSIG", "F_SETFL")
        refusals = [is_refused(WAYS[name], end, victim) for name in commands]
        other_end.send(b"x")
        return all(refusals)

    assert restricted(attack) == 0


def test_what_a_process_needs_for_itself_is_allowed():
    def compute():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        threads = [Thread(target=sum, args=((1, 2),)) for _ in range(2)]
        for thread in threads:
            thread.start()
            thread.join()
        call("prctl", system_calls.PR_SET_NAME, b"decoder", 0, 0, 0)
        return fcntl.fcntl(0, fcntl.F_GETFL) >= 0 and fcntl.fcntl(0, fcntl.F_GETFD) >= 0

    assert restricted(compute) == 0


def test_decoders_with_the_filter_read_every_format(settings, mnist):
    grey = mnist.test.pixels[0].numpy().repeat(4, 0).repeat(4, 1)
    image = np.stack([grey] * 3, axis=2)
    outcomes, restarts = decode_all(settings, [png(image, form) for form in FORMS])
    failures = [
        (form, outcome)
        for form, outcome in zip(FORMS, outcomes, strict=True)
        if not isinstance(outcome, PreprocessedImage)
    ]
    assert (failures, sum(restarts.values())) == ([], 0)
