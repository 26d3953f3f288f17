"""The life of an HTTP/2 connection: its settings, its deadlines and its end."""

from __future__ import annotations

import logging

from tricorn.connection import (
    BODY_GRACE,
    FOREVER,
    LINGER,
    LINGER_TIMEOUT,
    LOOK,
    Context,
    Endpoints,
    Refused,
)
from tricorn.http2 import frames
from tricorn.http2.flow import Flow
from tricorn.http2.frames import ACK, Code, ConnectionFault, StreamFault
from tricorn.http2.header_blocks import TABLE_SIZE
from tricorn.http2.reading import CLOSED, OPEN
from tricorn.http2.sending import Sending
from tricorn.http2.shared import Shared
from tricorn.wire import Wire

log = logging.getLogger(__name__)

ACKNOWLEDGE_TIMEOUT = 30.0
"""Seconds in which the peer has to acknowledge our settings (RFC9113§6.5.3)."""
MOST_STALLS = 3
"""Responses that a peer may leave without a window until they are given up (CVE-2026-49975)."""
DEFAULT_PUSHES = 100
"""Pushed streams that may be open at once, unless the peer wants fewer."""
DRAIN_PING = b"tricorn\x01"
LIFE_PING = b"tricorn\x02"


class Living(Sending):
    """An HTTP/2 connection from its preface to its GOAWAY."""

    __slots__ = (
        "budget",
        "farewell",
        "heard",
        "leaving",
        "most_pushes",
        "opened",
        "pinged",
        "pushes",
        "resting",
        "seen",
        "unsent_since",
        "vanished",
    )

    def __init__(self, context: Context, wire: Wire, endpoints: Endpoints, shared: Shared) -> None:
        super().__init__(context, wire, endpoints, shared)
        config = context.config
        self.opened = self.heard = context.now
        self.deadline = context.now + config.request_header_timeout
        self.resting = FOREVER
        """When a connection without streams is closed."""
        self.farewell = FOREVER
        """When the last stream that is served is named."""
        self.leaving = False
        """The peer has sent GOAWAY."""
        self.pushes = config.server_push
        """The peer takes responses that it has not asked for."""
        self.most_pushes = DEFAULT_PUSHES
        self.pinged = False
        self.seen = 0
        """Octets that had arrived at the last look."""
        self.vanished = 0
        """Octets that the kernel had taken at the last look."""
        self.unsent_since = context.now
        self.budget = LINGER
        wire.write(shared.greeting(tunnels=any(context.streams)))

    def _say_farewell(self) -> None:
        """The peer has heard of the drain: what it has sent until now is the last."""
        self.farewell = FOREVER
        self.last_served = self.last_id
        self.emit(frames.goaway(self.last_id, Code.NO_ERROR))
        if not self.streams:
            self._hang_up(Code.NO_ERROR)

    # RFC9113§6.5 SETTINGS, §6.7 PING, §6.8 GOAWAY

    def _take_settings(self, flags: int, id: int, payload: bytes) -> None:
        if id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "SETTINGS of a stream")
        if flags & ACK:
            if payload:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "SETTINGS that acknowledge and say")
            self.spend()
            if not self.acknowledged:
                self.acknowledged = True
                self._narrow_windows()
            return
        self.budgets.settings.spend(self.context.now)
        self._apply(payload)
        self.emit(frames.frame(frames.SETTINGS, ACK, 0))
        if self.resting == FOREVER and not self.streams:
            self.rest()

    def _apply(self, payload: bytes) -> None:
        window = self.initial_window_out
        for setting, value in frames.read_settings(payload):
            match setting:
                case frames.HEADER_TABLE_SIZE:
                    self.encoder.set_table_size(min(value, TABLE_SIZE))
                case frames.ENABLE_PUSH:
                    self.pushes = self.context.config.server_push and value == 1
                case frames.MAX_CONCURRENT_STREAMS:
                    self.most_pushes = min(value, DEFAULT_PUSHES)
                case frames.INITIAL_WINDOW_SIZE:
                    window = value
                case frames.MAX_FRAME_SIZE:
                    self.frame_size_out = value
                case frames.NO_RFC7540_PRIORITIES if value:
                    self.turns.forgo_tree()
                case _:  # known, but nothing that changes what we send; or unknown (§6.5.2)
                    pass
        if window != self.initial_window_out:  # once for all of them: there may be many streams
            self._move_windows(window - self.initial_window_out)
        if self.pushes:
            self.endpoints.extensions["http.response.push"] = {}
        else:
            self.endpoints.extensions.pop("http.response.push", None)

    def _narrow_windows(self) -> None:
        """The peer knows how much it may send on a stream, where that is less than the default."""
        octets = self.shared.stream_window - self.initial_window_in
        self.initial_window_in += octets
        for flow in self.flows.values():
            flow.window_in += octets

    def _move_windows(self, octets: int) -> None:
        """RFC9113§6.9.2: a new initial size moves the window of every open stream."""
        self.initial_window_out += octets
        for id, flow in self.flows.items():
            self.widen(id, flow, octets)
            if flow.window_out > frames.LARGEST_WINDOW:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "a window of over 2^31")

    def _take_ping(self, flags: int, id: int, payload: bytes) -> None:
        if id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PING of a stream")
        if len(payload) != len(DRAIN_PING):
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "PING of an odd length")
        self.spend()
        if not flags & ACK:
            self.emit(frames.frame(frames.PING, ACK, 0, payload))
        elif payload == DRAIN_PING and self.farewell != FOREVER:
            self._say_farewell()

    def _take_goaway(self, id: int, payload: bytes) -> None:
        if id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "GOAWAY of a stream")
        if len(payload) < 2 * frames.number.size:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "GOAWAY that is cut off")
        self.spend()
        self.leaving = True
        if not self.streams:
            self._hang_up(Code.NO_ERROR)

    # Deadlines

    def late(self, now: float) -> None:
        if self.phase == CLOSED:
            self._see_off(now)
        elif self.phase < OPEN or (not self.streams and now < self.deadline):
            self._hang_up(Code.NO_ERROR)  # it says nothing; or others need its place
        else:
            self._look_after(now)

    def _see_off(self, now: float) -> None:
        """The peer has had its time to hear why; what it has not read still leaves."""
        if self.wire.closing or self._stuck(now):
            self.wire.abort()
        else:
            self.wire.close()
            self.deadline = now + (self.context.config.write_timeout or FOREVER)

    def _look_after(self, now: float) -> None:
        """What has to happen in time, once a second."""
        try:
            if not self.acknowledged and now >= self.opened + ACKNOWLEDGE_TIMEOUT:
                raise ConnectionFault(Code.SETTINGS_TIMEOUT, "SETTINGS were not acknowledged")
            if self.block is not None and now >= self.block.deadline:
                raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "a header block came too slowly")
            for id, flow in list(self.flows.items()):
                self._look_after_stream(id, flow, now)
        except ConnectionFault as fault:
            self._fail(fault)
            return
        if self._stuck(now) or not self._alive(now):
            self._abort()
            return
        if now >= self.farewell:
            self._say_farewell()
        elif not self.streams and now >= self.resting:
            self._hang_up(Code.NO_ERROR)
        if self.phase == OPEN:
            self._watch()

    def _look_after_stream(self, id: int, flow: Flow, now: float) -> None:
        config = self.context.config
        if flow.stream.request.protocol is not None:
            flow.stream.watch(now)
        elif not flow.ended:
            if flow.window_in <= 0 or self.paused or not flow.invited:
                flow.heard = now
                flow.blocked += LOOK
            elif config.read_timeout and now - flow.heard >= config.read_timeout:
                self._refuse(id, Refused(408, "the body stalls"))
                return
            elif config.read_rate_min:
                spent = now - flow.beginning - flow.blocked - BODY_GRACE
                if flow.received < spent * config.read_rate_min:
                    self._refuse(id, Refused(408, "the body came too slowly"))
                    return
        stalled = flow.queued and (flow.window_out <= 0 or self.window_out <= 0)
        if stalled and config.write_timeout and now - flow.stalled >= config.write_timeout:
            self.stalls += 1
            if self.stalls >= MOST_STALLS:
                raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "responses that nobody reads")
            self._give_up(id, Code.CANCEL)

    def _stuck(self, now: float) -> bool:
        """Whether the peer has read nothing of what waits for it, for write_timeout seconds."""
        unsent = self.wire.buffered()
        if not unsent or self.written - unsent != self.vanished:
            self.vanished = self.written - unsent
            self.unsent_since = now
        timeout = self.context.config.write_timeout
        return bool(timeout) and now - self.unsent_since >= timeout

    def _alive(self, now: float) -> bool:
        """Whether the peer has sent something lately, if only an answer to our PING."""
        interval = self.context.config.h2_ping_interval
        if not interval:
            return True
        if self.total != self.seen:
            self.seen = self.total
            self.heard = now
            self.pinged = False
        elif now - self.heard >= 2 * interval:
            return False
        elif now - self.heard >= interval and not self.pinged:
            self.pinged = True
            self.emit(frames.frame(frames.PING, 0, 0, LIFE_PING))
        return True

    def _watch(self) -> None:
        if (
            self.streams or self.block is not None or self.wire.full
        ) or self.context.config.h2_ping_interval:
            self.deadline = self.context.now + LOOK
        elif self.acknowledged and self.farewell == FOREVER:
            self.deadline = self.resting
        else:
            acknowledged = FOREVER if self.acknowledged else self.opened + ACKNOWLEDGE_TIMEOUT
            self.deadline = min(self.resting, self.farewell, acknowledged)

    def rest(self) -> None:
        if self.leaving or self.last_served != frames.LARGEST_ID:
            self._hang_up(Code.NO_ERROR)
            return
        self.resting = self.context.now + self.context.config.keep_alive
        self._watch()

    @property
    def idle(self) -> bool:
        waits = self.phase == OPEN and not self.streams and self.last_id > 0
        return waits and not self.wire.buffered()

    # The end

    def _break(self, id: int, fault: StreamFault) -> None:
        if self._idle(id):
            raise ConnectionFault(fault.code, str(fault))  # there is nothing to reset
        log.debug("client=%s stream=%d broken: %s", self.endpoints.client, id, fault)
        if fault.code != Code.REFUSED_STREAM or self.acknowledged:
            self._spend_reset()
        self._give_up(id, fault.code)

    def _give_up(self, id: int, code: Code) -> None:
        """Resets a stream that its application may still know."""
        self.emit(frames.rst_stream(id, code))
        self.forget(id)
        if id in self.streams:
            self._orphan(id)

    def _drop(self, id: int) -> None:
        log.debug("client=%s stream=%d reset by the client", self.endpoints.client, id)
        self._orphan(id)
        if id & 1:  # RFC9113§8.4: a push is the client's to refuse
            self._spend_reset()

    def _orphan(self, id: int, answered: int = 0) -> None:
        """The stream is gone, and its application has to hear of it."""
        stream = self.remove(id)
        stream.feed_reset(answered=answered)
        self.outlived(stream)

    def _spend_reset(self) -> None:
        """CVE-2023-44487, CVE-2025-8671: work that was started for nothing."""
        self.resets -= 1
        if self.resets < 0:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "too many streams were reset")

    def _reset(self, id: int, code: Code) -> None:
        """Gives up a stream on behalf of its own application, which knows."""
        self.emit(frames.rst_stream(id, code))
        self.forget(id)
        self.remove(id).feed_reset()

    def _refuse(
        self, id: int, refusal: Refused, *, ended: bool = False, content: bool = True
    ) -> None:
        log.debug(
            "client=%s stream=%d status=%d refused: %s",
            *(self.endpoints.client, id, refusal.status, refusal.reason),
        )
        stream, flow = self.streams.get(id), self.flows.get(id)
        answered = flow is not None and flow.framed
        if not answered:
            wanted = content if stream is None else stream.request.method != "HEAD"
            self.send_error(id, refusal.status, content=wanted)
        if answered or not ended:
            self.emit(frames.rst_stream(id, Code.CANCEL if answered else Code.NO_ERROR))
            self.forget(id)
        # The end of the last stream may be that of the connection, so this comes after the answer.
        if stream is None:
            self.context.refused(self.endpoints, refusal.status, "2")
        else:
            self._orphan(id, 0 if answered else refusal.status)

    def _fail(self, fault: ConnectionFault) -> None:
        log.debug("client=%s %s: %s", self.endpoints.client, fault.code.name, fault)
        self._hang_up(fault.code, str(fault))

    def _hang_up(self, code: Code, reason: str = "") -> None:
        """Ends the connection with what is open on it, and reads on so that the peer hears why."""
        if code or self.last_served == frames.LARGEST_ID:
            # RFC9113§6.8: the last stream is never raised again.
            self.emit(frames.goaway(min(self.last_id, self.last_served), code, reason))
        self.phase = CLOSED
        self._let_go()
        self.flush()
        self.wire.shutdown()
        self.deadline = self.context.now + LINGER_TIMEOUT

    def _abort(self) -> None:
        self.phase = CLOSED
        self.wire.abort()
        self._let_go()

    def _let_go(self) -> None:
        """Every open stream hears that the peer is gone."""
        flows, self.flows = self.flows, {}
        super().eof()
        self.starting.clear()
        for id, flow in flows.items():
            self.turns.close(id)
            if flow.waiters is not None:
                flow.waiters.wake()

    def _waste(self, data: bytes) -> None:
        self.budget -= len(data)
        if self.budget < 0:
            self.wire.abort()

    def eof(self, *, listening: bool = False) -> None:
        if not listening:
            self.phase = CLOSED
            self._let_go()
        elif self.phase == CLOSED:
            self.wire.close()
        else:
            # What was asked for is still owed, and then there is nothing more to wait for.
            self.leaving = True
            super().eof(listening=True)
            if not self.streams:
                self._hang_up(Code.NO_ERROR)
