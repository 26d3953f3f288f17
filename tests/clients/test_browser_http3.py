"""The demo page in a browser that speaks QUIC from its first request on."""

import base64
import hashlib
import re
import socket
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.clients.browser import Browser
from tests.clients.programs import program
from tests.support.certificates import Authority
from tests.support.process import PATIENCE, serve

pytestmark = pytest.mark.slow


def shared_port() -> int:
    """One that is free for TCP and for UDP, as those of a site have to be the same."""
    while True:
        with (
            socket.create_server(("127.0.0.1", 0)) as tcp,
            socket.socket(type=socket.SOCK_DGRAM) as udp,
        ):
            try:
                udp.bind(tcp.getsockname())
            except OSError:
                continue
            return tcp.getsockname()[1]


def fingerprint(path: str) -> str:
    """What Chromium knows a public key by."""
    key = x509.load_pem_x509_certificate(Path(path).read_bytes()).public_key()
    info = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(info).digest()).decode()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    program("chromium")
    directory = tmp_path_factory.mktemp("demo")
    files = Authority().issue(directory, "localhost")
    port = shared_port()
    address = f"127.0.0.1:{port}"
    log = ("--access-logfile", str(directory / "access"), "--access-logformat", "common")
    options = (*files.options, "--quic-bind", address, *log)
    with serve(
        directory, *options, application="tricorn.demo:app", bind=[address], workers=2
    ) as server:
        browser = Browser(
            directory / "profile",
            f"https://{address}/",
            f"--origin-to-force-quic-on={address}",
            f"--ignore-certificate-errors-spki-list={fingerprint(files.certificate)}",
        )
        browser.server, browser.log = server, directory / "access"
        yield browser
        browser.close()


def logged(page, pattern, count=1):
    """What has been asked for, as soon as that is so much; the log is written once in a while."""
    deadline = time.monotonic() + PATIENCE
    while len(found := re.findall(pattern, page.log.read_text())) < count:
        assert time.monotonic() < deadline, page.log.read_text()[-1000:]
        page.run("fetch('/who').then(answer => answer.text())")
    return found


def test_page_is_shown(page):
    assert page.run("document.title") == "Tricorn"
    assert "HTTP/3" in page.run("document.querySelector('table').textContent")
    used = page.run("performance.getEntriesByType('navigation')[0].nextHopProtocol")
    assert used == "h3"
    assert logged(page, r'"GET / (HTTP/\S+)" 200') == ["HTTP/3"]


def test_many_pages_at_once(page):
    one = "fetch('/who?many=' + n).then(answer => answer.json()).then(who => who.Protocol)"
    many = f"Promise.all([...Array(100).keys()].map(n => {one}))"
    assert page.run(many) == ["HTTP/3"] * 100
    assert logged(page, r'"GET /who\?many=\d+ (HTTP/\S+)" 200', 100) == ["HTTP/3"] * 100


def test_file_is_uploaded(page):
    body = bytes(1024 * 1024)
    upload = "fetch('/upload', {method: 'POST', body: new Uint8Array(1048576)})"
    answer = page.run(f"{upload}.then(answer => answer.text())")
    assert answer == f"1048576 octets, SHA-256 {hashlib.sha256(body).hexdigest()}\n"
    assert logged(page, r'"POST /upload (HTTP/\S+)" 200') == ["HTTP/3"]


def test_answer_that_is_given_up_leaves_the_others(page):
    given_up = """
    (async () => {
      const control = new AbortController();
      const answer = await fetch("/stream", {signal: control.signal});
      await answer.body.getReader().read();
      control.abort();
      return (await (await fetch("/who")).json()).Protocol;
    })()
    """
    assert page.run(given_up) == "HTTP/3"


def test_websocket_goes_over_tcp(page):
    # Chromium does not speak RFC 9220: what it opens is a connection of its own.
    clicked = "document.getElementById('echo').click()"
    assert page.until("echoed", "WebSocket", clicked) == "Hello, WebSocket"
    assert logged(page, r'"\w+ /echo (HTTP/\S+)" \d+')[0] in ("HTTP/1.1", "HTTP/2")
