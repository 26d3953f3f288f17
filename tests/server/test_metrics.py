"""observe: from counters to a page that Prometheus reads, through deaths of workers."""

import time
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from tests.support import apps
from tests.support.h2peer import H2Peer
from tests.support.h3peer import H3Peer
from tests.support.peers import H1Peer
from tricorn.observe.admin import Admin
from tricorn.observe.catalogue import METRICS, table
from tricorn.observe.exposition import Exposition
from tricorn.observe.logfile import LogFile
from tricorn.observe.publishing import Pulse, publish
from tricorn.observe.stats import BOUNDS, Histogram, Stats
from tricorn_supervisor import scoreboard
from tricorn_supervisor.scoreboard import COUNTERS, WIDTH, Cause, Field, Scoreboard, State

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


def board(*states: State) -> Scoreboard:
    made = Scoreboard(8)
    made.tell(state=State.READY, workers=len(states), generation=1, started=1)
    for slot, state in enumerate(states):
        made.claim(slot, number=slot + 1, generation=1)
        made.row(slot).publish(state=state)
    return made


def samples(board: Scoreboard, accept: str = "") -> dict[str, float]:
    """Every sample by its name and labels, as it is written."""
    page, kind = Exposition(board).render(accept)
    parse = openmetrics if "openmetrics" in kind else prometheus
    return {
        sample.name + "".join(f"{{{value}}}" for value in sample.labels.values()): sample.value
        for family in parse(page.decode())
        for sample in family.samples
    }


def counted(board: Scoreboard, slot: int, **versions: int) -> None:
    stats = Stats()
    for version, count in versions.items():
        stats.versions[version].responses[2] = count
        stats.versions[version].opened = count
    board.row(slot).count(stats.values())


# The list of integers


def test_counters_read_back_what_they_wrote():
    stats = Stats()
    for number, part in enumerate(stats.tallies, 1):
        part.responses[:] = range(number, number + 6)
        part.opened, part.closed, part.resets = 7 * number, 5 * number, number
        part.time(1.0, 1.5, 1.75 + number)
    stats.aborted, stats.messages_sent = 3, 2**40
    stats.lag.observe(0.2)
    again = Stats.of([*stats.values(), 0, 0])
    assert again.values() == stats.values()
    assert again.responses == stats.responses and again.messages_sent == 2**40
    assert sorted(set(stats.values())) != [0]


def test_counters_fit_into_a_row():
    assert len(Stats().values()) <= WIDTH - COUNTERS


@pytest.mark.parametrize(
    "seconds, bucket", [(0.0, 0), (0.0005, 0), (0.00051, 1), (10.0, 13), (10.1, 14), (1e6, 14)]
)
def test_bucket_is_the_first_that_is_not_smaller(seconds, bucket):
    histogram = Histogram()
    histogram.observe(seconds)
    assert histogram.counts.index(1) == bucket and len(histogram.counts) == len(BOUNDS) + 1
    assert histogram.seconds == seconds


# What a worker counts


@pytest.mark.parametrize("connect, name", [(H1Peer, 0), (H2Peer, 1), (H3Peer, 2)])
def test_each_version_counts_and_times_for_itself(connect, name):
    peer = connect(apps.hello)
    peer.context.stats.timed = True
    peer.fetch()
    peer.fetch()
    for at, tally in enumerate(peer.context.stats.tallies):
        assert tally.responses[2] == sum(tally.latency.counts) == (2 if at == name else 0)
        assert sum(tally.first_byte.counts) == tally.responses[2]


def test_time_to_the_first_byte_is_not_the_duration():
    async def slow(scope, receive, send):
        await send(apps.start())
        await send(apps.body(b"first", more=True))
        time.sleep(0.02)  # noqa: ASYNC251  # the clock of histograms is the real one
        await send(apps.body(b"last"))

    peer = H1Peer(slow)
    peer.context.stats.timed = True
    peer.fetch()
    tally = peer.context.stats.versions["1.1"]
    assert tally.first_byte.seconds < 0.02 <= tally.latency.seconds


def test_nobody_who_collects_means_no_clock():
    peer = H1Peer(apps.hello)
    peer.fetch()
    tally = peer.context.stats.versions["1.1"]
    assert tally.responses[2] == 1 and not any(tally.latency.values() + tally.first_byte.values())


def test_refusals_count_for_their_version():
    peer = H1Peer(apps.never)
    peer.send(b"bad\r\n\r\n")
    assert peer.context.stats.versions["1.1"].responses[4] == 1


@pytest.mark.parametrize("connect, version", [(H2Peer, "2"), (H3Peer, "3")])
def test_streams_that_the_client_resets_are_counted(connect, version):
    async def waits(scope, receive, send):
        while (await receive())["type"] != "http.disconnect":
            pass

    peer = connect(waits)
    peer.abandon(peer.begin())
    assert peer.context.stats.versions[version].resets == 1


def test_publishing_fills_the_row_of_the_worker(tmp_path):
    gate = apps.Gate(apps.late_echo)
    peer = H2Peer(gate)
    peer.ask()
    row = board(State.READY).row(0)
    file = LogFile(str(tmp_path / "log"), 1)
    file.dropped = 2
    publish(peer.context, row, [file])
    assert (row[Field.IN_FLIGHT], row[Field.IN_FLIGHT_1], row[Field.IN_FLIGHT_2]) == (1, 0, 1)
    gate.open()
    peer.settle()
    publish(peer.context, row, [file])
    assert row[Field.IN_FLIGHT_2] == 0 and row[Field.REQUESTS] == row[Field.RESPONSES_2XX] == 1
    assert Stats.of(row.cells[COUNTERS:].tolist()).dropped_log_lines == 2


def test_pulse_measures_what_comes_late():
    peer = H1Peer(apps.hello)
    stats = peer.context.stats
    pulse = Pulse(peer.context)
    pulse.tick(1.0)
    peer.house.clock.now += 1.3
    pulse.tick(1.0)
    peer.settle()
    assert stats.lag.seconds == pytest.approx(0.3) and sum(stats.lag.counts) == 1
    assert sum(stats.queue.counts) == 2


# What is collected


def test_page_reads_in_both_formats_and_says_which_it_is():
    plain, kind = Exposition(board()).render("text/html")
    assert kind.startswith("text/plain; version=0.0.4") and b"# EOF" not in plain
    accepted = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
    page, kind = Exposition(board()).render(accepted)
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert page.endswith(b"# EOF\n")
    assert list(openmetrics(page.decode())) and list(prometheus(plain.decode()))


@pytest.mark.parametrize(
    "accept",
    ["application/openmetrics-text;version=x", "text/plain;version=x;escaping=y", "\xff;="],
)
def test_accept_field_that_means_nothing_is_no_reason_not_to_answer(accept):
    _, kind = Exposition(board()).render(accept)
    assert kind.startswith("text/plain; version=0.0.4")


def test_workers_add_up():
    two = board(State.READY, State.DRAINING)
    counted(two, 0, h2=3)
    counted(two, 1, h2=4, h3=1)
    found = samples(two)
    assert found["tricorn_requests_total{h2}{2xx}"] == 7
    assert found["tricorn_requests_total{h3}{2xx}"] == 1
    assert found["tricorn_connections{h2}"] == 7
    assert found["tricorn_workers{ready}"] == found["tricorn_workers{draining}"] == 1
    assert found["tricorn_workers_wanted"] == 2


def test_no_counter_goes_back_when_workers_die_and_rows_are_used_again():
    fleet = board(State.READY, State.READY)
    counted(fleet, 0, h2=3)
    counted(fleet, 1, h2=4)
    seen = []
    for total in (7, 7, 7, 9):
        seen.append(samples(fleet)["tricorn_requests_total{h2}{2xx}"])
        assert seen[-1] == total
        match len(seen):
            case 1:
                fleet.release(0)
            case 2:
                fleet.claim(0, number=1, generation=2)
            case 3:
                counted(fleet, 0, h2=2)
    assert samples(fleet)["tricorn_connections{h2}"] == 6, "the dead have no connections"
    fleet.release(0)
    fleet.release(1)
    assert samples(fleet)["tricorn_requests_total{h2}{2xx}"] == 9
    assert samples(fleet)["tricorn_connections{h2}"] == 0


def test_buckets_are_cumulative_and_have_a_sum():
    one = board(State.READY)
    stats = Stats()
    for seconds in (0.0004, 0.003, 0.003, 20.0):
        stats.versions["3"].time(5.0, 5.0 + seconds, 5.0 + seconds)
    one.row(0).count(stats.values())
    found = samples(one)
    name = "tricorn_request_duration_seconds"
    assert found[f"{name}_bucket{{0.0005}}{{h3}}"] == 1
    assert found[f"{name}_bucket{{0.005}}{{h3}}"] == found[f"{name}_bucket{{10.0}}{{h3}}"] == 3
    assert found[f"{name}_bucket{{+Inf}}{{h3}}"] == found[f"{name}_count{{h3}}"] == 4
    assert found[f"{name}_sum{{h3}}"] == pytest.approx(20.0064, abs=1e-5)


def test_endings_are_counted_by_cause():
    one = board(State.READY)
    one.count_ending(Cause.OOM)
    one.count_ending(Cause.OOM)
    found = samples(one)
    assert found["tricorn_worker_endings_total{oom}"] == 2
    assert found["tricorn_worker_endings_total{hang}"] == 0


def test_expiry_is_the_earliest_and_absent_without_a_certificate():
    two = board(State.READY, State.READY)
    name = "tricorn_certificate_expiry_timestamp_seconds"
    assert name not in samples(two)
    two.row(0).publish(certificate_expiry=2000)
    two.row(1).publish(certificate_expiry=1000)
    assert samples(two)[name] == 1000


def test_stop_is_seen():
    one = board(State.READY)
    assert samples(one)["tricorn_draining"] == 0
    one.tell(state=State.DRAINING, generation=4)
    found = samples(one)
    assert found["tricorn_draining"] == 1 and found["tricorn_generation"] == 4


def test_page_is_served():
    peer = H1Peer(Admin(board(State.READY), 30.0))
    answer = peer.fetch("/metrics", headers=[(b"accept", b"application/openmetrics-text")])
    assert answer.status == 200
    fields = dict(answer.headers)
    assert fields[b"content-type"].startswith(b"application/openmetrics-text")
    assert b"tricorn_info" in answer.body and fields[b"vary"] == b"accept"


def test_every_metric_is_in_the_manual():
    again = "run: python -m tricorn.observe.catalogue"
    assert table() in PAGE.read_text("utf-8"), again
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_no_page_is_better_than_a_wrong_one(monkeypatch):
    monkeypatch.setattr(scoreboard, "ATTEMPTS", 1)
    one = board(State.READY)
    one._cells[scoreboard.SEQUENCE] += 1
    answer = H1Peer(Admin(one, 30.0)).fetch("/metrics")
    assert answer.status == 503 and b"stands still" in answer.body
