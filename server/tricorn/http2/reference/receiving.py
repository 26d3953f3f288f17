"""What comes from the peer on HTTP/2: requests, content, trailers, and their limits."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from h2 import events
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from tricorn.connection import (
    FOREVER,
    LOOK,
    Context,
    Endpoints,
    Field,
    Fields,
    Refused,
    Request,
    Stream,
)
from tricorn.http2.reference.machine import Failed, Machine
from tricorn.sections import Entry, Malformed, classifier, request_of, trailers_of
from tricorn.target import Limits
from tricorn.waiters import Waiters
from tricorn.wire import Wire, WireConnection

DRAINING = b"draining"
"""The PING whose answer says that the peer has seen the GOAWAY before it."""

SERVING, ANNOUNCED, LAST, LINGERING, CLOSED = range(5)
"""All streams; a GOAWAY has told that there will be a last one; which one; nobody's end; no end."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Flow:
    """What is under way on one stream, until both of its directions have ended."""

    request: Request
    ended: bool
    """The peer has ended its direction."""
    invited: bool = True
    """The client need not wait for 100 (Continue)."""
    received: int = 0
    unread: int = 0
    """Octets of content that the application has not taken."""
    read_by: float = FOREVER
    """When the next part of the content has to be here; of a tunnel, when to look again."""

    pending: tuple[int, Fields] | None = None
    """A response head that waits for the first part of the content."""
    started: bool = False
    section: list[Field] = field(default_factory=list)
    """A response head that is ready to be sent."""
    silent: bool = False
    """There is no content, whatever the application sends (RFC9110§6.4.1)."""
    remaining: int | None = None
    """Octets of content that a declared Content-Length still asks for."""
    queue: bytearray = field(default_factory=bytearray)
    trailers: list[Field] = field(default_factory=list)
    complete: bool = False
    """The application has sent all of it."""
    write_by: float = FOREVER
    """When the peer has to have taken something of the queue."""
    room: Waiters = field(default_factory=Waiters)


class Receiving(WireConnection):
    """The reading half of an HTTP/2 connection."""

    __slots__ = (
        "budget",
        "classify",
        "ended",
        "feeding",
        "flows",
        "fresh",
        "head_by",
        "idle_by",
        "last_by",
        "limits",
        "machine",
        "phase",
        "requests",
        "stalled_by",
        "unsent",
    )

    def __init__(self, context: Context, wire: Wire, endpoints: Endpoints, limits: Limits) -> None:
        super().__init__(context, wire, endpoints)
        self.limits = limits
        self.classify = classifier(limits)
        self.machine = Machine(context.config)
        self.flows: dict[int, Flow] = {}
        self.fresh: list[Stream] = []
        """Streams whose application is called when what has arrived with them has been fed."""
        self.phase = SERVING
        self.feeding = False
        """In `feed`, which flushes when it is done."""
        self.ended = False
        """The peer has ended its direction."""
        self.budget = context.config.h2_max_resets
        self.requests = 0
        self.unsent = 0
        """Octets that waited for the peer when its time to read began."""
        self.deadline = context.now + context.config.request_header_timeout
        self.head_by = self.idle_by = self.deadline
        """When a head that has begun, or the preface, has to be whole; when idling ends."""
        self.stalled_by = self.last_by = FOREVER
        """When the peer has to have read; when it will have heard of our first GOAWAY."""

    def feed(self, data: bytes) -> None:
        if self.phase >= LINGERING:
            return
        self._greet()
        self.feeding = True
        machine = self.machine
        settled = machine.settled
        try:
            for event in machine.take(data):
                self._take(event)
        except (Failed, ProtocolError) as error:
            self._fail(error)
        if machine.settled:
            if not settled:
                self.idle_by = self.context.now + self.context.config.keep_alive
            if not machine.within_head:
                self.head_by = FOREVER
            elif self.head_by == FOREVER:
                self.head_by = self.context.now + self.context.config.request_header_timeout
        fresh, self.fresh = self.fresh, []
        for stream in fresh:
            if self.streams.get(stream.id) is stream:
                self.start(stream)
        self.feeding = False
        if machine.settled and self.context.draining:
            self._announce()
        self._flush()

    def _take(self, event: events.Event) -> None:
        match event:
            case events.RequestReceived(stream_id=id):
                self._begin(id, self._entries(event.headers), ended=event.stream_ended is not None)
            case events.DataReceived(stream_id=id):
                self._take_data(id, event)
            case events.TrailersReceived(stream_id=id):
                self._take_trailers(id, self._entries(event.headers))
            case events.StreamReset(stream_id=id):
                self._drop(id, by_peer=True)
                self._spend()
            case events.RemoteSettingsChanged():
                self.machine.clamp_table()
            case events.SettingsAcknowledged():
                self.machine.tolerate()
            case events.PingAckReceived(ping_data=data) if data == DRAINING:
                self._say_last()
            case events.ConnectionTerminated():
                self.phase = max(self.phase, LAST)  # it will ask for nothing more
            case _:
                pass  # answered by hyper-h2, or a window, which `_flush` looks at by itself

    def _begin(self, id: int, entries: list[Entry], *, ended: bool) -> None:
        config = self.context.config
        if len(self.flows) >= config.h2_max_concurrent_streams or self.phase >= LAST:
            self.machine.reset_stream(id, ErrorCodes.REFUSED_STREAM)
            return
        try:
            # RFC9113§6.5.2 says how large a head is.
            size = sum(size for _, _, size in entries)
            count = sum(name[:1] != b":" for (name, _), _, _ in entries)
            if size > config.h2_max_header_list_size or count > self.limits.fields:
                raise Refused(431, "the request head is too large")
            request = request_of(entries, "2", self.limits, self.context.streams, ended=ended)
        except Malformed as error:
            log.debug("client=%s malformed request: %s", self.endpoints.client, error)
            self.machine.reset_stream(id, ErrorCodes.PROTOCOL_ERROR)
            self._spend()
        except Refused as refusal:
            method = dict(field for field, _, _ in entries).get(b":method", b"").decode("latin-1")
            self.flows[id] = Flow(Request("2", method, b"", b"", "", b"", b"", ()), ended)
            self._refuse(id, refusal)
        else:
            flow = Flow(request, ended, invited=not request.expects)
            self.fresh.append(self._serve(id, flow))
            self._await_content(flow)

    def _serve(self, id: int, flow: Flow) -> Stream:
        self.flows[id] = flow
        self.requests += 1
        if self.requests == self.context.config.keep_alive_max_requests:
            self._announce()
        return self.open(id, flow.request)

    def _take_data(self, id: int, event: events.DataReceived) -> None:
        data = event.data or b""
        ended = event.stream_ended is not None
        flow = self.flows.get(id)
        stream = self.streams.get(id)
        padding = (event.flow_controlled_length or 0) - len(data)
        if flow is None or stream is None:  # nobody will read it
            padding += len(data)
        if padding:
            self.machine.acknowledge_received_data(padding, id)
        if flow is None:
            return
        flow.ended = ended
        if stream is None:
            return
        flow.received += len(data)
        flow.unread += len(data)
        if self._contradicts(flow, ended=ended):
            self._break(id, "the content is not as long as its Content-Length")
        elif 0 < self.limits.body < flow.received and flow.request.protocol is None:
            self._refuse(id, Refused(413, "the body is too large"))
        else:
            flow.invited = True
            if data:
                stream.feed_data(data)
            if ended and flow.request.protocol is not None and not flow.started:
                self._reset(id, ErrorCodes.CANCEL)  # a tunnel that ends before it was opened
                self._spend()
            elif ended:
                stream.feed_end()
            self._await_content(flow)

    def _take_trailers(self, id: int, entries: list[Entry]) -> None:
        flow = self.flows.get(id)
        if flow is None:
            return
        flow.ended = True
        stream = self.streams.get(id)
        if stream is None:
            return
        try:
            trailers: Sequence[Field] = trailers_of(entries)
        except Malformed as error:
            self._break(id, str(error))
            return
        if self._contradicts(flow, ended=True):
            self._break(id, "the content is not as long as its Content-Length")
            return
        stream.feed_end(trailers)
        self._await_content(flow)

    def _contradicts(self, flow: Flow, *, ended: bool) -> bool:
        """RFC9113§8.1.1; hyper-h2 does not look where a HEADERS frame ends it (library-gaps 9)."""
        length = flow.request.length
        if length is None or flow.request.protocol is not None:
            return False
        return flow.received > length or (ended and flow.received < length)

    def _await_content(self, flow: Flow) -> None:
        """Sets the deadline of the next part of a body."""
        flow.read_by = FOREVER
        if flow.request.protocol is not None:
            flow.read_by = self.context.now + LOOK
        elif not flow.ended and flow.invited:
            flow.read_by = self.context.now + (self.context.config.read_timeout or FOREVER)

    def _break(self, id: int, reason: str) -> None:
        """What the peer sent on a stream is none of HTTP: the stream ends, and no other."""
        log.debug("client=%s malformed request: %s", self.endpoints.client, reason)
        self._reset(id, ErrorCodes.PROTOCOL_ERROR)
        self._spend()

    def _spend(self) -> None:
        """One request more that came to nothing (CVE-2023-44487, CVE-2025-8671)."""
        self.budget -= 1
        if self.budget < 0:
            raise Failed(ErrorCodes.ENHANCE_YOUR_CALM, "too many requests were reset")

    def eof(self, *, listening: bool = False) -> None:
        self.ended = True
        if not listening:
            self.phase = CLOSED
            super().eof()
            self._forget()
        elif self.phase >= LINGERING:
            self._close()
        else:
            super().eof(listening=True)
            self._flush()

    @property
    def idle(self) -> bool:
        waits = self.requests > 0 and not self.flows and not self.machine.buffer
        return waits and self.phase < LINGERING and not self.wire.buffered()

    def late(self, now: float) -> None:
        if self.phase == CLOSED or self.stalled_by <= now:
            if self.wire.buffered() < self.unsent:
                self._await_peer()  # it reads, if slowly
            else:
                log.debug("client=%s does not read", self.endpoints.client)
                self._abort()
                return
        elif self.phase == LINGERING:
            self._close()
        elif self.head_by <= now:
            settled = self.machine.settled
            code = ErrorCodes.ENHANCE_YOUR_CALM if settled else ErrorCodes.SETTINGS_TIMEOUT
            self._fail(Failed(code, "a head, or the preface, came too slowly"))
        elif self.last_by <= now or not self.flows:
            self._say_last()
        else:
            self._end_late_streams(now)
        self._flush()

    def _end_late_streams(self, now: float) -> None:
        for id, flow in list(self.flows.items()):
            if flow.read_by <= now:
                if flow.request.protocol is not None:
                    self._await_content(flow)
                    if stream := self.streams.get(id):
                        stream.watch(now)
                elif self.machine.remote_flow_control_window(id) > 0:
                    self._refuse(id, Refused(408, "the body came too slowly"))
                else:
                    self._await_content(flow)  # it is we who hold it up
            elif flow.write_by <= now:
                if self.wire.full:
                    flow.write_by = FOREVER  # the connection has a deadline of its own
                else:
                    self._reset(id, ErrorCodes.CANCEL)

    def _arm(self) -> None:
        """Sets the deadline to the nearest one."""
        if not self.wire.full:
            self.stalled_by = FOREVER
        elif self.stalled_by == FOREVER:
            self._await_peer()
        if self.flows:
            nearest = min(min(flow.read_by, flow.write_by) for flow in self.flows.values())
        else:
            nearest = self.idle_by
        self.deadline = min(nearest, self.head_by, self.last_by, self.stalled_by)

    def _await_peer(self) -> None:
        """The peer has to read before we can go on."""
        self.unsent = self.wire.buffered()
        self.stalled_by = self.context.now + (self.context.config.write_timeout or FOREVER)
        self.deadline = self.stalled_by

    @abstractmethod
    def _announce(self) -> None:
        """Tells the peer that there will be no more streams (RFC9113§6.8)."""

    @abstractmethod
    def _greet(self) -> None:
        """Sends our SETTINGS, once."""

    @abstractmethod
    def _flush(self) -> None:
        """Sends what can be sent, and sets the deadline."""

    @abstractmethod
    def _refuse(self, id: int, refusal: Refused) -> None:
        """Answers in the application's place."""

    @abstractmethod
    def _reset(self, id: int, code: ErrorCodes) -> None:
        """Ends a stream at once, and tells the peer."""

    @abstractmethod
    def _drop(self, id: int, *, by_peer: bool = False) -> None:
        """A stream has ended before its response was complete."""

    @abstractmethod
    def _forget(self) -> None:
        """Gives up whatever is under way."""

    @abstractmethod
    def _say_last(self) -> None:
        """Says which stream is the last one."""

    @abstractmethod
    def _fail(self, error: Failed | ProtocolError) -> None:
        """Ends the connection for a fault of the peer's (RFC9113§5.4.1)."""

    @abstractmethod
    def _abort(self) -> None:
        """Ends the connection at once."""

    @abstractmethod
    def _close(self) -> None:
        """Ends the connection; what is buffered still leaves."""

    def _entries(self, headers: Iterable[tuple[bytes | str, bytes | str]] | None) -> list[Entry]:
        """Each field with its kind; hyper-h2 gives octets, as it is configured."""
        return [
            ((name, value), self.classify(name, value), len(name) + len(value) + 32)
            for name, value in headers or ()
            if isinstance(name, bytes) and isinstance(value, bytes)
        ]
