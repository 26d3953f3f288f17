"""capacity.py, and who counts in it: connections over QUIC do, as those over TCP."""

from tests.support import apps
from tests.support.h3peer import H3Peer
from tricorn.capacity import Capacity
from tricorn.config import Config
from tricorn_supervisor.scoreboard import Field, Scoreboard


def test_capacity_shows_what_is_held_and_tells_of_each_end():
    row = Scoreboard(1).row(0)
    ends = []
    capacity = Capacity(2, row, lambda: ends.append(capacity.room))
    capacity.take()
    capacity.take()
    assert capacity.room == 0 and row[Field.CONNECTIONS] == 2
    capacity.release()
    assert ends == [1] and row[Field.CONNECTIONS] == 1


def test_connection_over_quic_takes_and_gives_back():
    peer = H3Peer(apps.hello)
    capacity, stats = peer.endpoint.capacity, peer.context.stats
    assert capacity.held == 1
    tally = stats.versions["h3"]
    assert (tally.opened, tally.closed, stats.quic_handshakes) == (1, 0, 1)
    peer.lose()
    peer.advance(120)
    assert capacity.held == 0 and (tally.opened, tally.closed) == (1, 1)
    assert stats.quic_failures == 0


def test_connection_over_quic_waits_where_there_is_no_room():
    first = H3Peer(apps.hello, Config(limit_connections=1))
    second = H3Peer(beside=first)
    assert first.endpoint.capacity.held == 1
    id = second.ask()
    assert second.result(id) is None and first.fetch().status == 200
    first.quic.close()
    first.settle()
    first.advance(10)
    second.advance(10)
    assert second.result(id).status == 200


def test_handshake_that_does_not_end_is_a_failure():
    peer = H3Peer(apps.hello, polite=False)
    # Anybody can begin many, from addresses that are not theirs; they keep out no client over TCP.
    assert len(peer.endpoint.half_open) == 1 and peer.endpoint.capacity.held == 0
    peer.advance(120)
    stats = peer.context.stats
    assert (stats.quic_handshakes, stats.quic_failures) == (0, 1)
    assert peer.endpoint.capacity.held == 0


def test_client_that_moves_is_a_migration():
    peer = H3Peer(apps.hello)
    assert peer.fetch().status == 200
    assert peer.context.stats.quic_migrations == 0
    peer.address = ("198.51.100.1", 50001)
    assert peer.fetch().status == 200
    assert peer.fetch().status == 200
    assert peer.context.stats.quic_migrations == 1


def test_retries_are_counted():
    peer = H3Peer(apps.hello, Config(quic_retry="on"))
    assert peer.fetch().status == 200 and peer.context.stats.quic_retries == 1
