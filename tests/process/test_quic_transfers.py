"""Large bodies over HTTP/3, both ways: the server holds a window of them, not the whole."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from aioquic.asyncio.client import connect
from aioquic.quic.configuration import QuicConfiguration

from tests.process.quic_load import Client
from tests.support.certificates import Authority
from tests.support.costs import least
from tests.support.process import serve

pytestmark = pytest.mark.slow

LARGE = 20 * 1024 * 1024
MOST_MEMORY = 1024
"""KiB that a transfer may cost the worker, at its peak."""
APPLICATION = f"""
import asyncio

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    size = 0
    if scope["method"] == "POST":
        while True:
            message = await receive()
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
            if scope["path"] == "/slow":
                await asyncio.sleep(0.001)
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    for _ in range({LARGE} // 65536 if scope["path"] == "/large" else 0):
        await send({{"type": "http.response.body", "body": bytes(65536), "more_body": True}})
    await send({{"type": "http.response.body", "body": b"%10d" % size}})
"""


def peak(pid: int) -> int:
    """KiB, since `forget`."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1])


def forget(pid: int) -> int:
    """From here on `peak` counts anew; what it is now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak(pid)


async def transfers(port: int, *asked: tuple[str, bytes | None]) -> list[tuple[int, int]]:
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=["h3"],
        verify_mode=ssl.CERT_NONE,
        server_name="localhost",
        max_data=2 * LARGE,
        max_stream_data=LARGE,
    )
    async with connect(
        "127.0.0.1", port, configuration=configuration, create_protocol=Client
    ) as client:
        assert isinstance(client, Client)
        return [await client.ask(path, body) for path, body in asked]


@pytest.mark.parametrize("way", ["download", "upload", "slow upload"])
def test_a_large_body_costs_a_window_of_memory(way, tmp_path):
    files = Authority().issue(tmp_path, "localhost")
    upload, small = bytes(LARGE), bytes(1024 * 1024)
    asked, first, size = {
        "download": (("/large", None), ("/large", None), LARGE + 10),
        "upload": (("/", upload), ("/", small), 10),
        "slow upload": (("/slow", upload[: LARGE // 4]), ("/slow", small), 10),
    }[way]
    options = (*files.options, "--quic-bind", "127.0.0.1:0")
    with serve(tmp_path, *options, application=APPLICATION, workers=1) as server:
        port = server.quic_port
        (worker,) = server.children()
        asyncio.run(transfers(port, first))

        def cost() -> float:
            before = forget(worker)
            assert asyncio.run(transfers(port, asked)) == [(200, size)]
            return peak(worker) - before

        # The allocator may take an arena meanwhile, which is no cost of the transfer.
        assert least(cost, MOST_MEMORY) < MOST_MEMORY
        assert server.stop() == 0
