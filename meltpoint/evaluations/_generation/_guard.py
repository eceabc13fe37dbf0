"""Runs the program on standard input under limits; started by `sandbox` as a process of its own."""

import ctypes
import os
import resource
import sys
from collections.abc import Callable

# Exit status of a program that ran to its end. It is not 0, so that a program that calls `exit()`
# before its tests does not pass.
PASSED = 77
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
FORBIDDEN = (
    "socket.",
    "subprocess.",
    "ctypes.",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
)
# Events that change files; their first argument is the path.
CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate")
ALSO_FORBIDDEN = frozenset({"os.system", "os.kill", "os.chmod", "os.chown", "pty.spawn"})


def limit(seconds: float, memory: int, file: int) -> None:
    """Sets the kernel's limits of this process: seconds of CPU, bytes of memory and of a file.

    A network namespace without a network is tried too; a kernel that refuses it is no error.
    """
    ctypes.CDLL(None).unshare(CLONE_NEWUSER | CLONE_NEWNET)
    whole = int(seconds) + 1
    for name, value in (
        (resource.RLIMIT_CPU, whole),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, file),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(name, (value, value))


def guard(folder: str) -> Callable[[str, tuple], None]:
    """An audit hook that raises PermissionError for a forbidden event.

    These are the events above, and every change of a file outside `folder`.
    """

    def is_within(path: object) -> bool:
        if isinstance(path, int):
            return True
        place = os.path.realpath(os.fsdecode(path))
        return place == folder or place.startswith(folder + os.sep)

    def hook(event: str, arguments: tuple) -> None:
        if event.startswith(FORBIDDEN) or event in ALSO_FORBIDDEN:
            raise PermissionError(event)
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if (writes or event.startswith(CHANGES)) and not is_within(arguments[0]):
            raise PermissionError(event)

    return hook


def main() -> None:
    """Runs the program; the exit status is `PASSED` if it ends without an exception."""
    seconds, memory, file = sys.argv[1:]
    code = compile(sys.stdin.read(), "program", "exec")
    limit(float(seconds), int(memory), int(file))
    sys.argv = ["program"]
    sys.addaudithook(guard(os.path.realpath(os.getcwd())))
    sys.stdin = open(os.devnull)  # noqa: SIM115
    exec(code, {"__name__": "program"})
    os._exit(PASSED)


if __name__ == "__main__":
    main()
