"""RFC 9113 over hyper-h2: what goes to the peer, and how a connection ends.

Each stream has a queue; `_flush` takes a frame of each in turn, as far as the windows and the
transport allow, and writes once.
"""

from __future__ import annotations

import logging
from http import HTTPStatus

from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from tricorn.connection import (
    DRAIN_GRACE,
    FOREVER,
    LINGER_TIMEOUT,
    ApplicationError,
    Context,
    Endpoints,
    Fields,
    Gone,
    Refused,
    Request,
)
from tricorn.fields import BODILESS, within_length
from tricorn.http2.frames import LARGEST_ID
from tricorn.http2.reference.machine import Failed
from tricorn.http2.reference.receiving import (
    ANNOUNCED,
    CLOSED,
    DRAINING,
    LAST,
    LINGERING,
    SERVING,
    Flow,
    Receiving,
)
from tricorn.sections import response_section, trailer_section
from tricorn.target import Limits
from tricorn.wire import Wire

HIGH_WATER = 64 * 1024
"""Octets of a response that wait for the peer before its application does."""
TURN = 64 * 1024
"""Octets of content written at once, after which other connections have their turn."""
FRAME = 16 * 1024
"""Octets in one frame; larger ones make the other streams wait."""
UNREAD = 256 * 1024
"""Octets that a peer leaves unread in the transport before it is not read itself."""

log = logging.getLogger(__name__)


class ReferenceConnection(Receiving):
    """One HTTP/2 client connection."""

    __slots__ = ("greeted", "paused", "scheduled")

    def __init__(self, context: Context, wire: Wire, endpoints: Endpoints, limits: Limits) -> None:
        super().__init__(context, wire, endpoints, limits)
        self.greeted = False
        self.scheduled = True
        self.paused = False
        context.loop.call_soon(self._flush)  # not now: an upgrade has something to do first

    def adopt(self, request: Request, settings: bytes) -> None:
        self.machine.upgrade(settings)
        self._greet()
        self.start(self._serve(1, Flow(request, ended=True)))
        self._schedule()

    def send_informational(self, id: int, status: int, headers: Fields) -> None:
        flow = self.flows.get(id)
        if flow is None or id not in self.streams or flow.started:
            return
        section = response_section(headers).fields
        self.machine.send_headers(id, [(b":status", b"%d" % status), *section])
        if status == 100:
            flow.invited = True
            self._await_content(flow)
        self._schedule()

    def send_headers(self, id: int, status: int, headers: Fields, *, end: bool = False) -> None:
        flow = self.flows.get(id)
        if flow is None or id not in self.streams:
            return
        flow.pending = (status, headers)
        if end or flow.request.protocol is not None:
            self.send_data(id, b"", end=end)

    def send_data(self, id: int, data: bytes, *, end: bool = False) -> None:
        flow = self.flows.get(id)
        if flow is None or id not in self.streams:
            return
        if flow.pending is not None:
            self._begin_response(flow, flow.pending, len(data) if end else None)
        flow.queue += self._content(flow, data, end=end)
        if end:
            flow.complete = True
            del self.streams[id]
        self._schedule()

    def _begin_response(self, flow: Flow, pending: tuple[int, Fields], size: int | None) -> None:
        status, headers = pending
        checked = response_section(headers)
        section, length = list(checked.fields), checked.length
        flow.silent = flow.request.method == "HEAD" or status in BODILESS
        if flow.silent:
            if status in (204, 205):  # RFC9110§8.6, §15.3.6: none in a 204, zero in a 205
                section = [each for each in section if each[0] != b"content-length"]
            if status == 205:
                section.append((b"content-length", b"0"))
            length = None
        elif length is not None:
            if size is not None and size < length:
                raise ApplicationError(f"Content-Length is {length}, the content has {size}")
        elif size is not None:
            section.append((b"content-length", b"%d" % size))
            length = size
        added = self.context.defaults.missing(section)
        flow.section = [(b":status", b"%d" % status), *section, *added]
        flow.remaining = length
        flow.started = True
        flow.pending = None

    def _content(self, flow: Flow, data: bytes, *, end: bool) -> bytes:
        """What of `data` is content of this response."""
        if flow.silent:
            return b""
        if flow.remaining is not None:
            data, flow.remaining = within_length(flow.remaining, data, end=end)
        return data

    def send_trailers(self, id: int, headers: Fields) -> None:
        flow = self.flows.get(id)
        if flow is None or id not in self.streams:
            return
        self.send_data(id, b"")
        if not flow.silent:
            flow.trailers = trailer_section(headers)
        self.send_data(id, b"", end=True)

    def send_reset(self, id: int, reason: str) -> None:
        if id in self.streams:
            log.debug("client=%s response given up: %s", self.endpoints.client, reason)
            self._reset(id, ErrorCodes.INTERNAL_ERROR)
            self._schedule()

    def consumed(self, id: int, size: int) -> None:
        if (flow := self.flows.get(id)) is not None:
            flow.unread -= size
            self.machine.acknowledge_received_data(size, id)
            self._await_content(flow)
            self._schedule()

    def room(self, id: int) -> bool:
        flow = self.flows.get(id)
        return flow is not None and len(flow.queue) < HIGH_WATER

    async def writable(self, id: int) -> None:
        while not self.room(id):
            if (flow := self.flows.get(id)) is None:
                raise Gone("the client has gone")
            await flow.room.wait(self.context.loop)

    def drain(self) -> None:
        for stream in list(self.streams.values()):
            stream.drain()
        self._announce()

    def _announce(self) -> None:
        if self.phase == SERVING:
            # RFC9113§6.8: what the peer sends before it hears of it is still served.
            self._greet()
            self.phase = ANNOUNCED
            self.last_by = self.context.now + DRAIN_GRACE
            self.wire.write(self.machine.data_to_send() + self.machine.goaway(LARGEST_ID))
            self.machine.ping(DRAINING)
            self._schedule()

    # What leaves when

    def _greet(self) -> None:
        if not self.greeted:
            self.greeted = True
            self.machine.greet(self.context.config, connect=any(self.context.streams))

    def _schedule(self) -> None:
        if not (self.scheduled or self.feeding):
            self.scheduled = True
            self.context.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self.scheduled = False
        if self.phase >= LINGERING:
            return
        self._greet()
        more = self._pump()
        if data := self.machine.data_to_send():
            self.wire.write(data)
        if more and not self.wire.full:
            self._schedule()
        if self.wire.buffered() > UNREAD and not self.paused:
            # Who reads no answers may not make us write more of them (CVE-2019-9512, 9515).
            self.paused = True
            self.wire.pause_reading()
        for flow in list(self.flows.values()):
            if len(flow.queue) <= HIGH_WATER // 2:
                flow.room.wake()
        if not self.flows and (self.phase == LAST or self.ended):
            self._linger()
        else:
            self._arm()

    def relieve(self) -> None:
        if self.paused:
            self.paused = False
            self.wire.resume_reading()
        self._flush()

    def _pump(self) -> bool:
        """Hands over to hyper-h2 what may leave now; whether there is more than its turn."""
        left = TURN
        patience = self.context.now + (self.context.config.write_timeout or FOREVER)
        moved = True
        while moved and left > 0:
            if self.wire.full or self.wire.closing:
                return False
            moved = False
            for id, flow in list(self.flows.items()):
                if left <= 0:
                    return True
                if (size := self._send_frame(id, flow)) is not None:
                    left -= size
                    moved = True
                    if id in self.flows:  # behind the others, for the next time
                        self.flows[id] = self.flows.pop(id)
                    flow.write_by = patience
                elif not flow.queue:
                    flow.write_by = FOREVER
                elif flow.write_by == FOREVER:
                    flow.write_by = patience
        return moved

    def _send_frame(self, id: int, flow: Flow) -> int | None:
        """The octets of content of one frame that is sent; None if none can be."""
        machine = self.machine
        queue = flow.queue
        if flow.section:
            section, flow.section = flow.section, []
            end = flow.complete and not queue and not flow.trailers
            machine.send_headers(id, section, end_stream=end)
            if end:
                self._sent(id, flow)
            return 0
        window = max(0, machine.local_flow_control_window(id)) if queue else 0
        size = min(len(queue), window, machine.max_outbound_frame_size, FRAME)
        last = flow.complete and size == len(queue)
        if not size and not last:
            return None
        if size or not flow.trailers:
            machine.send_data(id, bytes(queue[:size]), end_stream=last and not flow.trailers)
            del queue[:size]
        if last:
            if flow.trailers:
                machine.send_headers(id, flow.trailers, end_stream=True)
            self._sent(id, flow)
        return size

    def _sent(self, id: int, flow: Flow) -> None:
        """The whole response has left."""
        if not flow.ended:
            # RFC9113§8.1: the rest of the request is of no interest.
            self.machine.reset_stream(id, ErrorCodes.NO_ERROR)
        self.budget = min(self.budget + 1, self.context.config.h2_max_resets)
        self._release(id)

    def _release(self, id: int) -> None:
        """The stream has ended: what the application did not read is no longer held against it."""
        flow = self.flows.pop(id)
        if flow.unread:
            self.machine.acknowledge_received_data(flow.unread, id)
        flow.room.wake(Gone("the stream has ended"))
        if not self.flows:
            self.idle_by = self.context.now + self.context.config.keep_alive

    # The end

    def _refuse(self, id: int, refusal: Refused) -> None:
        status = refusal.status
        log.debug("client=%s status=%d refused: %s", self.endpoints.client, status, refusal.reason)
        flow = self.flows[id]
        stream = self.streams.pop(id, None)
        if stream is None:
            self.context.refused(self.endpoints, status, "2")
        else:
            stream.feed_reset(answered=0 if flow.started else status)
        if flow.started:
            self._reset(id, ErrorCodes.CANCEL)
            return
        text = f"{status} {HTTPStatus(status).phrase}\n".encode()
        self._begin_response(flow, (status, ((b"content-type", b"text/plain"),)), len(text))
        flow.queue += self._content(flow, text, end=True)
        flow.complete = True
        flow.read_by = FOREVER

    def _reset(self, id: int, code: ErrorCodes) -> None:
        self.machine.reset_stream(id, code)
        self._drop(id)

    def _drop(self, id: int, *, by_peer: bool = False) -> None:
        if id in self.flows:
            self._release(id)
        if stream := self.streams.pop(id, None):
            self.context.stats.versions["2"].resets += by_peer
            stream.feed_reset()

    def _forget(self) -> None:
        flows, self.flows = self.flows, {}
        for flow in flows.values():
            flow.room.wake(Gone("the client has gone"))

    def _say_last(self) -> None:
        if self.phase < LAST:
            self.phase = LAST
            self.last_by = FOREVER
            goaway = self.machine.goaway(self.machine.highest_inbound_stream_id)
            self.wire.write(self.machine.data_to_send() + goaway)

    def _fail(self, error: Failed | ProtocolError) -> None:
        log.debug("client=%s connection given up: %s", self.endpoints.client, error)
        super(Receiving, self).eof()
        self._forget()
        data = self.machine.data_to_send()
        if isinstance(error, Failed):  # for any other, hyper-h2 has said it
            data += self.machine.goaway(self.machine.highest_inbound_stream_id, error.code)
        self.wire.write(data)
        self._linger()

    def _linger(self) -> None:
        """Ends our direction and reads on: closing on unread data would reset the connection."""
        self.phase = LINGERING
        if self.paused:
            self.paused = False
            self.wire.resume_reading()
        self.wire.shutdown()
        self.deadline = self.context.now + LINGER_TIMEOUT
        if self.ended:
            self._close()

    def _close(self) -> None:
        if self.phase != CLOSED:
            self.phase = CLOSED
            self._await_peer()
            self.wire.close()

    def _abort(self) -> None:
        self.phase = CLOSED
        self.deadline = FOREVER
        self.wire.abort()
        super().eof()
