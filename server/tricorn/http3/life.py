"""The life of an HTTP/3 connection: its greeting, its deadlines, its streams' ends, its own.

A response that has been handed over is not yet with the client: a connection that drains is closed
when its transport has nothing left to deliver.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Protocol

from tricorn.connection import (
    BODY_GRACE,
    DRAIN_GRACE,
    FOREVER,
    Context,
    Endpoints,
    Refused,
    Stream,
)
from tricorn.http3 import frames
from tricorn.http3.flow import Flow, Part
from tricorn.http3.frames import Code, ConnectionFault, StreamFault
from tricorn.http3.receiving import Receiving
from tricorn.http3.shared import Shared
from tricorn.http3.transport import Transport

log = logging.getLogger(__name__)


class Link(Protocol):
    """What a connection has of its endpoint."""

    def changed(self) -> None:
        """Something is to be sent, at the end of this turn."""

    def abort(self) -> None:
        """Sends what there is to say about the end, and waits for nothing more."""


class Living(Receiving):
    """An HTTP/3 connection as far as it lives and ends."""

    __slots__ = ("changed", "control", "farewell", "link")

    def __init__(
        self,
        context: Context,
        link: Link,
        endpoints: Endpoints,
        shared: Shared,
        transport: Transport,
    ) -> None:
        super().__init__(context, endpoints, shared, transport)
        self.changed = link.changed
        self.link = link
        self.control: int | None = None
        """Our control stream."""
        self.deadline = context.now + context.config.ssl_handshake_timeout
        self.farewell = FOREVER
        """When the second GOAWAY is due, then the end of the wait for it (RFC9114§5.2)."""

    def greet(self) -> None:
        """The handshake is complete: we may send."""
        self.control = self.transport.get_next_available_stream_id(is_unidirectional=True)
        tunnels = any(self.context.streams)
        self.transport.send_stream_data(self.control, self.shared.greeting(tunnels=tunnels))
        self.deadline = self.context.now
        if self.context.draining:
            self.drain()
        self.changed()

    # Deadlines

    def late(self, now: float) -> None:
        if self.control is None:
            self.close(Code.NO_ERROR, "the handshake took too long")
            return
        if self.farewell <= now:
            self.settle()
        config = self.context.config
        for id, flow in list(self.flows.items()):
            stream = flow.stream
            if flow.part == Part.HEAD:
                if now - flow.beginning > config.request_header_timeout:
                    self.break_stream(id, StreamFault(Code.REQUEST_INCOMPLETE, "a slow head"))
            elif stream is None or stream.id not in self.streams:
                continue
            elif stream.request.protocol is None and not flow.ended and self._slow(flow, now):
                self.refuse(id, Refused(408, "the content comes too slowly"))
            elif flow.waiters is not None and 0 < config.write_timeout < now - flow.stalled:
                self.break_stream(id, StreamFault(Code.REQUEST_CANCELLED, "nobody reads it"))
        again = now + 1.0 if self.flows else FOREVER
        for stream in list(self.streams.values()):
            again = min(again, stream.watch(now))
        self.deadline = min(again, self.farewell)

    def _slow(self, flow: Flow, now: float) -> bool:
        config = self.context.config
        stream = flow.stream
        assert stream is not None, "asked of streams only"
        if not flow.invited or self.transport.unread(stream.id):
            flow.heard = flow.beginning = now  # the application holds it back
            return False
        if 0 < config.read_timeout < now - flow.heard:
            return True
        spent = now - flow.beginning
        return spent > BODY_GRACE and flow.received < config.read_rate_min * (spent - BODY_GRACE)

    @property
    def idle(self) -> bool:
        return not self.streams and self.last_id >= 0

    # The ends of streams

    def finish(self, id: int) -> None:
        """The response has ended."""
        flow = self.flows[id]
        if not flow.ended:
            # RFC9114§4.1.1: the rest of the request is not wanted, and nothing is wrong.
            self.transport.stop(id, Code.NO_ERROR)
        stream = self.remove(id)
        if stream.request.protocol is not None:
            self.outlived(stream)
        if self.resets < self.shared.most_resets:
            self.resets += 1

    def remove(self, id: int) -> Stream:
        stream = self.streams.pop(id)
        flow = self.flows.pop(id)
        if flow.waiters is not None:
            flow.waiters.wake()
        return stream

    def break_stream(self, id: int, fault: StreamFault) -> None:
        log.debug("client=%s stream=%d broken: %s", self.endpoints.client, id, fault)
        self.transport.give_up(id, fault.code)
        self._orphan(id)
        self._spend_reset()
        self.changed()

    def stream_reset(self, id: int) -> None:
        """The peer has given up its direction, or ours (RFC9000§3.5)."""
        if id & 2:
            if id == self.control or id in self.critical.values():
                self.fail(ConnectionFault(Code.CLOSED_CRITICAL_STREAM, "it must stay open"))
            return
        if id not in self.flows and not self.transport.first_heard(id):
            return
        self.last_id = max(self.last_id, id)
        log.debug("client=%s stream=%d reset by the client", self.endpoints.client, id)
        self.context.stats.versions["3"].resets += 1
        self.transport.give_up(id, Code.REQUEST_CANCELLED)
        self._orphan(id)
        self._spend_reset()
        self.changed()

    def _orphan(self, id: int, answered: int = 0) -> None:
        if id in self.streams:
            stream = self.remove(id)
            stream.feed_reset(answered=answered)
            self.outlived(stream)
        else:
            self.flows.pop(id, None)

    def _spend_reset(self) -> None:
        """CVE-2023-44487: work that was started for nothing."""
        self.resets -= 1
        if self.resets < 0:
            self.fail(ConnectionFault(Code.EXCESSIVE_LOAD, "too many requests were cancelled"))

    def refuse(self, id: int, refusal: Refused) -> None:
        """Answers in the application's place."""
        log.debug(
            "client=%s stream=%d status=%d refused: %s",
            *(self.endpoints.client, id, refusal.status, refusal.reason),
        )
        flow = self.flows[id]
        stream = self.streams.get(id)
        if flow.framed:
            self.transport.give_up(id, Code.REQUEST_CANCELLED)
        else:
            wanted = stream is None or stream.request.method != "HEAD"
            self._send_error(id, refusal.status, content=wanted)
            self.transport.stop(id, Code.NO_ERROR)
        if stream is None:
            self.context.refused(self.endpoints, refusal.status, "3")
        self._orphan(id, 0 if flow.framed else refusal.status)
        self.changed()

    def _send_error(self, id: int, code: int, *, content: bool) -> None:
        status = HTTPStatus(code)
        text = f"{status.value} {status.phrase}\n".encode() if content else b""
        fields = (
            (b":status", b"%d" % code),
            (b"content-type", b"text/plain"),
            (b"content-length", b"%d" % len(text)),
        )
        block = self.shared.encode(fields) + self.shared.endings[0]
        data = frames.frame(frames.HEADERS, block)
        if text:
            data += frames.frame(frames.DATA, text)
        self.transport.write(id, data, end=True)

    # The end

    def drain(self) -> None:
        """RFC9114§5.2: requests may be on their way; they are still served."""
        for stream in list(self.streams.values()):
            stream.drain()
        if self.control is None or self.broken or self.farewell != FOREVER:
            return  # `greet` comes back here, or there is nothing to say
        self._goaway(frames.LAST_REQUEST)
        self.farewell = self.context.now + DRAIN_GRACE
        self.deadline = min(self.deadline, self.farewell)

    def _goaway(self, id: int) -> None:
        if self.control is not None:
            self.transport.write(self.control, frames.frame(frames.GOAWAY, frames.integer(id)))
            self.changed()

    def settle(self) -> None:
        """The second GOAWAY, and the end once nothing is open."""
        now = self.context.now
        if self.last_served == frames.LAST_REQUEST:
            self.last_served = self.last_id + 4
            self._goaway(self.last_served)
            # A close would leave it unsent, and the client without a word on requests that cross
            # it. One that has gone is not waited for longer than this.
            self.farewell = now + DRAIN_GRACE
        elif self.farewell <= now or not self._unheard:
            self.farewell = FOREVER
        if self.farewell == FOREVER and not self.flows and not self.transport.delivering:
            self.close(Code.NO_ERROR, "")

    @property
    def _unheard(self) -> int:
        """Octets of our control stream that have not arrived yet."""
        return self.transport.unsent(self.control)[1] if self.control is not None else 0

    def fail(self, fault: ConnectionFault) -> None:
        log.debug("client=%s %s: %s", self.endpoints.client, fault.code.name, fault)
        self.close(fault.code, str(fault))

    def close(self, code: Code, reason: str) -> None:
        """Ends the connection with what is open on it."""
        if not self.broken:
            self.eof()
        self.transport.close(error_code=code, frame_type=None, reason_phrase=reason)
        self.changed()

    def abort(self) -> None:
        self.close(Code.INTERNAL_ERROR if self.flows else Code.NO_ERROR, "the server stops")
        self.link.abort()

    def eof(self, *, listening: bool = False) -> None:
        """The connection is gone."""
        self.broken = True
        self.deadline = self.farewell = FOREVER
        flows, self.flows = self.flows, {}
        super().eof()
        self.starting.clear()
        for flow in flows.values():
            if flow.waiters is not None:
                flow.waiters.wake()
