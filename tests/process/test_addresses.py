"""Where the server listens: TCP, unix sockets, and sockets that somebody else has opened."""

import json
import os
import signal
import socket
import stat
from urllib.parse import urlsplit

import pytest

from tests.support.certificates import Authority
from tests.support.process import PATIENCE, Client, serve
from tests.support.systemd import Manager, activation

pytestmark = pytest.mark.slow


def ask_unix(path, target="/ends") -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(path))
        client.sendall(f"GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        answer = b""
        while part := client.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 200 ")
    return answer.partition(b"\r\n\r\n")[2]


def test_both_ends_are_in_the_scope(tmp_path):
    with serve(tmp_path) as server, server.connect() as client:
        found = json.loads(client.fetch("/ends").text)
        assert found == [list(client.socket.getsockname()), ["127.0.0.1", server.port]]


def test_version_6(tmp_path):
    with serve(tmp_path, bind=["[::1]:0"]) as server:
        assert server.addresses == [f"http://[::1]:{server.port}"]
        with Client("::1", server.port) as client:
            assert json.loads(client.fetch("/ends").text)[1] == ["::1", server.port]


def test_every_address_is_announced_and_served(tmp_path):
    authority = Authority()
    files = authority.issue(tmp_path, "localhost")
    options = (*files.options, "--insecure-bind", "[::1]:0")
    with serve(tmp_path, *options) as server:
        secure, plain = server.addresses
        assert secure.startswith("https://127.0.0.1:") and plain.startswith("http://[::1]:")
        for address, context in ((secure, authority.client_context()), (plain, None)):
            url = urlsplit(address)
            with Client(url.hostname, url.port, context) as client:
                assert json.loads(client.fetch("/tls").text)[0] == url.scheme


def test_unix_socket_is_served_and_removed(tmp_path):
    path = tmp_path / "socket"
    with serve(tmp_path, bind=[f"unix:{path}"], workers=2) as server:
        assert server.addresses == [f"unix:{path}"]
        assert json.loads(ask_unix(path)) == [None, [str(path), None]]
        assert server.stop() == 0
    assert not path.exists()


def test_access_log_of_a_unix_socket(tmp_path):
    path = tmp_path / "socket"
    log = tmp_path / "access.log"
    with serve(tmp_path, "--access-logfile", str(log), bind=[f"unix:{path}"]) as server:
        ask_unix(path)
        server.stop()
    assert '"GET /ends HTTP/1.1" 200' in log.read_text()


def test_stale_unix_socket_is_replaced(tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with serve(tmp_path, bind=[f"unix:{path}"]):
        ask_unix(path)


def test_unix_socket_of_a_killed_server_is_replaced(tmp_path):
    path = tmp_path / "socket"
    with serve(tmp_path, bind=[f"unix:{path}"]) as server:
        server.signal(signal.SIGKILL)
        server.wait()
    with serve(tmp_path, bind=[f"unix:{path}"]):
        ask_unix(path)


def test_unix_socket_that_was_replaced_meanwhile_is_not_removed(tmp_path):
    path = tmp_path / "socket"
    with serve(tmp_path, bind=[f"unix:{path}"]) as server:
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            assert server.stop() == 0
            assert path.is_socket()


@pytest.mark.parametrize("options, mode", [(("--uds-permissions", "660"), 0o660), ((), None)])
def test_permissions_of_a_unix_socket(tmp_path, options, mode):
    path = tmp_path / "socket"
    umask = os.umask(0o027)
    try:
        with serve(tmp_path, *options, bind=[f"unix:{path}"]):
            assert stat.S_IMODE(path.stat().st_mode) == (mode or 0o777 & ~0o027)
            ask_unix(path)
    finally:
        os.umask(umask)


def test_umask_applies_to_the_socket_and_the_application(tmp_path):
    path = tmp_path / "socket"
    writing = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        open("written", "w").close()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})
"""
    with serve(tmp_path, "-m", "077", application=writing, bind=[f"unix:{path}"]):
        ask_unix(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "written").stat().st_mode) == 0o600


def test_socket_that_was_passed_by_number(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as passed:
        number = passed.fileno()
        with serve(tmp_path, bind=[f"fd://{number}"], pass_fds=[number], workers=2) as server:
            assert server.port == passed.getsockname()[1]
            assert server.fetch().status == 200
            assert server.stop() == 0
        # It is not ours to end: whoever opened it can start the next server with it.
        with serve(tmp_path, bind=[f"fd://{number}"], pass_fds=[number]) as server:
            assert server.fetch().status == 200


def test_sockets_of_systemd(tmp_path):
    with (
        socket.create_server(("127.0.0.1", 0)) as passed,
        serve(
            tmp_path,
            bind=["systemd:"],
            environ={"LISTEN_FDS": "1", "LISTEN_FDNAMES": "web"},
            prefix=activation(passed),
            pass_fds=[passed.fileno()],
            workers=2,
        ) as server,
    ):
        assert server.port == passed.getsockname()[1]
        assert server.fetch().status == 200
        before = server.children()
        server.signal(signal.SIGHUP)
        server.wait_for(r"gen=2 pid=\d+ ready$")
        assert server.fetch().status == 200
        assert set(before) <= set(server.children())
        assert server.stop() == 0


def test_named_socket_of_systemd_over_a_unix_path(tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as passed:
        passed.bind(str(path))
        passed.listen()
        with serve(
            tmp_path,
            bind=["systemd:web"],
            environ={"LISTEN_FDS": "1", "LISTEN_FDNAMES": "web"},
            prefix=activation(passed),
            pass_fds=[passed.fileno()],
        ) as server:
            ask_unix(path)
            assert server.stop() == 0
    assert path.exists(), "the path is systemd's"


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_of_readiness_and_of_the_stop(tmp_path, workers, abstract):
    name = f"@tricorn-{os.getpid()}-{workers}" if abstract else str(tmp_path / "notify")
    with (
        Manager(name) as manager,
        serve(tmp_path, workers=workers, environ={"NOTIFY_SOCKET": name}) as server,
    ):
        manager.wait_for("READY=1")
        assert server.fetch().status == 200
        server.signal(signal.SIGTERM)
        manager.wait_for("STOPPING=1")
        assert server.wait() == 0


def test_systemd_is_told_of_a_reload(tmp_path):
    name = str(tmp_path / "notify")
    options = ("--reload-settle", "0.1")
    with Manager(name) as manager, serve(tmp_path, *options, environ={"NOTIFY_SOCKET": name}) as s:
        manager.wait_for("READY=1")
        s.signal(signal.SIGHUP)
        manager.wait_for("RELOADING=1")
        manager.wait_for("READY=1")


def test_application_does_not_inherit_what_is_between_systemd_and_the_master(tmp_path):
    telling = """
import json, os
async def app(scope, receive, send):
    if scope["type"] == "http":
        names = [each for each in os.environ if each.startswith(("LISTEN_", "NOTIFY_"))]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(names).encode()})
"""
    with Manager(str(tmp_path / "notify")) as manager:
        environ = {"NOTIFY_SOCKET": manager.name}
        with serve(tmp_path, application=telling, environ=environ) as server:
            assert json.loads(server.fetch().text) == []
