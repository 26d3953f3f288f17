"""net/tcp.py: the wire over a real transport, on both loops."""

import asyncio
import os
import socket

import pytest

from tests.support.listening import LOOPS, close, run, site
from tricorn.net.tcp import WRITE_HIGH_WATER

pytestmark = pytest.mark.parametrize("loop", LOOPS)

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
PART = bytes(16 * 1024)


class Streamer:
    """Sends parts until it is told that the client has gone, or `parts` are sent."""

    def __init__(self, parts):
        self.parts = parts
        self.sent = 0
        self.ended = asyncio.Event()
        self.error = None

    async def __call__(self, scope, receive, send):
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while self.sent < self.parts:
                await send({"type": "http.response.body", "body": PART, "more_body": True})
                self.sent += 1
            await send({"type": "http.response.body"})
        except OSError as error:
            self.error = error
            raise
        finally:
            self.ended.set()


async def slow_client(place):
    """Connects with small buffers; the test reads when it likes."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, place.address)
    await loop.sock_sendall(client, REQUEST)
    return client


async def turn(times=50):
    for _ in range(times):
        await asyncio.sleep(0)


def test_application_waits_for_a_client_that_does_not_read(loop):
    async def main():
        app = Streamer(10_000)
        async with site(app) as place:
            client = await slow_client(place)
            before = -1
            while before != app.sent:
                before = app.sent
                await turn()
            assert 0 < app.sent < 1000  # what the system's buffers take
            (connection,) = place.context.connections
            assert connection.wire.full
            # The buffer of the transport is bounded by the high-water mark and one part.
            assert connection.wire.buffered() <= WRITE_HIGH_WATER + 2 * len(PART)
            client.close()
            await app.ended.wait()

    run(loop, main)


def test_application_goes_on_when_the_client_reads(loop):
    async def main():
        app = Streamer(500)
        async with site(app) as place:
            client = await slow_client(place)
            await turn()
            received = 0
            while not app.ended.is_set() or received < 500 * len(PART):
                received += len(await asyncio.get_running_loop().sock_recv(client, 1 << 20))
            client.close()
            assert app.error is None

    run(loop, main)


@pytest.mark.parametrize("leave", ["reset", "close"])
def test_application_hears_of_a_client_that_leaves(loop, leave):
    async def main():
        app = Streamer(20_000)  # so many that the test ends where it never hears
        async with site(app) as place:
            client = await slow_client(place)
            await turn()
            if leave == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
            await app.ended.wait()
            assert isinstance(app.error, OSError), f"{app.sent} parts were sent to nobody"

    run(loop, main)


def test_answer_is_sent_before_the_connection_closes(loop):
    async def main():
        app = Streamer(100)
        async with site(app) as place:
            reader, writer = await place.connect()
            writer.write(REQUEST.replace(b"host", b"connection: close\r\nhost"))
            data = await reader.read()
            assert data.endswith(b"0\r\n\r\n") and len(data) > 100 * len(PART)
            await close(writer)

    run(loop, main)


def test_failed_answer_ends_with_a_reset(loop):
    async def fails(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        raise OSError("not of the client")

    async def main():
        async with site(fails) as place:
            reader, writer = await place.connect()
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            with pytest.raises(ConnectionResetError):
                await reader.read()
            await close(writer)

    run(loop, main)


def test_half_closed_client_is_answered(loop):
    async def main():
        async with site(Streamer(1)) as place:
            reader, writer = await place.connect()
            writer.write(REQUEST)
            writer.write_eof()
            assert (await reader.read()).endswith(b"0\r\n\r\n")
            await close(writer)

    run(loop, main)


def sender(path):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": str(path)})

    return app


def test_file_arrives_whole_and_behind_its_head(loop, tmp_path):
    path = tmp_path / "file"
    content = os.urandom(3_000_000)
    path.write_bytes(content)

    async def main():
        async with site(sender(path)) as place:
            reader, writer = await place.connect()
            for _ in range(3):  # the connection stays in step
                writer.write(REQUEST)
                head = await reader.readuntil(b"\r\n\r\n")
                assert b"content-length: 3000000\r\n" in head.lower()
                assert await reader.readexactly(len(content)) == content
            await close(writer)

    run(loop, main)


def test_file_to_a_client_that_leaves_is_given_up(loop, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(20_000_000))
    ends = []

    async def app(scope, receive, send):
        try:
            await sender(path)(scope, receive, send)
        finally:
            ends.pop().set()

    async def main():
        async with site(app) as place:
            descriptors = set()
            for _ in range(4):
                ended = asyncio.Event()
                ends.append(ended)
                client = await slow_client(place)
                await turn()
                client.close()
                await ended.wait()
                await place.until(lambda: not place.acceptor.held)
                await turn()
                descriptors.add(len(os.listdir("/proc/self/fd")))
            assert len(descriptors) == 1, descriptors

    run(loop, main)


def test_file_that_shrinks_ends_the_connection(loop, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(5_000_000))

    async def main():
        async with site(sender(path)) as place:
            client = await slow_client(place)
            await turn()
            os.truncate(path, 100_000)
            data = b""
            try:
                while part := await asyncio.get_running_loop().sock_recv(client, 1 << 20):
                    data += part
            except ConnectionResetError:
                pass
            assert len(data) < 5_000_000
            client.close()

    run(loop, main)
