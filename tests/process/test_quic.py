"""HTTP/3 as clients meet it: real processes, real sockets, clients whose port changes."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from aioquic.asyncio.client import connect
from aioquic.quic.configuration import QuicConfiguration
from cryptography.hazmat.primitives.asymmetric import ec

from tests.process.quic_load import APPLICATION, Client, Tally, roam
from tests.support.certificates import Authority
from tests.support.process import run, serve
from tests.support.qh3client import Ended, visit

pytestmark = pytest.mark.slow

SLOW, SHORT = ("/slow", 1_000_000), ("/pid", 10)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Authority().issue(tmp_path_factory.mktemp("certificates"), "localhost")


def http3(files, directory, *options, workers=2):
    arguments = (*files.options, "--quic-bind", "127.0.0.1:0", "--reload-settle", "0.5", *options)
    return serve(directory, *arguments, application=APPLICATION, workers=workers)


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
        port = server.quic_port
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
        return await roam(server.quic_port, seconds, [SLOW] * 4 + [SHORT] * 4)
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
        resumed = asyncio.run(visits(server.quic_port))
        workers |= set(server.workers())
    assert resumed == [False] + [True] * 19 and len(workers) == 4


def test_several_addresses_are_served_by_the_same_workers(tmp_path):
    authority = Authority()
    files = authority.issue(tmp_path, "localhost")
    trusted = authority.write(tmp_path)

    async def ask(host, port):
        async with visit(port, trusted, host=host) as visitor:
            return int((await visitor.fetch("/pid")).body)

    with http3(files, tmp_path, "--quic-bind", "[::1]:0") as server:
        addresses = [urlsplit(each) for each in server.said(r"listening on (\S+) \(HTTP/3\)")]
        assert {each.hostname for each in addresses} == {"127.0.0.1", "::1"}
        for each in addresses:
            assert asyncio.run(ask(each.hostname, each.port)) in server.workers().values()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says where a datagram went")
@pytest.mark.parametrize("steering", ["kernel", "dispatcher"])
def test_a_machine_answers_from_the_address_that_was_asked(tmp_path, steering):
    authority = Authority()
    files = authority.issue(tmp_path, "localhost")
    trusted = authority.write(tmp_path)

    async def ask(port):
        # The kernel by itself would answer from 127.0.0.1, and the client drop that.
        async with visit(port, trusted, host="127.0.0.2") as visitor:
            return (await visitor.fetch("/pid")).status

    bind = ("--quic-bind", "0.0.0.0:0", "--quic-steering", steering)
    with serve(tmp_path, *files.options, *bind, application=APPLICATION, workers=2) as server:
        assert asyncio.run(ask(server.quic_port)) == 200


@dataclass
class Aftermath:
    """What clients saw of the end of a worker, in seconds since it was killed."""

    failed: int = 0
    stayed: int = 0
    resets: list[float] = field(default_factory=list)
    newcomers: list[float] = field(default_factory=list)


async def outlive(server, authority) -> Aftermath:
    """Kills one worker while each of its, and of the others', clients waits for an answer."""
    port, seen = server.quic_port, Aftermath()
    time = asyncio.get_running_loop().time
    async with AsyncExitStack() as stack:
        visitors = [await stack.enter_async_context(visit(port, authority)) for _ in range(16)]
        owners = [int((await each.fetch("/pid")).body) for each in visitors]
        waiting = [asyncio.ensure_future(each.fetch("/slow")) for each in visitors]
        os.kill(owners[0], signal.SIGKILL)
        killed = time()

        async def go_on(visitor, owner):
            if owner != owners[0]:
                assert int((await visitor.fetch("/pid")).body) == owner
                return
            with pytest.raises(Ended):
                await visitor.fetch("/pid")
            seen.resets.append(time() - killed)

        async def come():
            async with visit(port, authority) as visitor:
                assert (await visitor.fetch("/pid")).status == 200
                seen.newcomers.append(time() - killed)

        known = zip(visitors, owners, strict=True)
        await asyncio.gather(*(go_on(*each) for each in known), *(come() for _ in range(8)))
        for answer, owner in zip(waiting, owners, strict=True):
            if owner == owners[0]:
                with pytest.raises(Ended):
                    await answer
                seen.failed += 1
            else:
                assert len((await answer).body) == SLOW[1]
                seen.stayed += 1
    return seen


def test_a_worker_that_is_killed_takes_only_its_own_requests_with_it(tmp_path):
    authority = Authority()
    files = authority.issue(tmp_path, "localhost")
    with http3(files, tmp_path, workers=4) as server:
        seen = asyncio.run(outlive(server, authority.write(tmp_path)))
        print(
            "seconds until a reset was heard", seen.resets, "and strangers served", seen.newcomers
        )
        assert seen.failed and seen.stayed
        assert len(seen.resets) == seen.failed and len(seen.newcomers) == 8
        assert max(seen.resets) < 1.0 and max(seen.newcomers) < 2.0
        assert server.stop() == 0


def test_a_certificate_is_exchanged_under_running_workers(tmp_path):  # F22
    authority = Authority()
    files = authority.issue(tmp_path, "localhost")

    async def shown(port: int) -> int:
        options = {"configuration": client_configuration(), "create_protocol": Client}
        async with connect("127.0.0.1", port, **options) as client:
            assert await client.ask("/pid") == (200, 10)
            return client._quic.tls._peer_certificate.serial_number

    def shown_over_tcp() -> int:
        with server.connect(authority.client_context()) as client:
            return int(client.socket.getpeercert()["serialNumber"], 16)

    with http3(files, tmp_path) as server, server.connect(authority.client_context()) as lasting:
        port = server.quic_port
        worker = lasting.fetch("/pid").text
        first = asyncio.run(shown(port))
        assert shown_over_tcp() == first

        authority.issue(tmp_path, "localhost", days=(-3, -1))
        server.wait_for(r"the old certificate stays: --certfile .* has expired", 2)
        assert shown_over_tcp() == asyncio.run(shown(port)) == first
        server.signal(signal.SIGHUP)
        server.wait_for(r"gen=1 stays: reload refused: --certfile .* has expired")

        authority.issue(tmp_path, "localhost")
        server.wait_for(r"shows the new certificate$", 2)
        second = asyncio.run(shown(port))
        assert shown_over_tcp() == second != first
        assert lasting.fetch("/pid").text == worker

        # A worker that is forked from the master, which read the first one.
        os.kill(server.workers()[1], signal.SIGKILL)
        server.wait_for(r"shows the new certificate$")
        assert {shown_over_tcp() for _ in range(8)} == {second}


def test_a_certificate_that_quic_cannot_use_is_found_before_anything_starts(tmp_path):
    key = ec.generate_private_key(ec.SECP521R1())
    files = Authority().issue(tmp_path, "localhost", key=key)
    options = (*files.options, "--quic-bind", "127.0.0.1:0", "main:app")
    for more in ((), ("--check-config",)):
        ended = run(*options, *more, directory=tmp_path)
        assert ended.returncode == 2 and "cannot be used for QUIC" in ended.stderr


def test_a_certificate_that_clients_must_show_cannot_be_asked_for(files, tmp_path):
    certificate = files.certificate
    options = ("--ca-certs", certificate, "--verify-mode", "CERT_REQUIRED")
    with serve(
        tmp_path, *files.options, "--quic-bind", "127.0.0.1:0", *options, ready=False
    ) as server:
        assert server.wait() == 2
        server.wait_for("verify_mode does not hold over QUIC")
