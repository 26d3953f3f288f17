"""What routes datagrams to lanes, and how it learns of a change: the kernel, or a dispatcher."""

import logging
import os
import select
import signal
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress

from tricorn_supervisor import steering
from tricorn_supervisor.dispatcher import dispatch, encode
from tricorn_supervisor.groups import Group, RelayedGroup, SharedGroup, bind_alone, bind_shared
from tricorn_supervisor.leases import Table
from tricorn_supervisor.listeners import Address, Bind, ListenError
from tricorn_supervisor.signals import describe

# The master waits for so long at a change of the tables, which takes a dispatcher a millisecond.
ANSWER_TIMEOUT = 0.25
RESPAWN_PAUSE = 1.0  # for a dispatcher that lived no longer than this, or could not be forked

log = logging.getLogger(__name__)

Tables = Mapping[Group, Table]
Fork = Callable[[Callable[[], int]], int]
"""Run this in a child that has nothing of the master's but the lanes; returns its pid, or raises
OSError."""


def choose(wanted: str, layout: steering.Layout, fork: Fork) -> "Router":
    """Raises ListenError if the kernel is wanted and refuses."""
    if wanted == "hash":
        return Hash()
    if wanted == "dispatcher":
        return Dispatcher(layout, fork)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            steering.attach(probe, steering.program(layout, [0], [0]))
    except OSError as exc:
        if wanted == "kernel":
            raise ListenError(
                f"the kernel refuses a program that routes QUIC: {exc.strerror}; leave out "
                "--quic-steering kernel"
            ) from exc
        log.info("the kernel refuses a program that routes QUIC: %s", exc.strerror)
        return Dispatcher(layout, fork)
    return Kernel(layout)


class Router(ABC):
    """Siblings: Kernel, Hash, Dispatcher."""

    name: str

    @property
    def deadline(self) -> float | None:
        """Call `route` again at that time."""
        return None

    def bind_one(self, address: Address, dual: bool) -> socket.socket:
        return bind_shared(address, dual)

    def group(self, bind: Bind, sock: socket.socket) -> Group:
        return SharedGroup(bind, sock)

    @abstractmethod
    def route(self, tables: Tables) -> None:
        """See to it that every group that there is is routed so."""

    def reaped(self, pid: int, status: int) -> bool:
        """Whether that was a process of the router."""
        return False

    def leave(self) -> None:  # noqa: B027
        """In a forked worker: let go."""

    def close(self) -> None:  # noqa: B027
        """Every worker is gone."""


class Kernel(Router):
    """A program that is attached to each group; replacing it is atomic."""

    name = "kernel"

    def __init__(self, layout: steering.Layout) -> None:
        self._layout = layout
        self._attached: dict[Group, Table] = {}

    def route(self, tables: Tables) -> None:
        for group, table in tables.items():
            if self._attached.get(group) != table:
                self._attach(group, table)
        self._attached = {
            group: table for group, table in self._attached.items() if group in tables
        }

    def _attach(self, group: Group, table: Table) -> None:
        code = steering.program(self._layout, table.live, table.owned)
        try:
            steering.attach(group.first, code)
        except OSError as exc:  # the program before serves whom it can, until the next turn
            log.error("QUIC datagrams are not routed anew: %s", exc)
            return
        self._attached[group] = table


class Hash(Router):
    """The kernel's own choice, by both addresses. It loses every client that moves, the share of a
    free lane and, at each reload, half of the connections: it is there for tests."""

    name = "hash"

    def route(self, tables: Tables) -> None:
        pass


class Dispatcher(Router):
    """The master's side of dispatcher.py: forks it, tells it, replaces it."""

    name = "dispatcher"

    def __init__(self, layout: steering.Layout, fork: Fork) -> None:
        self._layout = layout
        self._fork = fork
        self._tables: dict[RelayedGroup, Table] = {}
        self._shape: list[tuple[RelayedGroup, int]] = []
        self._channel: socket.socket | None = None
        self._pid = 0
        self._retired: set[int] = set()
        self._started = 0.0
        self._retry_at = 0.0

    @property
    def deadline(self) -> float | None:
        missing = not self._pid or not self._shape
        return self._retry_at if self._tables and missing else None

    def bind_one(self, address: Address, dual: bool) -> socket.socket:
        return bind_alone(address, dual)

    def group(self, bind: Bind, sock: socket.socket) -> Group:
        return RelayedGroup(bind, sock)

    def route(self, tables: Tables) -> None:
        before, self._tables = self._tables, _relayed(tables)
        shape = [(group, len(group.outboxes)) for group in self._tables]
        if not self._tables:
            self._retire()
        elif shape != self._shape or not self._pid:
            if time.monotonic() >= self._retry_at:
                self._shape = shape
                self._start()
        elif self._tables != before:
            self._tell()

    def reaped(self, pid: int, status: int) -> bool:
        if pid in self._retired:
            self._retired.remove(pid)
            return True
        if not pid or pid != self._pid:
            return False
        log.warning("dispatcher pid=%d %s", pid, describe(status))
        self._pid = 0
        now = time.monotonic()
        self._retry_at = now if now - self._started > RESPAWN_PAUSE else now + RESPAWN_PAUSE
        return True

    def leave(self) -> None:
        if self._channel is not None:
            self._channel.close()

    def close(self) -> None:
        self._retire()
        for pid in self._retired:
            # It ends by itself, unless it is stopped.
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

    def _start(self) -> None:
        """The new one reads beside the old for a moment: each datagram is read once."""
        try:
            ours, theirs = socket.socketpair()
        except OSError as exc:
            self._fail(exc)
            return
        ours.setblocking(False)
        theirs.setblocking(False)
        with theirs:
            try:
                pid = self._fork(lambda: self._dispatch(ours, theirs))
            except OSError as exc:
                ours.close()
                self._fail(exc)
                return
        self._retire()
        self._channel, self._pid, self._started = ours, pid, time.monotonic()
        log.info("dispatcher pid=%d started", pid)

    def _dispatch(self, ours: socket.socket, theirs: socket.socket) -> int:
        """In the child."""
        ours.close()
        self.leave()
        # Asked to stop with the whole service, it is still needed by workers that drain.
        for number in (signal.SIGTERM, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        for group in self._tables:
            for inbox in group.inboxes:
                inbox.close()
        return dispatch(theirs, self._layout, list(self._tables), list(self._tables.values()))

    def _fail(self, exc: OSError) -> None:
        log.error("dispatcher not forked: %s", exc)
        self._shape = []
        self._retry_at = time.monotonic() + RESPAWN_PAUSE

    def _tell(self) -> None:
        """And wait until it is so, as a change in the kernel is: who drains may be gone at once."""
        line = encode(list(self._tables.values()))
        assert self._channel is not None
        try:
            told = self._channel.send(line) == len(line) and _answers(self._channel)
        except BlockingIOError:
            told = False
        except ConnectionError:
            return  # it is reaped soon
        if not told:
            log.warning("dispatcher pid=%d does not answer: it is replaced", self._pid)
            os.kill(self._pid, signal.SIGKILL)
            self._start()

    def _retire(self) -> None:
        """Let it end; it goes by old tables until it has."""
        if self._channel is not None:
            with suppress(OSError):
                self._channel.shutdown(socket.SHUT_WR)
                if not _answers(self._channel) and self._pid:
                    os.kill(self._pid, signal.SIGKILL)
            self._channel.close()
            self._channel = None
        if self._pid:
            self._retired.add(self._pid)
            self._pid = 0
        self._shape = self._shape if self._tables else []


def _answers(channel: socket.socket) -> bool:
    """Whether something comes in time: an answer, or the end. Raises OSError."""
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    if not poll.poll(ANSWER_TIMEOUT * 1000):
        return False
    channel.recv(64)
    return True


def _relayed(tables: Tables) -> dict[RelayedGroup, Table]:
    return {group: table for group, table in tables.items() if isinstance(group, RelayedGroup)}
