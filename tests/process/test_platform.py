"""What systems want of a server: its own user, a file with its ID, a life without a terminal."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.process import COMMAND, PATIENCE, clean_environment, run, serve, wait_for_death

pytestmark = pytest.mark.slow

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
WHO = """
import json, os

def tried(what):
    try:
        what()
    except OSError as error:
        return type(error).__name__
    return "done"

async def app(scope, receive, send):
    if scope["type"] == "http":
        facts = {
            "ids": [*os.getresuid(), *os.getresgid()],
            "groups": os.getgroups(),
            "root": tried(lambda: os.setuid(0)),
            "key": tried(lambda: open(os.environ["KEY"])),
        }
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(facts).encode()})
"""


@pytest.fixture
def directory():
    """One that everybody may look into; what is around tmp_path pytest closes at each start."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@as_root
@pytest.mark.parametrize("workers", [0, 1])
def test_workers_have_no_rights_of_root(directory, workers):  # F33
    key = directory / "key"
    key.touch(0o600)
    log, sock = directory / "error.log", directory / "app.sock"
    options = ("--user", "54321", "--group", "54322", "--access-logfile", str(directory / "access"))
    with serve(
        directory,
        *options,
        bind=("127.0.0.1:0", f"unix:{sock}"),
        application=WHO,
        workers=workers,
        environ={"KEY": str(key)},
        ready=workers > 0,
    ) as server:
        if not workers:
            server.wait_for(r"listening on \S+ \(", 2)
        facts = json.loads(server.fetch().text)
        assert facts == {
            "ids": [54321] * 3 + [54322] * 3,
            "groups": [],
            "root": "PermissionError",
            "key": "PermissionError",
        }
        found = sock.stat(), (directory / "access").stat()
        assert {(each.st_uid, each.st_gid) for each in found} == {(54321, 54322)}
        assert os.stat(f"/proc/{server.pid}").st_uid == (0 if workers else 54321)
        if workers:
            # The log is rotated, and workers can go on in the new one.
            os.rename(directory / "access", directory / "access.1")
            server.signal(signal.SIGUSR1)
            server.wait_for("logs reopened")
            server.fetch()
            assert server.stop() == 0
            assert "GET / " in (directory / "access").read_text()
    assert not log.exists()


@as_root
def test_reload_of_a_server_with_another_user_has_the_rights_of_the_master(directory):
    config = directory / "x.toml"
    config.write_text("bind = ['127.0.0.1:0']\n")
    sock = directory / "root" / "app.sock"
    sock.parent.mkdir(mode=0o711)
    options = ("-u", "nobody", "-c", str(config), "--reload-settle", "0")
    with serve(directory, *options, bind=(), application=WHO) as server:
        config.write_text(f"bind = ['127.0.0.1:0', 'unix:{sock}']\n")
        server.signal(signal.SIGHUP)
        server.wait_for("reload complete")
        assert sock.is_socket()


@as_root
def test_certificate_that_only_root_can_read_is_exchanged_by_one_reload(directory):
    authority = Authority()
    files = authority.issue(directory, "localhost")
    options = (*files.options, "-u", "nobody", "--reload-settle", "0")
    with serve(directory, *options, application=WHO, workers=3) as server:

        def shown() -> str:
            with server.connect(authority.client_context()) as client:
                return client.socket.getpeercert()["serialNumber"]

        first = shown()
        authority.issue(directory, "localhost")
        server.wait_for("asks for a reload: the new certificate cannot be read")
        server.wait_for("gen=1 .* stopped$", 3)
        assert {shown() for _ in range(8)}.isdisjoint({first})
        assert len(server.said("started: canary")) == 1


def test_user_that_does_not_exist(tmp_path):
    ended = run("--user", "nosuchuser", "main:app", directory=tmp_path)
    assert ended.returncode == 2 and "there is no user nosuchuser" in ended.stderr


@pytest.mark.parametrize("workers", [0, 1])
def test_two_masters_with_one_pid_file_are_one(tmp_path, workers):  # F32
    path = tmp_path / "server.pid"
    with serve(tmp_path, "--pid", str(path), workers=workers, ready=workers > 0) as server:
        if not workers:
            server.wait_for(r"listening on \S+ \(")
        assert path.read_text() == f"{server.pid}\n"
        second = run("-p", str(path), "-b", "127.0.0.1:0", "main:app", directory=tmp_path)
        assert second.returncode == 2
        assert f"another server runs, pid {server.pid}" in second.stderr
        assert path.read_text() == f"{server.pid}\n"
        assert server.stop() == 0
    assert not path.exists()


@pytest.mark.parametrize("workers", ["0", "1"])
def test_server_that_cannot_listen_leaves_no_pid_file(tmp_path, workers):
    options = ("-p", "server.pid", "-b", "unix:/nowhere/app", "-w", workers)
    assert run(*options, "main:app", directory=tmp_path).returncode == 2
    assert not (tmp_path / "server.pid").exists()


def test_master_that_was_killed_leaves_no_lock(tmp_path):
    path = tmp_path / "server.pid"
    with serve(tmp_path, "--pid", str(path)) as server:
        workers = server.children()
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        server.signal(signal.SIGKILL)
        wait_for_death(server.pid)
        with serve(tmp_path, "--pid", str(path)) as successor:
            assert path.read_text() == f"{successor.pid}\n"
        for pid in workers:
            os.kill(pid, signal.SIGKILL)


def daemon(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run(
        *("-D", "--pid", "server.pid", "--error-logfile", "error.log", "-b", "127.0.0.1:0"),
        *options,
        "main:app",
        directory=directory,
    )


@pytest.mark.parametrize("workers", ["0", "2"])
def test_daemon_serves_when_the_command_has_ended(tmp_path, workers):
    (tmp_path / "main.py").write_text(WHO.replace("KEY", "HOME"))
    started = daemon(tmp_path, "-w", workers)
    assert (started.returncode, started.stderr) == (0, ""), started.stderr
    pid = int((tmp_path / "server.pid").read_text())
    try:
        log = (tmp_path / "error.log").read_text()
        port = int(log.split("listening on http://127.0.0.1:")[1].split()[0])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        session, terminal = int(fields[3]), int(fields[4])
        assert session not in (os.getsid(0), pid) and terminal == 0
        assert {os.readlink(f"/proc/{pid}/fd/{n}") for n in range(3)} == {"/dev/null"}
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_for_death(pid)
    assert not (tmp_path / "server.pid").exists()


@pytest.mark.parametrize(
    ("application", "options", "status"),
    [("raise ValueError", (), 3), ("", ("-b", "127.0.0.1:99999"), 2)],
    ids=["application", "configuration"],
)
def test_daemon_that_cannot_start_says_so_by_its_status(tmp_path, application, options, status):
    (tmp_path / "main.py").write_text(application)
    assert daemon(tmp_path, *options).returncode == status
    assert not (tmp_path / "server.pid").exists()


@as_root
def test_nothing_is_written_where_nothing_may_be(directory):  # F34
    """A read-only root, no /dev/shm, no home, and a user that no file knows."""
    if not shutil.which("unshare") or not shutil.which("setpriv"):
        pytest.skip("unshare and setpriv are not installed")
    somebody = ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"]
    if subprocess.run([*somebody, sys.executable, "-c", ""], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("other users cannot run this Python")
    script = """
        mount --make-rprivate / && mount -o bind,ro / / || exit 77
        mount -t tmpfs -o ro none /dev/shm || exit 77
        touch "$0" && exit 77
        exec "$@"
    """
    process = subprocess.Popen(
        [
            *("unshare", "--mount", "sh", "-c", script, str(directory / "probe"), *somebody),
            *(sys.executable, "-m", "tricorn", "-b", "127.0.0.1:0", "-w", "2"),
            "tricorn.demo:app",
        ],
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    log = ""
    try:
        while log.count(" ready\n") < 2:
            line = process.stderr.readline()
            if not line and process.wait(PATIENCE) == 77:
                pytest.skip("file systems cannot be mounted here")
            assert line, log
            log += line
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_systemd_hears_of_every_state(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.bind(str(tmp_path / "notify"))
        service.settimeout(PATIENCE)
        environ = {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": "200000",
        }
        heard: list[str] = []

        def hear_until(line: str) -> None:
            deadline = time.monotonic() + PATIENCE
            while line not in heard and time.monotonic() < deadline:
                heard.extend(service.recv(4096).decode().splitlines())
            assert line in heard

        with serve(tmp_path, "--reload-settle", "0", workers=1, environ=environ) as server:
            hear_until("READY=1")
            hear_until("STATUS=1 of 1 workers ready")
            hear_until("WATCHDOG=1")
            heard.clear()
            server.signal(signal.SIGHUP)
            hear_until("RELOADING=1")
            assert any(line.startswith("MONOTONIC_USEC=") for line in heard)
            heard.clear()
            hear_until("READY=1")
            server.signal(signal.SIGTERM)
            hear_until("STOPPING=1")


def test_sockets_of_systemd_are_taken_by_name(tmp_path):
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        script = f"""if True:
            import os, sys
            os.dup2({one.fileno()}, 3, inheritable=True)
            os.dup2({two.fileno()}, 4, inheritable=True)
            os.environ |= dict(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="a:b")
            os.execv(sys.argv[1], sys.argv[1:])
        """
        (tmp_path / "main.py").write_text(WHO.replace("KEY", "PATH"))
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(COMMAND), "-b", "systemd:b", "main:app"],
            cwd=tmp_path,
            env=clean_environment(),
            pass_fds=(one.fileno(), two.fileno()),
            stderr=subprocess.DEVNULL,
        )
        try:
            with socket.create_connection(two.getsockname(), PATIENCE) as client:
                client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                assert client.recv(100).startswith(b"HTTP/1.1 200")
        finally:
            process.terminate()
            process.wait(PATIENCE)
