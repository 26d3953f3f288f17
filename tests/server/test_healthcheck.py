"""The command of an image's HEALTHCHECK."""

import socket
import threading
from contextlib import contextmanager

import pytest

from tricorn import healthcheck

OK = b'HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n{"ok": true}'
DRAINING = b'HTTP/1.1 503 Service Unavailable\r\ncontent-length: 13\r\n\r\n{"ok": false}'


@contextmanager
def answering(data, family=socket.AF_INET, where=("127.0.0.1", 0)):
    """Answers one request with these octets; yields the address, and what was asked."""
    asked = []
    with socket.socket(family) as listener:
        listener.bind(where)
        listener.listen()

        def answer():
            connection, _ = listener.accept()
            with connection:
                asked.append(connection.recv(1000).split(b"\r\n")[0].decode())
                connection.sendall(data)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield listener.getsockname(), asked
        finally:
            thread.join(5)


def status(*arguments):
    with pytest.raises(SystemExit) as ended:
        healthcheck.main(arguments)
    return ended.value.code


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", ""])
def test_server_that_is_ready(capsys, host):
    with answering(OK) as ((_, port), asked):
        assert status(f"{host}:{port}") == 0
    assert asked == ["GET /readyz HTTP/1.1"] and capsys.readouterr().out == '{"ok": true}\n'


def test_server_that_is_not_ready_is_unhealthy_and_says_why(capsys):
    with answering(DRAINING) as ((_, port), asked):
        assert status(f"127.0.0.1:{port}", "--path", "/livez") == 1
    assert asked == ["GET /livez HTTP/1.1"] and capsys.readouterr().out == '{"ok": false}\n'


def test_address_comes_from_the_environment(monkeypatch):
    with answering(OK, socket.AF_INET6, ("::1", 0)) as ((_, port, *_), _):
        monkeypatch.setenv("TRICORN_HEALTH_BIND", f"[::1]:{port},127.0.0.1:1")
        assert status() == 0


def test_unix_socket(tmp_path):
    path = str(tmp_path / "health")
    with answering(OK, socket.AF_UNIX, path):
        assert status(f"unix:{path}") == 0


@pytest.mark.parametrize("address", ["", "127.0.0.1", "127.0.0.1:x", "unix:/nowhere"])
def test_address_where_nobody_can_be(capsys, address):
    assert status(address) == 1 and "no answer from" in capsys.readouterr().out


@pytest.mark.parametrize("data", [b"", b"nonsense\r\n\r\n", OK[:-3]])
def test_answer_that_is_none(capsys, data):
    with answering(data) as ((_, port), _):
        assert status(f"127.0.0.1:{port}") == 1
    assert "no answer from" in capsys.readouterr().out
