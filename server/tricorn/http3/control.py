"""RFC9114§6.2: the streams of one direction, for control, for QPACK, and those that nobody knows.

The peer's control stream carries its SETTINGS, and after them what concerns the connection; both
of QPACK's have next to nothing to say where no table is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from tricorn.connection import Context, Endpoints
from tricorn.http3 import frames
from tricorn.http3.frames import Code, ConnectionFault
from tricorn.http3.transport import Transport
from tricorn.multiplexed import Multiplexed
from tricorn.priorities import Priority, parse_priority

LARGEST_CONTROL = 1024
"""Octets of a frame on a control stream: SETTINGS with 60 entries, a long priority."""
MOST_STATED = 200
"""Requests, open or to come, of which a PRIORITY_UPDATE is kept."""
OF_REQUESTS = (frames.DATA, frames.HEADERS, frames.PUSH_PROMISE)


class Unidirectional:
    """A stream on which only the peer sends."""

    __slots__ = ("kind", "partial", "skip")

    def __init__(self) -> None:
        self.kind: int | None = None
        self.partial = b""
        self.skip = 0
        """Octets of a frame that nobody wants."""


class Control(Multiplexed):
    """An HTTP/3 connection as far as it is not about one request."""

    __slots__ = (
        "critical",
        "empty",
        "greeted",
        "last_id",
        "stated",
        "transport",
        "unidirectional",
    )

    def __init__(self, context: Context, endpoints: Endpoints, transport: Transport) -> None:
        super().__init__(context, endpoints)
        self.transport = transport
        self.greeted = False
        """The peer's SETTINGS have come."""
        self.unidirectional: dict[int, Unidirectional] = {}
        self.critical: dict[int, int] = {}
        """The streams that must not end, by their types."""
        self.stated: dict[int, Priority] = {}
        """What PRIORITY_UPDATE has said (RFC9218§7.2)."""
        self.last_id = -4
        """The newest request."""
        self.empty = 0
        """Frames in a row that carried nothing."""

    def take_unidirectional(self, id: int, data: bytes, *, ended: bool) -> None:
        self.transport.credit(id, len(data))
        stream = self.unidirectional.get(id)
        if stream is None:
            stream = self.unidirectional[id] = Unidirectional()
        data = stream.partial + data
        stream.partial = b""
        if stream.kind is None:
            found = frames.read_integer(data, 0)
            if found is None:
                stream.partial = data
            else:
                stream.kind, at = found
                self._begin_unidirectional(id, stream.kind)
                data = data[at:]
        if stream.kind == frames.CONTROL_STREAM:
            self._read_control(stream, data)
        elif stream.kind == frames.ENCODER_STREAM and data.strip(b"\x20"):
            # RFC9204§4.3.1: the only instruction that a table of no size allows is "no size".
            raise ConnectionFault(Code.ENCODER_STREAM_ERROR, "an insertion without a table")
        elif stream.kind == frames.DECODER_STREAM and any(byte & 0xC0 != 0x40 for byte in data):
            # RFC9204§4.4: we refer to no entry that could be acknowledged; a cancellation is fine.
            raise ConnectionFault(Code.DECODER_STREAM_ERROR, "an answer to nothing")
        if ended:
            if stream.kind in self.critical:
                raise ConnectionFault(Code.CLOSED_CRITICAL_STREAM, "a stream that must stay open")
            del self.unidirectional[id]

    def _begin_unidirectional(self, id: int, kind: int) -> None:
        if kind == frames.PUSH_STREAM:
            raise ConnectionFault(Code.STREAM_CREATION_ERROR, "a push from a client")
        if kind in (frames.CONTROL_STREAM, frames.ENCODER_STREAM, frames.DECODER_STREAM):
            if kind in self.critical:
                raise ConnectionFault(Code.STREAM_CREATION_ERROR, "a second stream of its type")
            self.critical[kind] = id
        else:
            self.transport.stop(id, Code.STREAM_CREATION_ERROR)  # RFC9114§6.2.3

    def _read_control(self, stream: Unidirectional, data: bytes) -> None:
        at, size = 0, len(data)
        while at < size:
            if stream.skip:
                skipped = min(stream.skip, size - at)
                stream.skip -= skipped
                at += skipped
                continue
            kind = frames.read_integer(data, at)
            length = frames.read_integer(data, kind[1]) if kind else None
            if kind is None or length is None:
                break
            known = self.takers.get(kind[0])
            if not self.greeted and kind[0] != frames.SETTINGS:
                raise ConnectionFault(Code.MISSING_SETTINGS, "SETTINGS come first")
            if known is None:
                if kind[0] in frames.OF_HTTP2 or kind[0] in OF_REQUESTS:
                    raise ConnectionFault(Code.FRAME_UNEXPECTED, "not a frame for this stream")
                self.empty += 1
                stream.skip, at = length[0], length[1]
                continue
            if length[0] > LARGEST_CONTROL:
                raise ConnectionFault(Code.EXCESSIVE_LOAD, "a frame that is too large")
            end = length[1] + length[0]
            if end > size:
                break
            self.empty += 1
            known(self, data[length[1] : end])
            at = end
        stream.partial = data[at:]

    # RFC9114§7.2 Frames of the control stream

    def _take_settings(self, payload: bytes) -> None:
        if self.greeted:
            raise ConnectionFault(Code.FRAME_UNEXPECTED, "SETTINGS come once")
        frames.read_settings(payload)
        self.greeted = True

    def _take_number(self, payload: bytes) -> None:
        """GOAWAY, MAX_PUSH_ID and CANCEL_PUSH: about pushes, of which there are none."""
        frames.read_one(payload)

    def _take_priority_update(self, payload: bytes) -> None:
        found = frames.read_integer(payload, 0)
        if found is None:
            raise ConnectionFault(Code.FRAME_ERROR, "PRIORITY_UPDATE that is cut off")
        id, at = found
        if id & 3:
            raise ConnectionFault(Code.ID_ERROR, "PRIORITY_UPDATE of what is no request")
        priority = parse_priority(payload[at:])
        if id in self.transport.turns.priorities:  # longer than its application has to do with it
            self.transport.prioritize(id, priority)
        elif id > self.last_id or self.transport.expects(id):
            if len(self.stated) >= MOST_STATED:
                del self.stated[next(iter(self.stated))]
            self.stated[id] = priority

    def _take_push_priority(self, payload: bytes) -> None:
        raise ConnectionFault(Code.ID_ERROR, "PRIORITY_UPDATE of a push that was never promised")

    takers: ClassVar[dict[int, Callable[[Control, bytes], None]]] = {
        frames.SETTINGS: _take_settings,
        frames.GOAWAY: _take_number,
        frames.MAX_PUSH_ID: _take_number,
        frames.CANCEL_PUSH: _take_number,
        frames.PRIORITY_UPDATE: _take_priority_update,
        frames.PRIORITY_UPDATE_PUSH: _take_push_priority,
    }
