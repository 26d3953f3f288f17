"""What hostile frames of a QUIC connection get, and how often each may come.

The packets are such as no QUIC library would send; the numbers are those of known attacks.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.support import apps
from tests.support.h3peer import H3Peer, integer
from tests.support.packets import (
    PATH_CHALLENGE,
    PING,
    RETIRE_CONNECTION_ID,
    acknowledgement,
    packet,
    send,
)
from tricorn.http3 import guarded
from tricorn.http3.guarded import MOST_MOVES, MOST_REPEATED, PASSED, SPAN

PROTOCOL_VIOLATION, UNEXPECTED_MESSAGE = 0x0A, 0x10A


def server_of(peer):
    """The server's transport."""
    (transport,) = {
        each.transport for each in peer.endpoint.links.values() if each.address == peer.address
    }
    return transport


@pytest.fixture
def trapping(monkeypatch):
    """Packet numbers are left out at once."""
    monkeypatch.setattr(guarded, "TRAPS", (20, 20))
    monkeypatch.setattr(guarded.Guarded, "trap_at", 20)


def caught(peer):
    """Sets a trap; its number."""
    transport = server_of(peer)
    before = transport.trap
    while transport.trap == before:
        peer.fetch()
    return transport.trap


# Q-11 Optimistic ACK


def test_numbers_are_left_out_again_and_again():
    peer, traps = H3Peer(apps.hello), []
    for _ in range(1500):
        peer.fetch()
        trap = server_of(peer).trap
        if trap >= 0 and trap not in traps:
            traps.append(trap)
    assert len(traps) >= 4 and not peer.closed
    assert all(64 <= after - before <= 300 for before, after in pairwise(traps))


def test_who_acknowledges_what_was_left_out_has_not_waited_for_it(trapping):
    peer = H3Peer(apps.hello)
    send(peer, acknowledgement(caught(peer)))
    assert peer.closed_with == PROTOCOL_VIOLATION


def test_so_does_who_acknowledges_all_there_might_be(trapping):
    peer = H3Peer(apps.hello)
    trap = caught(peer)
    peer.fetch()
    assert server_of(peer)._packet_number > trap + 1
    send(peer, acknowledgement(trap + 1, trap + 1))
    assert peer.closed_with == PROTOCOL_VIOLATION


def test_ranges_around_what_was_left_out_are_the_truth(trapping):
    peer = H3Peer(apps.hello)
    trap = caught(peer)
    peer.fetch()
    # What is below: the gap counts one less than it leaves out, and so do ranges.
    send(peer, acknowledgement(trap + 1, 0, 0, trap - 1))
    assert not peer.closed and peer.fetch().status == 200


def test_nobody_is_asked_for_ever(trapping, monkeypatch):
    monkeypatch.setattr(guarded, "TRAPS", (10_000, 10_000))
    peer = H3Peer(apps.hello)
    caught(peer)
    for _ in range(PASSED + 1):
        peer.fetch()
    assert server_of(peer).trap == -1


def test_downloads_pass_over_what_was_left_out(trapping):
    peer = H3Peer(apps.answers(bytes(1_000_000)))
    assert len(peer.fetch().body) == len(peer.fetch().body) == 1_000_000


# Q-12 ACK floods


def test_one_packet_need_not_acknowledge_twice():
    peer = H3Peer(apps.hello)
    peer.fetch()
    send(peer, acknowledgement(0) * (MOST_REPEATED + 1))
    assert not peer.closed
    send(peer, acknowledgement(0) * 2)
    assert peer.closed_with == PROTOCOL_VIOLATION


def test_every_packet_may_acknowledge_once():
    peer = H3Peer(apps.hello)
    peer.fetch()
    send(peer, *[acknowledgement(0) + PING] * (MOST_REPEATED * 3))
    assert not peer.closed and peer.fetch().status == 200


@pytest.mark.parametrize("payload", [acknowledgement(5, 6), acknowledgement(5, 1, 9, 9), b"\x02"])
def test_a_frame_that_cannot_be_is_an_error_of_encoding(payload):
    peer = H3Peer(apps.hello)
    for _ in range(10):
        peer.fetch()
    server_of(peer).trap = 1
    send(peer, payload)
    assert peer.closed_with == 0x07


# Q-09 RETIRE_CONNECTION_ID


def retire(number):
    return bytes([RETIRE_CONNECTION_ID]) + integer(number)


def test_connection_ids_are_replaced_so_many_times():
    peer = H3Peer(apps.hello)
    transport = server_of(peer)
    peer.here = False  # aioquic's client would not have so many
    used = peer.quic._peer_cid.sequence_number
    numbers = [number for number in range(MOST_MOVES + 1) if number != used]
    for number in numbers:
        send(peer, retire(number))
    assert transport._close_event is None and len(peer.endpoint.links) <= 9
    send(peer, retire(numbers[-1] + 1))
    assert transport._close_event.error_code == PROTOCOL_VIOLATION


def test_a_client_that_changes_its_id_now_and_then_is_no_attacker():
    peer = H3Peer(apps.hello)
    for _ in range(3):
        for _ in range(MOST_MOVES // 2):
            peer.quic.change_connection_id()
            assert peer.fetch().status == 200
        peer.advance(SPAN)
    assert not peer.closed


def test_the_id_in_use_cannot_be_retired():  # RFC9000§19.16
    peer = H3Peer(apps.hello)
    send(peer, retire(peer.quic._peer_cid.sequence_number))
    assert peer.closed_with == PROTOCOL_VIOLATION


# Q-10 PATH_CHALLENGE


def challenge(number):
    return bytes([PATH_CHALLENGE]) + number.to_bytes(8, "big")


def test_challenges_are_answered_so_many_times():
    peer = H3Peer(apps.hello)
    for number in range(MOST_MOVES):
        send(peer, challenge(number))
    assert not peer.closed
    send(peer, challenge(0))
    assert peer.closed_with == PROTOCOL_VIOLATION


def test_challenges_in_one_packet_leave_a_bounded_answer():
    peer = H3Peer(apps.hello)
    data = packet(peer, b"".join(challenge(number) for number in range(MOST_MOVES)))
    peer.endpoint.take(peer.endpoint.ports[0], data, peer.address, peer.house.clock.now)
    peer.house.settle()
    (answer,) = peer.endpoint.outgoing[peer.address]
    assert len(answer) == 1200  # RFC9000§8.2.2
    peer.settle()
    assert not peer.closed


# Frames that carry nothing


def test_nothing_comes_behind_the_handshake():  # RFC9001§6
    for payload in (b"\x06\0\0", b"\x06\0\x05\x18\0\0\x01\0"):  # nothing, and a KeyUpdate
        peer = H3Peer(apps.hello)
        send(peer, payload)
        assert peer.closed_with == UNEXPECTED_MESSAGE
