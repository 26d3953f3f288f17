"""What comes from the peer on HTTP/2, and which request it belongs to (RFC9113§5, §8.1).

Every header block is decoded, whatever becomes of its stream, because the compression table is the
connection's (RFC9113§4.3). Applications start when all that arrived together has been read: a
stream that is reset in the same breath never reaches one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from tricorn.connection import Context, Endpoints, Field, Refused, Request, Stream
from tricorn.http2 import frames
from tricorn.http2.flow import Flow
from tricorn.http2.frames import (
    END_STREAM,
    LARGEST_ID,
    LARGEST_WINDOW,
    PADDED,
    PRIORITY_SIZE,
    Code,
    ConnectionFault,
    StreamFault,
)
from tricorn.http2.header_blocks import CompressionError, Decoder
from tricorn.http2.reading import LARGEST_BLOCK, Reading
from tricorn.http2.recall import Recall
from tricorn.http2.shared import Shared
from tricorn.http2.turns import Turns
from tricorn.priorities import Dependency, parse_priority
from tricorn.sections import Entry, Malformed, request_of, trailers_of
from tricorn.wire import Wire

MOST_HEADS = 256 * 1024
"""Octets of the heads of all open requests together (CVE-2026-49975)."""
LARGE_HEAD = 2 * 1024
"""Octets up to which a head is bounded enough by the number of streams."""


class Receiving(Reading):
    """The receiving half of an HTTP/2 connection."""

    __slots__ = (
        "acknowledged",
        "decoder",
        "final_id",
        "flows",
        "heads",
        "initial_window_in",
        "initial_window_out",
        "known",
        "last_id",
        "last_promised",
        "last_served",
        "last_unsure",
        "orphans",
        "owed",
        "recall",
        "reset",
        "resets",
        "starting",
        "turns",
        "window_in",
        "window_out",
    )

    def __init__(self, context: Context, wire: Wire, endpoints: Endpoints, shared: Shared) -> None:
        super().__init__(context, wire, endpoints, shared)
        self.acknowledged = False
        """The peer knows our settings."""
        self.decoder: Decoder[Request] = shared.decoder()
        self.known = self.decoder.known
        self.recall = Recall(self.decoder, shared.limits)
        self.last_id = 0
        """The newest stream that the peer has opened."""
        self.last_promised = 0
        """The newest stream that we have opened."""
        most = context.config.keep_alive_max_requests
        self.final_id = 2 * most - 1 if most else LARGEST_ID
        """The stream with which the connection has served enough."""
        self.last_served = LARGEST_ID
        """Requests on later streams are not served any more (RFC9113§6.8)."""
        self.starting: list[Stream] = []
        """Streams whose applications have not been called yet."""
        self.flows: dict[int, Flow] = {}
        self.heads: dict[int, int] = {}
        """The octets of large request heads."""
        self.reset: dict[int, None] = {}
        """Streams that we have reset, of which frames may still arrive; the oldest first."""
        self.last_unsure = 0
        """Up to here a stream may be one of them that is not known any more."""
        self.orphans: set[Stream] = set()
        """Streams that are gone although their applications go on."""
        self.turns = Turns(context.config.priority)
        self.resets = shared.most_resets
        """How many streams may still be reset in excess of those that are answered."""
        self.initial_window_in = max(shared.stream_window, frames.DEFAULT_WINDOW)
        """Until the peer has acknowledged our settings it may go by the default."""
        self.window_in = shared.connection_window
        self.owed = 0
        """Octets of the connection's window that the peer has no credit for yet."""
        self.window_out = self.initial_window_out = frames.DEFAULT_WINDOW

    # RFC9113§6.1 DATA

    def _take_data(self, flags: int, id: int, payload: bytes) -> None:
        size = len(payload)
        self.carried += size
        self.window_in -= size
        if self.window_in < 0:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "more content than there is credit for")
        # At once, whoever takes it: what is kept is bounded by the windows of the streams, and a
        # stream that nobody reads must not use up the credit of the others.
        self.credit(size)
        flow = self.flows.get(id)
        if flow is None or flow.ended:
            self._take_stray_data(id, size)
            return
        flow.window_in -= size
        if flow.window_in < 0:
            raise StreamFault(Code.FLOW_CONTROL_ERROR, "more content than there is credit for")
        data = payload
        if flags & PADDED:
            data = frames.unpadded(flags, payload)
            self.carried -= size - len(data)
            self.consumed(id, size - len(data))
        flow.heard = self.context.now
        flow.invited = True
        flow.received += len(data)
        declared = flow.declared
        if declared is not None and flow.received > declared:
            raise StreamFault(Code.PROTOCOL_ERROR, "more content than Content-Length says")
        if 0 < self.shared.limits.body < flow.received and not flow.stream.request.protocol:
            self._refuse(id, Refused(413, "the body is too large"))
            return
        if data:
            flow.stream.feed_data(data)
        elif not flags & END_STREAM:
            self.budgets.empty.spend(flow.heard)
        if flags & END_STREAM:
            self._end(flow)

    def _end(self, flow: Flow, trailers: Sequence[Field] = ()) -> None:
        """END_STREAM: the request is complete."""
        if flow.declared is not None and flow.received != flow.declared:
            # RFC9113§8.1.1, wherever the end comes: some other reader may wait for the rest.
            raise StreamFault(Code.PROTOCOL_ERROR, "less content than Content-Length says")
        if flow.stream.request.protocol is not None and not flow.framed:
            raise StreamFault(Code.CANCEL, "a tunnel that ends before it was opened")
        flow.ended = True
        flow.stream.feed_end(trailers)

    def _take_stray_data(self, id: int, size: int) -> None:
        """Content of a stream that takes none."""
        if not id or self._idle(id):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "DATA before HEADERS")
        if id in self.streams:
            raise StreamFault(Code.STREAM_CLOSED, "DATA behind END_STREAM")
        self._take_late(id, size)

    def _idle(self, id: int) -> bool:
        """Whether the stream has never been opened (RFC9113§5.1)."""
        return id > (self.last_id if id & 1 else self.last_promised)

    def _take_late(self, id: int, size: int = 0) -> None:
        """A frame of a stream that has been closed; with content, much of it may be on its way."""
        if id not in self.reset and self.last_unsure < id <= self.last_served:
            # RFC9113§5.1: the peer has ended it, or reset it, and knows.
            raise ConnectionFault(Code.STREAM_CLOSED, "a frame of a stream that has ended")
        if not size:
            self.spend()

    # RFC9113§6.2 HEADERS, with §6.10 CONTINUATION

    def _take_block(self, id: int, block: bytes, *, ended: bool) -> None:
        self.carried += len(block)
        request = self.known.get(block) or self.recall.fill_in(block)
        if (
            request is not None
            and (request.length == 0) is ended
            and id & 1
            and self.last_id < id <= self.last_served
            and len(self.streams) + len(self.orphans) < self.shared.most_streams
        ):
            self.last_id = id
            self._begin(id, request, ended=ended)
            return
        if len(block) > LARGEST_BLOCK:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "a header block that is too large")
        entries: Sequence[Entry] = ()
        refusal: Refused | None = None
        try:
            entries = self.decoder.decode(block)
        except Refused as error:
            refusal = error
        except CompressionError as error:
            raise ConnectionFault(Code.COMPRESSION_ERROR, str(error)) from None
        if not id & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "not a stream that a client opens")
        if id <= self.last_id:
            self._take_trailers(id, entries, refusal, ended=ended)
        else:
            self.last_id = id
            self._take_request(id, block, entries, refusal, ended=ended)

    def _take_request(
        self,
        id: int,
        block: bytes,
        entries: Sequence[Entry],
        refusal: Refused | None,
        *,
        ended: bool,
    ) -> None:
        if id > self.last_served:
            return  # the peer knows, or is about to hear, that it has to ask elsewhere
        if self._crowded():
            raise StreamFault(Code.REFUSED_STREAM, "too many requests at once")
        try:
            if refusal is not None:
                raise refusal
            request = request_of(
                entries, "2", self.shared.limits, self.context.streams, ended=ended
            )
        except Malformed as error:
            raise StreamFault(Code.PROTOCOL_ERROR, str(error)) from None
        except Refused as error:
            head = (b":method", b"HEAD")
            content = refusal is None and all(field != head for field, _, _ in entries)
            self._refuse(id, error, ended=ended, content=content)
            return
        size = 0
        if len(entries) * self.decoder.largest > LARGE_HEAD:
            size = sum(size for _, _, size in entries)
        if size > LARGE_HEAD:
            if size + sum(self.heads.values()) > MOST_HEADS:
                raise StreamFault(Code.REFUSED_STREAM, "too much in the heads of requests")
            self.heads[id] = size
        elif (request.length == 0) is ended and request.protocol is None:
            self.recall.keep(block, request)
        if request.priority is not None and self.turns.extensible:
            self.turns.forgo_tree()
        self._begin(id, request, ended=ended)

    def _begin(self, id: int, request: Request, *, ended: bool) -> None:
        stream = self.open(id, request)
        if not ended:
            self.flow(id, stream).expect(request.length)
        self.starting.append(stream)
        self.deadline = self.context.now  # there is something to look after at the next sweep
        if id >= self.final_id:
            self.announce()

    def _take_trailers(
        self, id: int, entries: Sequence[Entry], refusal: Refused | None, *, ended: bool
    ) -> None:
        """RFC9113§8.1: the second header block of a stream is its trailer section."""
        flow = self.flows.get(id)
        if flow is None or flow.ended:
            if id in self.streams:
                raise StreamFault(Code.STREAM_CLOSED, "HEADERS behind END_STREAM")
            self._take_late(id)
            return
        if not ended or refusal is not None:
            raise StreamFault(Code.PROTOCOL_ERROR, "trailers that are too many, or not the end")
        try:
            trailers = trailers_of(entries)
        except Malformed as error:
            raise StreamFault(Code.PROTOCOL_ERROR, str(error)) from None
        self._end(flow, trailers)

    def _crowded(self) -> bool:
        """Whether as many requests are open as may be, or their applications still run."""
        opened = len(self.streams)
        if self.last_promised:  # what we push is none of the requests that the peer may open
            opened = sum(id & 1 for id in self.streams)
        return opened + len(self.orphans) >= self.shared.most_streams

    def _start_streams(self) -> None:
        streams = self.streams
        while self.starting:  # an application that starts may push, and so begin another
            starting, self.starting = self.starting, []
            for stream in starting:
                if streams.get(stream.id) is stream:
                    self.start(stream)

    # RFC9113§6.3 PRIORITY, RFC9218§7.1 PRIORITY_UPDATE

    def _take_priority(self, id: int, payload: bytes) -> None:
        if not id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PRIORITY of the connection")
        if len(payload) != PRIORITY_SIZE:
            raise StreamFault(Code.FRAME_SIZE_ERROR, "PRIORITY of an odd length")
        self.budgets.priority.spend(self.context.now)
        self._take_dependency(id, frames.read_dependency(payload))

    def _take_dependency(self, id: int, dependency: Dependency) -> None:
        if dependency.parent == id:
            raise StreamFault(Code.PROTOCOL_ERROR, "a stream that depends on itself")
        # What says no more than silence does is no reason to begin a tree.
        said = dependency != Dependency() or id in self.turns.stated
        if said and (id in self.streams or id > self.last_id):
            self.turns.state(id, dependency)

    def _take_priority_update(self, id: int, payload: bytes) -> None:
        if id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PRIORITY_UPDATE on a stream")
        if len(payload) < frames.number.size:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "PRIORITY_UPDATE that is cut off")
        self.budgets.priority.spend(self.context.now)
        about = int.from_bytes(payload[:4], "big") & LARGEST_ID
        if not about:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PRIORITY_UPDATE of the connection")
        if about in self.streams or about > self.last_id:
            self.turns.state(about, parse_priority(payload[4:]))

    # RFC9113§6.4 RST_STREAM

    def _take_reset(self, id: int, payload: bytes) -> None:
        if len(payload) != frames.number.size:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "RST_STREAM of an odd length")
        if not id or self._idle(id):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "RST_STREAM of an idle stream")
        if id in self.streams:
            self.context.stats.versions["2"].resets += 1
            self._drop(id)
        else:
            self.spend()

    # RFC9113§6.9 WINDOW_UPDATE

    def _take_window_update(self, id: int, payload: bytes) -> None:
        if len(payload) != frames.number.size:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "WINDOW_UPDATE of an odd length")
        octets = int.from_bytes(payload, "big") & LARGEST_WINDOW
        if not id:
            if not octets:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "WINDOW_UPDATE of nothing")
            self.window_out += octets
            if self.window_out > LARGEST_WINDOW:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "a window of over 2^31")
        elif (stream := self.streams.get(id)) is not None:
            if not octets:
                raise StreamFault(Code.PROTOCOL_ERROR, "WINDOW_UPDATE of nothing")
            flow = self.flow(id, stream)
            self.widen(id, flow, octets)
            if flow.window_out > LARGEST_WINDOW:
                raise StreamFault(Code.FLOW_CONTROL_ERROR, "a window of over 2^31")
        elif self._idle(id):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "WINDOW_UPDATE of an idle stream")
        else:
            self.spend()

    def flow(self, id: int, stream: Stream) -> Flow:
        """What is kept of a stream, from when it is first needed."""
        if (flow := self.flows.get(id)) is None:
            window_in, window_out = self.initial_window_in, self.initial_window_out
            flow = Flow(stream, window_in, window_out, self.context.now)
            self.flows[id] = flow
        return flow

    # What follows from it

    @abstractmethod
    def widen(self, id: int, flow: Flow, octets: int) -> None:
        """The peer takes so many octets more, or fewer, of a stream."""

    @abstractmethod
    def credit(self, octets: int) -> None:
        """The peer may send so many octets more on the connection."""

    @abstractmethod
    def rest(self) -> None:
        """No stream is open any more."""

    @abstractmethod
    def announce(self) -> None:
        """Tells the peer that there will be no more streams (RFC9113§6.8)."""

    @abstractmethod
    def forget(self, id: int) -> None:
        """Ignores what may still come of a stream."""

    @abstractmethod
    def _drop(self, id: int) -> None:
        """The peer has reset a stream."""

    @abstractmethod
    def _refuse(
        self, id: int, refusal: Refused, *, ended: bool = False, content: bool = True
    ) -> None:
        """Answers in the place of an application; without content to who wants none."""
