"""aioquic's QuicConnection with our IDs, credit, pacing and order: every private name we touch.

aioquic is the authority on QUIC; what is changed here is what a server with several workers needs
and aioquic does not have. Connection IDs say which worker they belong to. What a hostile client
may make us keep is bounded before it is kept. inbound.py keeps what comes, guarded.py counts what a
client may not do too often, credit.py grants what it may send, outbound.py changes how we send.

Below, PRIVATE lists the names that this relies on; a version of aioquic without one of them is
refused when this is imported, not when the first client comes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aioquic._buffer import Buffer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import (
    QuicConnection,
    QuicConnectionError,
    QuicConnectionId,
    QuicReceiveContext,
)
from aioquic.quic.packet import QuicErrorCode
from aioquic.tls import CipherSuite, Direction, Epoch, SessionTicket, push_new_session_ticket

from tricorn.http3.guarded import Guarded
from tricorn.http3.inbound import Inbound
from tricorn.http3.keys import Keys
from tricorn.http3.outbound import CoarsePacer
from tricorn.priorities import DEFAULT, Preference
from tricorn.scheduler import UrgencyScheduler

MOST_CRYPTO = 32 * 1024
"""Octets of a handshake that may wait for earlier ones (nginx 64 KiB; CVE-2025-54939)."""
MOST_UNIDIRECTIONAL = 16
"""Streams of one direction that a client may have: three mean something (RFC9114§6.2)."""
PRIVATE = """
_close_event _crypto_buffers _crypto_streams _cryptos
_handle_ack_frame _handle_crypto_frame _handle_padding_frame _handle_path_challenge_frame
_handle_retire_connection_id_frame _handshake_complete
_handshake_done_pending _host_cid_seq _host_cids _idle_timeout _initialize
_local_initial_source_connection_id _local_max_data _local_max_streams_bidi
_local_max_streams_uni _loss _pacing_at _packet_number _ping_pending
_probe_pending _remote_active_connection_id_limit _remote_max_data _remote_max_data_used
_remote_max_idle_timeout _replenish_connection_ids _retire_connection_ids _spaces _stream_limit
_streams _streams_blocked_pending _streams_queue _write_ack_frame _write_application
_write_connection_limits _write_crypto_frame _write_handshake_done_frame
_write_new_connection_id_frame _write_path_challenge_frame _write_path_response_frame
_write_ping_frame _write_reset_stream_frame _write_retire_connection_id_frame
_write_stop_sending_frame _write_stream_frame _write_stream_limits _update_traffic_key
"""


@dataclass(frozen=True, slots=True)
class Terms:
    """What all connections of one worker have in common."""

    configuration: QuicConfiguration
    keys: Keys
    issue: Callable[[], bytes]
    """Makes a connection ID that leads to this worker."""
    streams: int
    """Requests that may be open at once."""
    early: bool = False
    """Whether clients may send requests with their first flight."""


class Transport(Inbound, Guarded):
    """One QUIC connection of a client.

    `issued` hears which IDs lead here, before a client can know them.
    """

    def __init__(
        self,
        terms: Terms,
        issued: Callable[[bytes], None],
        *,
        original: bytes,
        retried: bytes | None = None,
    ) -> None:
        self.terms = terms
        self.issued = issued
        configuration = terms.configuration
        super().__init__(
            configuration=configuration,
            original_destination_connection_id=original,
            retry_source_connection_id=retried,
            session_ticket_fetcher=terms.keys.open_ticket,
            session_ticket_handler=self._seal_ticket,
        )
        self.turns = UrgencyScheduler()
        self.first = []
        self.widened = []
        self.unspoken = set()

        first = self._host_cids[0]
        first.cid = self.host_cid = self._local_initial_source_connection_id = terms.issue()
        first.stateless_reset_token = terms.keys.reset_token(first.cid)
        issued(first.cid)
        for limit, most in (
            (self._local_max_streams_bidi, terms.streams),
            (self._local_max_streams_uni, MOST_UNIDIRECTIONAL),
        ):
            limit.value = limit.sent = most
        self._loss._pacer = CoarsePacer(max_datagram_size=configuration.max_datagram_size)

    # What the connection asks for

    def prioritize(self, id: int, preference: Preference = DEFAULT) -> None:
        self.turns.open(id, preference)

    def unsent(self, id: int) -> tuple[int, int]:
        """Octets of a stream that have not been sent yet, and that have not arrived yet."""
        stream = self._streams.get(id)
        if stream is None:
            return 0, 0
        sender = stream.sender
        return (
            sender._buffer_stop - sender.highest_offset,
            sender._buffer_stop - sender._buffer_start,
        )

    def give_up(self, id: int, code: int) -> None:
        """Ends both directions of a stream, as far as they are open."""
        if (stream := self._streams.get(id)) is not None:
            stream.sender.reset(code)
            self.stop(id, code)

    def stop(self, id: int, code: int) -> None:
        """Asks the peer to send no more of a stream."""
        stream = self._streams.get(id)
        if stream is not None and not stream.receiver.is_finished:
            stream.receiver.stop(code)

    def write(self, id: int, data: bytes, *, end: bool = False) -> None:
        """Sends on a stream; ignored where the peer has stopped it, or it has ended."""
        stream = self._streams.get(id)
        if stream is None or stream.sender._reset_error_code is not None:
            return
        if stream.sender._buffer_fin is None:
            stream.sender.write(data, end)

    @property
    def delivering(self) -> bool:
        """Whether something of a response may still be on its way."""
        return any(not id & 3 and not s.sender.is_finished for id, s in self._streams.items())

    @property
    def ended(self) -> bool:
        """Somebody has closed it; aioquic still waits for what may be on its way."""
        return self._close_event is not None

    @property
    def established(self) -> bool:
        return self._handshake_complete

    # RFC9000§5.1

    def _replenish_connection_ids(self) -> None:
        while len(self._host_cids) < min(8, self._remote_active_connection_id_limit):
            id = self.terms.issue()
            token = self.terms.keys.reset_token(id)
            self._host_cids.append(
                QuicConnectionId(
                    cid=id, sequence_number=self._host_cid_seq, stateless_reset_token=token
                )
            )
            self._host_cid_seq += 1
            self.issued(id)

    # What must not be believed, or kept

    def _handle_ack_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        at = buf.tell()
        largest = buf.pull_uint_var()
        buf.seek(at)
        if largest >= self._packet_number:
            # RFC9000§13.1, CVE-2025-4821: it would open the congestion window.
            raise QuicConnectionError(
                error_code=QuicErrorCode.PROTOCOL_VIOLATION,
                frame_type=frame_type,
                reason_phrase="a packet is acknowledged that was not sent",
            )
        super()._handle_ack_frame(context, frame_type, buf)

    def _handle_crypto_frame(
        self, context: QuicReceiveContext, frame_type: int, buf: Buffer
    ) -> None:
        at = buf.tell()
        end = buf.pull_uint_var() + buf.pull_uint_var()
        buf.seek(at)
        if end - self._crypto_streams[context.epoch].receiver.starting_offset() > MOST_CRYPTO:
            raise QuicConnectionError(
                error_code=QuicErrorCode.CRYPTO_BUFFER_EXCEEDED,
                frame_type=frame_type,
                reason_phrase="too much of the handshake before what it waits for",
            )
        super()._handle_crypto_frame(context, frame_type, buf)

    def _handle_padding_frame(
        self, context: QuicReceiveContext, frame_type: int, buf: Buffer
    ) -> None:
        # aioquic looks at each octet, and most clients fill their first datagrams with them.
        at, end = buf.tell(), buf.capacity
        buf.seek(end - len(buf.data_slice(at, end).lstrip(b"\0")))

    def _idle_timeout(self) -> float:
        if self._remote_max_idle_timeout == 0:
            self._remote_max_idle_timeout = None  # RFC9000§18.2: zero is no time-out
        return super()._idle_timeout()

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        if not self.terms.early:
            self.tls._max_early_data = None  # no ticket invites to send some

    def _update_traffic_key(
        self, direction: Direction, epoch: Epoch, cipher_suite: CipherSuite, secret: bytes
    ) -> None:
        if epoch == Epoch.ZERO_RTT and not self.terms.early:
            # Else aioquic takes early data from whoever has a ticket, however often it comes.
            self.tls.early_data_accepted = False
            return
        super()._update_traffic_key(direction, epoch, cipher_suite, secret)

    # RFC8446§4.6.1

    def _seal_ticket(self, ticket: SessionTicket) -> None:
        """Puts the session itself into the ticket that aioquic has just written."""
        said = self.tls._new_session_ticket
        assert said is not None, "aioquic calls this when it has made one"
        said.ticket = self.terms.keys.seal_ticket(ticket)
        buffer = self._crypto_buffers[Epoch.ONE_RTT]
        buffer.seek(0)
        push_new_session_ticket(buffer, said)


def _missing() -> list[str]:
    """The private names that this version of aioquic has not got."""
    from aioquic.quic.stream import QuicStreamSender

    known = {*vars(QuicConnection), *QuicConnection.__init__.__code__.co_names}
    lost = [name for name in PRIVATE.split() if name not in known]
    made = {*QuicStreamSender.__init__.__code__.co_names}
    sender = ("_buffer_fin", "_buffer_start", "_buffer_stop", "_pending", "_pending_eof")
    return lost + [name for name in (*sender, "_reset_error_code") if name not in made]


if _missing():
    raise ImportError(f"this version of aioquic lacks {', '.join(_missing())}")
# Its hash is Python code otherwise, and a request over QUIC asks for it sixteen times.
Epoch.__hash__ = object.__hash__  # type: ignore[method-assign]
if not issubclass(CipherSuite, int):
    raise ImportError("this version of aioquic has cipher suites that are no numbers")
