"""More clients, or slower ones, than the server can hold."""

import contextlib
import json
import socket
import ssl
import time

import pytest

from tests.support.certificates import Authority
from tests.support.process import PATIENCE, Client, serve

pytestmark = pytest.mark.slow


def few_descriptors(count: int) -> tuple[str, ...]:
    return ("sh", "-c", f'ulimit -n {count}; exec "$@"', "sh")


@pytest.mark.parametrize("descriptors", [80, 128])
def test_clients_beyond_the_descriptors_wait_for_their_turn(tmp_path, descriptors):  # F16
    with serve(tmp_path, prefix=few_descriptors(descriptors)) as server:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(server.connect()) for _ in range(300)]
            for client in clients:
                client.request("/pid", "GET", "connection: close")
            assert {client.answer().status for client in clients} == {200}
        assert server.fetch().status == 200
    assert len(server.said("clients wait")) <= 1  # one line in ten seconds
    assert "Traceback" not in server.log


def test_idle_clients_that_hold_all_descriptors_make_room(tmp_path):  # F16, S-08
    with serve(tmp_path, prefix=few_descriptors(80)) as server, contextlib.ExitStack() as stack:
        idle = [stack.enter_context(server.connect()) for _ in range(8)]
        for client in idle:
            assert client.fetch().status == 200
        waiting = [stack.enter_context(server.connect()) for _ in range(12)]
        for client in waiting:
            client.request()
        # Their keep-alive time-out is 75 s away.
        assert {client.answer().status for client in waiting} == {200}


@pytest.mark.parametrize("descriptors", [64, 32])
def test_hardly_any_descriptors_still_serve(tmp_path, descriptors):  # F16
    prefix = few_descriptors(descriptors)
    with serve(tmp_path, prefix=prefix) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(50)]
        for client in clients:
            client.request("/pid", "GET", "connection: close")
        assert {client.answer().status for client in clients} == {200}


def test_application_that_takes_all_descriptors_cuts_no_client(tmp_path):  # F16
    greedy = """
import os
taken = []
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/take":
        try:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
    else:
        while taken:
            os.close(taken.pop())
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})
"""
    with (
        serve(tmp_path, application=greedy, prefix=few_descriptors(256)) as server,
        server.connect() as first,
        server.connect() as second,
    ):
        assert first.fetch("/take").status == 200
        second.request("/x")  # it may have been accepted before, or may wait
        with server.connect() as third:
            third.request("/x")
            assert first.fetch("/release").status == 200
            assert second.answer().status == 200
            assert third.answer().status == 200
    assert "Traceback" not in server.log


def test_connections_beyond_the_limit_wait_for_their_turn(tmp_path):
    with serve(tmp_path, "--limit-connections", "5") as server, contextlib.ExitStack() as stack:
        held = [stack.enter_context(server.connect()) for _ in range(5)]
        begun = [begin_echo(client) for client in held]
        with server.connect() as waiting:
            waiting.request()
            for client, answer in zip(held, begun, strict=True):
                client.send(b"y")
                assert answer.read() == b"y"
            held[0].socket.close()
            assert waiting.answer().status == 200


def test_limit_of_each_worker_counts_for_itself(tmp_path):
    options = ("--limit-connections", "3")
    with serve(tmp_path, *options, workers=2) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(6)]
        for client in clients:
            begin_echo(client)


def begin_echo(client):
    """A request in progress: half of its body has been answered."""
    client.request("/echo", "POST", "content-length: 2")
    client.send(b"x")
    response = client.response("POST")
    assert response.read1() == b"x"
    return response


# Slow clients. Deadlines are looked at once a second, so the shortest takes up to two.


def test_slow_heads_are_answered_408_and_nobody_else_waits(tmp_path):  # F27
    options = ("--request-header-timeout", "1")
    with serve(tmp_path, *options) as server, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(server.connect()) for _ in range(20)]
        for client in slow:
            client.send(b"GET / HTTP/1.1\r\nhost:")
        silent = stack.enter_context(server.connect())
        assert server.fetch().status == 200
        for client in slow:
            assert client.answer().status == 408
            assert client.wait_for_end() == b""
        assert silent.wait_for_end() == b""


def test_head_that_drips_is_not_given_more_time(tmp_path):  # F27
    with serve(tmp_path, "--request-header-timeout", "1") as server, server.connect() as client:
        client.socket.settimeout(0.1)
        client.send(b"GET / HTTP/1.1\r\n")
        answer = b""
        for _ in range(100):
            try:
                answer = client.socket.recv(65536)
                break
            except TimeoutError:
                client.send(b"x: y\r\n")
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_slow_body_is_answered_408(tmp_path):
    with serve(tmp_path, "--read-timeout", "1") as server, server.connect() as client:
        client.request("/upload", "POST", "content-length: 10")
        client.send(b"x")
        assert client.answer("POST").status == 408
        assert client.wait_for_end() == b""
        assert json.loads(server.fetch("/health").text)["disconnects"] == 1


def test_idle_lasting_connection_is_closed(tmp_path):
    with serve(tmp_path, "--keep-alive", "1") as server, server.connect() as client:
        assert client.fetch().status == 200
        assert client.wait_for_end() == b""


def test_client_that_does_not_read_is_cut(tmp_path):  # F26
    with (
        serve(tmp_path, "--write-timeout", "1") as server,
        Client("127.0.0.1", server.port, receive_buffer=1) as client,
    ):
        client.request("/download?parts=4000")
        while json.loads(server.fetch("/health").text)["disconnects"] == 0:
            pass
        with pytest.raises(ConnectionResetError):
            while client.socket.recv(65536):
                pass


def test_handshake_that_stalls_is_ended(tmp_path):  # T-01
    files = Authority().issue(tmp_path, "localhost")
    options = (*files.options, "--ssl-handshake-timeout", "1")
    with serve(tmp_path, *options) as server, server.connect() as client:
        assert client.wait_for_end() == b""
        with server.connect() as other:
            other.send(b"\x16\x03\x01")  # the beginning of a record
            assert other.wait_for_end() == b""


def test_stalled_handshakes_hold_up_nobody(tmp_path):  # T-01
    authority = Authority()
    files = authority.issue(tmp_path, "localhost")
    with serve(tmp_path, *files.options) as server, contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(server.connect())
        assert server.fetch("/", authority.client_context()).status == 200


def test_handshakes_that_fail_leave_nothing_behind(tmp_path):
    authority = Authority()
    files = authority.issue(tmp_path, "localhost")
    context = authority.client_context()
    options = (*files.options, "--limit-connections", "5")
    with serve(tmp_path, *options) as server, server.connect(context) as client:
        before = json.loads(client.fetch("/health").text)
        for number in range(60):
            with server.connect() as broken:
                if number % 3 == 0:
                    broken.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                    broken.wait_for_end()
                elif number % 3 == 1:
                    broken.send(b"\x16\x03\x01\x02\x00\x01")
                    broken.reset()
                else:
                    untrusting = ssl.create_default_context()
                    with contextlib.suppress(ssl.SSLError, OSError):
                        untrusting.wrap_socket(broken.socket, server_hostname="localhost")
        wait_until_as(client, before)


def wait_until_as(client, before, *, slack=1) -> None:
    """Until no more tasks and descriptors are in use than before."""
    deadline = time.monotonic() + PATIENCE
    while True:
        now = json.loads(client.fetch("/health").text)
        if all(now[each] <= before[each] + slack for each in ("tasks", "descriptors")):
            return
        assert time.monotonic() < deadline, f"{before} has become {now}"


def test_backlog_is_as_large_as_asked_for(tmp_path):
    with (
        serve(tmp_path, "--backlog", "7") as server,
        socket.create_connection(("127.0.0.1", server.port)),
    ):
        assert server.fetch().status == 200
