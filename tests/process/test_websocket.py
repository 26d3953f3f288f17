"""WebSockets of real processes through reloads, stops and deaths."""

import contextlib
import os
import signal

import pytest
import websockets
from websockets.sync.client import connect

from tests.support.process import PATIENCE, serve

pytestmark = pytest.mark.slow

APPLICATION = """
import os

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % os.getpid()})
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": str(os.getpid())})
    os.write(2, b"heard %d\\n" % message["code"])  # one write: others write there as well
"""


@contextlib.contextmanager
def opened(server, count):
    """WebSockets that have been answered, each with the process that did."""
    with contextlib.ExitStack() as held:
        peers = []
        for _ in range(count):
            peer = held.enter_context(connect(f"ws://127.0.0.1:{server.port}/"))
            peer.send("who")
            peers.append((peer, int(peer.recv(PATIENCE))))
        yield peers


def code_of(peer):
    """With which the server has closed, or will."""
    with pytest.raises(websockets.ConnectionClosed) as closed:
        peer.recv(PATIENCE)
    return closed.value.rcvd.code if closed.value.rcvd else None


@pytest.mark.parametrize("workers", [1, 2])
def test_reload_closes_with_1012(tmp_path, workers):
    with (
        serve(tmp_path, "--reload-settle", "0", application=APPLICATION, workers=workers) as server,
        opened(server, 30) as peers,
    ):
        server.signal(signal.SIGHUP)
        assert {code_of(peer) for peer, _ in peers} == {1012}
        server.wait_for("reload complete")
        server.wait_for("gen=1 .* stopped", workers)
        assert len(server.said("heard 1012")) == 30
        with opened(server, 3) as again:
            assert not {pid for _, pid in again} & {pid for _, pid in peers}


def test_stop_closes_with_1001(tmp_path):
    with serve(tmp_path, application=APPLICATION, workers=2) as server:
        with opened(server, 30) as peers:
            server.signal(signal.SIGTERM)
            assert {code_of(peer) for peer, _ in peers} == {1001}
        server.wait_for("heard 1001", 30)
        assert server.wait() == 0


def test_client_that_does_not_answer_holds_nobody_up(tmp_path):
    with serve(tmp_path, application=APPLICATION) as server, server.connect() as client:
        client.send(
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        client.wait_until_readable()
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


def test_death_of_a_worker_ends_no_websocket_of_another(tmp_path):
    with (
        serve(tmp_path, application=APPLICATION, workers=2) as server,
        opened(server, 40) as peers,
    ):
        killed = peers[0][1]
        os.kill(killed, signal.SIGKILL)
        for peer, pid in peers:
            if pid != killed:
                peer.send("who")
                assert int(peer.recv(PATIENCE)) == pid
            else:
                assert code_of(peer) is None
        assert {pid for _, pid in peers} - {killed}
