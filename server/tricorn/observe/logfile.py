"""A log that never waits: lines that cannot be written are kept for a while, then dropped.

A reader that stalls (a pipe holds 64 KiB) or a disk that is full must not stop a request, nor the
master. So the descriptor is non-blocking, what it does not take is buffered up to a bound, and
what is dropped is counted.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import stat
from collections.abc import Callable

BUFFER = 1024 * 1024
"""Octets kept for a reader that stalls, per process and log."""
RETRY = 0.02
"""Seconds until a full pipe is tried again."""
LAST_WORDS = 1.0
"""Seconds that a process which ends waits for its log to be taken."""

Later = Callable[[float, Callable[[], None]], object]


class LogFile:
    """`path` is a file, or "-" for `standard` (a descriptor: 1 or 2)."""

    def __init__(self, path: str, standard: int, owner: tuple[int, int] | None = None) -> None:
        """`owner`: the user and group that are to write to it later. Raises OSError."""
        self.dropped = 0
        """Lines."""
        self._path = path
        self._standard = standard
        self._owner = owner
        self._lines: list[bytes] = []
        self._size = 0
        self._rest = b""
        self._later: Later | None = None
        self._scheduled = False
        self._socket: socket.socket | None = None
        self._file = self._open()
        os.register_at_fork(after_in_child=self._inherit)

    def attach(self, later: Later) -> None:
        """Writes once a loop turn instead of at once; `later` is the loop's call_later."""
        self._later = later

    def write(self, line: bytes) -> None:
        """Takes one line, with its line feed."""
        if self._size > BUFFER and self._later is None and self._taken(0.0):
            self.flush()  # nobody else does
        if self._size > BUFFER:
            self.dropped += 1
            return
        self._lines.append(line)
        self._size += len(line)
        if self._later is None:
            self.flush()
        elif not self._scheduled:
            self._scheduled = True
            self._later(0, self.flush)

    def flush(self) -> None:
        """Writes what the descriptor takes now."""
        self._scheduled = False
        data = self._rest + b"".join(self._lines)
        try:
            while data:
                data = data[self._put(data) :]
        except BlockingIOError:
            if self._later is not None:
                self._scheduled = True
                self._later(RETRY, self.flush)
        except OSError:
            # No space, or nobody reads any more: later lines may fare better, these are lost.
            self.dropped += data.count(b"\n")
            data = b""
        self._lines.clear()
        self._rest = data
        self._size = len(data)

    def fileno(self) -> int:
        """Changes with `reopen`."""
        return self._file

    def reopen(self) -> None:
        """After a rotation: writes to the file that has the name now; keeps the old one if none."""
        self.flush()
        if self._path == "-":
            return
        with contextlib.suppress(OSError):
            old, self._file = self._file, self._open()
            os.close(old)

    def finish(self) -> None:
        """The last words of a process: waits a moment for them to be taken."""
        self._later = None
        self.flush()
        if self._rest:
            self._taken(LAST_WORDS)
            self.flush()

    def _inherit(self) -> None:
        """In a forked process: what waits, and what was dropped, is the affair of the other one."""
        self.dropped = 0
        self._lines.clear()
        self._size = 0
        self._rest = b""
        self._later = None
        self._scheduled = False

    def _in_place(self, file: int) -> bool:
        """Whether it is a file in its directory, and in no other.

        CVE-2016-1247: where the directory is the owner's, it may have put a link there to a file of
        root's. Devices and pipes are not to be given away either.
        """
        found = os.fstat(file)
        only = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
        return only and os.path.samestat(found, os.lstat(self._path))

    def _taken(self, timeout: float) -> bool:
        """Whether the descriptor takes something within that time."""
        poll = select.poll()
        poll.register(self._file, select.POLLOUT)
        return bool(poll.poll(timeout * 1000))

    def _put(self, data: bytes) -> int:
        if self._socket is not None:
            return self._socket.send(data, socket.MSG_DONTWAIT)
        return os.write(self._file, data)

    def _open(self) -> int:
        if self._path != "-":
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
            file = os.open(self._path, flags, 0o640)
            if self._owner is not None and os.geteuid() == 0 and self._in_place(file):
                # Or workers could not write to it again after a rotation.
                os.fchown(file, *self._owner)
            return file
        mode = os.fstat(self._standard).st_mode
        if stat.S_ISSOCK(mode):  # systemd's journal
            self._socket = socket.socket(fileno=os.dup(self._standard))
            return self._socket.fileno()
        if stat.S_ISREG(mode):
            return os.dup(self._standard)
        # O_NONBLOCK belongs to the open file, which other programs may share with us: a shell's
        # terminal, the rest of a pipeline. So open it once more.
        try:
            return os.open(
                f"/proc/self/fd/{self._standard}",
                os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC,
            )
        except OSError:
            # A pipe that another user made (a container's, often): there is nobody to share with.
            file = os.dup(self._standard)
            if stat.S_ISFIFO(mode):
                fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_NONBLOCK)
            return file
