"""What a worker receives datagrams from and sends them with.

A socket that is bound to every address of the machine is told which one a datagram was sent to, and
answers from there: the kernel would choose an address by the route back, and a client drops what
comes from another one than it has asked. There the address of a peer has one element more.
"""

import socket
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tricorn_supervisor.listeners import Bind, url

ADDRESS = struct.Struct("!BH16sLL20s")  # family, port, address, flow, scope, our own end
IPV4, IPV6, LOCATED = 4, 6, 0x10
UDP_SEGMENT = 103  # linux/udp.h; not in the socket module
IP_PKTINFO, IPV6_RECVPKTINFO, IPV6_PKTINFO = 8, 49, 50  # linux/in.h, linux/in6.h
PKTINFO = struct.Struct("@I4s4s")  # ip(7): interface, our address, the header's
PKTINFO6 = struct.Struct("@16sI")  # ipv6(7): our address, interface
RECEIVING = {
    socket.AF_INET: (socket.IPPROTO_IP, IP_PKTINFO),
    socket.AF_INET6: (socket.IPPROTO_IPV6, IPV6_RECVPKTINFO),
}
SENDING = {
    socket.AF_INET: (socket.IPPROTO_IP, IP_PKTINFO),
    socket.AF_INET6: (socket.IPPROTO_IPV6, IPV6_PKTINFO),
}
CONTROL_SIZE = socket.CMSG_SPACE(PKTINFO6.size) + socket.CMSG_SPACE(PKTINFO.size)
LINK_LOCAL = b"\xfe\x80"

Socket = socket.socket  # the name is a field's as well
Address = tuple[Any, ...]
"""As the socket module has it; at a socket for all addresses, with ours as a control message."""


def locate(sock: Socket) -> None:
    """Has a socket for all addresses say which one each datagram was for, where it can."""
    if sys.platform == "linux" and sock.getsockname()[0] in ("0.0.0.0", "::"):
        level, option = RECEIVING[sock.family]
        sock.setsockopt(level, option, 1)


def is_located(sock: Socket) -> bool:
    return sys.platform == "linux" and bool(sock.getsockopt(*RECEIVING[sock.family]))


def receive_located(sock: Socket, size: int) -> tuple[bytes, Address]:
    """A datagram, and its sender together with the address of ours that it was sent to."""
    data, control, _, peer = sock.recvmsg(size, CONTROL_SIZE)
    for level, kind, found in control:
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            _, ours, _ = PKTINFO.unpack(found[: PKTINFO.size])
            return data, (*peer, PKTINFO.pack(0, ours, bytes(4)))
        if (level, kind) == (socket.IPPROTO_IPV6, IPV6_PKTINFO):
            ours, interface = PKTINFO6.unpack(found[: PKTINFO6.size])
            # Only such an address means another one on each interface.
            interface = interface if ours.startswith(LINK_LOCAL) else 0
            return data, (*peer, PKTINFO6.pack(ours, interface))
    raise OSError("a datagram without the address that it was sent to")


def pack_address(address: Address) -> bytes:
    """An address as it travels in front of its datagram: ADDRESS.size octets."""
    local = address[-1]
    located, ours = (LOCATED, local) if isinstance(local, bytes) else (0, b"")
    host, port = address[:2]
    if len(address) < 4:
        family, flow, scope, packed = IPV4, 0, 0, socket.inet_pton(socket.AF_INET, host)
    else:
        family, flow, scope = IPV6, address[2], address[3]
        packed = socket.inet_pton(
            socket.AF_INET6, host.partition("%")[0]
        )  # the scope says it again
    return ADDRESS.pack(family | located, port, packed, flow, scope, ours)


def unpack_address(packed: bytes) -> Address:
    """What `pack_address` has packed, at the beginning of `packed`."""
    family, port, host, flow, scope, ours = ADDRESS.unpack_from(packed)
    if family & ~LOCATED == IPV4:
        found = socket.inet_ntop(socket.AF_INET, host[:4]), port
        return (*found, ours[: PKTINFO.size]) if family & LOCATED else found
    longer = socket.inet_ntop(socket.AF_INET6, host), port, flow, scope
    return (*longer, ours[: PKTINFO6.size]) if family & LOCATED else longer


@dataclass(frozen=True, slots=True)
class DatagramSocket:
    """One address of a worker: never blocks, and must never be connected.

    `socket` sends. It receives too, unless there is an `inbox`: then a dispatcher reads it for all
    workers, and passes on what is ours.
    """

    bind: Bind
    socket: Socket
    inbox: Socket | None = None
    located: bool = field(init=False)
    """It is for all addresses of the machine, and says which one a datagram was for."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "located", is_located(self.socket))

    @property
    def address(self) -> str:
        """As a URL, with the real port: https://127.0.0.1:8443."""
        return url(self.bind, self.socket)

    def fileno(self) -> int:
        """Readable when `receive_from` has something."""
        return (self.inbox or self.socket).fileno()

    def receive_from(self, size: int) -> tuple[bytes, Address]:
        """The next datagram, cut to `size`, and its sender. Raises BlockingIOError if none."""
        if self.inbox is not None:
            data = self.inbox.recv(ADDRESS.size + size)
            return data[ADDRESS.size :], unpack_address(data)
        if self.located:
            return receive_located(self.socket, size)
        return self.socket.recvfrom(size)

    def send(self, datagrams: Sequence[bytes], address: Address) -> None:
        """Sends datagrams of one size, but for the last one, in one call. Raises OSError."""
        if len(datagrams) == 1 and not self.located:
            self.socket.sendto(datagrams[0], address)
            return
        control: list[tuple[int, int, bytes]] = []
        if len(datagrams) > 1:
            size = struct.pack("@H", len(datagrams[0]))
            control.append((socket.IPPROTO_UDP, UDP_SEGMENT, size))
        if self.located:
            control.append((*SENDING[self.socket.family], address[-1]))
            address = address[:-1]
        self.socket.sendmsg(datagrams, control, 0, address)

    def local(self, address: Address) -> tuple[str, int]:
        """Our end of the way to a peer."""
        host, port = self.socket.getsockname()[:2]
        if self.located:
            ours = address[-1]
            if self.socket.family == socket.AF_INET:
                host = socket.inet_ntop(socket.AF_INET, PKTINFO.unpack(ours)[1])
            else:
                host = socket.inet_ntop(socket.AF_INET6, PKTINFO6.unpack(ours)[0])
        return host, port
