"""Framing and smuggling attacks on HTTP/1.1; H1-nn are the rows of the attack catalogue.

Whatever arrives, and in whatever pieces: an error status, the end of the connection, and nothing
of it reaches an application as a request, or as the whole body of one.
"""

from __future__ import annotations

import pytest

from tests.support import apps
from tests.support.apps import Recorder, body, start
from tests.support.peers import WAYS, H1Peer, request
from tests.support.tunnel import Tunnel
from tests.wire.attacks import CONTROLS, REFUSED_CHUNKS, REFUSED_HEADS, TE, head
from tricorn.config import Config

GET = request("/smuggled")
BY_EVERY_WAY = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def rows(table: list) -> list:
    return [pytest.param(*each[2:], id=f"{each[0]}-{each[1]}") for each in table]


def assert_refused(peer: H1Peer, app: Recorder, statuses: tuple[int, ...]) -> None:
    """One error, the end, and nobody but the server has seen a whole request."""
    assert len(peer.statuses) == 1 and peer.status in statuses
    assert peer.closed and not peer.responses()[0].persistent and not peer.reset
    for call in app.calls:
        assert call.disconnected and not call.ended and isinstance(call.error, OSError)


@BY_EVERY_WAY
@pytest.mark.parametrize("data, statuses", rows(REFUSED_HEADS))
def test_is_refused_before_the_application_is_called(data, statuses, way):
    app = Recorder()
    peer = H1Peer(app, streams={"echo": Tunnel.accepting})
    peer.send(*way(data))
    peer.send(GET)
    assert_refused(peer, app, statuses)
    assert not app.calls


@BY_EVERY_WAY
@pytest.mark.parametrize("data, statuses", rows(REFUSED_HEADS))
def test_is_refused_after_a_good_request_as_well(data, statuses, way):  # H1-37
    app = Recorder()
    peer = H1Peer(app, streams={"echo": Tunnel.accepting})
    peer.send(*way(request("/good") + data))
    peer.send(GET)
    assert peer.statuses[0] == 200 and peer.statuses[1:] == [peer.status]
    assert peer.status in statuses and peer.closed and app.targets == ["/good"]


@BY_EVERY_WAY
@pytest.mark.parametrize("data", rows(REFUSED_CHUNKS))
def test_is_refused_and_the_body_never_ends(data, way):
    app = Recorder()
    peer = H1Peer(app)
    peer.send(*way(head(TE) + data))
    peer.send(GET)
    assert_refused(peer, app, (400, 413, 431))
    assert len(app.calls) <= 1


@pytest.mark.parametrize("data", rows(REFUSED_CHUNKS))
def test_no_application_is_called_for_what_is_wrong_at_once(data):
    peer = H1Peer(apps.never)
    peer.send(head(TE) + data)
    assert peer.closed


@BY_EVERY_WAY
def test_h1_14_no_control_character_in_a_value(way):
    for control in CONTROLS:
        for value in (b"a%cb", b"%ca", b"a%c", b"%c"):
            with H1Peer(apps.never) as peer:
                peer.send(*way(head(b"X: " + value % control)))
                assert peer.status == 400 and peer.closed, (value, control)


@BY_EVERY_WAY
def test_h1_14_what_only_python_takes_for_white_space_is_kept(way):
    # \x85 and \xa0 are obs-text; str.strip and str.splitlines would change what they surround.
    app = Recorder()
    peer = H1Peer(app)
    peer.send(*way(head(b"X: \x85a\x85b\xa0", b"Y:\xa0")))
    assert app.call.scope["headers"][1:] == [(b"x", b"\x85a\x85b\xa0"), (b"y", b"\xa0")]


@BY_EVERY_WAY
@pytest.mark.parametrize(
    "data",
    [
        head(TE) + b"1\r\nZ\r\n0\r\n",
        head(TE) + b"1\r\nZ\r\n0\r\nX: a\r\n",
        head(TE) + b"1\r\nZ\r\n",
        head(TE) + b"5\r\nZ",
        head(TE) + b"",
        head(b"Content-Length: 5") + b"abcd",
    ],
)
def test_h1_25_a_truncated_body_is_a_disconnect(data, way):
    app = Recorder()
    peer = H1Peer(app)
    peer.send(*way(data))
    peer.half_close()
    assert app.call.disconnected and not app.call.ended


NAMES = (
    "content-length transfer-encoding host trailer connection te upgrade expect authorization "
    "cookie set-cookie content-type content-encoding content-range range cache-control "
    "max-forwards forwarded x-forwarded-for x-forwarded-host x-forwarded-proto x-real-ip "
    "proxy-authorization keep-alive"
)


@BY_EVERY_WAY
@pytest.mark.parametrize("name", [name.encode() for name in NAMES.split()])
def test_h1_26_no_trailer_counts_as_a_header(name, way):
    app = Recorder()
    peer = H1Peer(app)
    peer.send(*way(head(TE) + b"1\r\nZ\r\n0\r\n" + name.title() + b": 5\r\n\r\n" + GET))
    for call in app.calls:
        assert all(key != name for key, _ in call.trailers)
        assert (name, b"5") not in call.scope["headers"]
    assert peer.statuses in ([400], [200, 200])


@BY_EVERY_WAY
@pytest.mark.parametrize(
    "data",
    [b"X: a\r\n" * 200, b"".join(b"X-%d: a\r\n" % n for n in range(5000)), b"X: " + b"a" * 9000],
)
def test_h1_27_endless_trailers_are_refused(data, way):
    app = Recorder()
    peer = H1Peer(app)
    peer.send(*way(head(TE) + b"1\r\nZ\r\n0\r\n" + data))
    assert_refused(peer, app, (400, 431))


def test_h1_27_dripping_trailers_are_refused():
    app = Recorder()
    peer = H1Peer(app, Config(limit_request_fields=1000))
    peer.send(head(TE) + b"1\r\nZ\r\n0\r\n")
    for _ in range(20):
        peer.send(b"X: a\r\n")
        peer.advance(1)
    assert_refused(peer, app, (408,))


@BY_EVERY_WAY
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_h1_33_h2c_upgrade_is_never_honoured(method, way):
    offer = [
        (b"connection", b"Upgrade, HTTP2-Settings"),
        (b"upgrade", b"h2c"),
        (b"http2-settings", b"AAMAAABkAAQAAP__"),
    ]
    app = Recorder()
    peer = H1Peer(app)
    peer.send(*way(request(method=method, headers=offer, body=b"abc") + request("/next")))
    assert peer.statuses == [200, 200] and app.calls[0].body == b"abc"


@BY_EVERY_WAY
def test_h1_34_no_tunnel_is_left_open_by_a_failed_handshake(way):
    offer = [(b"connection", b"Upgrade"), (b"upgrade", b"echo")]
    app = Recorder()
    peer = H1Peer(app, streams={"echo": Tunnel.refusing})
    peer.send(*way(request(headers=offer) + GET))
    assert peer.statuses == [403] and peer.closed and not app.calls


@BY_EVERY_WAY
def test_h1_35_an_early_answer_does_not_turn_the_body_into_a_request(way):
    app = apps.sends(start(), body(b"a", more=True), body(b"b"))
    peer = H1Peer(app)
    peer.send(*way(request(method="POST", body=GET) + request("/next")))
    assert peer.statuses in ([200], [200, 200])
    if peer.statuses == [200]:
        assert peer.closed


def test_h1_36_a_pipelining_flood_is_taken_bit_by_bit():
    opened: list[int] = []

    async def application(scope, receive, send):
        opened.append(len(peer.connection.streams))
        await apps.hello(scope, receive, send)

    peer = H1Peer(application)
    data = request() * 20_000
    peer.wire.arrive([data])
    held: list[int] = []
    for _ in range(3):
        peer.loop.call_soon(lambda: held.append(len(peer.connection.held)))
    peer.settle()
    assert len(opened) == 20_000 and max(opened) == 1
    assert max(held) <= 256 * 1024, "one read at most"
    assert not peer.closed


@BY_EVERY_WAY
@pytest.mark.parametrize("method, status", [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_h1_38_content_that_may_not_be_sent_does_not_shift_the_next_response(method, status, way):
    peer = H1Peer(apps.answers(b"HTTP/1.1 200 OK\r\n\r\n", status))
    peer.send(*way(request(method=method) * 2))
    answers = peer.responses(method, method)
    assert [each.status for each in answers] == [status] * 2 and not peer.closed
    assert peer.sent.count(b"HTTP/1.1") == 2


def test_h1_40_the_log_says_once_that_it_may_be_tls(caplog):
    caplog.set_level("INFO", "tricorn")
    peer = H1Peer(apps.never)
    peer.send(b"\x16\x03\x01", b"\x02\x00\x01\x00", b"\x01\xfc")
    assert [record for record in caplog.records if "TLS" in record.getMessage()][1:] == []
    assert peer.status == 400
