"""observe/statsd.py: from the scoreboard to lines, and to a socket."""

import asyncio
import socket

import pytest

from tricorn.config import Config, ConfigError
from tricorn.observe.catalogue import Sight
from tricorn.observe.stats import Stats
from tricorn.observe.statsd import DATAGRAM, Address, Lines, Statsd, datagrams
from tricorn_supervisor.scoreboard import COUNTERS, Scoreboard, State


@pytest.fixture
def board():
    made = Scoreboard(2)
    made.claim(0, number=1, generation=1)
    made.row(0).publish(state=State.READY)
    return made


def answered(board: Scoreboard, count: int, seconds: float = 0.003) -> Stats:
    stats = Stats.of(board.row(0).cells[COUNTERS:].tolist())
    tally = stats.versions["1.1"]
    for _ in range(count):
        tally.responses[2] += 1
        tally.time(1.0, 0.0, 1.0 + seconds)
    board.row(0).count(stats.values())
    return stats


def sent(lines: Lines, board: Scoreboard) -> set[str]:
    return set(lines.of(Sight(board)))


def test_counters_are_sent_as_their_growth(board):
    lines = Lines("", ())
    sent(lines, board)
    answered(board, 3)
    assert "tricorn.requests.http_1_1.2xx:3|c" in sent(lines, board)
    assert not any(line.endswith("|c") for line in sent(lines, board))
    answered(board, 1)
    assert "tricorn.requests.http_1_1.2xx:1|c" in sent(lines, board)


def test_gauges_are_sent_as_they_are(board):
    assert "tricorn.workers.ready:1|g" in sent(Lines("", ()), board)


def test_spans_are_timings_that_stand_for_many(board):
    lines = Lines("", ())
    answered(board, 4)
    answered(board, 1, seconds=60.0)
    name = "tricorn.request_duration_seconds.http_1_1"
    found = {line for line in sent(lines, board) if line.startswith(name)}
    assert found == {f"{name}:5|ms|@0.250000000", f"{name}:10000|ms"}


def test_prefix_has_one_dot_behind_it(board):
    for prefix in ("prod.web", "prod.web."):
        assert "prod.web.tricorn.generation:0|g" in sent(Lines(prefix, ()), board)


def test_labels_are_tags_where_there_are_tags(board):
    lines = Lines("", ("env:prod", "team:web"))
    sent(lines, board)
    answered(board, 2)
    tagged = "tricorn.requests:2|c|#protocol:http/1.1,status:2xx,env:prod,team:web"
    assert tagged in sent(lines, board)


def test_lines_travel_together_but_never_in_parts():
    lines = [f"name{number}:{number}|c" for number in range(500)]
    sizes = [len(each) for each in datagrams(lines)]
    assert max(sizes) <= DATAGRAM and len(sizes) < 10
    assert b"\n".join(datagrams(lines)).decode().split("\n") == lines
    assert list(datagrams([])) == []


@pytest.mark.parametrize(
    "text, address",
    [
        ("statsd", Address("", "statsd", 8125)),
        ("127.0.0.1:9125", Address("", "127.0.0.1", 9125)),
        ("[::1]:9125", Address("", "::1", 9125)),
        ("unix:/run/statsd", Address("/run/statsd")),
        ("unix:///run/statsd", Address("/run/statsd")),
    ],
)
def test_address_is_written_as_for_other_servers(text, address):
    assert Address.of(text) == address


@pytest.mark.parametrize("text", ["host:", "host:0", "host:70000", "::1", "a b", "host:port"])
def test_address_that_is_none(text):
    with pytest.raises(ConfigError, match=r"--statsd-host .*write HOST"):
        Address.of(text)


def test_sends_once_a_second_and_a_last_time(board, monkeypatch, tmp_path):
    monkeypatch.setattr("tricorn.observe.statsd.INTERVAL", 0.02)
    path = str(tmp_path / "statsd")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        server.setblocking(False)

        async def main() -> bytes:
            answered(board, 100)
            statsd = Statsd(board, Config(statsd_host=f"unix:{path}", statsd_prefix="p"))
            statsd.start()
            loop = asyncio.get_running_loop()
            first = await asyncio.wait_for(loop.sock_recv(server, 65536), 5)
            answered(board, 7)
            statsd.stop()
            return first

        assert asyncio.run(main()).startswith(b"p.tricorn.")
        rest = b""
        with pytest.raises(BlockingIOError):
            while True:
                rest += server.recv(65536) + b"\n"
    assert b"p.tricorn.requests.http_1_1.2xx:7|c" in rest.split(b"\n")


def test_server_that_was_started_again_is_found_again(board, monkeypatch, tmp_path):
    monkeypatch.setattr("tricorn.observe.statsd.INTERVAL", 0.01)
    monkeypatch.setattr("tricorn.observe.statsd.RETRY", 0.01)
    path = tmp_path / "statsd"

    async def main() -> None:
        statsd = Statsd(board, Config(statsd_host=f"unix:{path}"))
        statsd.start()
        for _ in range(2):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
                server.bind(str(path))
                server.setblocking(False)
                assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(server, 99), 5)
            path.unlink()
        statsd.stop()

    asyncio.run(main())


def test_server_that_is_not_there_is_no_error(board):
    async def main() -> None:
        statsd = Statsd(board, Config(statsd_host="unix:/nowhere/at/all"))
        statsd.start()
        await asyncio.sleep(0)
        statsd.stop()

    asyncio.run(main())
