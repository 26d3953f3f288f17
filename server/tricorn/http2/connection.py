"""RFC 9113: many streams at once, in both directions.

`reading` takes octets apart, `receiving` finds what each frame belongs to, `sending` puts content
into windows and frames, `life` knows the settings, the deadlines and the end. Here is what the
streams ask for.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from tricorn.connection import (
    DRAIN_GRACE,
    FOREVER,
    ApplicationError,
    Field,
    Fields,
    Refused,
    Request,
)
from tricorn.fields import BODILESS, within_length
from tricorn.http2 import frames
from tricorn.http2.flow import HIGH_WATER
from tricorn.http2.frames import DATA, END_HEADERS, END_STREAM, HEADERS, SMALLEST_FRAME_SIZE, Code
from tricorn.http2.header_blocks import MOST_BLOCK
from tricorn.http2.life import DRAIN_PING, Living
from tricorn.http2.reading import OPEN
from tricorn.http2.representations import literal_block
from tricorn.http2.shared import Head
from tricorn.sections import (
    CONNECTION_SPECIFIC,
    Malformed,
    Section,
    classify,
    request_of,
    response_section,
    trailer_section,
)

log = logging.getLogger(__name__)


class Http2Connection(Living):
    """One HTTP/2 client connection."""

    __slots__ = ()

    # What the streams ask for

    def send_informational(self, id: int, status: int, headers: Fields) -> None:
        if (stream := self.streams.get(id)) is None:
            return
        flow = self.flow(id, stream)
        if flow.framed:
            return
        if status == 100:
            flow.invited = True
            flow.beginning = flow.heard = self.context.now
        fields = response_section(headers).fields
        self.send_block(id, self.encoder.encode(status, fields), end=False)

    def send_headers(self, id: int, status: int, headers: Fields, *, end: bool = False) -> None:
        if (stream := self.streams.get(id)) is None:
            return
        section = response_section(headers)
        flow = self.flow(id, stream)
        fields = section.fields
        flow.silent = stream.request.method == "HEAD" or status in BODILESS
        if flow.silent:
            if status in (204, 205):  # RFC9110§8.6, §15.3.6: none in a 204, zero in a 205
                fields = tuple(field for field in fields if field[0] != b"content-length")
        else:
            flow.remaining = section.length
        flow.framed = True
        flow.preference = section.priority
        block = self.encoder.encode(status, fields) + self.shared.endings[section.said]
        self.send_block(id, block, end=end)
        if end:
            flow.ending = True
            self.finish(id)

    def send_data(self, id: int, data: bytes, *, end: bool = False) -> None:
        flow = self.flows.get(id)
        if flow is None or flow.ending:
            return
        if flow.remaining is not None:
            data, flow.remaining = within_length(flow.remaining, data, end=end)
        elif flow.silent:
            data = b""
        flow.ending = end
        self.send_content(id, flow, data)

    def respond(self, id: int, status: int, headers: Fields, data: bytes) -> None:
        if (stream := self.streams.get(id)) is None:
            return
        key: tuple[int, tuple[Any, ...]] = (status, tuple(headers))
        try:
            known = self.encoder.known.get(key)
        except TypeError:  # lists instead of tuples
            key = (status, tuple((name, value) for name, value in headers))
            known = self.encoder.known.get(key)
        section = None
        if known is None:
            section = response_section(key[1])
            length = section.length
        else:
            length = known[1]
        size = len(data)
        flow = self.flows.get(id)
        window = self.initial_window_out if flow is None else flow.window_out
        if (
            (size > window or size > self.window_out or size > SMALLEST_FRAME_SIZE or not size)
            or (self.turns.waiting or self.wire.full)
            or (status in BODILESS or stream.request.method == "HEAD")
            or (length is not None and length != size)
        ):
            self._respond_in_parts(id, status, key[1], data)
            return
        # Only now: what is encoded has to be sent, or the peer's table is not ours any more.
        block, _, said = known or self._head(key, section or response_section(key[1]))
        if length is None:
            block += literal_block(((b"content-length", b"%d" % size),))
        block += self.shared.endings[said]
        self.window_out -= size
        self.carried += size
        if len(block) > self.frame_size_out:
            self.send_block(id, block, end=False)
            self.emit(frames.frame(DATA, END_STREAM, id, data))
        else:
            pack = frames.head.pack
            head = pack(len(block) << 8 | HEADERS, END_HEADERS, id)
            answer = b"".join((head, block, pack(size << 8 | DATA, END_STREAM, id), data))
            if self.feeding or self.out or len(self.streams) > 1:
                self.emit(answer)
            else:
                # Nothing can join it: there is no need to wait for the end of the turn.
                self.written += len(answer)
                self.wire.write(answer)
        self.finish(id)

    def _head(self, key: tuple[int, tuple[Field, ...]], section: Section) -> Head:
        """The block of a response's head, which is remembered if it can be sent again."""
        block = self.encoder.encode(key[0], section.fields)
        head = block, section.length, section.said
        if len(block) <= MOST_BLOCK:
            self.encoder.remember(key, head)
        return head

    def _respond_in_parts(
        self, id: int, status: int, headers: tuple[Field, ...], data: bytes
    ) -> None:
        length = response_section(headers).length
        silent = status in BODILESS or self.streams[id].request.method == "HEAD"
        if length is None and status not in BODILESS:
            headers = (*headers, (b"content-length", b"%d" % len(data)))  # RFC9110§8.6
        elif length is not None and length > len(data) and not silent:
            raise ApplicationError(f"Content-Length is {length}, the content has {len(data)}")
        self.send_headers(id, status, headers, end=silent or not data or length == 0)
        self.send_data(id, data, end=True)

    def send_trailers(self, id: int, headers: Fields) -> None:
        flow = self.flows.get(id)
        if flow is None or flow.ending:
            return
        trailers = trailer_section(headers)
        flow.trailers = trailers if trailers and not flow.silent else None
        flow.ending = True
        self.send_content(id, flow, b"")

    def send_reset(self, id: int, reason: str) -> None:
        if id in self.streams:
            log.debug("client=%s stream=%d given up: %s", self.endpoints.client, id, reason)
            self._reset(id, Code.INTERNAL_ERROR)

    def send_push(self, id: int, path: str, headers: Fields) -> None:
        stream = self.streams.get(id)
        if stream is None or not id & 1 or not self.pushes or self.leaving:
            return  # RFC9113§6.6: promised is only on streams of the peer's own
        if sum(not each & 1 for each in self.streams) >= self.most_pushes:
            return
        asked = stream.request
        fields = (
            (b":method", b"GET"),
            (b":scheme", self.endpoints.scheme.encode()),
            (b":authority", asked.authority),
            (b":path", path.encode("latin-1")),
            *response_section(headers).fields,
        )
        try:
            entries = [(field, classify(*field), 0) for field in fields]
            request = request_of(entries, "2", self.shared.limits, (), ended=True)
        except (Malformed, Refused) as error:
            raise ApplicationError(f"{path!r} cannot be pushed: {error}") from None
        self.last_promised = promised = self.last_promised + 2
        block = self.encoder.encode_fields(fields)
        self.emit(frames.push_promise(id, promised, block, self.frame_size_out))
        self.starting.append(self.open(promised, request))
        if not self.feeding:
            self.context.loop.call_soon(self._start_streams)

    def consumed(self, id: int, size: int) -> None:
        if (flow := self.flows.get(id)) is None:
            return
        if not flow.ended:
            flow.owed += size
            if flow.owed * 2 >= self.shared.stream_window:
                self.emit(frames.window_update(id, flow.owed))
                flow.window_in += flow.owed
                flow.owed = 0

    def room(self, id: int) -> bool:
        if id not in self.streams or self.wire.closing:
            return False  # `writable` says so
        flow = self.flows.get(id)
        return flow is None or flow.queued <= HIGH_WATER

    def relieve(self) -> None:
        if self.paused:
            self.paused = False
            self.wire.resume_reading()
        self.flush()

    def adopt(self, request: Request, settings: bytes) -> None:
        """RFC7540§3.2: the first stream is the request that asked for the upgrade."""
        dropped = (*CONNECTION_SPECIFIC, b"http2-settings")
        headers = tuple(each for each in request.headers if each[0] not in dropped)
        request = replace(request, version="2", headers=headers, protocol=None, remembered=False)
        self.last_id = 1
        self._apply(settings)
        self.start(self.open(1, request))

    def drain(self) -> None:
        for stream in list(self.streams.values()):
            stream.drain()
        self.announce()

    def announce(self) -> None:
        if self.phase != OPEN:
            if self.phase < OPEN and not self.streams:
                self._hang_up(Code.NO_ERROR)
        elif self.farewell == FOREVER and self.last_served == frames.LARGEST_ID:
            # RFC9113§6.8: requests may be on their way; they are still served.
            self.emit(frames.goaway(frames.LARGEST_ID, Code.NO_ERROR))
            self.emit(frames.frame(frames.PING, 0, 0, DRAIN_PING))
            self.farewell = self.context.now + DRAIN_GRACE
            self._watch()
