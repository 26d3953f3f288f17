"""Signals as they come in practice: to the whole group, to a worker, from what the app starts."""

import os
import signal
import socket

import pytest

from tests.process.load import Load
from tests.support.process import Client, Gate, serve, wait_for_death

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT])
def test_signal_to_the_whole_group_is_a_clean_stop(tmp_path, number, workers):
    """A terminal sends INT so, and systemd (KillMode=control-group) TERM."""
    done = tmp_path / "done"
    with serve(tmp_path, workers=workers, environ={"SHUT_DOWN": str(done)}) as server:
        server.fetch()
        os.killpg(server.pid, number)
        assert server.wait() == 0
    assert "Traceback" not in server.log and "[WARNING]" not in server.log
    assert len(done.read_text().split()) == (workers or 1)
    assert len(server.said(r" started: ")) == workers  # nobody is replaced on the way


def test_term_to_the_whole_group_finishes_what_is_in_flight(tmp_path):
    with serve(tmp_path, workers=2) as server, Gate(tmp_path) as gate, server.connect() as client:
        client.request(f"/gate?path={gate.path}")
        inside = gate.entered()
        os.killpg(server.pid, signal.SIGTERM)
        server.wait_for(r"SIGTERM: stop$")
        inside.close()
        assert client.answer().status == 200
        assert server.wait() == 0


def test_worker_that_is_told_to_stop_by_somebody_else_is_replaced(tmp_path):
    with serve(tmp_path, workers=2) as server:
        with Load(server.port) as load:
            victim = server.workers()[1]
            os.kill(victim, signal.SIGTERM)
            server.wait_for(r"worker=1 gen=1 pid=\d+ ready$")
            wait_for_death(victim)
            load.go_on(20)
        assert load.failures == []
        assert len(server.children()) == 2


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTTIN, signal.SIGTTOU])
def test_worker_ignores_what_only_the_master_understands(tmp_path, number):
    with serve(tmp_path) as server, server.connect() as client:
        pid = int(client.fetch("/pid").text)
        os.kill(pid, number)
        assert int(client.fetch("/pid").text) == pid


def test_signals_without_a_meaning_end_nobody(tmp_path):
    with serve(tmp_path) as server, server.connect() as client:
        pid = int(client.fetch("/pid").text)
        for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGCHLD, signal.SIGPIPE):
            server.signal(number)
            os.kill(pid, number)
        server.signal(signal.SIGTTIN)
        server.wait_for(r"worker=2 .* ready$")
        assert int(client.fetch("/pid").text) == pid


def test_stop_while_a_canary_does_not_start(tmp_path):
    hanging = """
import asyncio
async def app(scope, receive, send):
    await receive()
    reader, _ = await asyncio.open_unix_connection("gate")
    await reader.read(1)
"""
    with serve(tmp_path, workers=2) as server, Gate(tmp_path) as gate:
        (tmp_path / "main.py").write_text(hanging)
        server.signal(signal.SIGHUP)
        with gate.entered():
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
    assert "killed by the master" not in server.log
    assert "Traceback" not in server.log


STARTING_OTHERS = """
import asyncio, os, subprocess
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/run":
        process = await asyncio.create_subprocess_exec("sh", "-c", "exit 7")
        body = str(await process.wait()).encode()
    else:
        body = str(subprocess.Popen(["sleep", "1000"]).pid).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("workers", [0, 1])
def test_application_can_run_programs(tmp_path, loop, workers):
    options = ("-k", loop)
    with serve(tmp_path, *options, application=STARTING_OTHERS, workers=workers) as server:
        for _ in range(3):
            assert server.fetch("/run").text == "7"
        assert server.stop() == 0


def test_program_that_outlives_the_server_does_not_hold_its_port(tmp_path):  # S-02
    with serve(tmp_path, application=STARTING_OTHERS) as server:
        port = server.port
        pid = int(server.fetch("/start").text)
        try:
            server.signal(signal.SIGTERM)
            assert server.process.wait(10) == 0
            with socket.socket() as again:
                again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                again.bind(("127.0.0.1", port))
                again.listen()
        finally:
            os.kill(pid, signal.SIGKILL)


def test_program_that_is_started_has_the_usual_signals(tmp_path):
    asking = """
import subprocess
async def app(scope, receive, send):
    if scope["type"] == "http":
        found = subprocess.run(["cat", "/proc/self/status"], capture_output=True).stdout
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": found})
"""
    with serve(tmp_path, application=asking) as server:
        fields = dict(line.split(":\t") for line in server.fetch().text.splitlines())
    blocked, ignored = int(fields["SigBlk"], 16), int(fields["SigIgn"], 16)
    assert blocked == 0
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD):
        assert not ignored & 1 << number - 1, number


@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "SystemExit", "BaseException"])
def test_application_that_raises_what_ends_programs_serves_on(tmp_path, raised):
    raising = f"""
async def app(scope, receive, send):
    if scope["type"] == "http" and scope["path"] == "/raise":
        raise {raised}("on purpose")
    if scope["type"] == "http":
        await send({{"type": "http.response.start", "status": 200, "headers": []}})
        await send({{"type": "http.response.body", "body": b"fine"}})
"""
    with serve(tmp_path, application=raising) as server:
        for _ in range(3):
            with server.connect() as client:
                client.request("/raise")
                client.wait_until_readable()
            assert server.fetch("/").text == "fine"
        assert server.stop() == 0


def test_master_has_no_more_descriptors_after_many_reloads(tmp_path):
    log = tmp_path / "access.log"
    options = ("--reload-settle", "0.01", "--access-logfile", str(log))
    with serve(tmp_path, *options) as server:
        counts = []
        for _ in range(4):
            before = server.children()
            server.signal(signal.SIGHUP)
            server.wait_for(r"reload complete$")
            wait_for_death(*before)
            server.wait_for(r"stopped$")
            counts.append((descriptors(server.pid), descriptors(server.children()[0])))
        assert len(set(counts)) == 1, counts


def test_refused_reloads_leave_no_descriptor_behind(tmp_path):
    config = tmp_path / "tricorn.toml"
    text = f'access_logfile = "{tmp_path}/access.log"\nbind = ["127.0.0.1:0"]\n'
    config.write_text(text)
    with serve(tmp_path, "-c", str(config), bind=()) as server:
        before = descriptors(server.pid)
        config.write_text(text.replace(":0", ':0", "unix:/no/such/directory/x'))
        for _ in range(5):
            server.signal(signal.SIGHUP)
            server.wait_for(r"reload refused: ")
        assert descriptors(server.pid) == before
        with Client("127.0.0.1", server.port) as client:
            assert client.fetch().status == 200


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
