"""One client's QUIC connection and the HTTP/3 connection on it, between their endpoint and time."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aioquic.quic import events

from tricorn.http3.connection import Http3Connection
from tricorn.http3.transport import Transport

if TYPE_CHECKING:
    import asyncio

    from tricorn.http3.endpoint import Address, Endpoint, Port

log = logging.getLogger(__name__)


class QuicLink:
    """Feeds, flushes and wakes one connection; ends it, and no other, when something breaks."""

    __slots__ = (
        "address",
        "connection",
        "dirty",
        "endpoint",
        "ids",
        "port",
        "timer",
        "timer_at",
        "transport",
    )

    def __init__(self, endpoint: Endpoint, port: Port, address: Address) -> None:
        self.endpoint = endpoint
        self.port = port
        """Where it was last heard, and is answered."""
        self.address = address
        self.ids: set[bytes] = set()
        """The connection IDs that lead here."""
        self.dirty = False
        """It will be flushed at the end of this turn."""
        self.timer: asyncio.TimerHandle | None = None
        self.timer_at = 0.0
        self.transport: Transport
        self.connection: Http3Connection

    # From the endpoint

    def feed(self, data: bytes, address: Address, now: float) -> None:
        try:
            self.transport.receive_datagram(data, address, now)
            self._hear()
        except Exception:
            self._give_up()
        else:
            self.changed()

    def flush(self, now: float) -> list[tuple[bytes, Address]]:
        """What is to be sent now."""
        self.dirty = False
        try:
            datagrams = self.transport.datagrams_to_send(now)
            self.connection.relieve()
            self._hear()
            self._set_timer(now)
        except Exception:
            self._give_up()
            return []
        if datagrams and datagrams[0][1] != self.address:
            # RFC9000§9: it is answered where it was heard last, if that is new.
            self.address = datagrams[0][1]
            self.endpoint.context.stats.quic_migrations += 1
        return datagrams

    def changed(self) -> None:
        """Something is to be sent, at the end of this turn."""
        if not self.dirty:
            self.dirty = True
            self.endpoint.plan(self)

    # Time

    def _set_timer(self, now: float) -> None:
        # Asked for after every flush: aioquic works the time of loss detection out here.
        at = self.transport.get_timer()
        if at is None or (self.timer is not None and self.timer_at <= at):
            return  # an earlier one looks again when it fires
        if self.timer is not None:
            self.timer.cancel()
        self.timer_at = at
        self.timer = self.endpoint.context.loop.call_later(max(0.0, at - now), self._fire)

    def _fire(self) -> None:
        self.timer = None
        now = self.endpoint.clock()
        try:
            at = self.transport.get_timer()
            if at is not None and at > now + 0.0005:
                self._set_timer(now)
                return
            self.transport.handle_timer(now)
            self._hear()
        except Exception:
            self._give_up()
        else:
            self.changed()

    # What the transport has to say

    def _hear(self) -> None:
        connection = self.connection
        while (event := self.transport.next_event()) is not None:
            match event:
                case events.StreamDataReceived():
                    connection.feed_stream(event.stream_id, event.data, ended=event.end_stream)
                case events.StreamReset() | events.StopSendingReceived():
                    connection.stream_reset(event.stream_id)
                case events.HandshakeCompleted():
                    self.endpoint.established(self)
                    connection.greet()
                case events.ConnectionIdRetired():
                    self.endpoint.retire(self, event.connection_id)
                case events.ConnectionTerminated():
                    self._end()
                    return
                case _:  # what we have issued we know; no datagrams are spoken
                    pass
        if connection.starting:
            connection.start_streams()
        if self.transport.ended and not connection.broken:
            connection.eof()  # RFC9000§10.2.2: nothing more can be sent, so nobody need wait

    def _give_up(self) -> None:
        log.exception("client=%s the connection is given up", self.connection.endpoints.client)
        self._end()

    def _end(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.connection.eof()
        self.endpoint.remove(self)

    def abort(self) -> None:
        self.endpoint.send(self.port, self.flush(self.endpoint.clock()))
        self._end()
