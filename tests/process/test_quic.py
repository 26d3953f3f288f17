"""HTTP/3 as clients meet it: real processes, real sockets, clients whose port changes."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from urllib.parse import urlsplit

import pytest
from aioquic.asyncio.client import connect
from aioquic.quic.configuration import QuicConfiguration

from tests.process.quic_load import Client, Tally, roam
from tests.support.certificates import Authority
from tests.support.process import serve

pytestmark = pytest.mark.slow

APPLICATION = """
import asyncio, os

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/slow":
        for _ in range(20):
            await send({"type": "http.response.body", "body": bytes(50_000), "more_body": True})
            await asyncio.sleep(0.2)
    body = {"/pid": b"%10d" % os.getpid(), "/size": b"%10d" % size}.get(scope["path"], b"")
    await send({"type": "http.response.body", "body": body})
"""
SLOW, SHORT = ("/slow", 1_000_000), ("/pid", 10)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Authority().issue(tmp_path_factory.mktemp("certificates"), "localhost")


def http3(files, directory, *options, workers=2):
    arguments = (*files.options, "--quic-bind", "127.0.0.1:0", "--reload-settle", "0.5", *options)
    return serve(directory, *arguments, application=APPLICATION, workers=workers)


def port_of(server):
    (address,) = server.said(r"listening on (\S+) \(HTTP/3\)")
    return urlsplit(address).port


def client_configuration(**options):
    return QuicConfiguration(
        is_client=True,
        alpn_protocols=["h3"],
        verify_mode=ssl.CERT_NONE,
        server_name="localhost",
        **options,
    )


def test_who_comes_over_tcp_hears_of_it(files, tmp_path):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with http3(files, tmp_path) as server:
        port = port_of(server)
        with server.connect(context) as client:
            client.request("/pid")
            response = client.response()
            assert response.headers["alt-svc"] == f'h3=":{port}"; ma=86400'
        tally = asyncio.run(roam(port, 0.5, [SHORT], moving=False))
        assert tally.answered and not tally.failures
        assert server.stop() == 0


async def moving_while_reloading(server, seconds) -> Tally:
    async def reload():
        while True:
            await asyncio.sleep(3.0)
            server.signal(signal.SIGHUP)

    reloading = asyncio.ensure_future(reload())
    try:
        return await roam(port_of(server), seconds, [SLOW] * 4 + [SHORT] * 4)
    finally:
        reloading.cancel()


@pytest.mark.parametrize("steering", ["kernel", "dispatcher"])
def test_clients_that_move_lose_nothing_while_workers_are_replaced(files, tmp_path, steering):
    with http3(files, tmp_path, "--quic-steering", steering, workers=3) as server:
        tally = asyncio.run(moving_while_reloading(server, 10.0))
        assert not tally.failures, tally
        assert tally.answered > 100 and tally.moves > 20
        assert server.said("reload complete")
        assert server.stop() == 0


def test_a_session_is_resumed_by_whatever_worker_answers(files, tmp_path):
    tickets, workers = [], set()

    async def visit(port) -> bool:
        configuration = client_configuration()
        if tickets:
            configuration.session_ticket = tickets[-1]
        options = {"configuration": configuration, "create_protocol": Client}
        async with connect(
            "127.0.0.1", port, session_ticket_handler=tickets.append, **options
        ) as client:
            assert await client.ask("/pid") == (200, 10)
            return client._quic.tls.session_resumed

    async def visits(port):
        return [await visit(port) for _ in range(20)]

    with http3(files, tmp_path, workers=4) as server:
        resumed = asyncio.run(visits(port_of(server)))
        workers |= set(server.workers())
    assert resumed == [False] + [True] * 19 and len(workers) == 4


def test_a_worker_that_is_killed_takes_only_its_own_requests_with_it(files, tmp_path):
    async def lives_on(server):
        port = port_of(server)
        victim = next(iter(server.workers().values()))
        load = asyncio.ensure_future(roam(port, 2.5, [SHORT] * 6, moving=False))
        await asyncio.sleep(1.5)
        os.kill(victim, signal.SIGKILL)
        await asyncio.sleep(0.5)
        after = await roam(port, 1.0, [SHORT], moving=False)
        load.cancel()  # aioquic does not know a stateless reset from noise, and would wait
        await asyncio.gather(load, return_exceptions=True)
        return after

    with http3(files, tmp_path, workers=3) as server:
        after = asyncio.run(lives_on(server))
        assert after.answered and not after.failures


def test_a_certificate_that_clients_must_show_cannot_be_asked_for(files, tmp_path):
    certificate = files.certificate
    options = ("--ca-certs", certificate, "--verify-mode", "CERT_REQUIRED")
    with serve(
        tmp_path, *files.options, "--quic-bind", "127.0.0.1:0", *options, ready=False
    ) as server:
        assert server.wait() == 2
        server.wait_for("verify_mode does not hold over QUIC")
