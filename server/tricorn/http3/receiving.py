"""What comes from the peer on HTTP/3: streams → frames → requests (RFC9114§4, §6.1).

Nothing is kept of a frame before its length is known to be bearable. What is wrong with a message
costs its stream, what is wrong with the framing the connection. As on HTTP/2, applications start
when all that arrived together has been read.
"""

from __future__ import annotations

from abc import abstractmethod

from tricorn.connection import Context, Endpoints, Field, Refused, Stream
from tricorn.http3 import frames
from tricorn.http3.control import Control
from tricorn.http3.flow import Flow, Part
from tricorn.http3.frames import Code, ConnectionFault, StreamFault
from tricorn.http3.shared import LARGEST_BLOCK, REMEMBERED, Shared
from tricorn.http3.transport import Transport
from tricorn.priorities import Priority
from tricorn.sections import Malformed, request_of, trailers_of

FREE = 1024 * 1024
"""Octets of frames that carry nothing which nobody minds; beyond them, seven in eight (nginx)."""
MOST_HEADS = 256 * 1024
"""Octets of the large heads of all open requests together (CVE-2026-49975)."""
MOST_FRAMES = 10_000
"""Frames that carry nothing, beyond those that carry something."""


SAFE = ("GET", "HEAD", "OPTIONS")
"""Methods of requests that may come twice (RFC9110§9.2.1)."""


class Receiving(Control):
    """The receiving half of an HTTP/3 connection."""

    __slots__ = (
        "broken",
        "carried",
        "flows",
        "last_served",
        "orphans",
        "resets",
        "shared",
        "starting",
        "total",
    )

    def __init__(
        self,
        context: Context,
        endpoints: Endpoints,
        shared: Shared,
        transport: Transport,
    ) -> None:
        super().__init__(context, endpoints, transport)
        self.shared = shared
        self.broken = False
        """The connection is closed, or about to be: nothing more is read."""
        self.flows: dict[int, Flow] = {}
        self.starting: list[Stream] = []
        self.orphans: set[Stream] = set()
        """Streams that are gone although their applications go on."""
        self.last_served = frames.LAST_REQUEST
        """Requests from this one on are not served any more (RFC9114§5.2)."""
        self.resets = shared.most_resets
        self.total = self.carried = 0
        """Octets that have arrived; those that were content or heads."""

    def feed_stream(self, id: int, data: bytes, *, ended: bool) -> None:
        """Octets of a stream, in order. A ConnectionFault is answered by closing."""
        if self.broken:
            return
        self.total += len(data)
        try:
            if id & 2:
                self.take_unidirectional(id, data, ended=ended)
            else:
                self._take_request_octets(id, data, ended=ended)
            if self.total > 8 * (self.carried + FREE) or self.empty > MOST_FRAMES:
                raise ConnectionFault(Code.EXCESSIVE_LOAD, "frames that carry nothing")
        except ConnectionFault as fault:
            self.fail(fault)

    def start_streams(self) -> None:
        """All that arrived together has been read."""
        starting, self.starting = self.starting, []
        for stream in starting:
            if self.streams.get(stream.id) is not stream:
                continue
            request = stream.request
            if self.transport.established or (request.method in SAFE and request.length == 0):
                self.start(stream)
            else:
                self.starting.append(stream)  # RFC8470§3: it could be a replay

    # RFC9114§6.1 Requests

    def _take_request_octets(self, id: int, data: bytes, *, ended: bool) -> None:
        flow = self.flows.get(id)
        if flow is None:
            if not self.transport.first_heard(id):
                self.transport.credit(id, len(data))
                return  # of a stream that is gone
            flow = self._take_new(id)
            if flow is None:
                return
        try:
            self._read_frames(id, flow, data, ended=ended)
            if ended and id in self.flows:
                self._end(flow)
        except StreamFault as fault:
            self.break_stream(id, fault)
        except Refused as refusal:
            self.refuse(id, refusal)

    def _take_new(self, id: int) -> Flow | None:
        # RFC9000§2.1: streams may begin out of order.
        self.last_id = max(self.last_id, id)
        if (
            id >= self.last_served
            or len(self.flows) + len(self.orphans) >= self.shared.most_streams
        ):
            self.transport.give_up(id, Code.REQUEST_REJECTED)
            return None
        flow = self.flows[id] = Flow(self.context.now)
        self.deadline = self.context.now
        return flow

    def _read_frames(self, id: int, flow: Flow, data: bytes, *, ended: bool) -> None:
        if flow.partial:
            data = flow.partial + data
            flow.partial = b""
        at, size = 0, len(data)
        while at < size:
            if flow.left:
                part = data[at : at + flow.left]
                flow.left -= len(part)
                at += len(part)
                if flow.skipping:
                    self.transport.credit(id, len(part))
                else:
                    self._take_content(id, flow, part)
                continue
            kind = frames.read_integer(data, at)
            length = frames.read_integer(data, kind[1]) if kind else None
            if kind is None or length is None:
                break
            begin = length[1]
            if kind[0] == frames.DATA:
                if flow.part != Part.CONTENT:
                    raise ConnectionFault(Code.FRAME_UNEXPECTED, "DATA without HEADERS before it")
                flow.left, flow.skipping = length[0], False
                self.empty = 0 if length[0] else self.empty + 1
            elif kind[0] == frames.HEADERS:
                end = begin + length[0]
                if length[0] > LARGEST_BLOCK:
                    raise Refused(431, "a field section that is too large")
                if end > size:
                    break
                self._take_section(id, flow, data[begin:end], last=ended and end == size)
                self.transport.credit(id, end - at)
                at = end
                continue
            else:
                self._check_unknown(kind[0])
                flow.left, flow.skipping = length[0], True
            self.transport.credit(id, begin - at)
            at = begin
        flow.partial = data[at:]

    def _check_unknown(self, kind: int) -> None:
        if kind in frames.OF_HTTP2 or kind == frames.PUSH_PROMISE or kind in self.takers:
            raise ConnectionFault(Code.FRAME_UNEXPECTED, f"a frame of type {kind} in a request")
        self.empty += 1

    def _take_section(self, id: int, flow: Flow, block: bytes, *, last: bool) -> None:
        self.carried += len(block)
        self.empty = 0
        if flow.part == Part.HEAD:
            flow.part = Part.CONTENT
            self._take_head(id, flow, block, last=last)
        elif flow.part == Part.CONTENT:
            flow.part = Part.END
            try:
                self._finish_request(flow, trailers_of(self.shared.decode(id, block)))
            except (Malformed, Refused) as error:
                raise StreamFault(Code.MESSAGE_ERROR, str(error)) from None
        else:
            raise ConnectionFault(Code.FRAME_UNEXPECTED, "HEADERS behind the trailers")

    def _take_head(self, id: int, flow: Flow, block: bytes, *, last: bool) -> None:
        requests = self.shared.requests
        key = block, last
        request = requests.young.get(key) or requests.recall(key)
        if len(block) > REMEMBERED:
            flow.head = len(block)
            if sum(each.head for each in self.flows.values()) > MOST_HEADS:
                raise StreamFault(Code.REQUEST_REJECTED, "too much in the heads of requests")
        if request is None:
            entries = self.shared.decode(id, block)
            try:
                request = request_of(
                    entries, "3", self.shared.limits, self.context.streams, ended=last
                )
            except Malformed as error:
                raise StreamFault(Code.MESSAGE_ERROR, str(error)) from None
            if len(block) <= REMEMBERED and request.protocol is None:
                request.remembered = True
                requests.keep(key, request)
        flow.declared = request.length
        flow.invited = not request.expects
        stream = flow.stream = self.open(id, request)
        if id in self.stated:  # RFC9218§7: what came in a frame is newer than the field
            self.transport.prioritize(id, self.stated.pop(id))
        else:
            self.transport.prioritize(id, request.priority or Priority())
        self.starting.append(stream)

    def _take_content(self, id: int, flow: Flow, part: bytes) -> None:
        stream = flow.stream
        self.carried += len(part)
        flow.heard = self.context.now
        flow.invited = True
        flow.received += len(part)
        if stream is None or stream.id not in self.streams:
            self.transport.credit(id, len(part))
            return
        if flow.declared is not None and flow.received > flow.declared:
            raise StreamFault(Code.MESSAGE_ERROR, "more content than Content-Length says")
        if 0 < self.shared.limits.body < flow.received and not stream.request.protocol:
            raise Refused(413, "the body is too large")
        stream.feed_data(part)

    def _end(self, flow: Flow) -> None:
        """The peer has ended the stream."""
        if flow.partial or (flow.left and not flow.skipping):
            raise ConnectionFault(Code.FRAME_ERROR, "a stream that ends within a frame")
        if flow.part == Part.HEAD:
            raise StreamFault(Code.REQUEST_INCOMPLETE, "a request without a head")
        if not flow.ended:
            self._finish_request(flow, [])

    def _finish_request(self, flow: Flow, trailers: list[Field]) -> None:
        stream = flow.stream
        assert stream is not None, "its head has come"
        if flow.declared is not None and flow.received != flow.declared:
            raise StreamFault(Code.MESSAGE_ERROR, "less content than Content-Length says")
        if stream.request.protocol is not None and not flow.framed:
            raise StreamFault(Code.REQUEST_CANCELLED, "a tunnel that ends before it was opened")
        flow.ended = True
        stream.feed_end(trailers)

    # What the other half does

    @abstractmethod
    def break_stream(self, id: int, fault: StreamFault) -> None: ...

    @abstractmethod
    def refuse(self, id: int, refusal: Refused) -> None: ...

    @abstractmethod
    def fail(self, fault: ConnectionFault) -> None: ...
