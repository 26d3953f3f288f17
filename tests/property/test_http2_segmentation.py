"""Whole HTTP/2 connections: how octets are cut into segments does not matter, and none do harm."""

from __future__ import annotations

from random import Random

import pytest
from hyperframe.frame import PingFrame, SettingsFrame
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.property.conversations import conversation, mutated
from tests.support import apps, frames
from tests.support.frames import PREFACE
from tests.support.h2peer import H2Peer
from tests.support.peers import byte_by_byte, split_randomly
from tests.support.tunnel import Tunnel
from tricorn.net.tcp import sweep

FEW = settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


class Later:
    """Reads everything, and answers with it when the client has said all that it says.

    Nothing is answered before, as it would matter: a stream that is still open when something
    wrong comes for it is one that ended already if the same comes later.
    """

    def __init__(self) -> None:
        self.waiting: list[apps.Gate] = []
        self.seen: dict[bytes, object] = {}
        self.gate = apps.Gate(self.run)

    async def run(self, gate, scope, receive, send):
        noted = dict(scope, body=b"")
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            noted["body"] += message["body"]
            if not message["more_body"]:
                break
        await gate.wait()
        content = repr((noted["method"], noted["headers"], noted["body"], message.get("trailers")))
        await send(apps.start(200))
        await send(apps.body(content.encode()))


def outcome(segments: list[bytes]) -> tuple[object, ...]:
    """What the client has seen at the end."""
    app = Later()
    with H2Peer(app.gate, polite=False, streams={"echo": Tunnel.accepting}) as peer:
        for segment in segments:
            if peer.wire.closing:
                break
            peer.send(segment)
        for _ in range(30):
            app.gate.open()
        peer.settle()
        answers = {
            id: (each.status, each.body, each.complete, each.reset)
            for id, each in sorted(peer.streams.items())
        }
        pings = [each.opaque_data for each in peer.of(PingFrame)]
        acknowledged = len([each for each in peer.of(SettingsFrame) if each.flags])
        return answers, peer.goaways, pings, acknowledged, peer.closed


def compare(random: Random) -> int:
    data = conversation(random)
    whole = outcome([data])
    assert outcome(split_randomly(data, random.random())) == whole, data
    if len(data) < 600:
        assert outcome(byte_by_byte(data)) == whole, data
    return sum(answer[0] == 200 for answer in whole[0].values())


@FEW
@given(st.randoms(use_true_random=False))
def test_segments_do_not_matter(random):
    compare(random)


@pytest.mark.slow
def test_the_same_for_a_thousand_conversations():
    random = Random(9113)
    assert sum(compare(random) for _ in range(1000)) > 300


@FEW
@given(st.lists(st.binary(max_size=60), max_size=6), st.booleans(), st.integers(0, 5))
def test_any_octets_do_no_harm(segments, greeted, end):
    with H2Peer(apps.echo, polite=False) as peer:
        for segment in [PREFACE + frames.settings()] * greeted + segments:
            if peer.wire.closing:
                break
            peer.send(segment)
        if end == 0:
            peer.half_close()
        elif end == 1:
            peer.advance(20)


@FEW
@given(st.binary(max_size=200), st.integers(0, 1), st.sampled_from([4, 5, 12, 13, 36, 44]))
def test_any_header_block_does_no_harm(block, before, flags):
    with H2Peer(apps.echo, polite=False) as peer:
        peer.send(PREFACE + frames.settings() + frames.headers(1) * before)
        peer.send(frames.frame(frames.HEADERS, block, flags=flags, stream=3))


@pytest.mark.slow
def test_no_mutation_of_a_conversation_does_harm():
    # H2Peer fails the test on what is raised into the loop, on errors and on tasks that are left.
    random = Random(7541)
    for _ in range(1500):
        with H2Peer(apps.echo, polite=False) as peer:
            data = mutated(random, conversation(random))
            peer.wire.arrive(split_randomly(data, random.random()))
            for _ in range(random.randint(0, 6)):
                doing = random.choice([peer.house.settle, peer.stop_reading, peer.wire.read])
                doing()
            if random.random() < 0.2:
                now = peer.context.now
                for second in range(70):
                    sweep(peer.context, now + second)
                    peer.house.settle()
            connections = list(peer.context.connections)
            drains = [connection.drain for connection in connections]
            random.choice([peer.wire.lose, peer.wire.end, *drains])()
            peer.house.settle()
            peer.wire.sent.clear()  # the client did not note what it said
