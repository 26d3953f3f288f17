"""Chromium without a screen, driven over its debugging pipe."""

import json
import os
import subprocess
import sys

from tests.clients.programs import program
from tests.support.process import PATIENCE

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

    def __init__(self, directory, url, *options):
        commands, self._writer = os.pipe()
        self._reader, events = os.pipe()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-Sc", PIPED, str(commands), str(events), program("chromium")),
                *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
                *("--no-first-run", "--remote-debugging-pipe", f"--user-data-dir={directory}"),
                *options,
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
