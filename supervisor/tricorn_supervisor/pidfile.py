"""The file with the master's process ID, which is a lock as well: one master has it at a time.

What is written in it proves nothing: a process ID is somebody else's after a crash, and in a
container it is 1 every time. The lock is the kernel's, and ends with its process.
"""

import fcntl
import os
from contextlib import suppress

from tricorn_supervisor.plan import PlanError

MODE = 0o644
LONGEST = 32


class PidFile:
    """Opened with a path; without one there is no file."""

    def __init__(self) -> None:
        self._path = ""
        self._file = -1

    def open(self, path: str) -> None:
        """Write it. Raises PlanError if another master has it, or it cannot be written."""
        if not path:
            return
        path = os.path.abspath(path)
        try:
            while not self._take(path):
                continue
        except BlockingIOError:
            raise PlanError(f"another server runs, {self._holder(path)}") from None
        except OSError as error:
            raise PlanError(f"--pid {path}: {error.strerror}") from None

    def leave(self) -> None:
        """In a child: it is not for it. The lock is of a process, and stays with the master."""
        if self._file >= 0:
            os.close(self._file)

    def close(self) -> None:
        """Remove it, unless somebody has replaced it."""
        if self._file < 0:
            return
        with suppress(OSError):  # the directory may not be ours any more
            if _same(self._file, self._path):
                os.unlink(self._path)
        os.close(self._file)
        self._file = -1

    def _take(self, path: str) -> bool:
        """False if the file was removed by its last master meanwhile."""
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _same(file, path):
                os.close(file)
                return False
            # Someone else's file, named by mistake, is not to be lost.
            if (text := os.read(file, LONGEST).strip()) and not text.isdigit():
                raise PlanError(f"--pid {path}: what is there is no process ID")
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        except (OSError, PlanError):
            os.close(file)
            raise
        self._file, self._path = file, path
        return True

    def _holder(self, path: str) -> str:
        with suppress(OSError), open(path, encoding="ascii", errors="replace") as file:
            if (text := file.read(LONGEST).strip()).isdecimal():
                return f"pid {text}: {path} is locked"
        return f"{path} is locked"


def _same(file: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False
