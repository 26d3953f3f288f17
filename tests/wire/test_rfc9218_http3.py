"""RFC 9218 over HTTP/3: which response's octets go out when there is not room for all."""

from __future__ import annotations

import pytest

from tests.support import apps
from tests.support.apps import body, start
from tests.support.h3peer import H3Peer, frame, integer

SIZE = 120_000
FEW = 30_000
NARROW = {"max_data": FEW, "max_stream_data": 1_000_000}


async def large(scope, receive, send):
    await send(start())
    await send(body(bytes(SIZE)))


def narrow(application=large):
    """A client that gives credit for the connection by hand, and plenty for its streams."""
    peer = H3Peer(application, client=NARROW)
    peer.stop_reading()
    return peer


def sizes(peer, *ids):
    return [len(peer.buffers.get(id, b"")) + len(peer.streams[id].body) for id in ids]


def test_urgent_responses_go_before_others():  # §4.1
    peer = narrow()
    later = peer.ask(headers=[(b"priority", b"u=5")])
    sooner = peer.ask(headers=[(b"priority", b"u=1")])
    peer.streams.setdefault(sooner, type(peer.streams[later])(0, []))
    before, _ = sizes(peer, later, sooner)
    for _ in range(3):
        peer.read(FEW)
    now, urgent = sizes(peer, later, sooner)
    assert now == before and urgent >= 3 * FEW - 1000
    peer.read()
    assert all(peer.streams[id].complete for id in (later, sooner))


def test_responses_of_one_urgency_come_one_after_the_other():  # §10
    peer = narrow()
    first, second = peer.ask(), peer.ask()
    peer.streams.setdefault(second, type(peer.streams[first])(0, []))
    for _ in range(2):
        peer.read(FEW)
    assert sizes(peer, second) == [0]
    peer.read()


def test_incremental_responses_share():  # §4.2
    peer = narrow()
    ids = [peer.ask(headers=[(b"priority", b"i")]) for _ in range(3)]
    for _ in range(5):
        peer.read(FEW)
    shares = sizes(peer, *ids)
    assert min(shares[1:]) > FEW and abs(shares[1] - shares[2]) < 5_000
    peer.read()


def test_the_application_has_the_last_word():  # §8
    async def chooses(scope, receive, send):
        urgency = b"u=0" if scope["path"] == "/urgent" else b"u=7"
        await send(start(200, (b"priority", urgency)))
        await send(body(bytes(SIZE)))

    peer = narrow(chooses)
    later, sooner = peer.ask("/"), peer.ask("/urgent")
    peer.streams.setdefault(sooner, type(peer.streams[later])(0, []))
    before, _ = sizes(peer, later, sooner)
    peer.read(FEW)
    now, urgent = sizes(peer, later, sooner)
    assert now == before and urgent > FEW - 1000
    peer.read()


def test_a_client_may_change_its_mind():  # §7.2
    peer = narrow()
    first, second = peer.ask(), peer.ask()
    peer.streams.setdefault(second, type(peer.streams[first])(0, []))
    before, _ = sizes(peer, first, second)
    peer.write(peer.control_id, frame(0xF0700, integer(second) + b"u=0"))
    peer.read(FEW)
    now, urgent = sizes(peer, first, second)
    assert now == before and urgent > FEW - 2000
    peer.read()


@pytest.mark.parametrize(
    ("payload", "code"),
    [(integer(1) + b"u=1", 0x108), (integer(2) + b"u=1", 0x108), (b"", 0x106), (b"\x40", 0x106)],
)
def test_updates_of_what_is_no_request_end_the_connection(payload, code):  # §7.2
    peer = H3Peer(apps.hello)
    peer.write(peer.control_id, frame(0xF0700, payload))
    assert peer.closed_with == code


def test_updates_of_pushes_end_the_connection():  # §7.2
    peer = H3Peer(apps.hello)
    peer.write(peer.control_id, frame(0xF0701, b"\0u=1"))
    assert peer.closed_with == 0x108


def test_an_update_may_come_before_a_request_that_others_have_overtaken():  # §7.2
    peer = narrow()
    late = peer.quic.get_next_available_stream_id()
    peer.quic.send_stream_data(late, b"")
    first = peer.ask()
    peer.write(peer.control_id, frame(0xF0700, integer(late) + b"u=7"))
    peer.write(late, peer.request(), end=True)
    peer.streams.setdefault(late, type(peer.streams[first])(0, []))
    _, before = sizes(peer, first, late)
    peer.read(FEW)
    urgent, now = sizes(peer, first, late)
    assert now == before and urgent > FEW - 2000
    peer.read()
