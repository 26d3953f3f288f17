"""The demo page in a browser, driven over its debugging pipe."""

import json
import os
import subprocess
import sys
import time

import pytest

from tests.clients.both import SCHEMES, serve_both
from tests.clients.programs import program
from tests.support.process import PATIENCE

pytestmark = pytest.mark.slow

# The pipe's ends have to be descriptors 3 and 4.
PIPED = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
PIPED += "os.execv(sys.argv[3], sys.argv[3:])"
UNTIL = """
new Promise(resolve => {{
  const element = document.getElementById({id});
  const look = () => element.textContent.includes({text}) && resolve(element.textContent);
  const changes = {{childList: true, characterData: true, subtree: true}};
  new MutationObserver(look).observe(element, changes);
  {action};
  look();
}})
"""


class Browser:
    """A page in headless Chromium."""

    def __init__(self, directory, url):
        commands, self._writer = os.pipe()
        self._reader, events = os.pipe()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-Sc", PIPED, str(commands), str(events), program("chromium")),
                *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
                *("--no-first-run", "--remote-debugging-pipe", f"--user-data-dir={directory}"),
                "--ignore-certificate-errors",  # it does not know who has signed ours
                "about:blank",
            ],
            pass_fds=(commands, events),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(events)
        self._buffer = b""
        self._number = 0
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.call("Page.enable")
        self.call("Page.navigate", url=url)
        self._wait_for(lambda message: message.get("method") == "Page.loadEventFired")

    def call(self, method, **parameters):
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writer, json.dumps(message).encode() + b"\0")
        answer = self._wait_for(lambda message: message.get("id") == number)
        assert "error" not in answer, answer
        return answer["result"]

    def run(self, expression):
        found = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, element, text, action):
        """Does something, and waits until the element shows the text."""
        names = {"id": json.dumps(element), "text": json.dumps(text), "action": action}
        return self.run(UNTIL.format(**names))

    def choose(self, selector, path):
        """As if a person had chosen a file."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def close(self):
        os.close(self._writer)
        os.close(self._reader)
        self._process.terminate()
        self._process.wait(PATIENCE)

    def _wait_for(self, condition):
        while True:
            while b"\0" not in self._buffer:
                part = os.read(self._reader, 65536)
                assert part, "the browser has ended"
                self._buffer += part
            message, _, self._buffer = self._buffer.partition(b"\0")
            if condition(found := json.loads(message)):
                return found


@pytest.fixture(scope="module", params=SCHEMES)
def page(request, tmp_path_factory):
    program("chromium")
    directory = tmp_path_factory.mktemp("demo")
    options = ("--access-logfile", str(directory / "access"), "--access-logformat", "common")
    with serve_both(directory, *options, application="tricorn.demo:app", workers=2) as both:
        browser = Browser(directory / "profile", both.base(request.param) + "/")
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
