"""TERM, INT and QUIT: what is in flight ends well, and so does the server."""

import signal

import pytest

from tests.process.load import Load
from tests.support.process import Client, Gate, serve

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("workers", [0, 1, 4])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_idle_server_stops_cleanly(tmp_path, number, workers):
    done = tmp_path / "done"
    with serve(tmp_path, workers=workers, environ={"SHUT_DOWN": str(done)}) as server:
        assert server.fetch().status == 200  # alone it is ready now at the latest
        server.signal(number)
        assert server.wait() == 0
    assert "Traceback" not in server.log
    assert len(done.read_text().split()) == (workers or 1)  # every lifespan has been shut down


@pytest.mark.parametrize("workers", [0, 2])
def test_stop_finishes_what_is_in_flight(tmp_path, workers):  # F08
    with (
        serve(tmp_path, workers=workers) as server,
        Gate(tmp_path) as gate,
        server.connect() as waiting,
        server.connect() as uploading,
        server.connect() as downloading,
    ):
        waiting.request(f"/gate?path={gate.path}")
        inside = gate.entered()
        uploading.request("/echo", "POST", "transfer-encoding: chunked")
        uploading.send(b"4\r\nhalf\r\n")
        echoed = uploading.response("POST")
        assert echoed.read1() == b"half"
        downloading.request("/download?parts=4000")
        downloaded = downloading.response()

        server.signal(signal.SIGTERM)
        wait_until_refused(server.port)
        inside.close()
        answer = waiting.answer()
        assert answer.text.startswith("let go") and answer.closing
        uploading.send(b"4\r\ndone\r\n0\r\n\r\n")
        assert echoed.read() == b"done"
        assert len(downloaded.read()) == 4000 * 16384
        assert server.wait() == 0
    assert "did not finish" not in server.log


def test_stop_under_load_cuts_no_request_that_was_accepted(tmp_path):
    with serve(tmp_path, workers=2) as server, Load(server.port) as load:
        load.go_on(50)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    # Once nobody listens clients are refused, and those still in the queue are reset; but nobody
    # who was let in goes without an answer.
    wrong = [each for each in load.failures if "on a lasting connection" in each]
    assert not wrong, wrong[:5]


def test_stop_refuses_new_clients_at_once(tmp_path):
    with serve(tmp_path) as server, Gate(tmp_path) as gate, server.connect() as client:
        client.request(f"/gate?path={gate.path}")
        inside = gate.entered()
        server.signal(signal.SIGTERM)
        wait_until_refused(server.port)
        inside.close()
        assert client.answer().status == 200


def test_idle_lasting_connections_do_not_hold_up_a_stop(tmp_path):
    with (
        serve(tmp_path, "--graceful-timeout", "60") as server,
        server.connect() as used,
        server.connect() as unused,
    ):
        used.fetch()
        server.signal(signal.SIGTERM)
        assert used.wait_for_end() == b"" and unused.wait_for_end() == b""
        assert server.wait() == 0


def test_draining_connection_answers_a_request_that_was_on_its_way(tmp_path):
    with serve(tmp_path) as server, Gate(tmp_path) as gate, server.connect() as other:
        other.request(f"/gate?path={gate.path}")  # keeps the worker from being done at once
        inside = gate.entered()
        with server.connect() as client:
            client.fetch()
            server.signal(signal.SIGTERM)
            wait_until_refused(server.port)
            answer = client.fetch()
            assert answer.status == 200 and answer.closing
            assert client.wait_for_end() == b""
        inside.close()
        assert server.wait() == 0


def test_second_term_does_not_wait(tmp_path):  # F09
    done = tmp_path / "done"
    with serve(tmp_path, environ={"SHUT_DOWN": str(done)}) as server, Gate(tmp_path) as gate:
        with server.connect() as client:
            client.request(f"/gate?path={gate.path}")
            inside = gate.entered()
            server.signal(signal.SIGTERM)
            server.wait_for(r"is told to drain")
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
            assert inside.recv(1) == b""  # the application was cancelled
            assert client.wait_for_end() == b""
        inside.close()
    assert done.exists(), "the lifespan was not shut down"
    assert "Traceback" not in server.log


def test_interrupt_after_term_does_not_wait_either(tmp_path):  # F09
    with serve(tmp_path, workers=2) as server, Gate(tmp_path) as gate, server.connect() as client:
        client.request(f"/gate?path={gate.path}")
        gate.entered()
        server.signal(signal.SIGTERM)
        server.wait_for(r"is told to drain", 2)
        server.signal(signal.SIGINT)
        assert server.wait() == 0
    assert "Traceback" not in server.log


@pytest.mark.parametrize("workers", [0, 2])
def test_quit_does_not_wait(tmp_path, workers):
    done = tmp_path / "done"
    environ = {"SHUT_DOWN": str(done)}
    with serve(tmp_path, workers=workers, environ=environ) as server, Gate(tmp_path) as gate:
        with server.connect() as client:
            client.request(f"/gate?path={gate.path}")
            inside = gate.entered()
            server.signal(signal.SIGQUIT)
            assert server.wait() == 0
            assert inside.recv(1) == b""
        inside.close()
    assert len(done.read_text().split()) == (workers or 1)
    assert "Traceback" not in server.log


@pytest.mark.parametrize("workers", [0, 1])
def test_second_interrupt_at_a_terminal_does_not_wait(tmp_path, workers):
    with serve(tmp_path, workers=workers) as server, Gate(tmp_path) as gate:
        with server.connect() as client:
            client.request(f"/gate?path={gate.path}")
            inside = gate.entered()
            server.signal(signal.SIGINT)
            wait_until_refused(server.port)
            server.signal(signal.SIGINT)
            assert server.wait() == 0
        inside.close()
    assert "Traceback" not in server.log


def test_what_does_not_end_in_time_is_cancelled(tmp_path):
    done = tmp_path / "done"
    environ = {"SHUT_DOWN": str(done)}
    with (
        serve(tmp_path, "--graceful-timeout", "0.3", environ=environ) as server,
        Gate(tmp_path) as gate,
        server.connect() as client,
    ):
        client.request(f"/gate?path={gate.path}")
        inside = gate.entered()
        server.signal(signal.SIGTERM)
        server.wait_for(r"ending 1 requests and 1 connections that did not finish in time")
        assert server.wait() == 0
        assert inside.recv(1) == b""
        assert client.wait_for_end() == b""
    assert done.exists(), "the lifespan was not shut down"


def test_application_that_ignores_cancellation_is_killed_in_the_end(tmp_path):
    stubborn = """
import asyncio, time
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        time.sleep(1000)
"""
    options = ("--graceful-timeout", "0.2", "--shutdown-timeout", "0.2")
    with serve(tmp_path, *options, application=stubborn) as server, server.connect() as client:
        client.request()
        client.response().read1()
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    assert "killed by the master" in server.log


STARTING = """
import asyncio
async def app(scope, receive, send):
    await receive()
    reader, writer = await asyncio.open_unix_connection("gate")
    try:
        await reader.read(1)
    finally:
        writer.close()
"""


def test_stop_while_the_application_starts(tmp_path):  # S-11
    options = ("--graceful-timeout", "1", "--shutdown-timeout", "1")
    with Gate(tmp_path) as gate:
        with serve(tmp_path, *options, application=STARTING, workers=2, ready=False) as server:
            inside = [gate.entered(), gate.entered()]
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
        for each in inside:
            each.close()
    assert "killed by the master" not in server.log
    assert "Traceback" not in server.log


def test_second_stop_while_the_application_starts(tmp_path):  # S-11
    with Gate(tmp_path) as gate:
        with serve(tmp_path, application=STARTING, workers=2, ready=False) as server:
            inside = [gate.entered(), gate.entered()]
            server.signal(signal.SIGTERM)
            server.wait_for(r"SIGTERM: stop$")
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
        for each in inside:
            each.close()
    assert "took longer" not in server.log
    assert "killed by the master" not in server.log
    assert "Traceback" not in server.log


def test_stop_before_the_application_is_imported(tmp_path):  # S-11
    importing = "import socket\nwith socket.socket(socket.AF_UNIX) as inside:\n"
    importing += "    inside.connect('gate')\n    inside.recv(1)\n"
    with Gate(tmp_path) as gate:
        with serve(tmp_path, application=importing, workers=2, ready=False) as server:
            inside = [gate.entered(), gate.entered()]
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
        for each in inside:
            each.close()
    assert "killed by the master" not in server.log
    assert "Traceback" not in server.log


def test_stop_during_a_reload(tmp_path):
    with serve(tmp_path, "--reload-settle", "60", workers=2) as server:
        server.signal(signal.SIGHUP)
        server.wait_for(r"gen=2 pid=\d+ ready$")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    assert "Traceback" not in server.log


def test_lifespan_that_does_not_end_is_given_up(tmp_path):
    endless = """
import asyncio
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.sleep(1000)
"""
    with serve(tmp_path, "--shutdown-timeout", "0.3", application=endless) as server:
        assert server.stop() == 0
    assert "lifespan shutdown took longer than 0.3 seconds" in server.log


def wait_until_refused(port: int) -> None:
    """Nobody listens any more: a stop has begun. Clients that slip in before are let go of."""
    while True:
        try:
            with Client("127.0.0.1", port):
                pass
        except (TimeoutError, ConnectionRefusedError, ConnectionResetError):
            return
