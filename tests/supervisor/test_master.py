"""A real master, real forks, real signals."""

import contextlib
import os
import select
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.supervisor.processes import PATIENCE

pytestmark = pytest.mark.slow


# Life


def test_workers_serve_and_know_their_place(serve):
    server = serve().start()
    answer = server.ask()
    assert answer["number"] in (1, 2) and answer["generation"] == 1
    assert answer["title"] == f"server: worker {answer['number']} [app:app]"
    assert answer["environ"]["SERVER_WORKER_ID"] == str(answer["number"])
    title = Path(f"/proc/{server.process.pid}/cmdline").read_bytes().strip(b"\0")
    assert title == b"server: master [app:app]"


def test_workers_have_no_descriptor_of_their_siblings(serve):
    server = serve(workers=4).start(4)
    # Its channel, the listener, the connection, and the two ends of its own wake-up pipe; the
    # standard streams are a pipe and the null device.
    found = server.ask()["descriptors"]
    assert found.count("socket") == 3
    assert found.count("pipe") == 3


def test_killed_worker_is_replaced_and_its_siblings_are_not_touched(serve):
    server = serve().start()
    victim, *others = server.pids()
    os.kill(victim, signal.SIGKILL)
    server.wait_for(rf"worker=\d gen=1 pid={victim} cause=signal ended by SIGKILL")
    server.wait_for(r"ready$")
    assert server.pids() > set(others)
    assert server.ask()["generation"] == 1


def test_all_workers_killed_at_once_come_back(serve):
    server = serve().start()
    for pid in server.pids():
        os.kill(pid, signal.SIGKILL)
    server.wait_for(r"ready$", 2)
    assert server.ask()


def test_master_that_is_killed_takes_its_workers_with_it(serve):
    server = serve().start()
    server.signal(signal.SIGKILL)
    assert server.wait() == -signal.SIGKILL
    with pytest.raises(ConnectionRefusedError):
        server.ask()


def test_hung_worker_shows_its_stacks_and_is_replaced(serve):
    server = serve(heartbeat_timeout=1.0).start()
    victim = server.ask("hang")["pid"]
    server.wait_for(rf"pid={victim} does not answer: no heartbeat")
    server.wait_for(r"most recent call first")
    server.wait_for(rf"pid={victim} cause=hang killed by the master: no heartbeat")
    assert victim not in server.pids()
    assert len(server.pids()) == 2


def test_worker_that_does_not_start_in_time_is_killed(serve):
    server = serve(mode="never ready", startup_timeout=0.05, workers=1)
    server.wait_for("not ready within startup_timeout; its stacks follow")
    server.wait_for("killed by the master: not ready within startup_timeout")


def test_children_of_others_are_reaped_silently(serve):
    server = serve().start()
    server.write_plan(mode="orphan")
    server.signal(signal.SIGHUP)
    orphan = int(server.wait_for(r"orphan pid=(\d+)")[1])
    # Or it is gone already.
    with contextlib.suppress(ProcessLookupError), os.fdopen(os.pidfd_open(orphan)) as process:
        assert select.select([process], [], [], PATIENCE)[0]
    # Signals are taken in order, and reaping follows: after the answer it must be gone.
    server.signal(signal.SIGTTIN)
    server.wait_for("worker=3 gen=1 pid=.* ready")
    assert not Path(f"/proc/{orphan}").exists()


def test_worker_that_somebody_else_stops_is_replaced(serve):
    server = serve().start()
    before = server.pids()
    for pid in before:
        os.kill(pid, signal.SIGTERM)
    server.wait_for("started: to serve$| stopped$", 4)
    assert not before & server.pids()


# Start


def test_application_that_cannot_start_is_reported_once_and_ends_the_server(serve):
    server = serve(mode="fail", workers=4)
    assert server.wait() == 3
    assert server.log.count("no module named app\nTraceback: it is not there") == 1
    assert server.log.rstrip().endswith("server stopped: the application cannot start")


def test_exception_in_a_worker_is_reported_with_its_traceback(serve):
    server = serve(mode="raise", workers=1)
    server.wait_for(r"cannot serve: the worker ended with RuntimeError: broken worker$")
    server.wait_for(r"^RuntimeError: broken worker$")
    assert server.wait() == 3
    assert server.log.count("cannot serve") == 1


def test_segfaults_before_anyone_was_ready_end_the_server(serve):
    server = serve(mode="segfault", workers=1)
    assert server.wait() == 3
    assert server.log.count("ended by SIGSEGV") == 5


def test_exit_status_of_a_worker_is_its_own(serve):
    server = serve(mode="exit", workers=1)
    server.wait_for("exited with status 7")


def test_unusable_plan_is_the_callers_affair(serve):
    server = serve(mode="bad plan")
    assert server.wait() == 2
    assert server.log == "error: the plan is bad\n"


def test_too_many_workers_are_refused(serve):
    server = serve(workers=1000)
    assert server.wait() == 2
    assert "workers must be from 1 to 512" in server.log


def test_taken_port_is_the_callers_affair(serve):
    with socket.create_server(("127.0.0.1", 0)) as other:
        server = serve(binds=[f"127.0.0.1:{other.getsockname()[1]}"])
        assert server.wait() == 2
    assert "another program listens there" in server.log


def test_first_fork_that_fails_ends_the_server(serve):
    server = serve(refused_forks=[2])
    assert server.wait() == 1
    assert "stopped: cannot start a worker: [Errno 11]" in server.log


def test_later_fork_that_fails_is_tried_again(serve):
    server = serve(refused_forks=[3, 4]).start()
    os.kill(server.ask()["pid"], signal.SIGKILL)
    server.wait_for("not forked", 2)
    server.wait_for("ready$")
    assert len(server.pids()) == 2


# Reload


def test_reload_replaces_every_worker_and_loses_no_connection(serve):
    server = serve(workers=2).start()
    server.write_plan(version=2)
    server.signal(signal.SIGHUP)
    versions = [server.ask()["version"]]
    while versions[-1] == 1:
        versions.append(server.ask()["version"])
    server.wait_for("gen=1 pid=.* stopped", 2)
    assert {server.ask()["generation"] for _ in range(10)} == {2}


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("fail", r"gen=2 given up: .* before it was ready; gen=1 stays"),
        ("segfault", r"gen=2 given up: .* before it was ready; gen=1 stays"),
        ("never ready", r"gen=2 given up: .* before it was ready; gen=1 stays"),
        ("bad plan", r"gen=1 stays: reload refused: the plan is bad"),
        ("surprise", r"gen=1 stays: reload refused\n(.*\n)*ZeroDivisionError"),
    ],
)
def test_reload_that_fails_leaves_the_old_workers(serve, mode, reason):
    server = serve().start()
    before = server.pids()
    server.write_plan(mode=mode, startup_timeout=0.1)
    server.signal(signal.SIGHUP)
    server.wait_for(reason)
    assert server.pids() == before

    server.write_plan(version=3)
    server.signal(signal.SIGHUP)
    server.wait_for("gen=1 pid=.* stopped", 2)
    assert server.ask()["version"] == 3


def test_worker_asks_for_a_reload_after_one_that_failed(serve):
    server = serve(workers=1).start(1)
    server.write_plan(mode="fail")
    server.signal(signal.SIGHUP)
    server.wait_for("gen=2 given up")
    server.write_plan(version=3)
    server.ask("reload")
    server.wait_for("asks for a reload: it was told to")
    server.wait_for("gen=3 reload complete")
    assert server.ask()["version"] == 3


def test_reload_opens_new_listeners_and_closes_old_ones(serve):
    server = serve().start()
    old = server.port
    server.write_plan(binds=["localhost:0"])
    server.signal(signal.SIGHUP)
    server.port = int(server.wait_for(r"listening on http://127.0.0.1:(\d+)")[1])
    server.wait_for("gen=1 pid=.* stopped", 2)
    assert server.ask()["generation"] == 2
    server.port = old
    with pytest.raises(ConnectionRefusedError):
        server.ask()


def test_reload_with_a_taken_port_changes_nothing(serve):
    server = serve().start()
    with socket.create_server(("127.0.0.1", 0)) as other:
        server.write_plan(binds=["127.0.0.1:0", f"127.0.0.1:{other.getsockname()[1]}"])
        server.signal(signal.SIGHUP)
        server.wait_for("reload refused: cannot listen on .*: another program listens there")
    assert server.ask()["generation"] == 1


def test_many_reloads_at_once_become_few(serve):
    server = serve(workers=1).start(1)
    for _ in range(20):
        server.signal(signal.SIGHUP)
    server.wait_for("reload complete")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert server.log.count("canary") <= 3


# Scale and stop


def test_one_worker_more_and_one_fewer(serve):
    server = serve().start()
    server.signal(signal.SIGTTIN)
    server.wait_for("worker=3 gen=1 pid=.* ready")
    server.signal(signal.SIGTTOU)
    server.wait_for("worker=3 gen=1 pid=.* stopped")
    assert len(server.pids()) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_stop_ends_every_worker_with_status_0(serve, number):
    server = serve().start()
    server.signal(number)
    assert server.wait() == 0
    assert server.log.count(" stopped\n") == 2
    assert server.log.endswith("INFO server stopped: told to stop\n")
    assert "Traceback" not in server.log


def test_interrupt_of_the_whole_group_is_a_stop(serve):
    server = serve().start()
    os.killpg(server.process.pid, signal.SIGINT)
    assert server.wait() == 0
    assert "Traceback" not in server.log


def test_second_stop_does_not_wait_for_a_stubborn_worker(serve):
    server = serve(workers=1, graceful_timeout=60, shutdown_timeout=0.05).start(1)
    server.ask("stubborn")
    server.signal(signal.SIGTERM)
    server.wait_for("is told to drain")
    server.signal(signal.SIGTERM)
    server.wait_for("is told to stop now")
    server.wait_for("killed by the master: still there after QUIT")
    assert server.wait() == 0


def test_stop_while_starting_ends_at_once(serve):
    server = serve(mode="never ready")
    server.wait_for("started", 2)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


def test_stop_refuses_clients_before_the_workers_are_gone(serve):
    server = serve(workers=1).start(1)
    server.signal(signal.SIGTERM)
    server.wait_for(" stopped$")
    with pytest.raises(ConnectionRefusedError):
        server.ask()


def test_unix_socket_is_gone_after_a_stop(serve, tmp_path):
    path = tmp_path / "app.sock"
    server = serve(binds=[f"unix:{path}"])
    server.wait_for(rf"listening on unix:{path} \(HTTP/1.1\)$")
    server.wait_for("ready$", 2)
    assert path.is_socket()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert not path.exists()


# systemd, and no master at all


@pytest.fixture
def service(tmp_path, monkeypatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(PATIENCE)
        receiver.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield receiver


def heard(service: socket.socket, wanted: str) -> list[str]:
    """What systemd hears, other than status, until it is `wanted`."""
    words = [""]
    while words[-1] != wanted:
        word = service.recv(1000).decode().partition("\n")[0]
        words += [word] if not word.startswith("STATUS") else []
    return words[1:]


def test_systemd_hears_of_start_reload_and_stop(serve, service):
    server = serve().start()
    assert heard(service, "READY=1") == ["READY=1"]
    assert "NOTIFY_SOCKET" not in server.ask()["environ"]

    server.signal(signal.SIGHUP)
    assert heard(service, "READY=1") == ["RELOADING=1", "READY=1"]
    server.wait_for("reload complete")

    server.write_plan(mode="bad plan")
    server.signal(signal.SIGHUP)
    assert heard(service, "READY=1") == ["RELOADING=1", "READY=1"]

    server.signal(signal.SIGTERM)
    assert heard(service, "STOPPING=1") == ["STOPPING=1"]
    assert server.wait() == 0


def test_alone_serves_in_this_process(serve, service):
    server = serve("alone")
    server.port = int(server.wait_for(r"listening on http://127.0.0.1:(\d+)")[1])
    assert heard(service, "READY=1") == ["READY=1"]
    answer = server.ask()
    assert answer["pid"] == server.process.pid
    assert (answer["number"], answer["slot"], answer["generation"]) == (1, 0, 1)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


def test_alone_reports_its_failure(serve):
    server = serve("alone", mode="fail")
    assert server.wait() == 3
    assert "cannot serve: no module named app\nTraceback: it is not there" in server.log
