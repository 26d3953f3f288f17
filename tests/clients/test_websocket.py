"""WebSocket with real clients: `websockets` and aiohttp, in the clear and over TLS."""

import asyncio
import os
import ssl
import time

import aiohttp
import pytest
import websockets
from websockets.asyncio.client import connect

from tests.clients.both import SCHEMES, serve_both
from tests.support.process import PATIENCE

pytestmark = pytest.mark.slow

LARGE = 5_000_000
APPLICATION = """
async def app(scope, receive, send):
    if scope["type"] != "websocket":
        return
    await receive()
    if scope["path"] == "/forbidden":
        await send({"type": "websocket.http.response.start", "status": 451,
                    "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "websocket.http.response.body", "body": b"not for you"})
        return
    chosen = scope["subprotocols"][0] if scope["subprotocols"] else None
    await send({"type": "websocket.accept", "subprotocol": chosen,
                "headers": [(b"x-version", scope["http_version"].encode())]})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") == "close":
            await send({"type": "websocket.close", "code": 4001, "reason": "as you wish"})
        else:
            await send({"type": "websocket.send"}
                       | {k: message[k] for k in ("text", "bytes") if k in message})
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    with serve_both(tmp_path_factory.mktemp("websocket"), application=APPLICATION) as both:
        yield both


@pytest.fixture(params=SCHEMES)
def scheme(request):
    return request.param


def place(both, scheme, path="/"):
    return both.base(scheme).replace("http", "ws", 1) + path


def client(both, scheme, path="/", **options):
    """A connection of the `websockets` package."""
    context: ssl.SSLContext | None = both.context if scheme == "https" else None
    return connect(place(both, scheme, path), ssl=context, max_size=None, **options)


def run(work):
    asyncio.run(asyncio.wait_for(work(), PATIENCE))


@pytest.mark.parametrize("compression", ["deflate", None])
def test_messages_come_back(both, scheme, compression):
    async def work():
        async with client(both, scheme, compression=compression) as peer:
            for message in ("", "grüß dich", "a" * 100, b"", b"\0\xff", os.urandom(LARGE)):
                await peer.send(message)
                assert await peer.recv() == message

    run(work)


def test_fragments_and_pings_between_them(both, scheme):
    async def parts(peer):
        for number in range(20):
            await (await peer.ping())
            yield f"part {number} " * 100

    async def work():
        async with client(both, scheme) as peer:
            await peer.send(parts(peer))
            assert await peer.recv() == "".join(f"part {number} " * 100 for number in range(20))

    run(work)


def test_many_messages_in_flight(both, scheme):
    async def work():
        async with client(both, scheme) as peer:
            sending = asyncio.create_task(send_all(peer))
            for number in range(2000):
                assert await peer.recv() == f"{number}" * 50
            await sending

    async def send_all(peer):
        for number in range(2000):
            await peer.send(f"{number}" * 50)

    run(work)


def test_subprotocol_and_fields(both, scheme):
    async def work():
        async with client(both, scheme, subprotocols=["chat", "other"]) as peer:
            assert peer.subprotocol == "chat"
            assert peer.response.headers["x-version"] == "1.1"
            assert "permessage-deflate" in peer.response.headers["sec-websocket-extensions"]

    run(work)


def test_application_closes(both, scheme):
    async def work():
        async with client(both, scheme) as peer:
            await peer.send("close")
            with pytest.raises(websockets.ConnectionClosedError) as closed:
                await peer.recv()
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "as you wish")

    run(work)


def test_a_client_that_broke_the_protocol_is_not_kept_waiting(both, scheme):
    async def work():
        async with client(both, scheme) as peer:
            begun = time.monotonic()
            await peer.send(b"\xff", text=True)
            await peer.wait_closed()
            assert peer.close_code == 1007 and time.monotonic() - begun < 2

    run(work)


def test_denial_is_a_response(both, scheme):
    async def work():
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with client(both, scheme, "/forbidden"):
                pass
        response = refused.value.response
        assert response.status_code == 451 and response.body == b"not for you"

    run(work)


def test_aiohttp(both, scheme):
    async def work():
        connector = aiohttp.TCPConnector(ssl=both.context)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.ws_connect(place(both, scheme), compress=15, max_msg_size=0) as peer,
        ):
            for text in ("hello", "x" * 200_000):
                await peer.send_str(text)
                assert await peer.receive_str() == text
            await peer.send_bytes(b"\0" * LARGE)
            assert await peer.receive_bytes() == b"\0" * LARGE
            assert await peer.close(code=4002)
        await asyncio.sleep(0.25)  # aiohttp does not wait for TLS to close

    run(work)
