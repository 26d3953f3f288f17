"""The demo page in a browser, driven over its debugging pipe."""

import time

import pytest

from tests.clients.both import SCHEMES, serve_both
from tests.clients.browser import Browser
from tests.clients.programs import program
from tests.support.process import PATIENCE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=SCHEMES)
def page(request, tmp_path_factory):
    program("chromium")
    directory = tmp_path_factory.mktemp("demo")
    options = ("--access-logfile", str(directory / "access"), "--access-logformat", "common")
    with serve_both(directory, *options, application="tricorn.demo:app", workers=2) as both:
        trusting = "--ignore-certificate-errors"  # it does not know who has signed ours
        browser = Browser(directory / "profile", both.base(request.param) + "/", trusting)
        browser.log = directory / "access"
        yield browser
        browser.close()


def test_page_is_shown(page):
    assert page.run("document.title") == "Tricorn"
    secure = page.run("location.protocol") == "https:"
    protocol = "HTTP/2 over TLS" if secure else "HTTP/1.1"
    assert protocol in page.run("document.querySelector('table').textContent")
    used = page.run("performance.getEntriesByType('navigation')[0].nextHopProtocol")
    assert used == ("h2" if secure else "http/1.1")


def test_many_pages_at_once(page):
    one = "fetch('/who?' + number).then(answer => answer.json()).then(() => number)"
    many = f"Promise.all([...Array(100).keys()].map(number => {one}))"
    assert page.run(many) == list(range(100))


def test_stream_is_shown_part_by_part(page):
    clicked = "document.getElementById('stream').click()"
    assert page.until("streamed", "part 1 of 10", clicked).count("part") < 10
    assert page.until("streamed", "part 10 of 10", "").count("part") == 10


def test_file_is_uploaded(page, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(bytes(3_000_000))
    page.choose("#file", file)
    assert "3000000 octets, SHA-256 " in page.until("uploaded", "octets", "")


def test_events_are_heard(page):
    clicked = "document.getElementById('listen').click()"
    assert page.until("heard", "event 2 of", clicked) == "event 2 of 60"


def test_websocket_echoes(page):
    clicked = "document.getElementById('echo').click()"
    assert page.until("echoed", "WebSocket", clicked) == "Hello, WebSocket"
    # RFC8441: over the connection that is there already, where that is one of HTTP/2.
    secure = page.run("location.protocol") == "https:"
    wanted = '"CONNECT /echo HTTP/2" 200' if secure else '"GET /echo HTTP/1.1" 101'
    deadline = time.monotonic() + PATIENCE
    while wanted not in page.log.read_text():
        assert time.monotonic() < deadline, page.log.read_text()[-1000:]
        page.run("fetch('/who').then(answer => answer.text())")
