"""HTTP/3 connections: how the octets of streams are cut does not matter, and none do harm."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.property.conversations import mutated
from tests.property.test_http2_segmentation import Later
from tests.support import apps
from tests.support.h3peer import H3Peer, frame, integer
from tests.support.packets import send
from tests.support.peers import split_randomly

FEW = settings(
    max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
REQUEST = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"x"), (b":path", b"/")]
FIELDS = [
    (b"x-a", b"1"),
    (b"cookie", b"a=b"),
    (b"priority", b"u=1, i"),
    (b"te", b"trailers"),
    (b"x-long", b"y" * 300),
    (b"content-length", b"5"),
]
MALFORMED = [
    (b"X-A", b"1"),
    (b"connection", b"close"),
    (b"x-a", b"\0"),
    (b":late", b"1"),
    (b"content-length", b"x"),
    (b"x-huge", b"y" * 20_000),
]
GREASE = [frame(0x21, b"xyz"), frame(0x1F * 1000 + 0x21), frame(0x40, b"z" * 100)]
FATAL = [frame(4), frame(5), frame(2), frame(0x0D, b"\0"), frame(1, b"\xff\xff\xff")]
UNIDIRECTIONAL = [
    b"\x02" + b"\x20" * 5,
    b"\x03" + b"\x44\x48",
    b"\x21" + b"whatever",
    b"\x54\x02" + b"nobody knows this",
]
Said = list[tuple[str, bytes, bool]]
"""The streams of a client: their kinds, their octets, whether they end."""


class Story:
    """What a client says on streams of its own, in or out of order."""

    def __init__(self, random: Random, peer: H3Peer) -> None:
        self.random, self.peer = random, peer

    def once(self, chance: float) -> bool:
        return self.random.random() < chance

    def streams(self) -> Said:
        choice = self.random
        said: Said = [("uni", b"\0" + frame(4, integer(6) + integer(10_000)), False)]
        said += [
            ("uni", each, False) for each in choice.sample(UNIDIRECTIONAL, choice.randint(0, 3))
        ]
        said += [("request", *self.request()) for _ in range(choice.randint(1, 5))]
        if self.once(0.15):
            said.append(("request", self.head() + choice.choice(FATAL), False))
        return said

    def head(self, *, malformed: bool = False) -> bytes:
        extra = self.random.sample(FIELDS, self.random.randint(0, 3))
        if malformed:
            extra.append(self.random.choice(MALFORMED))
        return self.peer.head([*REQUEST, *extra])

    def request(self) -> tuple[bytes, bool]:
        parts = [self.head(malformed=self.once(0.2))]
        parts += [
            frame(0, b"d" * self.random.choice([0, 1, 5, 5, 2000]))
            for _ in range(self.random.randint(0, 3))
        ]
        if self.once(0.3):
            parts.append(self.peer.head([(b"x-trailer", b"1")]))
        for _ in range(self.random.randint(0, 2)):
            parts.insert(self.random.randint(0, len(parts)), self.random.choice(GREASE))
        return b"".join(parts), self.once(0.9)


def outcome(seed: int, *, cut: float | None) -> tuple[object, ...]:
    """What the client has seen at the end. Pieces of different streams come in any order."""
    random = Random(seed)
    app = Later()
    with H3Peer(app.gate, raw=True) as peer:
        said = Story(random, peer).streams()
        ids, pieces = [], []
        for kind, data, end in said:
            id = peer.quic.get_next_available_stream_id(is_unidirectional=kind == "uni")
            peer.quic.send_stream_data(id, b"")
            ids.append(id)
            parts = [data] if cut is None else split_randomly(data, cut)
            pieces.append([(id, part, False) for part in parts[:-1]] + [(id, parts[-1], end)])
        while any(pieces):
            queue = random.choice([each for each in pieces if each])
            id, part, last = queue.pop(0)
            peer.write(id, part, end=last)
        for _ in range(10):
            app.gate.open()
        peer.settle()
        if peer.closed:
            return (peer.closed_with,)
        answers = {
            id: (each.status, each.body, each.complete, each.reset)
            for id, each in sorted(peer.streams.items())
        }
        return answers, peer.closed_with


def compare(seed: int) -> int:
    whole = outcome(seed, cut=None)
    assert outcome(seed, cut=Random(seed).random()) == whole, seed
    return len(whole) > 1 and sum(answer[0] == 200 for answer in whole[0].values())


def neighbours() -> tuple[H3Peer, H3Peer]:
    """Two clients of one worker."""
    peer = H3Peer(apps.echo)
    return peer, H3Peer(beside=peer)


@FEW
@given(st.integers(0, 2**32))
def test_segments_do_not_matter(seed):
    compare(seed)


@pytest.mark.slow
def test_the_same_for_hundreds_of_conversations():
    assert sum(compare(seed) for seed in range(150)) > 150


@FEW
@given(
    st.lists(
        st.tuples(st.sampled_from(["uni", "request"]), st.binary(max_size=80), st.booleans()),
        max_size=8,
    )
)
@example([("uni", b"\x00", False), ("uni", b"\x00", True)])
@example([("request", b"\x01\x40", True), ("uni", b"\x02\x3f", False)])
def test_any_octets_on_streams_do_no_harm(said):
    # H3Peer fails the test on what is raised, on errors in the log and on tasks that are left.
    peer, neighbour = neighbours()
    for kind, data, end in said:
        if not peer.closed:
            id = peer.quic.get_next_available_stream_id(is_unidirectional=kind == "uni")
            peer.write(id, data, end=end)
    assert neighbour.fetch("/", "POST", body=b"still there").body == b"still there"


@FEW
@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=5))
@example([b"\x02\xff"])
@example([b"\x08\x00", b"\x1e", b"\x1c\x00\x00\x00"])
def test_any_octets_in_packets_do_no_harm(payloads):
    peer, neighbour = neighbours()
    send(peer, *payloads)
    assert neighbour.fetch("/", "POST", body=b"still there").body == b"still there"


@FEW
@given(st.binary(max_size=1300), st.integers(0, 63))
def test_any_datagram_does_no_harm(data, first):
    peer, neighbour = neighbours()
    known = bytes([0x40 | first]) + peer.quic._peer_cid.cid
    for each in (data, known + data, known):
        peer.endpoint.take(peer.endpoint.ports[0], each, peer.address, peer.house.clock.now)
    assert neighbour.fetch().status == peer.fetch().status == 200


@pytest.mark.slow
def test_no_mutation_of_a_conversation_does_harm():
    peer = H3Peer(apps.echo)
    random = Random(9114)
    for _ in range(300):
        other = H3Peer(beside=peer, raw=True)
        for kind, data, end in Story(random, other).streams():
            if other.closed:
                break
            id = other.quic.get_next_available_stream_id(is_unidirectional=kind == "uni")
            *parts, last = split_randomly(mutated(random, data), random.random())
            for part in parts:
                other.write(id, part)
            other.write(id, last, end=end)
        random.choice([other.close, other.stop_reading, other.settle])()
        other.lose()
        assert peer.fetch("/", "POST", body=b"still there").body == b"still there"


# The network


def unreliable(random: Random, deliver: Callable[..., None]) -> Callable[..., None]:
    """Loses, doubles, and swaps some of what is delivered."""
    held: list[tuple[object, ...]] = []

    def pass_on(*arguments: object) -> None:
        fate = random.random()
        if fate < 0.1:
            return
        if fate < 0.2:
            held.append(arguments)
            return
        deliver(*arguments)
        if fate < 0.25:
            deliver(*arguments)
        while held:
            deliver(*held.pop())

    return pass_on


def visit(seed: int) -> None:
    random = Random(seed)
    peer = H3Peer(apps.echo)
    peer.endpoint.take = unreliable(random, peer.endpoint.take)
    peer.quic.receive_datagram = unreliable(random, peer.quic.receive_datagram)
    bodies = {}
    for _ in range(random.randint(1, 20)):
        body = random.randbytes(random.choice([0, 10, 3000, 40_000]))
        id = peer.quic.get_next_available_stream_id()
        peer.asked += 1
        data = peer.request("/", "POST") + (frame(0, body) if body else b"")
        peer.quic.send_stream_data(id, data, True)
        bodies[id] = body
        if random.random() < 0.3:
            peer.settle()
    for _ in range(300):
        if all(id in peer.streams and peer.streams[id].complete for id in bodies):
            break
        peer.advance(0.2)
    assert {id: peer.streams[id].body for id in bodies} == bodies, seed


@settings(FEW, max_examples=10)
@given(st.integers(0, 2**32))
def test_what_the_network_loses_is_sent_again(seed):
    visit(seed)


@pytest.mark.slow
def test_visits_over_a_bad_network():
    for seed in range(40):
        visit(seed)
