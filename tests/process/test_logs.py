"""Logs: whatever becomes of them, requests go on."""

import json
import os
import shutil
import signal
import socket
import time

import pytest

from tests.process.load import Load
from tests.support.process import PATIENCE, Client, serve

pytestmark = pytest.mark.slow

FORMAT = ("--access-logformat", "%(s)s %(R)s")


def ask(path, target="/") -> bytes:
    """One request to a unix socket, waiting for it to be there, where there is no log to read."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            try:
                client.connect(str(path))
            except (FileNotFoundError, ConnectionRefusedError):
                assert time.monotonic() < deadline, "nobody listens"
                os.sched_yield()
                continue
            client.sendall(
                f"GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode()
            )
            answer = b""
            while part := client.recv(65536):
                answer += part
            return answer


def test_access_log_has_one_line_for_each_response(tmp_path):
    log = tmp_path / "access.log"
    with serve(tmp_path, "--access-logfile", str(log), *FORMAT, workers=3) as server:
        with Load(server.port) as load:
            load.go_on(200)
        server.stop()
    lines = log.read_text().splitlines()
    assert load.failures == []
    assert len(lines) >= load.answered
    assert len(set(lines)) == len(lines)  # every request has a number of its own
    assert all(line.startswith("200 GET /number/") for line in lines)


def test_access_log_goes_to_the_standard_output(tmp_path):
    with (
        open(tmp_path / "out", "wb") as out,
        serve(tmp_path, "--access-log", *FORMAT, stdout=out) as server,
    ):
        server.fetch("/hello?a=b")
        server.fetch("/no/such/thing")
        server.stop()
    lines = (tmp_path / "out").read_text().splitlines()
    assert lines == ["200 GET /hello?a=b HTTP/1.1", "404 GET /no/such/thing HTTP/1.1"]


def test_json_access_log_is_json(tmp_path):
    log = tmp_path / "access.log"
    options = ("--access-logfile", str(log), "--access-logformat", "json", "--log-format", "json")
    with serve(tmp_path, *options, ready=False) as server:
        server.wait_for(r'"message": "worker=1 .* ready"')
        port = json.loads(server.log.splitlines()[0])["message"].rpartition(":")[2].split()[0]
        assert port.isdecimal()
        with Client("127.0.0.1", int(port)) as client:
            client.fetch("/hello?x=%22")
        server.stop()
    entry = json.loads(log.read_text())
    assert (entry["method"], entry["path"], entry["status"]) == ("GET", "/hello", 200)
    assert all(json.loads(line)["level"] for line in server.log.splitlines())


def test_stalled_reader_of_the_access_log_stalls_no_request(tmp_path):  # F17
    reading, writing = os.pipe()
    try:
        with serve(tmp_path, "--access-log", stdout=writing, workers=2) as server:
            long = "/hello?" + "x" * 4000
            with server.connect() as client:  # 800 KB on each worker at most; a pipe holds 64 KiB
                for _ in range(400):
                    assert client.fetch(long).status == 200
            assert server.stop() == 0
    finally:
        os.close(reading)
        os.close(writing)
    assert "Traceback" not in server.log


def test_reader_of_both_logs_that_is_gone_stops_no_request(tmp_path):  # F17
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with serve(tmp_path, "--access-log", stdout=writing) as server:
            with server.connect() as client:
                for _ in range(50):
                    assert client.fetch().status == 200
            before = server.workers()
            server.signal(signal.SIGUSR1)
            assert server.fetch().status == 200
            assert server.workers() == before
            assert server.stop() == 0
    finally:
        os.close(writing)
    assert "Traceback" not in server.log


@pytest.mark.parametrize("option", ["--access-logfile", "--error-logfile"])
def test_full_disk_stops_no_request(tmp_path, option):  # F17
    path = tmp_path / "server.sock"
    with serve(tmp_path, option, "/dev/full", bind=[f"unix:{path}"], ready=False) as server:
        for _ in range(5):
            assert b"Internal Server Error" in ask(path, "/wrong")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_standard_streams_that_are_closed_are_not_taken_for_sockets(tmp_path, closed):
    prefix = ("sh", "-c", f'exec "$@" {closed}', "sh")
    path = tmp_path / "server.sock"
    printing = """
import os
async def app(scope, receive, send):
    if scope["type"] == "http":
        for number in (1, 2):
            try:
                os.write(number, b"what an application prints")
            except OSError:
                pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"answer"})
"""
    with serve(
        tmp_path, application=printing, bind=[f"unix:{path}"], prefix=prefix, ready=False
    ) as server:
        answer = ask(path)
        assert answer.startswith(b"HTTP/1.1 200 ") and b"answer" in answer
        assert b"prints" not in answer
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


def test_rotated_logs_are_opened_again(tmp_path):  # F18
    access, error = tmp_path / "access.log", tmp_path / "error.log"
    options = ("--access-logfile", str(access), *FORMAT)
    with serve(tmp_path, *options, workers=2) as server:
        with Load(server.port) as load:
            load.go_on(50)
            access.rename(tmp_path / "access.1")
            server.signal(signal.SIGUSR1)
            load.go_on(100)
            for _ in range(50):
                if access.exists() and access.stat().st_size:
                    break
                load.go_on(20)
            assert access.exists(), "USR1 to the master did not reach the workers"
        server.stop()
    assert load.failures == []
    both = (tmp_path / "access.1").read_text() + access.read_text()
    assert len(set(both.splitlines())) == len(both.splitlines()) >= load.answered
    assert not error.exists()


def test_rotated_error_log_is_opened_again_by_the_master_too(tmp_path):  # F18
    error, path = tmp_path / "error.log", tmp_path / "server.sock"
    options = ("--error-logfile", str(error))
    with serve(tmp_path, *options, bind=[f"unix:{path}"], ready=False) as server:
        ask(path)
        error.rename(tmp_path / "error.1")
        server.signal(signal.SIGUSR1)
        ask(path)
        assert server.stop() == 0
    assert "listening on" in (tmp_path / "error.1").read_text()
    assert error.exists(), "USR1 did not reach the master's log"
    assert "server stopped" in error.read_text()


def test_directory_of_the_logs_that_is_removed_stops_no_request(tmp_path):  # F18
    directory = tmp_path / "logs"
    directory.mkdir()
    options = ("--access-logfile", str(directory / "access.log"))
    with serve(tmp_path, *options) as server, server.connect() as client:
        pid = client.fetch("/pid").text
        shutil.rmtree(directory)
        server.signal(signal.SIGUSR1)
        server.signal(signal.SIGTTIN)  # the next signal is heard after it
        server.wait_for(r"worker=2 .* ready$")
        assert client.fetch("/pid").text == pid
        assert server.stop() == 0


def test_error_of_the_application_is_logged_with_its_traceback(tmp_path):
    with serve(tmp_path) as server:
        assert server.fetch("/wrong").status == 500
        server.wait_for(r"\[ERROR\] the application raised RuntimeError for GET /wrong$")
        server.wait_for(r"RuntimeError: wrong on purpose$")


def test_log_level_silences_what_is_below_it(tmp_path):
    with serve(tmp_path, "--log-level", "error", ready=False) as server:
        server.signal(signal.SIGTERM)
        server.wait()
    assert "[INFO]" not in server.log
