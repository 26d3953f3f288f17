"""The floods of QUIC and HTTP/3; Q-nn are the rows of the attack catalogue.

Each ends the connection, or is so cheap that it need not; a neighbour is served meanwhile. Per
hostile octet that was listened to: under a microsecond, and under 16 octets that stay.
"""

from __future__ import annotations

import pytest

from tests.support.costs import least
from tests.support.h3peer import H3Peer
from tests.wire.floods_quic import FLOODS, pour

MOST_MEMORY = 16
"""Octets for each octet."""
EVERY_FLOOD = pytest.mark.parametrize(
    "flood", [pytest.param(flood, id=name) for name, flood in FLOODS.items()]
)


@EVERY_FLOOD
@pytest.mark.slow  # not because it is, but those are measured one after the other
def test_a_flood_costs_less_than_it_takes_to_send(flood):
    def each() -> float:
        cost = pour(flood)
        assert cost.ended == flood.ends
        return cost.each

    assert least(each, flood.most) < flood.most


@EVERY_FLOOD
def test_a_flood_leaves_little_behind(flood):
    cost = pour(flood, traced=True)
    assert cost.ended == flood.ends
    assert cost.held < MOST_MEMORY * cost.octets


@EVERY_FLOOD
def test_a_neighbour_is_served_meanwhile(flood):
    cost = pour(flood)
    beside = H3Peer(beside=cost.peer)
    assert beside.fetch("/other").body == b"hello"
