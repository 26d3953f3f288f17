"""demo.py: the bundled application."""

import hashlib
import json

import pytest

from tests.support.peers import H1Peer
from tricorn.connection import Endpoints
from tricorn.demo import EVENTS, STREAM_PARTS, app


@pytest.fixture
def peer():
    with H1Peer(app) as found:
        yield found


def test_page_shows_how_it_was_served(peer):
    answer = peer.fetch("/")
    assert answer.status == 200
    page = answer.body.decode()
    assert "HTTP/1.1" in page and "from 192.0.2.1 port 50000" in page
    assert "GET /" in page


def test_page_over_a_unix_socket():
    with H1Peer(app, endpoints=Endpoints(None, ("/run/socket", None), "http")) as peer:
        assert b"from a unix socket" in peer.fetch("/").body


def test_page_repeats_nothing_that_a_browser_would_run(peer):
    page = peer.fetch("/?<script>alert(1)</script>").body
    assert b"<script>alert" not in page


def test_facts_as_json(peer):
    answer = peer.fetch("/who")
    assert json.loads(answer.body)["Protocol"] == "HTTP/1.1"


def test_stream_has_its_parts_one_after_the_other(peer):
    peer.send(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n")
    assert b"part 1 of" in peer.sent and b"part 2 of" not in peer.sent
    for _ in range(STREAM_PARTS):
        peer.advance(1)
    lines = peer.answer().body.splitlines()
    assert lines == [b"part %d of %d" % (n, STREAM_PARTS) for n in range(1, STREAM_PARTS + 1)]


@pytest.mark.parametrize("body", [b"", b"x", bytes(range(256)) * 1000])
def test_upload_is_counted(peer, body):
    answer = peer.fetch("/upload", "POST", body=body)
    digest = hashlib.sha256(body).hexdigest()
    assert answer.body.decode() == f"{len(body)} octets, SHA-256 {digest}\n"


def test_upload_that_breaks_off_is_no_error(peer):
    peer.send(b"POST /upload HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nx")
    peer.lose()


def test_events_end(peer):
    peer.send(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n")
    for _ in range(EVENTS + 1):
        peer.advance(1)
    answer = peer.answer()
    assert dict(answer.headers)[b"content-type"] == b"text/event-stream"
    assert answer.body.count(b"data: event ") == EVENTS


def test_events_stop_when_nobody_listens(peer):
    peer.send(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n")
    peer.lose()
    assert not peer.context.running


def test_events_end_when_the_server_does(peer):
    peer.send(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n")
    peer.advance(2)
    peer.drain()
    assert peer.answer().complete and peer.closed
    assert 0 < peer.answer().body.count(b"data: event ") < EVENTS


def test_what_is_not_there(peer):
    assert peer.fetch("/nowhere").status == 404
    assert peer.fetch("/stream/").status == 404


def test_head_of_the_page(peer):
    answer = peer.fetch("/", "HEAD")
    assert answer.status == 200 and answer.body == b""
