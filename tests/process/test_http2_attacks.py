"""Floods of HTTP/2 against real processes: how long they hold a worker, and what stays behind."""

import re
import socket
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from hpack import Encoder

from tests.support import frames
from tests.support.process import PATIENCE, Client, serve

pytestmark = pytest.mark.slow

LONGEST_STALL = 0.5
"""Seconds, generously: on a machine with nothing else to do it was under 0.03."""
MOST_GROWTH = 8 * 1024
"""KiB."""
PAUSE = 0.001


def bomb():
    """Requests of a hundred references each to a small field, to windows that are closed."""
    encoder = Encoder()
    sent = [frames.settings({frames.INITIAL_WINDOW_SIZE: 0})]
    for number in range(100):
        fields = [*frames.GET, *[(b"a", b"x")] * 95]
        sent.append(frames.headers(2 * number + 1, fields, encoder=encoder))
    return sent


def table_sizes():
    parts = [b"\x20" * 16_384] * 4
    sent = [frames.settings(), frames.headers(1, parts[0], whole=False)]
    return [*sent, *[frames.continuation(1, part, whole=part is parts[-1]) for part in parts[1:]]]


FLOODS = {
    "rapid resets": [
        frames.settings(),
        *[frames.headers(2 * n + 1) + frames.rst(2 * n + 1) for n in range(10_000)],
    ],
    "table sizes": table_sizes(),
    "unknown settings": [
        frames.settings((number, 1) for number in range(at, at + 2000))
        for at in range(1000, 61_000, 2000)
    ],
    "bomb": bomb(),
}


class Probe(threading.Thread):
    """Asks one worker again and again; remembers the longest wait."""

    def __init__(self, client: Client) -> None:
        super().__init__(daemon=True)
        self.client = client
        self.longest = 0.0
        self.count = 0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(PAUSE):
            begun = time.perf_counter()
            assert self.client.fetch("/hello").status == 200
            self.longest = max(self.longest, time.perf_counter() - begun)
            self.count += 1


def memory(pid):
    """KiB that belong to a process alone."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(size) for size in re.findall(r"Private_\w+:\s+(\d+)", text))


def pour(port, flood):
    """Sends all that the server takes; returns when it has closed, or has had time to."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client,
        suppress(OSError),
    ):
        client.sendall(frames.PREFACE + b"".join(flood))
        client.settimeout(1.0)
        while client.recv(65_536):
            pass


def test_floods_hold_no_worker_and_leave_nothing_behind(tmp_path):
    with serve(tmp_path, workers=2) as server, ExitStack() as held:
        probes = {}
        while len(probes) < 2:
            client = held.enter_context(server.connect())
            probes.setdefault(client.fetch("/pid").text, Probe(client))
        for flood in FLOODS.values():  # once before anything is measured: caches fill
            pour(server.port, flood)
        before = {pid: memory(pid) for pid in probes}
        for probe in probes.values():
            probe.start()
        for flood in FLOODS.values():
            for _ in range(4):
                pour(server.port, flood)
        for probe in probes.values():
            probe.ended.set()
            probe.join(PATIENCE)
        growth = {pid: memory(pid) - before[pid] for pid in probes}
        longest = max(probe.longest for probe in probes.values())
        assert all(probe.count > 100 for probe in probes.values())
        assert longest < LONGEST_STALL
        assert max(growth.values()) < MOST_GROWTH
        assert {*map(str, server.workers().values())} == set(probes)
