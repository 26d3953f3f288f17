"""Real masters, workers and datagrams: who answers what, whatever happens to the fleet."""

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from tests.supervisor.processes import PATIENCE, Server

pytestmark = pytest.mark.slow

BIND = "127.0.0.1:0"
LISTENING = r"listening on https://127.0.0.1:(\d+) \(HTTP/3\)$"


class Client:
    """One UDP socket; its datagrams look like QUIC as far as the routing looks."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.settimeout(PATIENCE)
        self.server = host, port

    def send_initial(self) -> str:
        """Begin a connection; returns the end of the datagram, by which its answer is known."""
        connection_id = b"\xff" + os.urandom(7)  # which is not one of the server's
        return self._send(b"\xc3\0\0\0\1\x08" + connection_id)

    def send(self, connection_id: str) -> str:
        return self._send(b"\x41" + bytes.fromhex(connection_id))

    def _send(self, head: bytes) -> str:
        end = os.urandom(8)
        self.socket.sendto(head + bytes(32) + end, self.server)
        return end.hex()

    def receive(self) -> dict:
        return json.loads(self.socket.recv(65536))

    def connect(self) -> dict:
        self.send_initial()
        return self.receive()

    def ask(self, connection_id: str) -> dict:
        self.send(connection_id)
        return self.receive()

    def every_worker(self, count: int = 2) -> dict[int, dict]:
        """An answer of each worker that takes new connections, by lane."""
        found: dict[int, dict] = {}
        deadline = time.monotonic() + PATIENCE
        while len(found) < count and time.monotonic() < deadline:
            answer = self.connect()
            found[answer["lane"]] = answer
        assert len(found) == count
        return found

    def lanes(self) -> set[int]:
        return {self.connect()["lane"] for _ in range(60)}


Open = Callable[[Server], Client]


@pytest.fixture
def client() -> Iterator[Open]:
    with contextlib.ExitStack() as opened:

        def connect(server: Server, host: str = "127.0.0.1", port: int = 0) -> Client:
            made = Client(port or int(server.find(LISTENING)), host)
            opened.callback(made.socket.close)
            return made

        yield connect


@pytest.fixture(params=["kernel", "dispatcher"])
def fleet(request, serve) -> Callable[..., Server]:
    """Starts a server with HTTP/3, with each way to route that keeps connections."""

    def start(workers: int = 2, **plan: object) -> Server:
        plan = {"quic_binds": [BIND], "steering": request.param, "workers": workers} | plan
        return serve(**plan).start(workers)

    return start


def reload(server: Server, workers: int = 2, **plan: object) -> None:
    server.write_plan(workers=workers, **plan)
    server.signal(signal.SIGHUP)
    server.wait_for("reload complete")


def make_stubborn(server: Server, client: Client) -> None:
    """From now on every worker drains for as long as it is left to."""
    missing = {answer["pid"] for answer in client.every_worker().values()}
    while missing:
        missing.discard(server.ask("stubborn")["pid"])


# Life


def test_every_worker_answers_and_all_its_ids_lead_to_it(fleet, client):
    server = fleet(workers=3)
    one, moved = client(server), client(server)
    found = one.every_worker(3)
    assert set(found) == {0, 1, 2} and len({answer["pid"] for answer in found.values()}) == 3
    assert len({answer["secret"] for answer in found.values()}) == 1
    for answer in found.values():
        assert answer["owned"] == [0, 1, 2]
        for _ in range(20):
            assert one.ask(answer["id"])["pid"] == answer["pid"]
            assert moved.ask(answer["id"])["pid"] == answer["pid"]


def test_one_worker_is_as_many(fleet, client):
    server = fleet(workers=1)
    first = client(server).connect()
    assert first["lane"] == 0
    os.kill(first["pid"], signal.SIGKILL)
    server.wait_for("ready$")
    assert client(server).ask(first["id"])["lane"] == 0


def test_every_address_is_served_on_one_port(fleet, client):
    server = fleet(quic_binds=["localhost:0"])
    port = int(server.find(LISTENING))
    assert server.find(r"listening on https://\[::1\]:(\d+) \(HTTP/3\)$") == str(port)
    for host in ("127.0.0.1", "::1"):
        for answer in client(server, host).every_worker().values():
            assert client(server, host).ask(answer["id"])["pid"] == answer["pid"]


def test_worker_has_the_sockets_of_its_lane_only(fleet):
    server = fleet(workers=4)
    inbox = "steering=dispatcher" in server.log
    # As without HTTP/3, and the UDP socket, and an inbox if there is a dispatcher.
    assert server.ask()["descriptors"].count("socket") == 4 + inbox


def test_killed_worker_is_replaced_on_its_lane(fleet, client):
    server = fleet()
    found = client(server).every_worker()
    victim, other = found[1], found[0]
    os.kill(victim["pid"], signal.SIGKILL)
    client(server).every_worker()
    answer = client(server).ask(victim["id"])
    assert answer["lane"] == 1 and answer["pid"] != victim["pid"]
    assert client(server).ask(other["id"])["pid"] == other["pid"]


def test_what_is_queued_for_a_killed_worker_is_answered_by_its_replacement(fleet, client):
    server = fleet()
    waiting = client(server)
    victim = waiting.every_worker()[0]
    os.kill(victim["pid"], signal.SIGSTOP)
    sent = {waiting.send(victim["id"]) for _ in range(30)}
    os.kill(victim["pid"], signal.SIGKILL)
    answers = [waiting.receive() for _ in range(30)]
    assert {answer["datagram"] for answer in answers} == sent
    assert {answer["lane"] for answer in answers} == {0}
    assert victim["pid"] not in {answer["pid"] for answer in answers}


@pytest.mark.parametrize(("steering", "forks"), [("kernel", 2), ("dispatcher", 3)])
def test_new_connections_do_not_wait_for_the_replacement(serve, client, steering, forks):
    refused = list(range(forks + 1, 100))
    server = serve(quic_binds=[BIND], steering=steering, refused_forks=refused).start()
    found = client(server).every_worker()
    os.kill(found[0]["pid"], signal.SIGKILL)
    server.wait_for("not forked")
    assert client(server).lanes() == {1}
    stranger = client(server).ask(found[0]["id"])
    assert stranger["lane"] == 1 and stranger["owned"] == [1], "who may tell its clients, does"


# Reload, more workers and fewer


def test_reload_moves_new_connections_and_leaves_the_others(fleet, client):
    server = fleet()
    old = client(server).every_worker()
    make_stubborn(server, client(server))
    reload(server, quic_binds=[BIND])
    assert server.log.count("(HTTP/3)") == 1, "the address was kept"
    new = client(server).every_worker()
    assert set(new) == {2, 3} and {answer["generation"] for answer in new.values()} == {2}
    assert client(server).lanes() == {2, 3}
    assert new[2]["secret"] == old[0]["secret"]
    assert new[2]["owned"] == [0, 1, 2, 3]
    for answer in (*old.values(), *new.values()):
        assert client(server).ask(answer["id"])["pid"] == answer["pid"]


def test_lanes_are_used_again(fleet, client):
    server = fleet()
    for generation in range(2, 6):
        reload(server, quic_binds=[BIND])
        assert max(client(server).every_worker()) < 5
        assert client(server).connect()["generation"] == generation


def test_reloads_lose_no_new_connection(fleet, client):
    server = fleet()
    busy = client(server)
    answered = 0
    server.write_plan(quic_binds=[BIND])
    for _ in range(4):
        server.signal(signal.SIGHUP)
        before = server.log.count("reload complete")
        while server.log.count("reload complete") == before:
            sent = {busy.send_initial() for _ in range(20)}
            assert {busy.receive()["datagram"] for _ in sent} == sent
            answered += len(sent)
            server.read()
    assert answered >= 80


def test_failed_canary_leaves_the_routing_as_it_was(fleet, client):
    server = fleet()
    old = client(server).every_worker()
    server.write_plan(quic_binds=[BIND], mode="fail")
    server.signal(signal.SIGHUP)
    server.wait_for("gen=2 given up")
    assert client(server).lanes() == {0, 1}
    for answer in old.values():
        assert client(server).ask(answer["id"])["pid"] == answer["pid"]


def test_one_worker_more_and_one_fewer(fleet, client):
    server = fleet()
    server.signal(signal.SIGTTIN)
    server.wait_for("worker=3 gen=1 pid=.* ready")
    third = client(server).every_worker(3)[2]
    assert client(server).ask(third["id"])["pid"] == third["pid"]
    server.signal(signal.SIGTTOU)
    server.wait_for("worker=3 gen=1 pid=.* stopped")
    assert client(server).lanes() == {0, 1}
    assert client(server).ask(third["id"])["lane"] in (0, 1), "anybody can reset it"


def test_reload_binds_and_drops_addresses(fleet, client):
    server = fleet()
    old = client(server)
    make_stubborn(server, old)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.2", 0))
        port = probe.getsockname()[1]
    reload(server, quic_binds=[f"127.0.0.2:{port}"])
    new = client(server, "127.0.0.2", port).every_worker()
    assert {answer["generation"] for answer in new.values()} == {2}
    # Workers drain there still, and keep the address.
    assert old.connect()["generation"] == 1


def test_reload_can_begin_and_end_with_http_3(fleet, client):
    server = fleet(quic_binds=[])
    assert "(HTTP/3)" not in server.log
    reload(server, quic_binds=[BIND])
    port = int(server.find(LISTENING))
    client(server).every_worker()
    reload(server, quic_binds=[])
    server.wait_until(2, "gen=2 pid=.* stopped")
    # What the last exit leads to is done before another fork.
    server.signal(signal.SIGTTIN)
    server.wait_for("worker=3 gen=3 pid=.* ready")
    bind_soon(port)


def bind_soon(port):
    """It is free once the last process that had it has ended, and a dispatcher says nothing."""
    deadline = time.monotonic() + PATIENCE
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        while True:
            try:
                return other.bind(("127.0.0.1", port))
            except OSError:
                assert time.monotonic() < deadline, "the address is still held"
                time.sleep(0.01)


def test_reload_with_a_taken_port_changes_nothing(fleet, client):
    server = fleet()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        server.write_plan(quic_binds=[BIND, "127.0.0.2:0", taken])
        server.signal(signal.SIGHUP)
        server.wait_for("reload refused: cannot listen on .*: another program listens there")
    assert client(server).every_worker()[0]["generation"] == 1


def test_stop_serves_to_the_end(fleet, client):
    server = fleet(workers=1)
    answer = client(server).connect()
    server.ask("stubborn")
    server.signal(signal.SIGTERM)
    server.wait_for("is told to drain")
    assert client(server).ask(answer["id"])["pid"] == answer["pid"]


def test_stop_leaves_nobody_behind(fleet):
    server = fleet()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "Traceback" not in server.log


def test_master_that_is_killed_takes_everybody_with_it(fleet):
    server = fleet()
    server.signal(signal.SIGKILL)
    assert server.wait() == -signal.SIGKILL


# The dispatcher


def dispatcher(server: Server) -> int:
    server.read()
    return int(server.find(r"dispatcher pid=(\d+) started"))


@pytest.fixture
def dispatched(serve) -> Server:
    return serve(quic_binds=[BIND], steering="dispatcher").start()


def test_dispatcher_that_is_killed_is_replaced(dispatched, client):
    answers = client(dispatched).every_worker()
    pid = dispatcher(dispatched)
    os.kill(pid, signal.SIGSTOP)
    waiting = client(dispatched)
    sent = {waiting.send(answers[lane]["id"]) for lane in (0, 1) for _ in range(20)}
    os.kill(pid, signal.SIGKILL)
    dispatched.wait_for(rf"dispatcher pid={pid} ended by SIGKILL")
    dispatched.wait_for("dispatcher pid=.* started")
    assert {waiting.receive()["datagram"] for _ in sent} == sent
    for answer in answers.values():
        assert client(dispatched).ask(answer["id"])["pid"] == answer["pid"]


def test_dispatcher_says_what_it_is_and_has_nothing_of_the_master(dispatched):
    with open(f"/proc/{dispatcher(dispatched)}/cmdline", "rb") as title:
        assert title.read().strip(b"\0") == b"server: dispatcher [app:app]"
    found = [os.readlink(f"/proc/{dispatcher(dispatched)}/fd/{name}") for name in fds(dispatched)]
    # Its channel, the UDP socket, an outbox for each of two lanes.
    assert sum(name.startswith("socket") for name in found) == 4


def fds(server: Server) -> list[str]:
    return os.listdir(f"/proc/{dispatcher(server)}/fd")


def test_dispatcher_serves_on_when_the_whole_service_is_told_to_stop(dispatched, client):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        os.kill(dispatcher(dispatched), number)
    client(dispatched).every_worker()


def test_refused_fork_of_the_dispatcher_is_tried_again(serve, client):
    server = serve(quic_binds=[BIND], steering="dispatcher", refused_forks=[1]).start()
    assert "dispatcher not forked" in server.log
    server.wait_for("dispatcher pid=.* started")
    client(server).every_worker()


def test_dispatcher_that_hangs_is_replaced_when_it_is_needed(dispatched, client):
    pid = dispatcher(dispatched)
    os.kill(pid, signal.SIGSTOP)
    dispatched.signal(signal.SIGTTIN)
    dispatched.wait_for("worker=3 gen=1 pid=.* ready")
    client(dispatched).every_worker(3)
    os.kill(dispatcher(dispatched), signal.SIGSTOP)
    dispatched.signal(signal.SIGTTOU)
    dispatched.wait_for("does not answer: it is replaced")
    dispatched.wait_for("dispatcher pid=.* started")
    client(dispatched).every_worker(2)
    dispatched.signal(signal.SIGTERM)
    assert dispatched.wait() == 0


# Other ways


def test_hash_answers_but_knows_no_connection(serve, client):
    server = serve(quic_binds=[BIND], steering="hash", workers=4).start(4)
    lanes = set()
    answer = client(server).connect()
    for _ in range(40):
        lanes.add(client(server).ask(answer["id"])["lane"])
    assert len(lanes) > 1


def test_start_says_how_datagrams_find_their_worker(serve):
    server = serve(quic_binds=[BIND])
    server.wait_for("^INFO steering=kernel finds the worker of a QUIC datagram$")


def test_changed_steering_counts_from_the_next_start(serve, client):
    server = serve(quic_binds=[BIND], steering="kernel").start()
    reload(server, quic_binds=[BIND], steering="dispatcher")
    assert "WARNING steering has changed; it counts from the next start" in server.log
    client(server).every_worker()


def test_alone_there_is_one_lane(serve, client):
    server = serve("alone", quic_binds=["localhost:0"])
    server.wait_for(LISTENING)
    answer = client(server).connect()
    assert (answer["lane"], answer["owned"], answer["pid"]) == (0, [0], server.process.pid)
    assert client(server, "::1").ask(answer["id"])["pid"] == server.process.pid


@pytest.mark.parametrize("arguments", [(), ("alone",)])
def test_taken_port_is_the_callers_affair(serve, arguments):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        server = serve(*arguments, quic_binds=[f"127.0.0.1:{other.getsockname()[1]}"])
        assert server.wait() == 2
    assert "another program listens there" in server.log


@pytest.mark.parametrize("text", ["unix:/run/quic", "fd://3", "systemd:"])
def test_only_addresses_can_be_bound(serve, text):
    server = serve(quic_binds=[text])
    assert server.wait() == 2
    assert f"error: cannot listen on {text} over UDP: it takes HOST:PORT\n" in server.log


def test_more_workers_than_lanes_for_a_reload_are_refused(serve):
    server = serve(quic_binds=[BIND], workers=129)
    assert server.wait() == 2
    assert "with HTTP/3 workers must be 128 at most" in server.log
