"""Floods of HTTP/2 frames by row of the attack catalogue, and what each costs the server.

A flood is fed in the pieces in which it might arrive, until the server has had enough of it. Only
what it has listened to counts, in whole pieces, and only what the server does: what ends after a
few octets would else be measured by what it takes to close a connection.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from dataclasses import dataclass, field

from hpack import Encoder

from tests.support import apps, frames
from tests.support.frames import GET, POST, PREFACE
from tests.support.h2peer import H2Peer
from tests.wire.states import holds
from tricorn.config import Config
from tricorn.http2.reading import CLOSED

PIECE = 4096
"""Octets that arrive together: few, so that each read costs what it costs."""
CALM = frames.ENHANCE_YOUR_CALM
MOST_TIME = 1.0
"""Microseconds of the processor for each octet."""
TREE_TIME = 8.0
"""The same for a dependency in a full tree: there are 100 of them in ten seconds at most."""
MOST = 100
"""Streams that may be open at once."""


@dataclass
class Flood:
    """What is sent before it, which is honest; what it consists of; how it ends."""

    data: bytes
    before: bytes = b""
    code: int | None = CALM
    """None where it is harmless enough to be listened to, to its end."""
    settings: dict[int, int] = field(default_factory=dict)
    piece: int = PIECE
    most: float = MOST_TIME


@dataclass
class Cost:
    peer: H2Peer
    octets: int
    seconds: float
    code: int | None = None
    """Of the GOAWAY that it was answered with."""
    held: int = 0
    """Octets that are still held when all has been read."""

    @property
    def each(self) -> float:
        """Microseconds for each octet."""
        return self.seconds / self.octets * 1e6


async def application(scope, receive, send):
    if scope["path"] == "/long":
        await apps.answers(b"x" * 100_000)(scope, receive, send)
    else:
        await holds(scope, receive, send)


def pour(flood: Flood, *, traced: bool = False) -> Cost:
    """Feeds the flood to a new connection."""
    peer = H2Peer(application, Config(), polite=False)
    peer.send(PREFACE + frames.settings(flood.settings) + frames.settings(ack=True), flood.before)
    assert peer.goaway is None, "what comes before is honest"
    connection, settle = peer.connection, peer.loop.settle
    pieces = [flood.data[at : at + flood.piece] for at in range(0, len(flood.data), flood.piece)]
    fed = 0
    gc.collect()
    if traced:
        tracemalloc.start()
    begin = time.process_time()
    for piece in pieces:
        connection.feed(piece)
        settle()
        fed += len(piece)
        if connection.phase == CLOSED:
            break
    cost = Cost(peer, fed, time.process_time() - begin)
    cost.code = code(bytes(peer.wire.sent))
    peer.wire.sent.clear()  # what has been read is the client's
    if traced:
        gc.collect()
        cost.held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    return cost


def code(data: bytes) -> int | None:
    """The code of the GOAWAY among the frames, if there is one."""
    at = 0
    while at < len(data):
        if data[at + 3] == frames.GOAWAY:
            return int.from_bytes(data[at + 13 : at + 17], "big")
        at += 9 + int.from_bytes(data[at : at + 3], "big")
    return None


def streams(count: int, fields: object = GET, *, end: bool = True, first: int = 1) -> bytes:
    encoder = Encoder()
    ids = range(first, first + 2 * count, 2)
    return b"".join(frames.headers(id, fields, end=end, encoder=encoder) for id in ids)


def resets(count: int, cause: object, fields: object = GET, *, end: bool = True) -> bytes:
    """Streams of which each is given up by what `cause` makes for it."""
    encoder = Encoder()
    ids = range(1, 1 + 2 * count, 2)
    return b"".join(frames.headers(id, fields, end=end, encoder=encoder) + cause(id) for id in ids)


def split(block: bytes, id: int = 1) -> bytes:
    """A header block of any size."""
    parts = [block[at : at + 16_384] for at in range(0, len(block), 16_384)] or [b""]
    data = frames.headers(id, parts[0], whole=len(parts) == 1)
    for at, part in enumerate(parts[1:], 2):
        data += frames.continuation(id, part, whole=at == len(parts))
    return data


def literal(name: bytes, value: bytes, first: int = 0x40) -> bytes:
    """A field in full, which enters the table unless `first` says otherwise."""
    return bytes((first, len(name))) + name + _length(value) + value


def _length(value: bytes) -> bytes:
    size = len(value)
    if size < 0x7F:
        return bytes((size,))
    octets = bytearray((0x7F,))
    size -= 0x7F
    while size >= 0x80:
        octets.append(0x80 | size & 0x7F)
        size >>= 7
    return bytes((*octets, size))


UPLOAD = frames.headers(1, POST, end=False)
DEAD = UPLOAD + frames.window_update(1, 0)
"""A stream that we have reset."""
SIZED = [*POST, (b"content-length", b"1")]
HEAD = frames.block(GET)
UNKNOWN = b"".join(
    frames.settings((0x1000 + at + each, 7) for each in range(2730))
    for at in range(0, 60_000, 2730)
)
WINDOWS = [(frames.INITIAL_WINDOW_SIZE, (each + 1) % 2) for each in range(32)]
DRIBBLE = frames.window_update(1, 1)
LONG = frames.headers(1, [*GET[:3], (b":path", b"/long")])
CLOSED_WINDOW = {frames.INITIAL_WINDOW_SIZE: 0}
WAITING = streams(MOST, [*GET[:3], (b":path", b"/x")])
"""As many responses as may be, of which none can be sent."""
BOMB = literal(b"x-a", b"1" * 4000)

FLOODS: dict[str, Flood] = {
    "H2-01-rapid-reset": Flood(resets(10_000, frames.rst)),
    "H2-01-apart": Flood(resets(10_000, frames.rst), piece=45),
    "H2-02-window-overflow": Flood(resets(5000, lambda id: frames.window_update(id, 2**31 - 1))),
    "H2-02-window-of-nothing": Flood(resets(5000, lambda id: frames.window_update(id, 0))),
    "H2-02-headers-behind-end": Flood(resets(5000, frames.headers)),
    "H2-02-data-behind-end": Flood(resets(5000, frames.data)),
    "H2-02-priority-of-four": Flood(
        resets(5000, lambda id: frames.frame(frames.PRIORITY, b"1234", stream=id))
    ),
    "H2-02-self-dependency": Flood(resets(5000, lambda id: frames.priority(id, id))),
    "H2-02-too-long": Flood(resets(5000, lambda id: frames.data(id, b"xx"), SIZED, end=False)),
    "H2-03-continuation": Flood(
        frames.headers(1, b"", whole=False) + frames.continuation(1, whole=False) * 10_000
    ),
    "H2-03-large": Flood(
        frames.headers(1, b"", whole=False)
        + frames.continuation(1, bytes(16_384), whole=False) * 64
    ),
    "H2-04-ping": Flood(frames.ping() * 10_000),
    "H2-04-ping-answers": Flood(frames.ping(ack=True) * 10_000),
    "H2-05-settings": Flood(frames.settings() * 10_000),
    "H2-05-settings-acknowledged": Flood(frames.settings(ack=True) * 10_000),
    "H2-05-60000-unknown": Flood(UNKNOWN),
    "H2-05-unknown-in-small-frames": Flood(
        b"".join(
            frames.settings((each + at, 7) for each in range(32)) for at in range(99, 9999, 32)
        )
    ),
    "H2-05-windows-of-100-streams": Flood(
        frames.settings(WINDOWS) * 100,
        WAITING,
        settings=CLOSED_WINDOW,
    ),
    "H2-06-malformed": Flood(streams(5000, [*GET, (b"connection", b"close")])),
    "H2-06-no-fields": Flood(b"".join(frames.headers(id, b"") for id in range(1, 10_000, 2))),
    "H2-07-priority": Flood(b"".join(frames.priority(3, 5 + 2 * (n % 90)) for n in range(10_000))),
    "H2-07-shuffled-tree": Flood(
        b"".join(frames.priority(199, 1 + 2 * (n % 90), 7, True) for n in range(10_000)),
        frames.priority(1, 3) + WAITING,
        settings=CLOSED_WINDOW,
        most=TREE_TIME,
    ),
    "H2-07-chain": Flood(
        b"".join(frames.priority(3 + 2 * n, 1 + 2 * n) for n in range(98))
        + b"".join(frames.priority(1, 3 + 2 * (n % 97)) for n in range(10_000)),
        frames.priority(1, 3) + WAITING,
        settings=CLOSED_WINDOW,
        most=TREE_TIME,
    ),
    "H2-07-priority-update": Flood(
        b"".join(frames.priority_update(3, b"u=%d" % (n % 8)) for n in range(10_000))
    ),
    "H2-08-dribble": Flood(DRIBBLE * 10_000, LONG, code=None, settings=CLOSED_WINDOW),
    "H2-08-apart": Flood(DRIBBLE * 2000, LONG, settings=CLOSED_WINDOW, piece=len(DRIBBLE)),
    "H2-11-empty-data": Flood(frames.data(1) * 10_000, UPLOAD),
    "H2-11-empty-padded-data": Flood(frames.data(1, padding=0) * 10_000, UPLOAD),
    "H2-11-empty-data-nowhere": Flood(frames.data(1) * 10_000, DEAD),
    "H2-11-data-nowhere": Flood(frames.data(1, b"x") * 20_000, DEAD, code=None),
    "H2-11-empty-headers-nowhere": Flood(frames.headers(1, b"", end=False) * 10_000, DEAD),
    "H2-12-references": Flood(split(HEAD + BOMB + b"\xbe" * 61_000), code=None),
    "H2-14-size-updates": Flood(split(b"\x20" * 65_000), code=frames.COMPRESSION_ERROR),
    "H2-15-huffman": Flood(
        split(HEAD + b"\x00\x01a\xff\xc1\xf4\x03" + b"\x00" * 64_191 + b"\x01"), code=None
    ),
    "H2-15-literals": Flood(
        split(HEAD + b"".join(literal(b"%05d" % n, b"1") for n in range(6500))), code=None
    ),
    "H2-15-empty-literals": Flood(split(HEAD + b"\x40\x00\x00" * 21_000), code=None),
    "H2-16-oversize": Flood(
        frames.frame(frames.DATA, b"x" * 100_000, length=2**24 - 1), code=frames.FRAME_SIZE_ERROR
    ),
    "H2-17-window-updates": Flood(frames.window_update(0, 1) * 100_000, code=None),
    "H2-17-of-a-stream": Flood(frames.window_update(1, 1) * 100_000, UPLOAD, code=None),
    "H2-17-nowhere": Flood(frames.window_update(1, 1) * 10_000, DEAD),
    "H2-26-resets-nowhere": Flood(frames.rst(1) * 10_000, DEAD),
    "H2-30-unknown": Flood(frames.frame(0x77, b"", flags=0xFF, stream=7) * 10_000),
    "H2-30-unknown-large": Flood(frames.frame(0x77, b"x" * 16_384) * 600),
    "H2-32-goaway": Flood(frames.goaway() * 10_000, UPLOAD),
    "H2-34-padding": Flood(frames.data(1, b"x", padding=255) * 50_000, UPLOAD),
    "H2-34-single-octets": Flood(frames.data(1, b"x") * 10_000, UPLOAD, code=None),
}
