"""Bodies both ways, large and slow, and clients that leave in the middle."""

import contextlib
import hashlib
import http.client
import json
import os
import socket
import threading
import time

import pytest

from tests.support.certificates import Authority
from tests.support.process import PATIENCE, Client, Gate, serve

pytestmark = pytest.mark.slow

LARGE = 50 * 1024 * 1024


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A file, and its digest."""
    path = tmp_path_factory.mktemp("files") / "large"
    part = os.urandom(1024 * 1024)
    with open(path, "wb") as file:
        for number in range(LARGE // len(part)):
            file.write(b"%08d" % number + part[8:])
    return path, digest(path.open("rb"))


@pytest.fixture(scope="module", params=["plain", "tls"])
def server_and_context(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("server")
    if request.param == "plain":
        with serve(directory) as server:
            yield server, None
    else:
        authority = Authority()
        files = authority.issue(directory, "localhost")
        with serve(directory, *files.options) as server:
            yield server, authority.client_context()


def digest(source, size=1024 * 1024) -> str:
    found = hashlib.sha256()
    with source:
        while part := source.read(size):
            found.update(part)
    return found.hexdigest()


def health(client):
    return json.loads(client.fetch("/health").text)


def wait_until(client, condition):
    """Asks the worker until it has noticed; returns its last answer."""
    deadline = time.monotonic() + PATIENCE
    while not condition(now := health(client)):
        assert time.monotonic() < deadline, now
    return now


# Files


def test_large_file(server_and_context, large):
    server, context = server_and_context
    path, expected = large
    with server.connect(context) as client:
        client.request(f"/file?path={path}")
        response = client.response()
        assert response.getheader("content-length") == str(LARGE)
        assert digest(response) == expected
        assert client.fetch().status == 200  # the connection is still in step


def test_large_file_to_a_slow_reader_does_not_hold_up_others(server_and_context, large):
    server, context = server_and_context
    path, expected = large
    with Client("127.0.0.1", server.port, context, receive_buffer=16384) as client:
        client.request(f"/file?path={path}")
        response = client.response()
        found = hashlib.sha256()
        for _ in range(10):
            found.update(response.read(10_000))
            assert server.fetch("/hello", context).text == "hello\n"
        while part := response.read(256 * 1024):
            found.update(part)
        assert found.hexdigest() == expected
        assert client.fetch().status == 200


def test_several_readers_of_one_file(server_and_context, large):
    server, context = server_and_context
    path, expected = large
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect(context)) for _ in range(3)]
        for client in clients:
            client.request(f"/file?path={path}")
        assert [digest(client.response()) for client in clients] == [expected] * 3


def test_reader_that_leaves_leaves_no_descriptor_behind(server_and_context, large):  # F24
    server, context = server_and_context
    with server.connect(context) as watcher:
        before = health(watcher)
        for _ in range(20):
            with Client("127.0.0.1", server.port, context, receive_buffer=16384) as client:
                client.request(f"/file?path={large[0]}")
                client.response().read(1000)
                client.reset()
        wait_until(watcher, lambda now: now["descriptors"] <= before["descriptors"])
        wait_until(watcher, lambda now: now["tasks"] <= before["tasks"])


def test_pipelined_request_behind_a_file(server_and_context, large):
    server, context = server_and_context
    path, expected = large
    with server.connect(context) as client:
        head = b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n"
        client.send(head % f"/file?path={path}".encode() + head % b"/hello")
        stream = client.socket.makefile("rb")
        while (line := stream.readline()) != b"\r\n":
            assert line
        found = hashlib.sha256()
        left = LARGE
        while left:
            part = stream.read(min(left, 1024 * 1024))
            found.update(part)
            left -= len(part)
        assert found.hexdigest() == expected
        assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
        stream.close()


def test_file_that_is_not_there_is_an_error_of_the_application(server_and_context, tmp_path):
    server, context = server_and_context
    with server.connect(context) as client:
        assert client.fetch(f"/file?path={tmp_path}/missing").status == 500
        assert client.fetch().status == 200


def test_empty_file(server_and_context, tmp_path):
    server, context = server_and_context
    (tmp_path / "empty").touch()
    with server.connect(context) as client:
        assert client.fetch(f"/file?path={tmp_path}/empty").body == b""
        assert client.fetch().status == 200


# Bodies


def test_large_upload_arrives_whole(server_and_context):
    server, context = server_and_context
    body = os.urandom(1024 * 1024) * 20
    with server.connect(context) as client:
        assert client.upload("/upload", body).text == hashlib.sha256(body).hexdigest()
        client.request("/upload", "POST", "transfer-encoding: chunked")
        for start in range(0, len(body), 300_000):
            part = body[start : start + 300_000]
            client.send(b"%x\r\n%b\r\n" % (len(part), part))
        client.send(b"0\r\n\r\n")
        assert client.answer("POST").text == hashlib.sha256(body).hexdigest()


def test_upload_to_an_application_that_does_not_read_waits(server_and_context, tmp_path):
    server, context = server_and_context
    with Gate(tmp_path) as gate, server.connect(context) as client:
        client.request(f"/gate?path={gate.path}", "POST", f"content-length: {10**9}")
        inside = gate.entered()
        client.socket.settimeout(0.5)
        sent = 0
        with pytest.raises((TimeoutError, OSError)):
            while sent < 10**9:
                sent += client.socket.send(bytes(1024 * 1024))
        # Buffers of the system, and no more than a few of ours.
        assert sent < 64 * 1024 * 1024
        inside.close()


def test_large_download_arrives_whole(server_and_context):
    server, context = server_and_context
    with server.connect(context) as client:
        body = client.fetch("/download?parts=1000").body
        assert body == b"0123456789abcdef" * 1024 * 1000


# Clients that leave


@pytest.mark.parametrize("leave", ["reset", "close"])
def test_client_that_leaves_in_an_upload_is_noticed(server_and_context, leave):  # F24
    server, context = server_and_context
    with server.connect(context) as watcher:
        before = health(watcher)
        for _ in range(30):
            with server.connect(context) as client:
                client.request("/echo", "POST", "content-length: 1000000")
                client.send(b"x")
                client.response("POST").read1()
                if leave == "reset":
                    client.reset()
        wait_until(watcher, lambda now: now["disconnects"] >= before["disconnects"] + 30)
        wait_until(watcher, lambda now: now["tasks"] <= before["tasks"])
        wait_until(watcher, lambda now: now["descriptors"] <= before["descriptors"])


@pytest.mark.parametrize("leave", ["reset", "close"])
def test_client_that_leaves_in_a_download_is_noticed(server_and_context, leave):  # F24
    server, context = server_and_context
    with server.connect(context) as watcher:
        before = health(watcher)
        for _ in range(30):
            with Client("127.0.0.1", server.port, context, receive_buffer=16384) as client:
                client.request("/download?parts=10000")
                client.response().read(1000)
                if leave == "reset":
                    client.reset()
        wait_until(watcher, lambda now: now["disconnects"] >= before["disconnects"] + 30)
        wait_until(watcher, lambda now: now["tasks"] <= before["tasks"])
        wait_until(watcher, lambda now: now["descriptors"] <= before["descriptors"])


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("leave", ["reset", "close"])
def test_client_that_leaves_does_not_stop_the_worker(tmp_path, leave, loop):  # F24
    with serve(tmp_path, "-k", loop) as server:
        with Client("127.0.0.1", server.port, receive_buffer=16384) as client:
            client.request(f"/download?parts={10**12}")  # as good as endless
            client.response().read(1000)
            if leave == "reset":
                client.reset()
        with server.connect() as watcher:
            watcher.socket.settimeout(3)
            assert watcher.fetch().status == 200


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_client_that_reads_fast_does_not_stop_the_worker_for_others(tmp_path, loop):
    with serve(tmp_path, "-k", loop) as server, server.connect() as greedy:
        greedy.request(f"/download?parts={10**12}")
        greedy.response()
        stop = threading.Event()
        reader = threading.Thread(target=read_on, args=(greedy.socket, stop))
        reader.start()
        try:
            with server.connect() as other:
                other.socket.settimeout(5)
                assert other.fetch().status == 200
        finally:
            stop.set()
            reader.join()


def read_on(source, stop) -> None:
    while not stop.is_set():
        source.recv(1024 * 1024)


def test_client_that_closes_in_an_upload_is_no_error(tmp_path):
    log = tmp_path / "access.log"
    with serve(tmp_path, "--access-logfile", str(log), "--access-logformat", "%(s)s") as server:
        for _ in range(3):
            with server.connect() as client:
                client.request("/upload", "POST", "content-length: 1000000")
                client.send(bytes(1000))
        with server.connect() as watcher:
            wait_until(watcher, lambda now: now["disconnects"] == 3)
        server.stop()
    assert "[ERROR]" not in server.log
    assert "500" not in log.read_text().split()


def test_clients_that_leave_at_once_are_no_trouble(server_and_context):  # F24
    server, context = server_and_context
    start = len(server.log)
    for _ in range(100):
        with server.connect() as client:
            client.reset()
    assert server.fetch("/", context).status == 200
    assert "Traceback" not in server.log[start:]


def test_half_closed_client_gets_its_answer(tmp_path):  # F25, RFC9112§9.6
    with serve(tmp_path) as server, Gate(tmp_path) as gate:
        for target in ("/hello", f"/gate?path={gate.path}", "/download?parts=100"):
            with server.connect() as client:
                client.request(target)
                client.socket.shutdown(socket.SHUT_WR)
                if target.startswith("/gate"):
                    gate.entered().close()
                assert client.answer().status == 200
                assert client.wait_for_end() == b""


def test_half_closed_upload_gets_its_answer(tmp_path):
    body = bytes(100_000)
    with serve(tmp_path) as server, server.connect() as client:
        client.request("/upload", "POST", f"content-length: {len(body)}")
        client.send(body)
        client.socket.shutdown(socket.SHUT_WR)
        assert client.answer("POST").text == hashlib.sha256(body).hexdigest()
        assert client.wait_for_end() == b""


def test_answer_that_fails_late_is_seen_as_a_cut(server_and_context):  # F23
    server, context = server_and_context
    with server.connect(context) as client:
        client.request("/half")
        with pytest.raises((http.client.IncompleteRead, OSError)):
            client.response().read()
    server.wait_for("wrong on purpose, and late")


# The bundled application


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("demo"), application="tricorn.demo:app") as server:
        yield server


def test_demo_page(demo):
    answer = demo.fetch("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "Tricorn serves this page" in answer.text and "HTTP/1.1" in answer.text
    assert demo.fetch("/nowhere").status == 404


def test_demo_stream_comes_part_by_part(demo):
    with demo.connect() as client:
        client.request("/stream")
        response = client.response()
        first = response.read1()
        assert first == b"part 1 of 10\n"  # the second is not there yet
        assert (first + response.read()).count(b"\n") == 10


def test_demo_upload(demo):
    body = os.urandom(300_000)
    with demo.connect() as client:
        said = client.upload("/upload", body).text
    assert said == f"300000 octets, SHA-256 {hashlib.sha256(body).hexdigest()}\n"


def test_demo_events(demo):
    with demo.connect() as client:
        client.request("/events")
        response = client.response()
        assert response.getheader("content-type") == "text/event-stream"
        assert response.read1() == b"data: event 1 of 60\n\n"
    assert demo.fetch("/who").status == 200
