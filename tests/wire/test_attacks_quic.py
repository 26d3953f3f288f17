"""What hostile datagrams get: nothing, or a bounded answer, and never a neighbour's trouble.

The numbers are those of the attacks that are known (RFC 9000 §21).
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from aioquic._buffer import Buffer
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import (
    QuicPacketType,
    QuicProtocolVersion,
    encode_quic_retry,
    pull_quic_header,
)
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.tls import Epoch

from tests.support import apps
from tests.support.h3peer import SECRET, H3Peer
from tricorn.config import Config
from tricorn.http3.endpoint import HALF_OPEN, MOST_NEGOTIATIONS, MOST_RESETS
from tricorn.http3.keys import Keys

STRANGER = ("198.51.100.7", 4433)
V1 = QuicProtocolVersion.VERSION_1


def arrive(peer, data, address=STRANGER):
    """A datagram from somebody; what the server sends back."""
    peer.endpoint.take(peer.endpoint.ports[0], data, address, peer.house.clock.now)
    peer.house.settle()
    return peer.endpoint.outgoing.pop(address, [])


def initial(frames, *, id=None, size=1200):
    """A datagram with an Initial packet of our making."""
    id = os.urandom(8) if id is None else id
    crypto = CryptoPair()
    crypto.setup_initial(cid=id, is_client=True, version=V1)
    builder = QuicPacketBuilder(
        host_cid=b"client00", peer_cid=id, version=V1, is_client=True, max_datagram_size=size
    )
    builder.start_packet(QuicPacketType.INITIAL, crypto)
    frames(builder)
    datagrams, _ = builder.flush()
    return datagrams[0]


def crypto(offset, data):
    def write(builder):
        buffer = builder.start_frame(0x06, capacity=16)
        buffer.push_uint_var(offset)
        buffer.push_uint_var(len(data))
        buffer.push_bytes(data)

    return write


def long_header(version, *, id=b"12345678", size=1200):
    head = b"\xc0" + version.to_bytes(4, "big") + bytes([len(id)]) + id + b"\x04abcd"
    return head + bytes(size - len(head))


# Strangers


@pytest.mark.parametrize("size", [0, 1, 5, 9, 20, 43, 100, 1200])
@pytest.mark.parametrize("first", [0x00, 0x40, 0x80, 0xC0, 0xE0, 0xFF])
def test_garbage_gets_no_answer_larger_than_itself(first, size):
    peer = H3Peer(apps.hello)
    data = bytes([first]) + os.urandom(max(0, size - 1))
    answers = arrive(peer, data[:size])
    assert sum(map(len, answers)) <= size
    assert peer.fetch().status == 200


def test_a_small_initial_makes_no_connection():
    peer = H3Peer(apps.hello)
    data = initial(crypto(0, b"x"))[:1199]
    assert arrive(peer, data) == [] and peer.endpoint.held == 1


@pytest.mark.parametrize("size", [0, 3, 7])
def test_an_initial_for_a_short_id_makes_no_connection(size):
    peer = H3Peer(apps.hello)
    assert arrive(peer, initial(crypto(0, b"x"), id=bytes(size))) == []
    assert peer.endpoint.held == 1


def test_versions_are_negotiated_with_whole_datagrams_only():
    peer = H3Peer(apps.hello)
    assert arrive(peer, long_header(0x0A0A0A0A, size=1199)) == []
    assert arrive(peer, long_header(0)) == []
    (answer,) = arrive(peer, long_header(0x0A0A0A0A))
    assert answer[1:5] == bytes(4) and b"\0\0\0\1" in answer and len(answer) < 100


def test_versions_are_negotiated_with_so_many_in_a_second():
    peer = H3Peer(apps.hello)
    answers = [arrive(peer, long_header(0x0A0A0A0A)) for _ in range(MOST_NEGOTIATIONS + 50)]
    assert sum(map(len, answers)) == MOST_NEGOTIATIONS


# §10.3 Stateless Reset


def test_a_connection_that_nobody_knows_is_reset():
    peer = H3Peer(apps.hello)
    id = b"\x07abcdefg"
    (answer,) = arrive(peer, b"\x40" + id + bytes(60))
    assert answer[-16:] == Keys(SECRET).reset_token(id)
    assert 21 <= len(answer) <= 42 and answer[0] & 0xC0 == 0x40


def test_what_is_too_small_for_a_smaller_reset_is_not_answered():
    peer = H3Peer(apps.hello)
    assert arrive(peer, b"\x40\x07abcdefg" + bytes(21 - 9)) == []


@pytest.mark.parametrize("size", [22, 28, 42, 43])
def test_a_reset_is_smaller_than_what_it_answers(size):  # RFC9000§10.3.3
    """A client that waits for an answer may have nothing but a PING to send again."""
    peer = H3Peer(apps.hello)
    (answer,) = arrive(peer, b"\x40\x07abcdefg" + bytes(size - 9))
    assert 21 <= len(answer) < size


def test_no_reset_for_what_another_worker_may_know():  # RFC9000§21.11
    peer = H3Peer(apps.hello)
    peer.endpoint.resettable = lambda id: False
    assert arrive(peer, b"\x40\x07abcdefg" + bytes(60)) == []


def test_resets_are_so_many_in_a_second():
    peer = H3Peer(apps.hello)
    packet = b"\x40\x07abcdefg" + bytes(60)
    assert sum(len(arrive(peer, packet)) for _ in range(MOST_RESETS + 50)) == MOST_RESETS
    peer.advance(1)
    assert len(arrive(peer, packet)) == 1


# Handshakes


def test_a_handshake_may_not_leave_gaps_that_cost_memory():
    peer = H3Peer(apps.hello)
    arrive(peer, initial(crypto(524_000, b"x")))
    links = [link for link in peer.endpoint.links.values() if link.address == STRANGER]
    assert all(link.connection.broken or link.transport._close_event for link in links)
    for link in links:
        receiver = link.transport._crypto_streams[Epoch.INITIAL].receiver
        assert len(receiver._buffer) == 0


def test_a_handshake_that_does_not_end_is_ended():
    peer = H3Peer(apps.hello)
    arrive(peer, initial(crypto(0, b"\x01")))
    assert len(peer.endpoint.half_open) == 1
    for _ in range(20):
        peer.advance(1)
    assert not peer.endpoint.half_open


def test_many_handshakes_make_clients_prove_their_address():
    peer = H3Peer(apps.hello)
    for _ in range(HALF_OPEN):
        arrive(peer, initial(crypto(0, b"\x01")))
    (answer,) = arrive(peer, initial(crypto(0, b"\x01")))
    assert answer[0] & 0xF0 == 0xF0, "a Retry packet"
    assert len(peer.endpoint.half_open) == HALF_OPEN
    late = H3Peer(beside=peer)
    assert late.fetch().status == 200


def test_handshakes_are_so_many():
    peer = H3Peer(apps.hello, Config(quic_max_handshakes=5, quic_retry="off"))
    for _ in range(20):
        arrive(peer, initial(crypto(0, b"\x01")))
    assert len(peer.endpoint.half_open) == 5


def test_with_retry_on_every_client_proves_its_address():
    peer = H3Peer(apps.hello, Config(quic_retry="on"))
    assert peer.fetch().status == 200 and peer.quic._retry_count == 1


def test_a_token_is_good_for_its_address_and_its_time_only():
    keys = Keys(SECRET)
    token = keys.retry_token(STRANGER, b"original", b"retried0")
    assert keys.open_retry_token(token, STRANGER, b"retried0") == b"original"
    assert Keys(SECRET).open_retry_token(token, STRANGER, b"retried0") == b"original"
    assert keys.open_retry_token(token, ("198.51.100.8", 4433), b"retried0") is None
    assert keys.open_retry_token(token, (STRANGER[0], 4434), b"retried0") is None
    assert keys.open_retry_token(token, STRANGER, b"another0") is None
    assert keys.open_retry_token(token[:-1] + b"\0", STRANGER, b"retried0") is None
    assert keys.open_retry_token(b"", STRANGER, b"retried0") is None
    assert Keys(bytes(32)).open_retry_token(token, STRANGER, b"retried0") is None


def test_a_retry_can_be_read_by_aioquic():
    header = pull_quic_header(
        Buffer(data=encode_quic_retry(V1, b"12345678", b"abcd", b"original", b"token"))
    )
    assert header.token == b"token"


# Sessions


def test_a_session_is_resumed_by_a_worker_that_never_saw_it():
    first = H3Peer(apps.hello)
    first.fetch()
    (ticket,) = first.tickets
    other = H3Peer(apps.hello, client={"session_ticket": ticket})
    assert other.fetch().status == 200 and other.quic.tls.session_resumed


def test_a_ticket_of_other_keys_begins_afresh():
    first = H3Peer(apps.hello)
    first.fetch()
    ticket = replace(first.tickets[0], ticket=os.urandom(100))
    other = H3Peer(apps.hello, client={"session_ticket": ticket})
    assert other.fetch().status == 200 and not other.quic.tls.session_resumed


def test_early_data_is_not_taken_unless_asked_for():
    first = H3Peer(apps.hello)
    first.fetch()
    (ticket,) = first.tickets
    assert ticket.max_early_data_size is None
    eager = replace(ticket, max_early_data_size=0xFFFFFFFF)
    other = H3Peer(apps.hello, client={"session_ticket": eager})
    assert not other.quic.tls.early_data_accepted


# Connections


def test_acknowledging_what_was_never_sent_ends_the_connection():
    peer = H3Peer(apps.hello)
    space = peer.quic._spaces[Epoch.ONE_RTT]
    space.ack_queue.add(100_000, 100_001)
    space.ack_at = peer.house.clock.now
    peer.settle()
    assert peer.closed_with == 0x0A


def test_a_client_without_an_idle_timeout_has_ours():  # Q-25, RFC9000§18.2
    peer = H3Peer(apps.hello)
    (link,) = {*peer.endpoint.links.values()}
    link.transport._remote_max_idle_timeout = 0.0
    assert link.transport._idle_timeout() == Config().quic_idle_timeout


def test_windows_grow_only_with_what_is_taken():
    async def slow_or_echo(gate, scope, receive, send):
        if scope["path"] == "/slow":
            await gate.wait()
        await apps.echo(scope, receive, send)

    gate = apps.Gate(slow_or_echo)
    peer = H3Peer(gate)
    id = peer.begin("/slow")
    peer.part(id, bytes(2_000_000))
    (link,) = {*peer.endpoint.links.values()}
    assert link.transport._local_max_data.used <= 1024 * 1024
    assert link.transport._streams[id].receiver.highest_offset <= 256 * 1024
    peer.abandon(id)
    gate.open()
    peer.settle()
    assert peer.fetch("/", "POST", body=bytes(3_000_000)).body == bytes(3_000_000)


def test_what_breaks_one_connection_leaves_the_others():
    from tests.support.peers import errors

    peer = H3Peer(apps.hello)
    other = H3Peer(beside=peer)
    link = next(each for each in peer.endpoint.links.values() if each.address == peer.address)

    def breaks(*args, **kwargs):
        raise RuntimeError("broken")

    link.transport.receive_datagram = breaks
    peer.ask()
    errors.expect("the connection is given up")
    assert other.fetch().status == 200 and peer.endpoint.held == 1
