"""System calls of a process that only computes: a seccomp allowlist, by libseccomp (Linux).

The process can use memory, threads and the files that are open already. Any other call fails with
EPERM: it opens no file and no socket, starts no program, and sends no signal to another process.
Containers allow a process to install such a filter, unlike a network namespace of its own, for
which Docker's default profile asks for CAP_SYS_ADMIN.
"""

import errno
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

# Names that a machine's architecture lacks are skipped.
ALLOWED: Final = (
    # the socket to the server
    *("read", "readv", "write", "writev", "recvfrom", "recvmsg", "sendto", "sendmsg"),
    *("poll", "ppoll", "select", "pselect6", "close", "fstat", "newfstatat", "lseek", "fcntl"),
    # memory
    *("mmap", "munmap", "mremap", "mprotect", "madvise", "brk"),
    # threads of libraries, and time
    *("clone", "clone3", "futex", "set_robust_list", "rseq", "sched_yield", "gettid", "getpid"),
    *("sched_getaffinity", "clock_gettime", "clock_nanosleep", "nanosleep", "gettimeofday"),
    *("set_tid_address", "sigaltstack", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn"),
    *("restart_syscall", "exit", "exit_group", "getrandom", "sysinfo", "getrusage", "prctl"),
    # its own limits: the soft one differs between small and large images
    *("getrlimit", "setrlimit", "prlimit64"),
)
THREAD: Final = 0x00010000  # CLONE_THREAD of clone(2)
log = logging.getLogger(__name__)


def make_filter() -> Callable[[], None] | None:
    """Return a function that restricts the calling process, or None if the system cannot."""
    try:
        import pyseccomp as seccomp
    except (ImportError, OSError, RuntimeError):  # not Linux, or without libseccomp
        return None
    allowlist = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    for name in ALLOWED:
        with suppress(OSError, ValueError):
            if name == "clone":  # threads, but no processes
                argument = seccomp.Arg(0, seccomp.MASKED_EQ, THREAD, THREAD)
                allowlist.add_rule(seccomp.ALLOW, name, argument)
            elif name == "clone3":  # its flags are in memory; glibc then uses clone
                allowlist.add_rule(seccomp.ERRNO(errno.ENOSYS), name)
            else:
                allowlist.add_rule(seccomp.ALLOW, name)

    def restrict() -> None:
        try:
            allowlist.load()
        except OSError as error:
            log.warning("decoders run without a filter of system calls: %s", error)

    return restrict
