"""Whole connections: any octets do no harm, and how they are cut into segments does not matter."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.property import grammar
from tests.support.apps import Recorder
from tests.support.peers import H1Peer
from tests.support.tunnel import Tunnel
from tricorn.config import Config

FEW = settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
SMALL = Config(limit_request_line=128, limit_request_fields=12, limit_request_head=1024)
OK = b"HTTP/1.1 200 OK\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def outcome(segments: list[bytes]) -> tuple[object, ...]:
    """What the application and the client have seen, of what may not depend on segments."""
    app = Recorder()
    with H1Peer(app, SMALL) as peer:
        peer.send(*segments)
        open_after = not peer.closed
        sent = peer.sent.replace(CONTINUE, b"")
        methods = [call.scope["method"] for call in app.calls if call.ended]
        answers = peer.responses(*methods)
        peer.lose()
    # A body that turns out to be wrong: if it does so at once, nobody is called for it.
    served = [
        (
            call.scope["method"],
            call.scope["raw_path"],
            call.scope["headers"],
            call.body,
            call.trailers,
        )
        for call in app.calls
        if call.ended
    ]
    assert all(call.ended or call.disconnected for call in app.calls)
    assert all(answer.complete for answer in answers[: len(methods)])
    refused = [each.status for each in answers if each.status != 200]
    assert len(refused) <= 1 and sent.count(OK) == len(served)
    # Which error it is may depend on which of several is seen first.
    return served, sent.split(b"HTTP/1.1 4")[0].split(b"HTTP/1.1 5")[0], bool(refused), open_after


def compare(random: Random) -> bool:
    data = grammar.conversation(random)
    whole = outcome([data] if data else [])
    assert outcome(grammar.pieces(random, data)) == whole, data
    return bool(whole[0])


@FEW
@given(st.randoms(use_true_random=False))
def test_segments_do_not_matter(random):
    compare(random)


@pytest.mark.slow
def test_the_same_for_a_thousand_conversations():
    random = Random(9112)
    served = sum(compare(random) for _ in range(1000))
    assert served > 300


@FEW
@given(st.lists(st.binary(max_size=60), max_size=6), st.integers(0, 5))
def test_any_octets_do_no_harm(segments, end):
    with H1Peer(Recorder(), streams={"x": Tunnel.accepting}) as peer:
        for segment in segments:
            peer.send(segment)
        if end == 0:
            peer.half_close()
        elif end == 1:
            peer.advance(20)


@pytest.mark.slow
def test_no_mutation_of_a_conversation_does_harm():
    # H1Peer fails the test on what is raised into the loop, on errors and on tasks that are left.
    random = Random(9110)
    for _ in range(700):
        with H1Peer(Recorder(), SMALL, streams={"h2c": Tunnel.accepting}) as peer:
            data = grammar.mutated(random, grammar.conversation(random))
            peer.wire.arrive(grammar.pieces(random, data))
            for _ in range(random.randint(0, 6)):
                doing = random.choice(
                    [peer.settle, lambda: peer.advance(6), peer.stop_reading, peer.read]
                )
                doing()
            random.choice([peer.half_close, peer.lose, peer.drain, peer.settle])()
