"""The rule that finds the worker of a QUIC datagram: as a program for the kernel, and in Python.

Theory. A *lane* is the index of a socket in a reuseport group; a worker process leases one for its
life. Every connection ID that a worker hands out names its lane, so that the packets of a
connection find its worker from whatever address the client sends, and whatever other workers come
and go. An ID has eight octets, and those of the server ID if the operator gives one:

    0      configuration 0, and the length less one (draft-ietf-quic-load-balancers)
    ...    the server ID, by which a balancer finds this machine; nobody here reads it
    six    random
    last   lane XOR mask; the mask is made of the four octets before and a secret multiplier

The mask hides from an observer which IDs are of one lane. It is no security, and needs none.

A datagram with such an ID goes to its lane, as long as somebody owns that. Every other one is a new
connection or a lost one and goes to a live lane, chosen by octets that the client itself has made
up: the address may change between two datagrams of one handshake, those octets do not. A long
header is told from a short one, but not Initial packets from others: a client uses our IDs in them
as soon as it knows one.

`program` and `route` are this rule twice; a property test holds them to the same answer.
"""

import hashlib
import hmac
import socket
import struct
from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

CONNECTION_ID_SIZE = 8  # without a server ID
NONCE_SIZE = 6
MOST_SERVER_ID = 20 - CONNECTION_ID_SIZE  # RFC9000§17.2
MOST_LANES = 256  # a lane is one octet
SECRET_SIZE = 32

SO_ATTACH_REUSEPORT_CBPF = getattr(socket, "SO_ATTACH_REUSEPORT_CBPF", 51)  # asm-generic/socket.h

LONG_HEADER = 0x80
WORD = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Layout:
    """What a connection ID of ours looks like."""

    multiplier: int  # odd, 32 bits
    server_id: bytes = b""
    size: int = field(init=False)
    first: int = field(init=False)
    """The octet that every ID begins with."""

    def __post_init__(self) -> None:
        # Kept, as the dispatcher asks for them with each datagram.
        object.__setattr__(self, "size", CONNECTION_ID_SIZE + len(self.server_id))
        object.__setattr__(self, "first", self.size - 1)

    @classmethod
    def of(cls, secret: bytes, server_id: bytes = b"") -> "Layout":
        """The same for every process that shares the secret."""
        digest = hmac.digest(secret, b"tricorn lane mask", hashlib.sha256)
        return cls(int.from_bytes(digest[:4]) | 1, server_id)

    def connection_id(self, lane: int, nonce: bytes) -> bytes:
        """The ID with these six random octets that leads to this lane."""
        if len(nonce) != NONCE_SIZE:
            raise ValueError(f"a nonce has {NONCE_SIZE} octets, not {len(nonce)}")
        return bytes((self.first, *self.server_id, *nonce, lane ^ self._mask(nonce[2:])))

    def lane_of(self, connection_id: bytes) -> int | None:
        """The lane that an ID leads to, owned or not; None if the ID cannot be one of ours."""
        if len(connection_id) != self.size or connection_id[0] != self.first:
            return None
        return connection_id[-1] ^ self._mask(connection_id[-5:-1])

    def _mask(self, octets: bytes) -> int:
        return (int.from_bytes(octets) * self.multiplier & WORD) >> 24


def route(layout: Layout, live: Sequence[int], owned: Collection[int], datagram: bytes) -> int:
    """The lane of a datagram: its own if `owned`, or one of `live`, where each entry is a share."""
    size = len(datagram)
    if size < layout.size + 2:
        return live[0]
    start = 1
    if datagram[0] & LONG_HEADER:
        if size < layout.size + 7:
            return live[0]
        start = 6
    if start == 1 or datagram[5] == layout.size:
        lane = layout.lane_of(datagram[start : start + layout.size])
        if lane is not None and lane in owned:
            return lane
    return live[int.from_bytes(datagram[start : start + 4]) % len(live)]


# The program: classic BPF, whose offset 0 is the first octet of the UDP payload

LOAD_WORD, LOAD_OCTET, LOAD_SIZE = 0x20, 0x30, 0x80
LOAD_MEMORY, STORE = 0x60, 0x02
MULTIPLY, MODULO, SHIFT_RIGHT, XOR_X, A_TO_X = 0x24, 0x94, 0x74, 0xAC, 0x07
JUMP, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_SET = 0x05, 0x15, 0x35, 0x45
RETURN, RETURN_A = 0x06, 0x16

LANE, CHOICE = 0, 1  # memory cells: the lane that an ID names; the octets that choose a live one

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand


def program(layout: Layout, live: Sequence[int], owned: Collection[int]) -> bytes:
    """`route` as struct sock_filter[], for `attach`; every lane of `live` is owned as well.

    A load beyond the end would return 0, so that each is behind a test of the size.
    """
    lanes = max(owned, default=-1) + 1
    if not live or max(lanes, len(live)) > MOST_LANES or any(lane not in owned for lane in live):
        raise ValueError(f"no table of lanes: live {live}, owned {owned}")
    pick = _pick(live)
    table = _table(lanes, owned)
    long = _long(layout, live[0], len(table))
    short = _short(layout, live[0], len(long), len(table))
    code = [*short, *long, *table, *pick]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def attach(sock: socket.socket, code: bytes) -> None:
    """Route the whole reuseport group of this socket so, at once and atomically.

    Raises OSError where the system has no such thing.
    """
    memory = array("B", code)
    filter_program = struct.pack("@HP", len(code) // 8, memory.buffer_info()[0])
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, filter_program)


def _short(
    layout: Layout, fallback: int, size_of_long: int, size_of_table: int
) -> list[Instruction]:
    read = [
        *_read(layout, start=1),
        (LOAD_OCTET, 0, 0, 1),
        (JUMP_EQUAL, 1, 0, layout.first),
        (JUMP, 0, 0, size_of_long + size_of_table + 1),
        (JUMP, 0, 0, size_of_long),
    ]
    return [
        (LOAD_SIZE, 0, 0, 0),
        (JUMP_AT_LEAST, 1, 0, layout.size + 2),
        (RETURN, 0, 0, fallback),
        (LOAD_OCTET, 0, 0, 0),
        (JUMP_SET, len(read), 0, LONG_HEADER),
        *read,
    ]


def _long(layout: Layout, fallback: int, size_of_table: int) -> list[Instruction]:
    return [
        (LOAD_SIZE, 0, 0, 0),
        (JUMP_AT_LEAST, 1, 0, layout.size + 7),
        (RETURN, 0, 0, fallback),
        *_read(layout, start=6),
        (LOAD_OCTET, 0, 0, 5),
        (JUMP_EQUAL, 0, 2, layout.size),
        (LOAD_OCTET, 0, 0, 6),
        (JUMP_EQUAL, 1, 0, layout.first),
        (JUMP, 0, 0, size_of_table),
    ]


def _read(layout: Layout, start: int) -> list[Instruction]:
    """Note what an ID at this offset says; where there is room for one, there is for its octets."""
    return [
        (LOAD_WORD, 0, 0, start),
        (STORE, 0, 0, CHOICE),
        (LOAD_WORD, 0, 0, start + layout.size - 5),
        (MULTIPLY, 0, 0, layout.multiplier),
        (SHIFT_RIGHT, 0, 0, 24),
        (A_TO_X, 0, 0, 0),
        (LOAD_OCTET, 0, 0, start + layout.size - 1),
        (XOR_X, 0, 0, 0),
        (STORE, 0, 0, LANE),
    ]


def _table(lanes: int, owned: Collection[int]) -> list[Instruction]:
    """Return the lane if it is owned, or go on behind this."""
    free = [lane for lane in range(lanes) if lane not in owned]
    size = 2 * len(free) + 4
    code: list[Instruction] = [
        (LOAD_MEMORY, 0, 0, LANE),
        (JUMP_AT_LEAST, 0, 1, lanes),
        (JUMP, 0, 0, size - 3),
    ]
    for lane in free:
        # In pairs: a conditional jump reaches no further than 255.
        code += [(JUMP_EQUAL, 0, 1, lane), (JUMP, 0, 0, size - len(code) - 2)]
    return [*code, (RETURN_A, 0, 0, 0)]


def _pick(live: Sequence[int]) -> list[Instruction]:
    code: list[Instruction] = [(LOAD_MEMORY, 0, 0, CHOICE), (MODULO, 0, 0, len(live))]
    for share, lane in enumerate(live[:-1]):
        code += [(JUMP_EQUAL, 0, 1, share), (RETURN, 0, 0, lane)]
    return [*code, (RETURN, 0, 0, live[-1])]
