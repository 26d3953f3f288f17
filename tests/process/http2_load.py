"""Numbered requests over connections of HTTP/2 with many streams each, as fast as they go.

Every request ends in one of these ways, and each is counted: it is answered; the server says that
it has not been looked at, so that the client may ask again (RFC9113§8.7); or it is lost.
h2load cannot tell the last two apart.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
import time

from hpack import Decoder

from tests.process.load import TIMEOUT, Driven
from tests.support import frames

LARGE = 2**31 - 1
HEAD = struct.Struct(">IBI")
GREETING = (
    frames.PREFACE
    # Without a table the same octets mean the same response head every time.
    + frames.settings({frames.HEADER_TABLE_SIZE: 0, frames.INITIAL_WINDOW_SIZE: LARGE})
    + frames.window_update(0, LARGE - 65_535)
)
METHOD = b"\x82"  # RFC7541§A, indexed: GET
SCHEMES = {False: b"\x86", True: b"\x87"}
AUTHORITY = b"\x01\x09localhost"
PATH = b"\x04"


class Http2Load(Driven):
    """Asks from entering the `with` to leaving it, or `total` times; then the counts tell."""

    def __init__(
        self,
        port: int,
        *,
        connections: int = 6,
        streams: int = 20,
        total: int | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(connections)
        self.retriable = 0
        """Requests of which the server has said that they were not looked at."""
        self.lost: list[str] = []
        self.turned_away = 0
        """Connections that the server has never said a word on, or that nobody has taken."""
        self.goaways = 0
        self.left = total if total is not None else LARGE
        """Requests that are to be sent; those that are retriable, again."""
        self.seconds = 0.0
        self._port = port
        self._connections = connections
        self._streams = streams
        self._context = context
        if context is not None:
            context.set_alpn_protocols(["h2"])
        self._heads: dict[bytes, bool] = {}

    def _complaints(self) -> list[str]:
        return self.lost[:5]

    def wait(self, timeout: float) -> None:
        """Until there is nothing left to ask, or nobody to be asked."""
        self._thread.join(timeout)
        assert not self._thread.is_alive(), f"{self.left} requests are left"

    @property
    def more(self) -> bool:
        return not self._ending and self.left > 0

    def head_is_good(self, block: bytes) -> bool:
        """Whether it says 200; each block is decoded once."""
        if (good := self._heads.get(block)) is None:
            decoder = Decoder()
            decoder.max_allowed_table_size = 0
            decoder.header_table_size = 0
            good = (":status", "200") in decoder.decode(block)
            self._heads[block] = good
        return good

    async def _all(self) -> None:
        start = time.monotonic()
        await asyncio.gather(*(self._client(each) for each in range(self._connections)))
        self.seconds = time.monotonic() - start

    async def _client(self, name: int) -> None:
        number = 0
        loop = asyncio.get_running_loop()
        while self.more:
            number += 1
            connection = Connection(self, f"/number/{name}/{number}/", eager=bool(name % 2))
            try:
                await loop.create_connection(
                    lambda: connection,  # noqa: B023
                    *("127.0.0.1", self._port),
                    ssl=self._context,
                    server_hostname="localhost" if self._context else None,
                )
            except OSError:
                self.turned_away += 1
                return
            while not connection.ended.done():
                await asyncio.wait([connection.ended], timeout=TIMEOUT)
                if loop.time() - connection.heard >= TIMEOUT:
                    connection.give_up("nothing came any more")
            if not connection.greeted:
                self.turned_away += 1
                return


class Connection(asyncio.Protocol):
    """One connection. An `eager` one asks on until GOAWAY says which stream was the last."""

    def __init__(self, load: Http2Load, prefix: str, *, eager: bool) -> None:
        self.load = load
        self.prefix = prefix.encode()
        self.eager = eager
        self.greeted = False
        self.loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self.loop.create_future()
        self.heard = self.loop.time()
        self._open: dict[int, bytearray | None] = {}
        self._buffer = b""
        self._next = 1
        self._last = LARGE
        self._leaving = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        secure = transport.get_extra_info("ssl_object") is not None
        self._before = METHOD + SCHEMES[secure] + AUTHORITY + PATH
        transport.write(GREETING + self._ask())

    def data_received(self, data: bytes) -> None:
        self.heard = self.loop.time()
        data = self._buffer + data if self._buffer else data
        at, end = 0, len(data)
        reply = b""
        while end - at >= 9:
            word, flags, id = HEAD.unpack_from(data, at)
            stop = at + 9 + (word >> 8)
            if stop > end:
                break
            reply += self._take(word & 0xFF, flags, id, data[at + 9 : stop])
            at = stop
        self._buffer = data[at:]
        if reply := reply + self._ask():
            self._transport.write(reply)
        if not self._open and (self._leaving or not self.load.more):
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.give_up(f"the connection ended: {error!r}")

    def give_up(self, reason: str) -> None:
        load = self.load
        for id in self._open:
            if id > self._last:
                load.retriable += 1
            elif self.greeted:
                load.lost.append(f"{self.prefix.decode()}{id}: {reason}")
            load.left += 1
        self._open.clear()
        self._transport.abort()
        if not self.ended.done():
            self.ended.set_result(None)

    def _ask(self) -> bytes:
        load, opened = self.load, self._open
        if self._leaving:
            return b""
        sent = []
        while len(opened) < load._streams and load.more:
            load.left -= 1
            id, self._next = self._next, self._next + 2
            opened[id] = None
            path = b"%b%d" % (self.prefix, id)
            block = b"%b%c%b" % (self._before, len(path), path)
            sent.append(HEAD.pack(len(block) << 8 | frames.HEADERS, 5, id) + block)
        return b"".join(sent)

    def _take(self, kind: int, flags: int, id: int, payload: bytes) -> bytes:
        opened, load = self._open, self.load
        if kind == frames.DATA:
            if (body := opened.get(id)) is not None:
                body += payload
                if flags & frames.END_STREAM:
                    self._end(id, bytes(body))
        elif kind == frames.HEADERS:
            if not load.head_is_good(payload):
                load.lost.append(f"{self.prefix.decode()}{id}: {payload!r}")
                del opened[id]
            elif id in opened:
                opened[id] = bytearray()
        elif kind == frames.RST_STREAM and id in opened:
            del opened[id]
            load.left += 1
            if (code := int.from_bytes(payload)) == frames.REFUSED_STREAM:
                load.retriable += 1
            else:
                load.lost.append(f"{self.prefix.decode()}{id}: reset with {code}")
        elif kind == frames.GOAWAY:
            self._take_goaway(*struct.unpack(">II", payload[:8]))
        elif kind == frames.SETTINGS and not flags & frames.ACK:
            self.greeted = True
            return frames.settings(ack=True)
        elif kind == frames.PING and not flags & frames.ACK:
            return frames.ping(payload, ack=True)
        return b""

    def _take_goaway(self, last: int, code: int) -> None:
        load = self.load
        load.goaways += 1
        if code:
            load.lost.append(f"{self.prefix.decode()}: GOAWAY with {code}")
        self._last = last
        self._leaving = not self.eager or last != LARGE
        for id in [each for each in self._open if each > last]:
            del self._open[id]
            load.retriable += 1
            load.left += 1

    def _end(self, id: int, body: bytes) -> None:
        del self._open[id]
        load = self.load
        if body != b"%b%d" % (self.prefix, id):
            load.lost.append(f"{self.prefix.decode()}{id} was answered with {body!r}")
        load.note()
