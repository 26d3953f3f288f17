"""The UDP sockets of one address: one for each lane, or one that a dispatcher reads for all."""

import socket
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from tricorn_supervisor.datagrams import DatagramSocket, locate
from tricorn_supervisor.listeners import Address, Bind

BUFFER_SIZE = 4 * 1024 * 1024  # Linux grants net.core.rmem_max and wmem_max at most
STALE_LIMIT = 64 * 1024  # datagrams; more than a buffer holds
# linux/in.h, linux/in6.h: never fragment, and believe no ICMP about the path (RFC9000§14).
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, PROBE = 10, 23, 3


def bind_shared(address: Address, dual: bool) -> socket.socket:
    """The first socket of a reuseport group; nobody else may have one there."""
    # The kernel would let any program of our user join, or us join theirs.
    with bind_alone(address, dual) as probe:
        name = probe.getsockname()
    return _bind((address[0], name), dual, shared=True)


def bind_alone(address: Address, dual: bool) -> socket.socket:
    return _bind(address, dual, shared=False)


@dataclass(slots=True, eq=False)
class SharedGroup:
    """A reuseport group. The order of binding is the order of lanes, so that none is ever closed
    as long as a process has another: the last socket would move into the hole."""

    bind: Bind
    first: socket.socket
    sockets: list[socket.socket] = field(init=False)

    def __post_init__(self) -> None:
        self.sockets = [self.first]

    def grow(self, lanes: int) -> bool:
        """Have that many lanes at least; whether there are new ones. Raises OSError."""
        before = len(self.sockets)
        dual = self.first.family == socket.AF_INET6 and not self.first.getsockopt(
            socket.IPPROTO_IPV6, socket.IPV6_V6ONLY
        )
        address = self.first.family, self.first.getsockname()
        while len(self.sockets) < lanes:
            self.sockets.append(_bind(address, dual, shared=True))
        return len(self.sockets) > before

    def drain(self, lane: int) -> None:
        """Forget what came for the last holder."""
        _drain(self.sockets[lane])

    def take(self, lane: int) -> DatagramSocket:
        """In a forked child: what is of this lane. Close everything else."""
        for number, sock in enumerate(self.sockets):
            if number != lane:
                sock.close()
        return DatagramSocket(self.bind, self.sockets[lane])

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()


@dataclass(slots=True, eq=False)
class RelayedGroup:
    """One socket, and a pair of unix sockets for each lane, into which a dispatcher sorts."""

    bind: Bind
    first: socket.socket
    outboxes: list[socket.socket] = field(init=False, default_factory=list)
    inboxes: list[socket.socket] = field(init=False, default_factory=list)

    def grow(self, lanes: int) -> bool:
        """Have that many lanes at least; whether there are new ones. Raises OSError."""
        before = len(self.inboxes)
        while len(self.inboxes) < lanes:
            outbox, inbox = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            for sock in (outbox, inbox):
                _prepare(sock)
            self.outboxes.append(outbox)
            self.inboxes.append(inbox)
        return len(self.inboxes) > before

    def drain(self, lane: int) -> None:
        """Forget what came for the last holder."""
        _drain(self.inboxes[lane])

    def take(self, lane: int) -> DatagramSocket:
        """In a forked child: what is of this lane. Close everything else."""
        for number, inbox in enumerate(self.inboxes):
            if number != lane:
                inbox.close()
        for outbox in self.outboxes:
            outbox.close()
        return DatagramSocket(self.bind, self.first, self.inboxes[lane])

    def close(self) -> None:
        for sock in (self.first, *self.outboxes, *self.inboxes):
            sock.close()


Group = SharedGroup | RelayedGroup


def _bind(address: Address, dual: bool, *, shared: bool) -> socket.socket:
    family, name = address
    with ExitStack() as undo:
        sock = undo.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        _prepare(sock)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        if sys.platform == "linux":
            sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PROBE)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PROBE)
        sock.bind(name)
        locate(sock)
        undo.pop_all()
    return sock


def _prepare(sock: socket.socket) -> None:
    sock.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        with suppress(OSError):  # some systems refuse more than they have, instead of giving less
            sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_SIZE)


def _drain(sock: socket.socket) -> None:
    with suppress(BlockingIOError):
        for _ in range(STALE_LIMIT):
            sock.recv(1)
