"""Rolling restarts as Kubernetes does them: a new pod is ready, the old one gets TERM at once, and
whoever sends requests there hears of it only later.

KUBELET_RESTARTS=20 makes it as long as a figure needs.
"""

import asyncio
import itertools
import os
import signal
import time
from contextlib import ExitStack, contextmanager

import pytest

from tests.process.load import Load
from tests.process.probes import probe, served, wait_for_probe

pytestmark = pytest.mark.slow

RESTARTS = int(os.environ.get("KUBELET_RESTARTS", "2"))
REMOVAL = 0.7
"""Seconds until the last node has heard that a pod is no endpoint any more."""


class ServiceLoad(Load):
    """Each new connection goes to one of the endpoints that the client knows of."""

    def __init__(self, endpoints: list[int]) -> None:
        super().__init__(0)
        self.endpoints = endpoints
        self._turns = itertools.count()

    async def _connect(self):
        port = self.endpoints[next(self._turns) % len(self.endpoints)]
        return await asyncio.open_connection("127.0.0.1", port)


@contextmanager
def pod(directory):
    directory.mkdir()
    options = ("--drain-delay", str(REMOVAL + 0.5), "--graceful-timeout", "10")
    with served(directory, *options, workers=2) as (server, port):
        yield server, port


def test_restarts_lose_nothing_where_the_delay_is_longer_than_the_removal(tmp_path):
    with ExitStack() as stack:
        old, port = stack.enter_context(pod(tmp_path / "0"))
        endpoints = [old.port]
        with ServiceLoad(endpoints) as load:
            for number in range(1, RESTARTS + 1):
                new, new_port = stack.enter_context(pod(tmp_path / str(number)))
                wait_for_probe(new_port, "/readyz", 200)
                endpoints.append(new.port)
                old.signal(signal.SIGTERM)
                began = time.monotonic()
                wait_for_probe(port, "/readyz", 503)
                time.sleep(max(0.0, began + REMOVAL - time.monotonic()))
                endpoints.remove(old.port)
                assert probe(port, "/livez")[0] == 200, "it serves longer than it is known"
                assert old.wait() == 0
                load.go_on(50)
                old, port = new, new_port
    assert load.failures == [] and load.answered > 100 * RESTARTS
