"""The floods of HTTP/2; H2-nn are the rows of the attack catalogue, and their limits in its §3.

Each ends with ENHANCE_YOUR_CALM, or is so cheap that it need not; a neighbour is served meanwhile.
Per hostile octet that was listened to: under a microsecond, and under 16 octets that stay.
"""

from __future__ import annotations

import pytest

from tests.support import apps, frames
from tests.support.costs import least
from tests.support.frames import GET, PREFACE
from tests.support.h2peer import H2Peer
from tests.wire.floods import FLOODS, pour, split
from tests.wire.states import connected, holds, other, waits
from tricorn.config import Config

MOST_MEMORY = 16
"""Octets for each octet."""
SLOW = {
    *("H2-17-window-updates", "H2-17-of-a-stream", "H2-34-padding", "H2-30-unknown-large"),
    *("H2-15-literals", "H2-12-references", "H2-15-empty-literals"),
}
EVERY_FLOOD = pytest.mark.parametrize(
    "flood",
    [
        pytest.param(flood, marks=pytest.mark.slow if name in SLOW else (), id=name)
        for name, flood in FLOODS.items()
    ],
)


@EVERY_FLOOD
def test_a_flood_costs_less_than_it_takes_to_send(flood):
    def each() -> float:
        cost = pour(flood)
        assert cost.code == flood.code
        cost.peer.finish()
        return cost.each

    assert least(each, flood.most) < flood.most


@EVERY_FLOOD
def test_a_flood_leaves_little_behind(flood):
    cost = pour(flood, traced=True)
    assert cost.held < MOST_MEMORY * cost.octets


@EVERY_FLOOD
def test_a_neighbour_is_served_meanwhile(flood):
    cost = pour(flood)
    beside = H2Peer(beside=cost.peer)
    for _ in range(2):
        assert beside.fetch("/other").body == b"hello"
    assert beside.goaway is None


@pytest.mark.parametrize("name", ["H2-01-rapid-reset", "H2-06-malformed"])
def test_h2_01_streams_that_are_given_up_are_counted_not_open_ones(name):
    called = []

    async def application(scope, receive, send):
        called.append(scope)
        await holds(scope, receive, send)

    peer = connected(application)
    peer.send(FLOODS[name].data[:65_536])
    assert peer.goaway == frames.ENHANCE_YOUR_CALM and peer.closed and not called


def test_h2_01_who_takes_most_answers_may_cancel_the_others():
    peer = connected()
    for id in range(1, 2001, 4):
        peer.send(frames.headers(id) + frames.rst(id) + other(id + 2))
    assert peer.goaway is None and len(peer.streams) == 500


def test_h2_01_applications_that_go_on_count_as_open():
    gate = apps.Gate(waits)
    peer = connected(gate, Config(h2_max_concurrent_streams=9))
    for id in range(1, 19, 2):
        peer.send(frames.headers(id), frames.rst(id))
    peer.send(frames.headers(19))
    assert peer.resets == {19: frames.REFUSED_STREAM} and peer.goaway is None
    gate.open()
    peer.settle()
    peer.send(frames.headers(21), frames.headers(23))
    assert set(peer.resets) == {19, 23}
    for _ in range(9):
        gate.open()
    peer.settle()


def test_h2_04_answers_that_nobody_reads_are_bounded():
    peer = connected(apps.never)
    peer.stop_reading()
    for _ in range(100):
        peer.send(frames.ping() * 100)
    assert peer.wire.most < 64 * 1024


@pytest.mark.parametrize("count", [33, 2730])
def test_h2_05_a_settings_frame_has_few_entries(count):
    peer = connected(apps.never)
    peer.send(frames.settings((0x1000 + each, 7) for each in range(count)))
    assert peer.goaway == frames.ENHANCE_YOUR_CALM


def test_h2_05_settings_may_change_now_and_then():
    peer = connected(apps.never)
    for _ in range(40):
        peer.send(frames.settings({3: 7}))
        peer.advance(1.3)
        peer.send(frames.ping())
    assert peer.goaway is None


@pytest.mark.parametrize(
    "blocks, code",
    [
        (b"\x20" * 2, None),
        (b"\x3f\xe1\x1f" * 2, None),
        (b"\x20" * 3, frames.COMPRESSION_ERROR),
        (b"\x3f\xe1\x1f" * 3, frames.COMPRESSION_ERROR),
        (b"\x20" * 60_000, frames.COMPRESSION_ERROR),
    ],
)
def test_h2_14_a_block_begins_with_two_size_updates_at_most(blocks, code):
    peer = connected(apps.hello)
    peer.send(split(blocks + frames.block(GET).lstrip(b"\x20")))
    assert peer.goaway == code


def test_h2_16_no_oversize_frame_is_kept():
    peer = connected(apps.never)
    connection = peer.connection
    peer.send(frames.frame(frames.DATA, b"", length=2**24 - 1))
    for _ in range(8):
        peer.send(b"x" * 16_384)
    assert peer.goaway == frames.FRAME_SIZE_ERROR and not connection.partial


@pytest.mark.parametrize("count, refused", [(8, False), (9, True)])
def test_h2_03_a_block_has_eight_continuations_at_most(count, refused):
    peer = connected(apps.hello)
    data = frames.headers(1, frames.block(GET), whole=False)
    data += frames.continuation(1, whole=False) * (count - 1) + frames.continuation(1)
    peer.send(data)
    assert (peer.goaway == frames.ENHANCE_YOUR_CALM) is refused
    assert (1 in peer.streams) is not refused


def test_h2_31_who_says_nothing_is_not_waited_for():
    for opening in (b"", PREFACE[:9], PREFACE, PREFACE + frames.settings()[:5]):
        with connected(apps.never, polite=False) as peer:
            peer.send(opening)
            peer.advance(11)
            assert peer.closed


def test_who_moves_content_may_ping_for_it():
    """As gRPC does for each part of a download: it measures the path with them."""
    peer = connected(apps.answers(b"x" * 100_000))
    for _ in range(30):
        assert peer.fetch().complete
        peer.send(frames.ping() * 500)
    assert peer.goaway is None
    peer.send(frames.ping() * 3000)
    assert peer.goaway == frames.ENHANCE_YOUR_CALM
