"""What a QUIC connection sends, and in which order: aioquic's writing, one look for each flush.

aioquic looks at every stream for every packet, and serves them in turn. Here what has something
to send is found once, control streams go before requests, requests in the order of RFC 9218, and
packets leave in bursts rather than one for each timer.
"""

from __future__ import annotations

from aioquic.quic.connection import QuicNetworkPath
from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketPacer, QuicPacketSpace
from aioquic.quic.stream import QuicStream
from aioquic.tls import Epoch

from tricorn.http3.credit import Credit
from tricorn.scheduler import UrgencyScheduler

PACE = 0.001
"""Seconds between two bursts: a timer for each packet costs more than it smooths."""
BURST = 64
"""Packets that may leave together, which is what the kernel takes in one call."""
ROOM = 64
"""Octets of a packet that are not worth another frame."""
KEY_PACKETS = 4_000_000
"""Packets after which the keys are changed; AES-GCM is good for 2^23 (RFC9001§6.6)."""


class CoarsePacer(QuicPacketPacer):
    """Lets bursts go, and waits at least a millisecond between them."""

    def next_send_time(self, now: float) -> float:
        at = super().next_send_time(now)
        # aioquic says None where it need not wait, whatever the annotation says.
        return at if at is None else max(at, now + PACE)

    def update_rate(self, congestion_window: int, smoothed_rtt: float) -> None:
        super().update_rate(congestion_window, smoothed_rtt)
        if self.packet_time is not None:
            self.bucket_max = max(self.bucket_max, BURST * self.packet_time, 2 * PACE)


class Outbound(Credit):
    """The sending half of a transport."""

    turns: UrgencyScheduler
    """Which request's response goes next; streams that it does not know go before all."""
    rekeyed = 0
    """The packet with which the present keys began."""
    first: list[QuicStream]
    """Streams to be served before the turns."""
    widened: list[QuicStream]
    """Streams whose peers may send more than they know."""

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, tuple[str, int]]]:
        if self._packet_number - self.rekeyed > KEY_PACKETS and self._handshake_complete:
            self.rekeyed = self._packet_number
            self.request_key_update()
        self._look_over()
        datagrams: list[tuple[bytes, tuple[str, int]]] = super().datagrams_to_send(now)
        return datagrams

    def _look_over(self) -> None:
        """Finds the streams that have something to send, once for all packets of a flush."""
        first = self.first = []
        widened = self.widened = []
        turns = self.turns
        ended = False
        for stream in self._streams_queue:
            sender = stream.sender
            if stream.max_stream_data_local_sent != stream.max_stream_data_local:
                widened.append(stream)
            if stream.receiver.is_finished and sender.is_finished:
                ended = True
                turns.close(self.forget(stream))
            elif stream.receiver.stop_pending or sender.reset_pending:
                first.append(stream)
            elif not sender.buffer_is_empty and not stream.is_blocked:
                if stream.stream_id in turns.priorities:
                    turns.ready(stream.stream_id)
                else:
                    first.append(stream)
        if ended:
            known = self._streams
            self._streams_queue = [each for each in self._streams_queue if each.stream_id in known]

    def _write_application(
        self, builder: QuicPacketBuilder, network_path: QuicNetworkPath, now: float
    ) -> None:
        crypto = self._cryptos[Epoch.ONE_RTT]
        if not crypto.send.is_valid():
            return
        space = self._spaces[Epoch.ONE_RTT]
        if space.ack_at is not None and (self.first or self.turns.able):
            space.ack_at = now  # it rides on what is sent anyway
        while True:
            acknowledging = space.ack_at is not None and space.ack_at <= now
            announcing = self._has_to_announce(network_path)
            if not acknowledging:
                if not (announcing or self.first or self.turns.able):
                    return
                self._pacing_at = self._loss._pacer.next_send_time(now=now)
                if self._pacing_at is not None:
                    return
            builder.start_packet(QuicPacketType.ONE_RTT, crypto)
            if acknowledging:
                self._write_ack_frame(builder=builder, space=space, now=now)
            if announcing:
                self._announce(builder, network_path, space, now)
            self._write_streams(builder, space)
            if builder.packet_is_empty:
                return
            self._loss._pacer.update_after_send(now=now)

    def _has_to_announce(self, path: QuicNetworkPath) -> bool:
        """Whether the connection has something to say besides its streams: rarely."""
        for id in self._host_cids:
            if not id.was_sent:
                return True
        data, streams = self._local_max_data, self._local_max_streams_bidi
        return bool(
            self.widened
            or data.value != data.sent
            # Streams are granted when half of them are used.
            or streams.sent - streams.used < streams.value - streams.sent
            or self._local_max_streams_uni.value != self._local_max_streams_uni.sent
            or self._ping_pending
            or self._probe_pending
            or path.remote_challenges
            or not (path.is_validated or path.local_challenge_sent)
            or self._handshake_done_pending
            or self._retire_connection_ids
            or not self._crypto_streams[Epoch.ONE_RTT].sender.buffer_is_empty
        )

    def _announce(
        self,
        builder: QuicPacketBuilder,
        path: QuicNetworkPath,
        space: QuicPacketSpace,
        now: float,
    ) -> None:
        if self._handshake_complete:
            self._write_control(builder, path, now)
            self._write_connection_limits(builder=builder, space=space)
        while self.widened:
            self._write_stream_limits(builder=builder, space=space, stream=self.widened[-1])
            self.widened.pop()
        self._write_probes(builder, space)

    def _write_control(self, builder: QuicPacketBuilder, path: QuicNetworkPath, now: float) -> None:
        """What the connection itself has to say, most of it once in its life."""
        if not (path.is_validated or path.local_challenge_sent):
            self._write_path_challenge_frame(builder=builder, network_path=path)
            if path.validation_deadline is None:
                # RFC9000§8.2.4: three times the longer of both probe time-outs.
                probe = max(self._loss.get_probe_timeout(), 2 * self._configuration.initial_rtt)
                path.validation_deadline = now + 3 * probe
        if self._handshake_done_pending:
            self._write_handshake_done_frame(builder=builder)
            self._handshake_done_pending = False
        while path.remote_challenges:
            challenge = path.remote_challenges[0]
            self._write_path_response_frame(builder=builder, challenge=challenge)
            path.remote_challenges.popleft()
        for id in self._host_cids:
            if not id.was_sent:
                self._write_new_connection_id_frame(builder=builder, connection_id=id)
        while self._retire_connection_ids:
            number = self._retire_connection_ids[0]
            self._write_retire_connection_id_frame(builder=builder, sequence_number=number)
            self._retire_connection_ids.pop(0)

    def _write_probes(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        if self._ping_pending:
            self._write_ping_frame(builder, self._ping_pending)
            self._ping_pending.clear()
        if self._probe_pending:
            self._write_ping_frame(builder, comment="probe")
            self._probe_pending = False
        handshake = self._crypto_streams[Epoch.ONE_RTT]
        if not handshake.sender.buffer_is_empty:
            self._write_crypto_frame(builder=builder, space=space, stream=handshake)

    def _write_streams(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        while self.first:
            stream = self.first[0]
            if stream.receiver.stop_pending:
                self._write_stop_sending_frame(builder=builder, stream=stream)
            if stream.sender.reset_pending:
                self._write_reset_stream_frame(builder=builder, stream=stream)
            elif not stream.sender.buffer_is_empty and not self._fill(builder, space, stream):
                return
            self.first.pop(0)
        turns = self.turns
        while (id := turns.next()) is not None:
            stream = self._streams[id]
            if not self._fill(builder, space, stream):
                return
            turns.blocked(id)

    def _fill(self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream) -> bool:
        """Puts what fits of a stream into the packet; whether the next one has its turn."""
        sender = stream.sender
        before = builder.remaining_flight_space
        if before < ROOM and not builder.packet_is_empty:
            return False
        window = self._remote_max_data - self._remote_max_data_used
        self._remote_max_data_used += self._write_stream_frame(
            builder=builder,
            space=space,
            stream=stream,
            max_offset=min(sender.highest_offset + window, stream.max_stream_data_remote),
        )
        if len(sender._pending) == 0 and not sender._pending_eof:  # its truth has no value
            sender.buffer_is_empty = True
            return True
        # Nothing written with room in the packet: its window is used up.
        return before >= ROOM and builder.remaining_flight_space == before
