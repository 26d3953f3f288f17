"""How much a client may send: as much as the application has taken, not as much as has arrived.

aioquic gives credit for what it has received (aiortc/aioquic#589), so that an application that does
not read makes the server keep all that a client sends.
"""

from __future__ import annotations

from typing import Any

from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream

HEAD_SIZE = 16
"""Octets of a frame's head, which may have come without the rest of it."""


class Credit(QuicConnection):
    """A connection whose windows move when something is taken."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.owed: dict[int, int] = {}
        """Octets of a stream that were taken, and the peer has no credit for yet."""
        self.credited: dict[int, int] = {}
        """Octets of a stream that the connection has been given credit for."""
        self.taken = 0
        """Octets taken that the connection has no credit for yet."""

    def credit(self, id: int, octets: int) -> None:
        """The application has taken so much of a stream: the peer may send as many more."""
        stream = self._streams.get(id)
        if stream is None:
            return  # its rest was credited when it ended
        self.credited[id] = self.credited.get(id, 0) + octets
        self._credit_connection(octets)
        if stream.receiver.is_finished:
            return
        owed = self.owed.get(id, 0) + octets
        if owed * 2 >= self._configuration.max_stream_data:
            stream.max_stream_data_local += owed
            owed = 0
        self.owed[id] = owed

    def _credit_connection(self, octets: int) -> None:
        self.taken += octets
        if self.taken * 2 >= self._configuration.max_data:
            self._local_max_data.value += self.taken
            self.taken = 0

    def unread(self, id: int) -> bool:
        """Whether something of a stream has come that was not taken."""
        stream = self._streams.get(id)
        arrived = 0 if stream is None else stream.receiver.starting_offset()
        return self.credited.get(id, 0) + HEAD_SIZE < arrived

    def forget(self, stream: QuicStream) -> int:
        """It has ended in both directions: gives back what nobody has taken of it; its ID."""
        id = stream.stream_id
        assert id is not None, "only the handshake's streams have none"
        del self._streams[id]
        self.owed.pop(id, None)
        self._credit_connection(stream.receiver.highest_offset - self.credited.pop(id, 0))
        if not id & 1:
            self._stream_limit(id).value += 1  # RFC9000§4.6: a new one for each that ends
        return id

    def _write_stream_limits(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream
    ) -> None:
        # aioquic doubles the window as data arrives: nothing has, as far as it can see.
        receiver = stream.receiver
        seen, receiver.highest_offset = receiver.highest_offset, 0
        try:
            super()._write_stream_limits(builder=builder, space=space, stream=stream)
        finally:
            receiver.highest_offset = seen

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        limit = self._local_max_data
        used, limit.used = limit.used, 0
        try:
            super()._write_connection_limits(builder=builder, space=space)
        finally:
            limit.used = used
