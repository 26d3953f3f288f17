"""Asks the admin child of a running server, as kubelets and collectors do."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.process import Client, Server, serve

HEALTH = ("--health-bind", "127.0.0.1:0")


def admin_port(server: Server) -> int:
    found = re.search(r"health and metrics on http://127\.0\.0\.1:(\d+)$", server.log, re.MULTILINE)
    assert found, "there is no admin listener"
    return int(found[1])


def probe(port: int, target: str) -> tuple[int, dict]:
    with Client("127.0.0.1", port) as client:
        answer = client.fetch(target)
    return answer.status, json.loads(answer.body)


def wait_for_probe(port: int, target: str, status: int) -> dict:
    """Asks until that is the answer, as a kubelet does."""
    deadline = time.monotonic() + 10
    while (found := probe(port, target))[0] != status:
        assert time.monotonic() < deadline, found
    return found[1]


@contextmanager
def served(tmp_path: Path, *options: str, workers: int = 2) -> Iterator[tuple[Server, int]]:
    """A server, and the port of its admin child."""
    with serve(tmp_path, *HEALTH, *options, workers=workers) as server:
        yield server, admin_port(server)


def scrape(port: int) -> dict[str, float]:
    """Every sample of /metrics, by its name and labels as they are written."""
    with Client("127.0.0.1", port) as client:
        page = client.fetch("/metrics").text
    lines = [line.rpartition(" ") for line in page.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}
