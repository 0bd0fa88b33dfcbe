"""System calls of a process that only computes: a seccomp allowlist, by libseccomp (Linux).

The process can use memory, threads and the files that are open already. Any other call fails with
EPERM: it opens no file and no socket, starts no program, and sends no signal to another process.
Containers allow a process to install such a filter, unlike a network namespace of its own, for
which Docker's default profile asks for CAP_SYS_ADMIN.
"""

import errno
import fcntl
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Final, NamedTuple

# Names that a machine's architecture lacks are skipped.
ALLOWED: Final = (
    # the socket to the server
    *("read", "readv", "write", "writev", "recvfrom", "recvmsg", "sendto", "sendmsg"),
    *("poll", "ppoll", "select", "pselect6", "close", "fstat", "newfstatat", "lseek"),
    # memory
    *("mmap", "munmap", "mremap", "mprotect", "madvise", "brk"),
    # threads of libraries, and time
    *("futex", "set_robust_list", "rseq", "sched_yield", "gettid", "getpid"),
    *("sched_getaffinity", "clock_gettime", "clock_nanosleep", "nanosleep", "gettimeofday"),
    *("set_tid_address", "sigaltstack", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn"),
    *("restart_syscall", "exit", "exit_group", "getrandom", "sysinfo", "getrusage"),
    # its own limits: the soft one differs between small and large images
    *("getrlimit", "setrlimit"),
)
THREAD: Final = 0x00010000  # CLONE_THREAD of clone(2)
INT: Final = 0xFFFFFFFF  # the bits of an argument that the kernel reads if its type is `int`
PR_SET_NAME: Final = 15  # prctl(2)
INSTALL: Final = (
    "Install libseccomp (Debian: libseccomp2) and the Python package pyseccomp, both for this "
    "machine's architecture."
)
ALLOW_FILTERS: Final = (
    "Use a kernel with CONFIG_SECCOMP_FILTER, and a container runtime that allows the system call "
    "seccomp."
)
log = logging.getLogger(__name__)


class Condition(NamedTuple):
    """A call is allowed if the bits in `mask` of an argument have one of the values."""

    argument: int
    mask: int
    values: tuple[int, ...]


CONDITIONS: Final = {
    "clone": Condition(0, THREAD, (THREAD,)),  # threads, but no processes
    # Other commands send a signal to any process (F_SETOWN, F_SETSIG), or to those of a terminal
    # (F_SETFL with O_ASYNC). They also change the file for the server, which has it open, too.
    "fcntl": Condition(1, INT, (fcntl.F_GETFD, fcntl.F_GETFL)),
    # Another option would let it outlive the server (PR_SET_PDEATHSIG).
    "prctl": Condition(0, INT, (PR_SET_NAME,)),
    # Of another process, a limit of CPU time is a signal.
    "prlimit64": Condition(0, INT, (0,)),
}


def make_filter() -> Callable[[], None] | None:
    """Return a function that restricts the calling process, or None on other systems than Linux.

    Both raise OSError: this one ENOPKG if a package is missing, the function it returns what the
    kernel answers if it refuses the filter.
    """
    if sys.platform != "linux":
        return None
    try:
        import pyseccomp as seccomp
    except (ImportError, AttributeError, OSError, RuntimeError) as error:  # or no libseccomp
        raise OSError(errno.ENOPKG, str(error)) from error
    allowlist = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    for name in ALLOWED:
        with suppress(OSError, ValueError):
            allowlist.add_rule(seccomp.ALLOW, name)
    for name, (argument, mask, values) in CONDITIONS.items():
        for value in values:
            matches = seccomp.Arg(argument, seccomp.MASKED_EQ, mask, value)
            with suppress(OSError, ValueError):
                allowlist.add_rule(seccomp.ALLOW, name, matches)
    with suppress(OSError, ValueError):  # its flags are in memory; glibc then uses clone
        allowlist.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
    load: Callable[[], None] = allowlist.load
    return load


@cache
def warn_of_no_filter(processes: str, error_number: int) -> None:
    """Log, once, that processes run without the filter, because of an error of `make_filter`."""
    log.warning(
        "%s run without a filter of system calls (seccomp): %s (error %d). %s",
        processes,
        os.strerror(error_number),
        error_number,
        INSTALL if error_number == errno.ENOPKG else ALLOW_FILTERS,
    )
