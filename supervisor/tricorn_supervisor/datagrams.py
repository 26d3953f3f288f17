"""What a worker receives datagrams from and sends them with."""

import socket
import struct
from dataclasses import dataclass

from tricorn_supervisor.listeners import Bind, url

ADDRESS = struct.Struct("!BH16sLL")  # family, port, address, flow, scope
IPV4, IPV6 = 4, 6

Socket = socket.socket  # the name is a field's as well
Address = tuple[str, int] | tuple[str, int, int, int]


def pack_address(address: Address) -> bytes:
    """An address as it travels in front of its datagram: ADDRESS.size octets."""
    match address:
        case (host, port):
            return ADDRESS.pack(IPV4, port, socket.inet_pton(socket.AF_INET, host), 0, 0)
        case (host, port, flow, scope):
            host = host.partition("%")[0]  # the scope says it again
            return ADDRESS.pack(IPV6, port, socket.inet_pton(socket.AF_INET6, host), flow, scope)


def unpack_address(packed: bytes) -> Address:
    """What `pack_address` has packed, at the beginning of `packed`."""
    family, port, host, flow, scope = ADDRESS.unpack_from(packed)
    if family == IPV4:
        return socket.inet_ntop(socket.AF_INET, host[:4]), port
    return socket.inet_ntop(socket.AF_INET6, host), port, flow, scope


@dataclass(frozen=True, slots=True)
class DatagramSocket:
    """One address of a worker: never blocks, and must never be connected.

    `socket` sends. It receives too, unless there is an `inbox`: then a dispatcher reads it for all
    workers, and passes on what is ours.
    """

    bind: Bind
    socket: Socket
    inbox: Socket | None = None

    @property
    def address(self) -> str:
        """As a URL, with the real port: https://127.0.0.1:8443."""
        return url(self.bind, self.socket)

    def fileno(self) -> int:
        """Readable when `receive_from` has something."""
        return (self.inbox or self.socket).fileno()

    def receive_from(self, size: int) -> tuple[bytes, Address]:
        """The next datagram, cut to `size`, and its sender. Raises BlockingIOError if none."""
        if self.inbox is None:
            return self.socket.recvfrom(size)
        data = self.inbox.recv(ADDRESS.size + size)
        return data[ADDRESS.size :], unpack_address(data)
