"""HTTP/2 and the fleet: reloads, stops, deaths, and streams that do not wait for one another."""

import contextlib
import hashlib
import os
import signal

import pytest

from tests.process.http2_client import FIRST_WINDOW, Http2Client
from tests.process.http2_load import LARGE, Http2Load
from tests.support.certificates import Authority
from tests.support.process import Gate, serve, wait_for_death

pytestmark = pytest.mark.slow

QUICK = ("--reload-settle", "0.2")
PART = 16_384


@pytest.fixture(params=["clear", "tls"])
def options_and_context(request, tmp_path):
    """How to serve, and what a client has to trust."""
    if request.param == "clear":
        return (), None
    authority = Authority()
    return authority.issue(tmp_path, "localhost").options, authority.client_context()


def reload(server) -> None:
    """Until the old workers are gone."""
    before = server.children()
    server.signal(signal.SIGHUP)
    server.wait_for(r"reload complete$")
    wait_for_death(*before)


# Reload and stop


@pytest.mark.parametrize("engine", ["tricorn", "h2"])
def test_reload_under_load_loses_nothing(tmp_path, options_and_context, engine):
    options, context = options_and_context
    known = (*QUICK, "--http2-engine", engine)
    with serve(tmp_path, *options, *known, workers=2) as server:
        with Http2Load(server.port, context=context) as load:
            for _ in range(2):
                reload(server)
                load.go_on(500)
        assert load.lost == [] and load.turned_away == 0
        assert load.goaways >= 12
        assert server.stop() == 0


@pytest.mark.parametrize("engine", ["tricorn", "h2"])
def test_stop_under_load_loses_nothing(tmp_path, options_and_context, engine):
    options, context = options_and_context
    known = ("--http2-engine", engine)
    with (
        serve(tmp_path, *options, *known, workers=2) as server,
        Http2Load(server.port, context=context) as load,
    ):
        load.go_on(500)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    assert load.lost == [] and load.goaways >= 6
    assert "did not finish" not in server.log and "Traceback" not in server.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_idle_connections_are_told_that_they_end(tmp_path, number):
    options = (*QUICK, "--graceful-timeout", "60")
    with serve(tmp_path, *options, workers=2) as server, contextlib.ExitStack() as held:
        clients = [held.enter_context(Http2Client(server.port)) for _ in range(100)]
        for client in clients:
            client.fetch("/hello")
        server.signal(number)
        for client in clients:
            client.wait_for_end()
            client.close()
            assert client.goaways == [(LARGE, 0), (1, 0)]
        if number == signal.SIGHUP:
            server.wait_for(r"reload complete$")
            server.signal(signal.SIGTERM)
        assert server.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_is_in_flight_is_finished(tmp_path, number):
    body = os.urandom(300_000)
    with (
        serve(tmp_path, *QUICK) as server,
        Gate(tmp_path) as gate,
        Http2Client(server.port) as client,
    ):
        waiting = client.ask(f"/gate?path={gate.path}")
        inside = gate.entered()
        uploading = client.ask("/upload", "POST", end=False)
        client.send(uploading, body[:100_000])
        downloading = client.ask("/download?parts=200")
        client.held.add(downloading)
        assert client.fetch("/hello")

        server.signal(number)
        while len(client.goaways) < 2:
            client.read()
        client.send(uploading, body[100_000:], end=True)
        assert client.answer(uploading).body.decode() == hashlib.sha256(body).hexdigest()
        inside.close()
        assert client.answer(waiting).body.startswith(b"let go")
        client.grant(downloading)
        assert len(client.answer(downloading).body) == 200 * PART
        client.wait_for_end()
        client.close()
        if number == signal.SIGHUP:
            server.wait_for(r"reload complete$")
            server.signal(signal.SIGTERM)
        assert server.wait() == 0
    assert "did not finish" not in server.log


# Death


def test_death_of_a_worker_ends_no_connection_of_another(tmp_path):
    with serve(tmp_path, workers=2) as server, contextlib.ExitStack() as held:
        killed, spared = server.workers().values()
        clients = {}
        for pid, other in ((killed, spared), (spared, killed)):
            os.kill(other, signal.SIGSTOP)  # so that it takes none of these
            clients[pid] = [held.enter_context(Http2Client(server.port)) for _ in range(10)]
            assert {client.fetch("/pid") for client in clients[pid]} == {str(pid)}
            os.kill(other, signal.SIGCONT)
        asked = [client.ask("/download?parts=20") for client in clients[spared]]
        os.kill(killed, signal.SIGKILL)
        for client, id in zip(clients[spared], asked, strict=True):
            assert len(client.answer(id).body) == 20 * PART
            assert client.fetch("/pid") == str(spared) and not client.goaways
        for client in clients[killed]:
            assert client.client.wait_for_end() == b""
        server.wait_for(r" ready$")
        with Http2Load(server.port) as load:
            load.go_on(500)
        assert load.lost == []


# Streams that do not wait for one another


@pytest.mark.parametrize("engine", ["tricorn", "h2"])
def test_slow_download_holds_up_nobody(tmp_path, options_and_context, engine):
    options, context = options_and_context
    with (
        serve(tmp_path, *options, "--http2-engine", engine) as server,
        Http2Client(server.port, context) as client,
    ):
        slow = client.ask("/download?parts=300")
        client.held.add(slow)
        for _ in range(30):
            assert client.fetch("/hello") == "hello\n"
        assert len(client.fetch("/download?parts=100")) == 100 * PART
        assert len(client.responses[slow].body) == FIRST_WINDOW
        client.grant(slow)
        assert len(client.answer(slow).body) == 300 * PART


@pytest.mark.parametrize("engine", ["tricorn", "h2"])
def test_slow_upload_holds_up_nobody(tmp_path, options_and_context, engine):
    options, context = options_and_context
    body = os.urandom(1_000_000)
    expected = hashlib.sha256(body).hexdigest()
    with (
        serve(tmp_path, *options, "--http2-engine", engine) as server,
        Http2Client(server.port, context) as client,
    ):
        slow = client.ask("/upload", "POST", end=False)
        client.send(slow, body[:10])
        for _ in range(5):
            quick = client.ask("/upload", "POST", end=False)
            client.send(quick, body, end=True)
            assert client.answer(quick).body.decode() == expected
        client.send(slow, body[10:], end=True)
        assert client.answer(slow).body.decode() == expected


@pytest.mark.parametrize("engine", ["tricorn", "h2"])
def test_upload_that_is_not_read_holds_up_nobody(tmp_path, options_and_context, engine):
    options, context = options_and_context
    body = os.urandom(1_000_000)
    with (
        serve(tmp_path, *options, "--http2-engine", engine) as server,
        Gate(tmp_path) as gate,
        Http2Client(server.port, context) as client,
    ):
        unread = client.ask(f"/gate?path={gate.path}", "POST", end=False)
        inside = gate.entered()
        client.send(unread, body[: client.room(unread)])
        for _ in range(5):
            quick = client.ask("/upload", "POST", end=False)
            client.send(quick, body, end=True)
            assert client.answer(quick).body.decode() == hashlib.sha256(body).hexdigest()
        assert client.room(unread) < PART, "what nobody has read was credited"
        inside.close()
        assert client.answer(unread).body.startswith(b"let go")
        assert client.fetch("/hello") == "hello\n"
