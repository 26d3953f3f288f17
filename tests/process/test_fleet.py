"""A master and its workers: who they are, and what happens when one of them ends."""

import contextlib
import os
import signal
import socket
from pathlib import Path

import pytest

from tests.process.load import Load
from tests.support.process import Client, Gate, serve, title, wait_for_death

pytestmark = pytest.mark.slow


def test_eight_workers_are_one_master_and_eight_titled_children(tmp_path):
    with serve(tmp_path, application="tricorn.demo:app", workers=8) as server:
        assert title(server.pid) == "server: master [tricorn.demo:app]"
        found = {title(pid) for pid in server.children()}
        assert found == {f"server: worker {n} [tricorn.demo:app]" for n in range(1, 9)}
        assert server.fetch("/who").status == 200


def test_killed_worker_is_replaced_and_no_request_of_the_others_is_lost(tmp_path):  # F01
    with serve(tmp_path, workers=3) as server, Load(server.port) as load:
        victim = server.workers()[2]
        # A request of the victim's own may be in flight: that one is lost with it.
        os.kill(victim, signal.SIGKILL)
        server.wait_for(rf"worker=2 gen=1 pid={victim} cause=signal ended by SIGKILL")
        server.wait_for(r"worker=2 gen=1 pid=\d+ ready$")
        load.go_on(50)
    assert len(server.said(r" ready$")) == 4
    # Its lasting connections end, at most; new ones are taken by the others.
    assert not [each for each in load.failures if "on a new connection" in each][1:]
    assert len(load.failures) <= 4


def test_all_workers_killed_at_once_are_replaced_and_waiting_clients_are_served(tmp_path):  # F02
    with serve(tmp_path, workers=2) as server:
        pids = server.children()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        with server.connect() as client:  # the system's queue takes it
            client.request("/pid")
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            server.wait_for(r" ready$", 2)
            assert int(client.answer().text) not in pids


def test_killed_worker_gives_its_clients_an_end_and_keeps_the_listener(tmp_path):
    with serve(tmp_path) as server, server.connect() as client:
        pid = int(client.fetch("/pid").text)
        os.kill(pid, signal.SIGKILL)
        assert client.wait_for_end() == b""
        assert int(server.fetch("/pid").text) != pid


def test_crashing_at_every_request_does_not_end_the_server(tmp_path):  # F03
    crash = "import os, signal\nasync def app(scope, receive, send):\n"
    crash += "    if scope['type'] == 'http': os.kill(os.getpid(), signal.SIGSEGV)\n"
    with serve(tmp_path, "--respawn-backoff-max", "0.1", application=crash, workers=2) as server:
        for _ in range(6):
            with server.connect() as client:
                client.request("/")
                assert client.wait_for_end() == b""
        server.wait_for(r"ended by SIGSEGV", 6)
        server.wait_for(r"ready$")
        assert server.process.poll() is None


def test_ttin_and_ttou_change_the_number_of_workers(tmp_path):
    with serve(tmp_path) as server:
        server.signal(signal.SIGTTIN)
        server.wait_for(r"worker=2 gen=1 pid=\d+ ready$")
        assert list(server.workers()) == [1, 2]
        server.signal(signal.SIGTTOU)
        server.wait_for(r"worker=\d gen=1 pid=\d+ cause=clean stopped$")
        assert len(server.workers()) == 1
        server.signal(signal.SIGTTOU)  # there is one at least
        server.wait_for(r"workers=1$")
        assert server.fetch().status == 200


def test_worker_that_is_taken_away_finishes_its_request(tmp_path):
    with serve(tmp_path, workers=2) as server, Gate(tmp_path) as gate:
        clients = [server.connect() for _ in range(8)]
        with contextlib.ExitStack() as stack:
            for client in clients:
                stack.enter_context(client)
                client.request(f"/gate?path={gate.path}")
            inside = [gate.entered() for _ in clients]
            server.signal(signal.SIGTTOU)
            server.wait_for(r"is told to drain")
            for each in inside:
                each.close()
            assert [client.answer().status for client in clients] == [200] * 8
        server.wait_for(r"stopped$")


def test_workers_drain_and_exit_when_the_master_is_killed(tmp_path):  # F10
    with serve(tmp_path, workers=2) as server, Gate(tmp_path) as gate:
        workers = server.children()
        port = server.port
        with server.connect() as client:
            client.request(f"/gate?path={gate.path}")
            inside = gate.entered()
            server.signal(signal.SIGKILL)
            server.wait_for(r"the master has died; draining", 2)
            inside.close()
            assert client.answer().text.startswith("let go")
        wait_for_death(*workers)
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", port))


def test_worker_whose_loop_is_stuck_is_replaced_while_the_others_answer(tmp_path):  # F12
    options = ("--heartbeat-timeout", "2", "--graceful-timeout", "1")
    with serve(tmp_path, *options, workers=2) as server, server.connect() as stuck:
        pid = int(stuck.fetch("/pid").text)
        stuck.request("/block?seconds=100")
        with Load(server.port) as load:
            server.wait_for(rf"pid={pid} does not answer: ")
            server.wait_for(r"main\.py.* in block$")
            server.wait_for(r"\d+ tasks:$")
            server.wait_for(r" in serve$")  # the worker's own, which waits to be stopped
            server.wait_for(rf"worker=\d gen=1 pid={pid} cause=hang killed by the master")
            load.go_on(20)
        assert stuck.wait_for_end() == b""
        assert len(server.children()) == 2
    # What the stuck worker had accepted already is lost with it.
    assert len(load.failures) <= 8, load.failures


def test_worker_is_recycled_after_its_requests_and_none_is_lost(tmp_path):  # F14
    options = ("--max-requests", "20", "--max-requests-jitter", "10", "--reload-settle", "0")
    with serve(tmp_path, *options, workers=2) as server:
        before = set(server.children())
        with Load(server.port) as load:
            server.wait_for(r"is worn: \d+ requests$")
            server.wait_for(r"started: to replace one that is worn")
            server.wait_for(r"cause=recycle stopped$", 2)
            load.go_on(20)
        assert load.failures == []
        assert not before & set(server.workers().values())


GROWING = """
kept = []
async def app(scope, receive, send):
    if scope["type"] == "http":
        if scope["path"] == "/grow":
            kept.append(b"x" * 100_000_000)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"grown"})
"""


def test_worker_that_grows_is_recycled_before_it_hurts(tmp_path):  # F14
    options = ("--workers-max-rss", "80MiB", "--reload-settle", "0")
    with serve(tmp_path, *options, application=GROWING) as server:
        (before,) = server.children()
        assert server.fetch("/").text == server.fetch("/grow").text == "grown"
        server.wait_for(r"is worn: \d+\.\d MiB of memory$")
        server.wait_for(rf"worker=1 gen=1 pid={before} cause=recycle stopped$")
        assert len(server.children()) == 1
        assert server.fetch("/").status == 200


def test_suspended_worker_is_replaced(tmp_path):  # F11
    with serve(tmp_path, "--heartbeat-timeout", "2", workers=2) as server:
        victim = server.workers()[1]
        os.kill(victim, signal.SIGSTOP)
        server.wait_for(r"worker=1 gen=1 pid=\d+ ready$")
        server.wait_for(rf"pid={victim} cause=hang killed by the master")
        assert server.fetch().status == 200


def test_four_workers_share_400_lasting_connections(tmp_path):
    with serve(tmp_path, workers=4) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(400)]
        for client in clients:
            client.request("/pid")
        shares: dict[str, int] = {}
        for client in clients:
            pid = client.answer().text
            shares[pid] = shares.get(pid, 0) + 1
        assert len(shares) == 4 and max(shares.values()) <= 200, shares


def test_connections_that_come_one_by_one_are_shared_as_well(tmp_path):
    with serve(tmp_path, workers=4) as server, contextlib.ExitStack() as stack:
        shares: dict[str, int] = {}
        for _ in range(200):
            pid = stack.enter_context(server.connect()).fetch("/pid").text
            shares[pid] = shares.get(pid, 0) + 1
        assert len(shares) == 4 and max(shares.values()) <= 100, shares


def test_zero_workers_serve_in_the_one_process(tmp_path):
    with serve(tmp_path, workers=0) as server:
        assert server.fetch("/pid").text == str(server.pid)
        assert server.children() == []
        assert title(server.pid) == "server [main:app]"
        assert server.stop() == 0


def test_as_many_workers_as_processors(tmp_path):
    with serve(tmp_path, workers="auto") as server:
        assert 1 <= len(server.children()) <= len(os.sched_getaffinity(0))


def test_worker_knows_its_number(tmp_path):
    with serve(tmp_path, application="tricorn.demo:app", workers=2) as server:
        answer = server.fetch("/who").text
        by_number = [f"{number} (process {pid})" for number, pid in server.workers().items()]
        assert any(each in answer for each in by_number), answer


def test_orphans_of_the_application_are_reaped_as_process_1(tmp_path):  # F20, S-12
    unshare = "/usr/bin/unshare"
    if not Path(unshare).exists():
        pytest.skip("unshare is not installed")
    namespaces = (unshare, "--pid", "--fork", "--mount-proc", "--kill-child")
    if os.spawnv(os.P_WAIT, unshare, [*namespaces, "true"]):
        pytest.skip("unshare may not make a process namespace here")
    orphans = """
import os
async def app(scope, receive, send):
    if scope["type"] == "http":
        for _ in range(20):
            if not os.fork():
                if os.fork():
                    os._exit(0)
                os._exit(3)
            os.wait()
        states = []
        for each in os.listdir("/proc"):
            if each.isdecimal():
                try:
                    states.append(open(f"/proc/{each}/stat").read().rsplit(")")[1].split()[0])
                except FileNotFoundError:
                    pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(states.count("Z")).encode()})
"""
    with serve(tmp_path, application=orphans, workers=2, prefix=namespaces) as server:
        with Client("127.0.0.1", server.port) as client:
            for _ in range(5):
                client.fetch()
            assert "ended" not in server.log and "exited" not in server.log
        master = next(iter(server.children()))
        assert title(master) == "server: master [main:app]"
        os.kill(master, signal.SIGTERM)
        assert server.wait() == 0
