"""Floods of QUIC and HTTP/3 frames by row of the attack catalogue, and what each costs the server.

Packets are made here, as no client library would make such. A flood is fed packet by packet until
the server ends the connection or nothing is left; what counts is what the server does meanwhile.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, repeat

from aioquic.buffer import encode_uint_var as number

from tests.support.h3peer import H3Peer, frame
from tests.support.packets import packet
from tests.wire.states import holds
from tricorn.config import Config

PACKET = 1150
"""Octets of frames in a packet."""
AROUND = 28
"""Octets of the headers of IP and UDP, which a flood has to send as well."""
OCTETS = 96 * 1024
"""Octets after which a flood that the server bears is over."""
MOST_TIME = 1.0
"""Microseconds of the processor for each octet."""
WINDOW = 256 * 1024


def stream(id: int, data: bytes = b"", offset: int = 0, *, fin: bool = False) -> bytes:
    """A STREAM frame."""
    return bytes([0x0E | fin]) + number(id) + number(offset) + number(len(data)) + data


@dataclass
class Flood:
    frames: Callable[[H3Peer], Iterator[bytes]]
    ends: bool = False
    """Whether the server has enough of it; else it is cheap enough to be listened to."""
    packet: int = PACKET
    octets: int = OCTETS
    most: float = MOST_TIME


@dataclass
class Cost:
    peer: H3Peer
    octets: int
    seconds: float
    ended: bool
    held: int = 0

    @property
    def each(self) -> float:
        """Microseconds for each octet."""
        return self.seconds / self.octets * 1e6


def pour(flood: Flood, *, traced: bool = False) -> Cost:
    """Feeds the flood to a new connection."""
    peer = H3Peer(holds, Config())
    assert peer.fetch("/other").status == 200
    settle = super(H3Peer, peer).settle
    endpoint, outgoing = peer.endpoint, peer.endpoint.outgoing
    port, address, clock = endpoint.ports[0], peer.address, peer.house.clock
    link = next(each for each in endpoint.links.values() if each.address == address)
    frames = flood.frames(peer)
    seconds, octets, ended, piece = 0.0, 0, False, next(frames)
    gc.collect()
    if traced:
        tracemalloc.start()
    held = 0
    while octets < flood.octets and not ended and piece is not None:
        payload = bytearray()
        while piece is not None and (not payload or len(payload) + len(piece) <= flood.packet):
            payload += piece
            piece = next(frames, None)
        data = packet(peer, bytes(payload))
        octets += len(data) + AROUND
        before = time.process_time()
        endpoint.take(port, data, address, clock.now)
        settle()
        seconds += time.process_time() - before
        outgoing.clear()
        clock.now += 0.0001
        ended = link.transport._close_event is not None
    peer.mute = True
    if ended:  # it is kept a while for those who have not heard of its end
        clock.now += 10
        settle()
    if traced:
        del data, payload, piece, frames, link
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    return Cost(peer, octets, seconds, ended, held)


def _requests(peer: H3Peer, path: str = "/") -> Iterator[tuple[int, bytes]]:
    """IDs of streams, and HEADERS frames for them."""
    head = peer.request(path)
    for id in count(4, 4):
        yield id, head


def _resets(peer: H3Peer) -> Iterator[bytes]:
    for id, head in _requests(peer):
        reset = b"\x04" + number(id) + number(0x10C) + number(len(head))
        yield stream(id, head) + reset + b"\x05" + number(id) + number(0x10C)


def _far_ahead(peer: H3Peer) -> Iterator[bytes]:
    for id in range(4, 4 + 400, 4):
        yield stream(id, b"x", WINDOW - 1)


def _scattered(peer: H3Peer) -> Iterator[bytes]:
    for id in range(4, 4 + 400, 4):
        for at in range(250):
            yield stream(id, b"x", 1 + 2 * at)


def _connection_ids(peer: H3Peer) -> Iterator[bytes]:
    for at in count(10):
        yield b"\x18" + number(at) + number(at) + b"\x08" + at.to_bytes(8, "big") + bytes(16)


def _on(data: bytes) -> Callable[[H3Peer], Iterator[bytes]]:
    """The same octets over and over on one request stream, behind its HEADERS."""

    def frames(peer: H3Peer) -> Iterator[bytes]:
        head = peer.request("/", "POST")
        yield stream(4, head)
        at, many = len(head), data * max(1, 1000 // len(data))
        while True:
            yield stream(4, many, at)
            at += len(many)

    return frames


def _on_control(data: bytes) -> Callable[[H3Peer], Iterator[bytes]]:
    def frames(peer: H3Peer) -> Iterator[bytes]:
        id, at = peer.control_id, 3
        many = data * max(1, 1000 // len(data))
        while True:
            yield stream(id, many, at)
            at += len(many)

    return frames


def _unidirectional(data: bytes) -> Callable[[H3Peer], Iterator[bytes]]:
    """A new stream of one direction, which begins with these octets, and goes on with them."""

    def frames(peer: H3Peer) -> Iterator[bytes]:
        yield stream(6, data)
        at, rest = len(data), data[-1:] * 1000
        while True:
            yield stream(6, rest, at)
            at += len(rest)

    return frames


def _always(*pieces: bytes) -> Callable[[H3Peer], Iterator[bytes]]:
    return lambda peer: repeat(b"".join(pieces))


def _settings(peer: H3Peer) -> Iterator[bytes]:
    body = b"".join(number(0x4000 + at) + b"\x00" for at in range(5000))
    data = b"\x00" + frame(4, body)
    for at in range(0, len(data), 1000):
        yield stream(10, data[at : at + 1000], at)


FLOODS = {
    "Q-05-far-ahead": Flood(_far_ahead, ends=True),
    "Q-05-scattered": Flood(_scattered),
    "Q-07-highest-stream": Flood(lambda peer: iter([stream(396, b"x")] * 200)),
    "Q-08-rapid-reset": Flood(_resets, ends=True),
    "Q-09-connection-ids": Flood(_connection_ids, ends=True),
    "Q-09-retired-ids": Flood(_always(b"\x19\x01"), ends=True),
    "Q-10-path-challenges": Flood(_always(b"\x1a12345678"), ends=True),
    "Q-10-path-responses": Flood(_always(b"\x1b12345678")),
    "Q-12-acknowledgements": Flood(_always(b"\x02\x00\x00\x00\x00"), ends=True),
    "Q-13-ranges": Flood(_always(b"\x02\x05\x00\x02\x00\x00\x00\x00\x00"), ends=True),
    "Q-22-pings": Flood(_always(b"\x01")),
    "Q-22-single-pings": Flood(_always(b"\x01"), packet=1),
    "Q-22-padding": Flood(_always(b"\x00" * 1000)),
    "Q-22-empty-stream-frames": Flood(_always(stream(4))),
    "Q-22-duplicates": Flood(_always(stream(4, b"\x01"))),
    "Q-22-max-data": Flood(_always(b"\x10\x01")),
    "Q-22-max-stream-data": Flood(_always(b"\x11\x04\x01")),
    "Q-22-max-streams": Flood(_always(b"\x12\x01")),
    "Q-22-data-blocked": Flood(_always(b"\x14\x01")),
    "Q-22-stream-data-blocked": Flood(_always(b"\x15\x04\x01")),
    "Q-22-streams-blocked": Flood(_always(b"\x16\x01")),
    "Q-22-crypto": Flood(_always(b"\x06\x00\x01\x04"), ends=True),
    "Q-22-unknown-frames": Flood(_on(b"\x21\x00"), ends=True),
    "Q-22-unknown-large": Flood(_on(frame(0x21, b"x" * 900))),
    "Q-22-empty-data": Flood(_on(b"\x00\x00"), ends=True),
    "Q-22-small-data": Flood(_on(b"\x00\x01x")),
    "Q-22-unknown-on-control": Flood(_on_control(b"\x21\x00"), ends=True),
    "Q-22-priority-updates": Flood(_on_control(b"\x80\x0f\x07\x00\x04\x04u=1"), ends=True),
    "Q-22-max-push-ids": Flood(_on_control(b"\x0d\x01\x05"), ends=True),
    "Q-22-unknown-streams": Flood(_unidirectional(b"\x21x")),
    "Q-19-encoder": Flood(_unidirectional(b"\x02\x20")),
    "Q-19-decoder": Flood(_unidirectional(b"\x03\x44")),
    "Q-20-settings": Flood(_settings, ends=True),
}
