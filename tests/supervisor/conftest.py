"""Fixtures for the tests of real masters."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.supervisor.processes import Server


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*arguments: str, **plan: object) -> Server:
        servers.append(Server(tmp_path, *arguments, **plan))
        return servers[-1]

    yield start
    for server in servers:
        server.end()
