"""What goes to the peer on HTTP/2: content within its windows, in the order of its priorities.

Everything that one turn of the loop produces leaves in one write. What does not fit into a window,
or into the transport, waits in its stream's queue, and the scheduler says whose turn it is when
there is room again: the transport is never filled beyond its mark, or the order would be decided
before it is known.
"""

from __future__ import annotations

from collections import deque
from http import HTTPStatus

from tricorn.connection import Context, Endpoints, Stream
from tricorn.http2 import frames
from tricorn.http2.flow import LOW_WATER, Flow
from tricorn.http2.frames import DATA, END_STREAM, SMALLEST_FRAME_SIZE
from tricorn.http2.header_blocks import Encoder
from tricorn.http2.reading import CLOSED
from tricorn.http2.receiving import Receiving
from tricorn.http2.shared import Head, Shared
from tricorn.wire import Wire

WRITE = 64 * 1024
"""Octets that are worth a write of their own within a turn."""
TURN = SMALLEST_FRAME_SIZE
"""Octets that a stream sends before others have their turn."""
LARGE_FRAME = 64 * 1024
"""Octets of a frame, to a peer that takes such, while nobody else waits."""
MOST_UNREAD = 256 * 1024
"""Octets that a peer may leave unread before nothing more is read from it."""
DRIBBLE = 64
"""Octets below which a window is not worth the frame (CVE-2019-9511)."""
MOST_RESET = 100
"""Streams reset by us of which is known that frames may still come."""


class Sending(Receiving):
    """The sending half of an HTTP/2 connection."""

    __slots__ = (
        "encoder",
        "frame_size_out",
        "out",
        "paused",
        "planned",
        "stalls",
        "unflushed",
        "written",
    )

    def __init__(self, context: Context, wire: Wire, endpoints: Endpoints, shared: Shared) -> None:
        super().__init__(context, wire, endpoints, shared)
        self.encoder: Encoder[Head] = shared.encoder()
        self.frame_size_out = SMALLEST_FRAME_SIZE
        """The largest frame that the peer takes."""
        self.out: list[bytes | memoryview] = []
        """What this turn of the loop has produced."""
        self.unflushed = 0
        """Octets of it."""
        self.planned = False
        """A flush at the end of the turn is on its way."""
        self.paused = False
        """Nothing is read until the peer has read."""
        self.stalls = 0
        """Responses that were given up for want of a window, in excess of those that ended."""
        self.written = 0
        """Octets given to the transport, ever."""

    def emit(self, data: bytes) -> None:
        """Sends whole frames, with what else is sent in this turn."""
        self.out.append(data)
        self.unflushed += len(data)
        if not self.feeding and not self.planned:
            self._plan_flush()

    def _plan_flush(self) -> None:
        if not self.feeding and not self.planned:
            self.planned = True
            self.context.loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self.planned = False
        self.flush()

    def flush(self) -> None:
        if self.turns.waiting:
            self.pump()
        if self.owed * 2 >= self.shared.connection_window and self.phase != CLOSED:
            self._give_credit()
        self._write()

    def _write(self) -> None:
        out = self.out
        if out:
            self.written += self.unflushed
            if self.unflushed < WRITE:
                self.wire.write(b"".join(out))
            else:
                self.wire.writelines(out)
            self.out = []
            self.unflushed = 0
            if self.wire.full and not self.paused and self.wire.buffered() > MOST_UNREAD:
                # Who does not read its answers may not make us collect more of them.
                self.paused = True
                self.wire.pause_reading()

    # Content

    def send_content(self, id: int, flow: Flow, data: bytes) -> None:
        """Sends what there is room for, and queues the rest; a flow that ends may be gone then."""
        if not data:
            if flow.ending and not flow.queued:
                self._send_end(id, flow)
            return
        size = len(data)
        room = min(self.window_out, flow.window_out, WRITE)
        if size > room or self.turns.waiting or self._full():
            self._queue(id, flow, data)
            return
        self._spend(flow, size)
        flags = END_STREAM if flow.ending and flow.trailers is None else 0
        most = min(self.frame_size_out, LARGE_FRAME)
        pack = frames.head.pack
        part: bytes | memoryview = data
        if size > most:
            whole = memoryview(data)
            head = pack(most << 8 | DATA, 0, id)
            before = (size - 1) // most * most
            for at in range(0, before, most):
                self.out += (head, whole[at : at + most])
            self.unflushed += before + before // most * frames.HEAD_SIZE
            part = whole[before:]
        self.out += (pack(len(part) << 8 | DATA, flags, id), part)
        self.unflushed += frames.HEAD_SIZE + len(part)
        self._plan_flush()
        self._complete(id, flow)

    def _spend(self, flow: Flow, size: int) -> None:
        flow.window_out -= size
        self.window_out -= size
        self.carried += size

    def _queue(self, id: int, flow: Flow, data: bytes) -> None:
        """There is not room for all of it: at the end of the turn the scheduler decides."""
        if flow.queue is None:
            flow.queue = deque()
        if not flow.queued:
            flow.stalled = self.context.now
            self.turns.wait(id, flow.stream.request.priority, flow.preference)
            if flow.window_out > 0:
                self.turns.scheduler.ready(id)
        flow.queue.append(memoryview(data))
        flow.queued += len(data)
        self._plan_flush()

    def pump(self) -> None:
        turns = self.turns
        while turns.waiting and self.window_out > 0 and not self._full():
            id = turns.scheduler.next()
            if id is None:
                return
            self._send_turn(id, self.flows[id])

    def _full(self) -> bool:
        """Whether the transport has no room; what waits goes on with `relieve`."""
        if self.unflushed >= WRITE:
            self._write()
        return self.wire.full

    def _send_turn(self, id: int, flow: Flow) -> None:
        """One frame of what a stream has queued."""
        size = left = min(flow.queued, TURN, self.window_out, flow.window_out)
        if self.feeding and size < DRIBBLE and size < flow.queued:
            self.spend()
        parts: list[memoryview] = []
        queue = flow.queue
        assert queue is not None, "what has a turn has something queued"
        while left:
            part = queue.popleft()
            if len(part) > left:
                queue.appendleft(part[left:])
                part = part[:left]
            parts.append(part)
            left -= len(part)
        flow.queued -= size
        self._spend(flow, size)
        last = not flow.queued and flow.ending and flow.trailers is None
        self.out.append(frames.head.pack(size << 8 | DATA, END_STREAM if last else 0, id))
        self.out += parts
        self.unflushed += frames.HEAD_SIZE + size
        flow.stalled = self.context.now
        if not flow.queued:
            self.turns.forget(id)
            self._complete(id, flow)
        elif flow.window_out <= 0:
            self.turns.scheduler.blocked(id)
        if flow.queued <= LOW_WATER and flow.waiters is not None:
            flow.waiters.wake()

    def _complete(self, id: int, flow: Flow) -> None:
        """The queue is empty: if nothing follows, the response has ended."""
        if not flow.ending:
            return
        if flow.trailers is not None:
            self._send_end(id, flow)
        else:
            self.finish(id)

    def _send_end(self, id: int, flow: Flow) -> None:
        """Ends a response that has no content left; no window is needed for that."""
        if flow.trailers is None:
            self.emit(frames.frame(DATA, END_STREAM, id))
        else:
            # Only now: a block has to be encoded in the order in which it is sent.
            self.send_block(id, self.encoder.encode_fields(flow.trailers), end=True)
        self.finish(id)

    def send_block(self, id: int, block: bytes, *, end: bool) -> None:
        self.emit(frames.header_block(id, block, self.frame_size_out, end=end))

    def send_error(self, id: int, code: int, *, content: bool) -> None:
        """The whole response to what no application has answered."""
        status = HTTPStatus(code)
        text = f"{status.value} {status.phrase}\n".encode() if content else b""
        if len(text) > min(self.window_out, self.initial_window_out):
            text = b""
        fields = ((b"content-type", b"text/plain"), (b"content-length", b"%d" % len(text)))
        block = self.encoder.encode(code, fields) + self.shared.endings[0]
        self.send_block(id, block, end=not text)
        if text:
            self.window_out -= len(text)
            self.emit(frames.frame(DATA, END_STREAM, id, text))

    def widen(self, id: int, flow: Flow, octets: int) -> None:
        flow.window_out += octets
        if flow.queued:
            if flow.window_out > 0:
                self.turns.scheduler.ready(id)
            else:
                self.turns.scheduler.blocked(id)

    # Credit

    def credit(self, octets: int) -> None:
        self.owed += octets

    def _give_credit(self) -> None:
        """Half of the connection's window at a time, so that not every read costs a frame."""
        self.emit(frames.window_update(0, self.owed))
        self.window_in += self.owed
        self.owed = 0

    # The end of streams

    def finish(self, id: int) -> None:
        """The response has ended."""
        flow = self.flows.get(id)
        if flow is not None and not flow.ended:
            # RFC9113§8.1: the rest of the request is not wanted, and nothing is wrong.
            self.emit(frames.rst_stream(id, frames.Code.NO_ERROR))
            self.forget(id)
        stream = self.remove(id)
        if stream.request.protocol is not None:
            self.outlived(stream)
        if self.stalls:
            self.stalls -= 1
        if self.resets < self.shared.most_resets:
            self.resets += 1

    def remove(self, id: int) -> Stream:
        """The stream is closed."""
        stream = self.streams.pop(id)
        flow = self.flows.pop(id, None) if self.flows else None
        if flow is not None and flow.waiters is not None:
            flow.waiters.wake()
        if self.turns.stated or self.turns.waiting:
            self.turns.close(id)
        if self.heads:
            self.heads.pop(id, None)
        if not self.streams:
            self.rest()
        return stream

    def forget(self, id: int) -> None:
        if len(self.reset) >= MOST_RESET:
            oldest = next(iter(self.reset))
            del self.reset[oldest]
            self.last_unsure = max(self.last_unsure, oldest)
        self.reset[id] = None
