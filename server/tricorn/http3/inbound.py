"""What a stream has received, and which streams are open: aioquic's, without its two holes.

aioquic fills the gap before an octet that has come too early with zeros, so that seven octets
make it keep a whole window; and one frame makes it create every stream with a lower number.
Here pieces are kept as they came, and streams are made when they are spoken of.
"""

from __future__ import annotations

from bisect import bisect_right

from aioquic._buffer import Buffer
from aioquic.quic.connection import QuicConnection, QuicConnectionError, QuicReceiveContext
from aioquic.quic.events import StreamDataReceived
from aioquic.quic.packet import QuicErrorCode, QuicStreamFrame
from aioquic.quic.stream import FinalSizeError, QuicStream, QuicStreamReceiver

PIECE = 1024
"""Octets of a stream's window for each piece that may wait: packets are larger."""


class ScatteredError(Exception):
    """More pieces of a stream have come, with gaps between them, than are kept."""


class Receiver(QuicStreamReceiver):
    """What has come of a stream; only what has come is kept."""

    def __init__(self, stream_id: int, most: int) -> None:
        super().__init__(stream_id, readable=True)
        self._id = stream_id
        self._most = most
        self._starts: list[int] = []
        """Where the pieces begin that came before what they follow; in order."""
        self._pieces: list[bytearray] = []
        self.heard = False
        """Somebody knows of it."""

    def handle_frame(self, frame: QuicStreamFrame) -> StreamDataReceived | None:
        offset, data = frame.offset, frame.data
        end = offset + len(data)
        self._check_size(end, frame.fin)
        if self.is_finished:
            return None  # a duplicate, or it was reset
        if offset > self._buffer_start:
            self._keep(offset, data)
            return None
        data = data[self._buffer_start - offset :]
        if self._starts:
            data = self._join(data)
        self._buffer_start += len(data)
        ended = self._buffer_start == self._final_size
        if ended:
            self.is_finished = True
        elif not data:
            return None
        return StreamDataReceived(data=data, end_stream=ended, stream_id=self._id)

    def _check_size(self, end: int, fin: bool) -> None:
        """RFC9000§4.5: the final size stays what it is, and nothing lies behind it."""
        final = self._final_size
        if final is not None and (end > final or (fin and end != final)):
            raise FinalSizeError("the final size has changed")
        if end > self.highest_offset:
            self.highest_offset = end
        elif fin and end < self.highest_offset:
            raise FinalSizeError("octets have come that lie behind the final size")
        if fin:
            self._final_size = end

    def _keep(self, offset: int, data: bytes) -> None:
        """Puts aside what has come too early, but for what is there already."""
        starts, pieces = self._starts, self._pieces
        at = bisect_right(starts, offset)
        if at:
            before = starts[at - 1] + len(pieces[at - 1])
            if offset <= before:
                data = data[before - offset :]
                offset = before
        while data:
            following = starts[at] if at < len(starts) else offset + len(data)
            part = data[: following - offset]
            if part:
                if at and starts[at - 1] + len(pieces[at - 1]) == offset:
                    pieces[at - 1] += part
                else:
                    if len(starts) >= self._most:
                        raise ScatteredError
                    starts.insert(at, offset)
                    pieces.insert(at, bytearray(part))
                    at += 1
            if at == len(starts):
                return
            known = starts[at] + len(pieces[at])
            data = data[known - offset :]
            offset = known
            at += 1

    def _join(self, data: bytes) -> bytes:
        """The octets with all those that were waiting for them."""
        starts, pieces = self._starts, self._pieces
        end = self._buffer_start + len(data)
        parts: list[bytes | bytearray] = [data]
        taken = 0
        while taken < len(starts) and starts[taken] <= end:
            piece = pieces[taken]
            if (new := starts[taken] + len(piece) - end) > 0:
                parts.append(piece[-new:])
                end += new
            taken += 1
        if not taken:
            return data
        del starts[:taken], pieces[:taken]
        return b"".join(parts)


class Inbound(QuicConnection):
    """The receiving half of a transport."""

    unspoken: set[int]
    """Streams that are open because one with a higher number is, and do not exist yet."""

    def first_heard(self, id: int) -> bool:
        """Whether something of a stream has come for the first time; asked once for each."""
        stream = self._streams.get(id)
        if stream is None or not isinstance(stream.receiver, Receiver) or stream.receiver.heard:
            return False
        stream.receiver.heard = True
        return True

    def expects(self, id: int) -> bool:
        """Whether a stream is open of which nothing can have been said so far."""
        if (stream := self._streams.get(id)) is None:
            return id in self.unspoken
        return isinstance(stream.receiver, Receiver) and not stream.receiver.heard

    def _get_or_create_stream(self, frame_type: int, stream_id: int) -> QuicStream:
        stream = self._streams.get(stream_id)
        if stream is not None:
            return stream
        if stream_id & 1:  # one of ours, which has ended or never was
            return super()._get_or_create_stream(frame_type, stream_id)
        limit = self._stream_limit(stream_id)
        used, ordinal = limit.used, stream_id // 4
        if stream_id in self.unspoken:
            self.unspoken.remove(stream_id)
            limit.used = ordinal
        elif used < ordinal < limit.value:
            # RFC9000§2.1: it opens those with lower numbers as well.
            self.unspoken.update(range(used * 4 + (stream_id & 3), stream_id, 4))
            limit.used = ordinal
        try:
            stream = super()._get_or_create_stream(frame_type, stream_id)
        finally:
            limit.used = max(limit.used, used)
        stream.receiver = Receiver(stream_id, max(1, stream.max_stream_data_local // PIECE))
        return stream

    def _handle_stream_frame(
        self, context: QuicReceiveContext, frame_type: int, buf: Buffer
    ) -> None:
        try:
            super()._handle_stream_frame(context, frame_type, buf)
        except ScatteredError:
            raise QuicConnectionError(
                error_code=QuicErrorCode.INTERNAL_ERROR,
                frame_type=frame_type,
                reason_phrase="too many pieces of a stream with gaps between them",
            ) from None
