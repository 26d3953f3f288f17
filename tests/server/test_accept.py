"""net/accept.py: who is accepted, when, and how many."""

import asyncio
import logging
import subprocess
import sys

import pytest

from tests.support.listening import LOOPS, close, run, site
from tricorn.config import Config
from tricorn.net import accept
from tricorn_supervisor.scoreboard import Field

on_both_loops = pytest.mark.parametrize("loop", LOOPS)

HELD = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nx"
"""A request that lasts until its last octet comes."""


async def hello(scope, receive, send):
    """Answers each part of the body as it comes."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message["more_body"]
        await send({"type": "http.response.body", "body": b"x", "more_body": more})


async def hold(place):
    """A connection that is being served."""
    reader, writer = await place.connect()
    writer.write(HELD)
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


@on_both_loops
def test_serves_who_connects(loop):
    async def main():
        async with site(hello) as place:
            assert (await place.fetch()).startswith(b"HTTP/1.1 200 OK\r\n")

    run(loop, main)


@on_both_loops
def test_counts_what_it_holds(loop):
    async def main():
        async with site(hello) as place:
            held = [await hold(place) for _ in range(3)]
            assert place.acceptor.held == place.board.row(0)[Field.CONNECTIONS] == 3
            assert place.context.stats.accepted == 3
            for _, writer in held:
                writer.transport.abort()
            await place.until(lambda: not place.acceptor.held)
            assert place.board.row(0)[Field.CONNECTIONS] == 0

    run(loop, main)


@on_both_loops
def test_leaves_clients_above_the_limit_in_the_queue(loop):
    async def main():
        async with site(hello, Config(limit_connections=2)) as place:
            _, first = await hold(place)
            second_reader, second = await hold(place)
            waiting_reader, waiting = await place.connect()  # by the system, not by us
            waiting.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            # The connection that is served shows that the loop has turned.
            second.write(b"x")
            await second_reader.readuntil(b"0\r\n\r\n")
            assert place.acceptor.held == 2 and place.context.stats.accepted == 2

            await close(first)
            await close(second)
            assert (await waiting_reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            await close(waiting)

    run(loop, main)


@on_both_loops
def test_full_worker_says_so_once(loop, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("tricorn"), "propagate", True)

    async def main():
        async with site(hello, Config(limit_connections=1)) as place:
            for _ in range(5):
                await place.fetch()
                _, held = await hold(place)
                writers = [(await place.connect())[1] for _ in range(3)]
                for writer in (held, *writers):
                    await close(writer)

    with caplog.at_level(logging.WARNING, "tricorn.net.accept"):
        run(loop, main)
    assert caplog.text.count("clients wait") <= 1


@on_both_loops
def test_closed_acceptor_lets_go_of_the_listener(loop):
    async def main():
        async with site(hello) as place:
            _, writer = await hold(place)
            place.acceptor.close()
            with pytest.raises(ConnectionRefusedError):
                await place.connect()
            assert place.acceptor.held == 1  # what was accepted goes on
            await close(writer)
            await place.acceptor.emptied.wait()

    run(loop, main)


@on_both_loops
def test_takes_everybody_while_its_siblings_take_nobody(loop):
    async def main():
        async with site(hello, siblings=3) as place:  # which hold nothing, and never will
            held = [await hold(place) for _ in range(40)]
            assert place.acceptor.held == 40
            for _, writer in held:
                writer.transport.abort()

    run(loop, main)


@on_both_loops
def test_sits_out_where_it_holds_more_than_its_share(loop):
    async def main():
        async with site(hello, siblings=3, opened=False) as place:
            clients = [await place.connect() for _ in range(60)]
            place.acceptor.open()
            for _ in range(8):
                await asyncio.sleep(0)
            # An equal share and a little, not all that waits; the rest is for the siblings.
            assert 0 < place.acceptor.held <= 2 * accept.BURST
            for _, writer in clients:
                writer.transport.abort()

    run(loop, main)


@on_both_loops
def test_idle_connections_make_room_at_the_limit(loop):
    async def main():
        async with site(hello, Config(limit_connections=10)) as place:
            clients = [await place.connect() for _ in range(10)]
            for reader, writer in clients:
                place.context.now += 1
                writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                await reader.readuntil(b"\r\n\r\nx")
            assert place.acceptor.held == 10
            place.acceptor.shed()
            await place.until(lambda: place.acceptor.held < 10)
            assert place.acceptor.held == 9
            assert await clients[0][0].read() == b""  # the one that was idle for longest
            for _, writer in clients:
                await close(writer)

    run(loop, main)


@on_both_loops
def test_clients_that_come_in_a_crowd_are_all_served(loop):
    async def main():
        async with site(hello) as place:
            answers = await asyncio.gather(*(place.fetch() for _ in range(200)))
            assert all(each.startswith(b"HTTP/1.1 200 ") for each in answers)

    run(loop, main)


@pytest.mark.slow
def test_limit_leaves_descriptors_for_others():
    code = "from tricorn.net.accept import connection_limit as f; print(f(0), f(50))"
    for descriptors, expected in ((1000, "936 50"), (300, "236 50"), (20, "1 1")):
        found = subprocess.run(
            ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh", sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
        )
        assert found.stdout.strip() == expected
