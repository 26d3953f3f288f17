"""A QUIC connection whose client cannot have it work for nothing, or send faster than it hears.

aioquic bounds what one frame may make it keep, but not how often a frame may come, and it believes
whoever acknowledges packets before they have arrived.
"""

from __future__ import annotations

import random

from aioquic._buffer import Buffer
from aioquic.quic.connection import QuicConnectionError, QuicReceiveContext
from aioquic.quic.packet import QuicErrorCode, pull_ack_frame
from aioquic.tls import AlertDescription, Epoch

from tricorn.http3.outbound import Outbound

SPAN = 10.0
"""Seconds in which MOST_MOVES may come."""
MOST_MOVES = 100
"""Retired connection IDs and challenges of a path: what a client needs a few of when it moves."""
MOST_REPEATED = 100
"""ACK frames of which several come in one packet: there is no use in a second one."""
TRAPS = (64, 256)
"""Packets between two numbers that are left out."""
PASSED = 64
"""Packets behind such a number after which nobody lies about it any more."""


class Guarded(Outbound):
    """The half of a transport that distrusts."""

    trap = -1
    """The packet number that was left out last; -1 once it needs no more attention."""
    trap_at = TRAPS[0]
    """The packet number from which on the next one may be left out."""
    moves = 0
    moves_since = 0.0
    repeated = 0
    acknowledged: QuicReceiveContext | None = None
    """The last packet that had an ACK frame."""

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, tuple[str, int]]]:
        if self._packet_number >= self.trap_at and self._handshake_complete:
            # RFC9000§21.4, CVE-2025-4820: who acknowledges it has not waited for packets to come.
            self.trap = self._packet_number
            self._packet_number += 1
            self.trap_at = self._packet_number + random.randint(*TRAPS)
        return super().datagrams_to_send(now)

    def _handle_ack_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        if self.trap >= 0 and context.epoch is Epoch.ONE_RTT:
            self._look_for_trap(frame_type, buf)
        if context is self.acknowledged:
            self.repeated += 1
            if self.repeated > MOST_REPEATED:  # each looks through all packets on their way
                raise _violation(frame_type, "too many acknowledgements")
        self.acknowledged = context
        super()._handle_ack_frame(context, frame_type, buf)

    def _look_for_trap(self, frame_type: int, buf: Buffer) -> None:
        at = buf.tell()
        try:
            ranges, _ = pull_ack_frame(buf)
        except ValueError:
            return  # aioquic says what is wrong with it
        finally:
            buf.seek(at)
        if self.trap in ranges:
            raise _violation(frame_type, "a packet is acknowledged that was left out")
        if ranges.bounds().stop > self.trap + PASSED:
            self.trap = -1

    def _handle_crypto_frame(
        self, context: QuicReceiveContext, frame_type: int, buf: Buffer
    ) -> None:
        if context.epoch is Epoch.ONE_RTT:
            # RFC9001§6, §4.4: a client has nothing to say here, not even nothing at all.
            raise QuicConnectionError(
                error_code=QuicErrorCode.CRYPTO_ERROR + AlertDescription.unexpected_message,
                frame_type=frame_type,
                reason_phrase="a handshake message behind the handshake",
            )
        super()._handle_crypto_frame(context, frame_type, buf)

    def _handle_retire_connection_id_frame(
        self, context: QuicReceiveContext, frame_type: int, buf: Buffer
    ) -> None:
        self._spend_move(context, frame_type)  # each is answered with a new one, ten times as long
        super()._handle_retire_connection_id_frame(context, frame_type, buf)

    def _handle_path_challenge_frame(
        self, context: QuicReceiveContext, frame_type: int, buf: Buffer
    ) -> None:
        self._spend_move(context, frame_type)
        super()._handle_path_challenge_frame(context, frame_type, buf)

    def _spend_move(self, context: QuicReceiveContext, frame_type: int) -> None:
        if context.time - self.moves_since >= SPAN:
            self.moves, self.moves_since = 0, context.time
        self.moves += 1
        if self.moves > MOST_MOVES:
            raise _violation(frame_type, "too much about connection IDs and paths")


def _violation(frame_type: int, reason: str) -> QuicConnectionError:
    return QuicConnectionError(
        error_code=QuicErrorCode.PROTOCOL_VIOLATION, frame_type=frame_type, reason_phrase=reason
    )
