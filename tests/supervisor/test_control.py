"""The control socket answers its own user, and nobody on it can hold the master up."""

import json
import os
import resource
import select
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.supervisor.processes import PATIENCE as PATIENCE_OF_TESTS
from tricorn_supervisor.control import LINE_LIMIT, MOST_CLIENTS, PATIENCE, Client, Control
from tricorn_supervisor.serverctl import Unanswered, _parser, ask, readable


class Room:
    """A control socket, and operators in front of it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.now = 100.0
        self.control = Control()
        self.control.open(path)
        self.questions: list[tuple[Client, dict]] = []
        self.ask: Callable[[Client, dict], None] = lambda client, question: client.answer(
            echo=question
        )

    def turn(self) -> None:
        def ask(client: Client, question: dict) -> None:
            self.questions.append((client, question))
            self.ask(client, question)

        self.control.turn(self.now, ask)

    def wakes(self) -> bool:
        """Whether the master's wait would end at once."""
        poll = select.poll()
        for sock, events in self.control.watched():
            poll.register(sock, events)
        return bool(poll.poll(0))

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE_OF_TESTS)
        sock.connect(self.path)
        return sock


@pytest.fixture
def room(tmp_path) -> Iterator[Room]:
    room = Room(str(tmp_path / "control"))
    yield room
    room.control.close()


def received(sock: socket.socket) -> bytes:
    data = b""
    while part := sock.recv(4096):
        data += part
    return data


def test_only_the_user_of_the_server_may_connect(room):
    assert stat.S_IMODE(os.stat(room.path).st_mode) == 0o600


def test_question_in_pieces_is_answered_and_the_connection_closed(room):
    with room.connect() as operator:
        operator.sendall(b'{"command": ')
        room.turn()
        assert room.questions == []
        operator.sendall(b'"status"}\n')
        room.turn()
        assert json.loads(received(operator)) == {"ok": True, "echo": {"command": "status"}}
    assert not room.wakes()


@pytest.mark.parametrize("line", [b"hello", b"[]", b"[" * 900, b'"reload"', b"\xff\xfe", b""])
def test_what_is_no_question_is_refused(room, line):
    with room.connect() as operator:
        operator.sendall(line + b"\n")
        room.turn()
        answer = json.loads(received(operator))
        assert not answer["ok"] and "one line of JSON" in answer["error"]


def test_endless_line_is_hung_up_on(room):
    with room.connect() as operator:
        operator.sendall(b"x" * (LINE_LIMIT + 1))
        room.turn()
        assert received(operator) == b""


def test_client_that_asks_nothing_is_hung_up_on(room):
    with room.connect() as operator:
        room.turn()
        assert room.control.deadline == room.now + PATIENCE
        room.now += PATIENCE
        room.turn()
        assert received(operator) == b""
        assert room.control.deadline is None


def test_answer_that_is_not_taken_is_dropped(room):
    room.ask = lambda client, question: client.answer(text="x" * 10_000_000)
    with room.connect() as operator:
        operator.sendall(b"{}\n")
        room.turn()
        room.now += PATIENCE
        room.turn()
        assert room.control.deadline is None
        assert len(received(operator)) < 10_000_000


def test_answer_larger_than_the_socket_arrives_whole(room):
    room.ask = lambda client, question: client.answer(text="x" * 3_000_000)
    with room.connect() as operator:
        operator.sendall(b"{}\n")
        room.turn()
        data = b""
        while not data.endswith(b"\n"):
            data += operator.recv(1 << 20)
            room.turn()
        assert len(json.loads(data)["text"]) == 3_000_000


def test_who_waits_for_a_late_answer_costs_nothing_and_gets_it(room):
    room.ask = lambda client, question: None
    with room.connect() as operator:
        operator.sendall(b'{"command": "reload"}\nand more that nobody reads')
        operator.shutdown(socket.SHUT_WR)
        room.turn()
        room.now += 3600
        room.turn()
        assert room.control.deadline is None and not room.wakes()
        room.questions[0][0].answer(error="no")
        room.turn()
        assert json.loads(received(operator)) == {"ok": False, "error": "no"}


def test_who_hangs_up_before_the_answer_is_forgotten(room):
    room.ask = lambda client, question: None
    with room.connect() as operator:
        operator.sendall(b"{}\n")
        room.turn()
    assert room.wakes()
    room.turn()
    assert not room.wakes()
    room.questions[0][0].answer()
    room.turn()


def test_crowd_waits_in_the_queue_of_the_system(room):
    crowd = [room.connect() for _ in range(MOST_CLIENTS)]
    room.turn()
    crowd += [room.connect() for _ in range(2)]
    assert not room.wakes()
    crowd[-1].sendall(b"{}\n")
    room.turn()
    assert room.questions == []
    room.now += PATIENCE
    room.turn()
    room.turn()
    assert json.loads(received(crowd[-1]))["ok"]
    for each in crowd:
        each.close()


def test_without_descriptors_clients_wait_and_the_master_does_not_spin(room):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with room.connect() as operator:
        with socket.socket() as highest:
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest.fileno(), before[1]))
            try:
                room.turn()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert not room.wakes()
        deadline = room.control.deadline
        assert deadline is not None and deadline > room.now
        room.now = deadline
        room.turn()
        operator.sendall(b"{}\n")
        room.turn()
        assert json.loads(received(operator))["ok"]


def test_without_a_path_nobody_is_heard():
    control = Control()
    control.open("")
    assert list(control.watched()) == [] and control.deadline is None
    control.turn(0.0, lambda client, question: None)
    control.close()


# The command


def test_workers_are_a_table():
    worker = dict.fromkeys(("pid", "age", "connections", "in_flight", "requests"), 5)
    rows = [
        worker | {"number": 1, "generation": 1, "state": "ready", "rss": 3 * 2**20},
        worker | {"number": 12, "generation": 1, "state": "starting", "rss": None},
    ]
    head, first, second = readable("workers", {"workers": rows}).splitlines()
    assert head.split()[:4] == ["number", "pid", "generation", "state"]
    assert first.split()[-2:] == ["3.0", "MiB"] and second.split()[-1] == "?"
    assert len(head) == len(first) == len(second)


def test_json_may_be_asked_for_on_either_side_of_the_command():
    parse = _parser().parse_args
    assert parse(["--json", "status"]).json and parse(["status", "--json"]).json
    assert not parse(["status"]).json


@pytest.mark.parametrize(
    ("path", "reason"), [("/nowhere/control", "No such file"), ("/x" * 99, "path too long")]
)
def test_why_nobody_can_be_asked(path, reason):
    with pytest.raises(Unanswered, match=reason):
        ask(path, {"command": "status"}, 1.0)


def control(server, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "tricorn_supervisor.serverctl"),
            *("--socket", str(server.directory / "control"), *arguments),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE_OF_TESTS,
    )


@pytest.fixture
def server(serve, tmp_path):
    return serve(control=str(tmp_path / "control"), workers=2).start()


@pytest.mark.slow
def test_status_and_workers_of_a_running_server(server):
    said = control(server, "status").stdout
    assert said.startswith("serving: 2 of 2 workers ready\ngeneration 1, pid ")
    status = json.loads(control(server, "status", "--json").stdout)
    assert (status["ok"], status["workers"], status["pid"]) == (True, 2, server.process.pid)
    workers = json.loads(control(server, "workers", "--json").stdout)["workers"]
    assert [worker["number"] for worker in workers] == [1, 2]
    assert {worker["pid"] for worker in workers} == server.pids()
    assert all(worker["rss"] > 2**20 for worker in workers)


@pytest.mark.slow
def test_reload_waits_and_says_what_became_of_it(server):
    server.write_plan(mode="fail", control=str(server.directory / "control"))
    failed = control(server, "reload")
    assert failed.returncode == 1
    assert "its first worker ended before it was ready: no module named app" in failed.stderr

    server.write_plan(mode="bad plan")
    assert control(server, "reload").stderr == "serverctl: reload: the plan is bad\n"

    server.write_plan(version=2)
    done = control(server, "reload")
    assert (done.returncode, done.stdout) == (0, "generation 3 serves\n"), server.log
    assert server.ask()["version"] == 2
    assert "reload to generation 3 complete" in control(server, "status").stdout


@pytest.mark.slow
def test_scale_and_logs_reopen(server):
    assert control(server, "scale", "3").stdout == "3 workers wanted\n"
    server.wait_for("worker=3 gen=1 pid=.* ready")
    assert control(server, "scale", "0").returncode == 1
    assert control(server, "logs-reopen").stdout == "logs reopened\n"
    server.wait_for("logs reopened")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["drain", "stop"])
def test_drain_and_stop_wait_for_the_end(server, command):
    done = control(server, command)
    assert (done.returncode, done.stdout) == (0, "the server has stopped\n")
    assert server.wait() == 0
    assert not (server.directory / "control").exists()
    assert control(server, "status").returncode == 2


@pytest.mark.slow
def test_master_that_is_killed_leaves_its_client_without_an_answer(server):
    server.signal(signal.SIGSTOP)
    waiting = subprocess.Popen(
        [
            *(sys.executable, "-m", "tricorn_supervisor.serverctl"),
            *("--socket", str(server.directory / "control"), "--timeout", "10", "status"),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    server.signal(signal.SIGKILL)
    assert waiting.communicate(timeout=PATIENCE_OF_TESTS)[1].startswith("serverctl: ")
    assert waiting.returncode == 2
