"""A socketpair between the master and one child: lines go up, and its end is the other's death."""

import os
import socket
import time
from dataclasses import dataclass, field

from tricorn_supervisor import notify
from tricorn_supervisor.datagrams import DatagramSocket
from tricorn_supervisor.listeners import Listener
from tricorn_supervisor.memory import resident
from tricorn_supervisor.scoreboard import Field, Row, Scoreboard, State

__all__ = ["ChildEnd", "DatagramSocket", "ParentEnd", "open_channel"]

LINE_LIMIT = 4 * notify.DETAIL_LIMIT  # escaping can double a line; more is not one of ours
READ_SIZE = 64 * 1024
SEND_TIMEOUT = 5.0  # a master that reads nothing for so long is suspended


def open_channel() -> "tuple[ParentEnd, socket.socket]":
    """The master's end, and the socket for a ChildEnd. Raises OSError without descriptors."""
    parent, child = socket.socketpair()
    parent.setblocking(False)
    return ParentEnd(parent), child


class ParentEnd:
    """What the master keeps of a child."""

    def __init__(self, sock: socket.socket) -> None:
        self.closed = False
        self._socket = sock
        self._buffer = bytearray()

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> list[notify.Pair]:
        """Every whole line that has come; `closed` is set at the end."""
        self._read()
        *lines, rest = self._buffer.split(b"\n")
        # An application that writes to descriptors that it does not own must not fill the master.
        self._buffer = rest if len(rest) <= LINE_LIMIT else bytearray()
        return [notify.decode(bytes(line)) for line in lines if line]

    def close(self) -> None:
        self._socket.close()

    def _read(self) -> None:
        while not self.closed and len(self._buffer) <= LINE_LIMIT:
            try:
                data = self._socket.recv(READ_SIZE)
            except BlockingIOError:
                return
            except ConnectionResetError:
                data = b""  # it died with our bytes unread: an end like any other
            self._buffer += data
            self.closed = not data


@dataclass(slots=True, eq=False)
class ChildEnd:
    """What a worker process has of the master, and knows of its place in the fleet."""

    number: int  # 1..N; its replacement has the same
    slot: int  # scoreboard row; unique among living processes
    generation: int  # counts reloads, from 1
    listeners: tuple[Listener, ...]
    board: Scoreboard
    socket: socket.socket
    alone: bool = False  # no master: signals of the terminal are the worker's own
    lane: int = -1  # of QUIC: steering.Layout makes the IDs that lead here; -1 = no QUIC
    datagrams: tuple[DatagramSocket, ...] = ()
    secret: bytes = b""  # 32 octets that all workers share, for all keys of QUIC; b"" without QUIC
    server_id: bytes = b""  # in every connection ID; the same for all workers
    row: Row = field(init=False)
    _unsent: bytes = field(init=False, default=b"")

    def __post_init__(self) -> None:
        self.row = self.board.row(self.slot)

    def fileno(self) -> int:
        """Readable when the master has died: drain, then exit."""
        return self.socket.fileno()

    def beat(self) -> None:
        """The event loop turns; to be said once a second."""
        self.row.beat(time.monotonic_ns())

    def ready(self) -> None:
        """The application has started and this worker accepts."""
        self.row[Field.STATE] = State.READY
        self.send(notify.READY)

    def stopping(self) -> None:
        """This worker drains, told to or not; untold, it is replaced meanwhile."""
        self.row[Field.STATE] = State.DRAINING
        self.send(notify.STOPPING)

    def worn(self, reason: str) -> None:
        """This worker should be replaced in its turn; it serves until then."""
        self.send((notify.WORN, reason))

    def reload(self, reason: str) -> None:
        """The master has to read again what this worker may not."""
        self.send((notify.RELOAD, reason))

    def resident(self) -> int:
        """How much memory this process has, in octets; 0 where the system does not say."""
        return resident(os.getpid()) or 0

    def status(self, text: str) -> None:
        """A sentence for operators; not sent while the master does not read."""
        self._push(0.0)
        if not self._unsent:
            self._unsent = notify.encode((notify.STATUS, text))
            self._push(0.0)

    def failed(self, sentence: str, detail: str = "") -> None:
        """Why this process cannot serve; `detail` is a traceback, of which 64 KiB are sent."""
        self.send(
            (notify.DETAIL, notify.shorten(detail)), (notify.FAILED, notify.shorten(sentence))
        )

    def send(self, *pairs: notify.Pair) -> None:
        """Send all of it, waiting seconds at most; a dead master is noticed by `fileno`."""
        self._unsent += notify.encode(*pairs)
        self._push(SEND_TIMEOUT)

    def _push(self, timeout: float) -> None:
        self.socket.settimeout(timeout)
        try:
            # Not sendall: what a time-out leaves unsent must follow, or a line is torn.
            while self._unsent:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
        except (BlockingIOError, TimeoutError):
            return
        except (BrokenPipeError, ConnectionResetError):
            self._unsent = b""
