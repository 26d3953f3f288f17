"""Every metric: its name, what it counts, and how it is read from the scoreboard.

The page docs/operations.md has the table that `python -m tricorn.observe.catalogue` prints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from tricorn import __version__
from tricorn.observe.stats import VERSIONS, Histogram, Stats, Tally
from tricorn_supervisor.scoreboard import COUNTERS, Field, Fleet, Scoreboard, State

T = TypeVar("T", int, Histogram)
Labels = tuple[str, ...]
STATUSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
IN_FLIGHT = (Field.IN_FLIGHT_1, Field.IN_FLIGHT_2, Field.IN_FLIGHT_3)


class Sight:
    """What the scoreboard shows at one moment."""

    def __init__(self, board: Scoreboard) -> None:
        self.board = board
        dead, self.rows = board.snapshot()
        counters = [row[COUNTERS:] for row in self.rows]
        self.total = Stats.of([sum(column) for column in zip(dead, *counters, strict=True)])
        """Of all workers that there have ever been."""
        self.living = [Stats.of(each) for each in counters]

    def column(self, field: Field) -> list[int]:
        return [row[field] for row in self.rows]


@dataclass(frozen=True, slots=True)
class Metric:
    """`read` gives a sample for each combination of `labels`."""

    name: str
    help: str
    labels: Labels
    read: Callable[[Sight], Iterable[tuple[Labels, float]]]
    kind: str = "counter"


@dataclass(frozen=True, slots=True)
class Spans:
    """A histogram in seconds."""

    name: str
    help: str
    labels: Labels
    read: Callable[[Sight], Iterable[tuple[Labels, Histogram]]]
    kind: str = "histogram"


def _single(name: str) -> Callable[[Sight], Iterable[tuple[Labels, float]]]:
    return lambda sight: [((), getattr(sight.total, name))]


def _pair(**names: str) -> Callable[[Sight], Iterable[tuple[Labels, float]]]:
    """Counters side by side, each with the label that it is given by."""
    return lambda sight: [((label,), getattr(sight.total, name)) for label, name in names.items()]


def _fleet(field: Fleet) -> Callable[[Sight], Iterable[tuple[Labels, float]]]:
    return lambda sight: [((), sight.board.fleet(field))]


def _by_version(read: Callable[[Tally], T]) -> Callable[[Sight], Iterable[tuple[Labels, T]]]:
    def samples(sight: Sight) -> Iterator[tuple[Labels, T]]:
        for version, tally in zip(VERSIONS, sight.total.tallies, strict=True):
            yield (version,), read(tally)

    return samples


def _requests(sight: Sight) -> Iterator[tuple[Labels, float]]:
    for version, tally in zip(VERSIONS, sight.total.tallies, strict=True):
        for status, count in zip(STATUSES, tally.responses, strict=True):
            yield (version, status), count


def _in_flight(sight: Sight) -> Iterator[tuple[Labels, float]]:
    for version, field in zip(VERSIONS, IN_FLIGHT, strict=True):
        yield (version,), sum(sight.column(field))


def _connections(sight: Sight) -> Iterator[tuple[Labels, float]]:
    # Those of a process that was killed were never counted as closed: only the living have any.
    for at, version in enumerate(VERSIONS):
        tallies = [stats.tallies[at] for stats in sight.living]
        yield (version,), sum(tally.opened - tally.closed for tally in tallies)


def _workers(sight: Sight) -> Iterator[tuple[Labels, float]]:
    states = sight.column(Field.STATE)
    for state in (State.STARTING, State.READY, State.DRAINING):
        yield (state.name.lower(),), states.count(state)


def _endings(sight: Sight) -> Iterator[tuple[Labels, float]]:
    for cause, count in sight.board.endings().items():
        yield (cause.name.lower(),), count


def _draining(sight: Sight) -> Iterator[tuple[Labels, float]]:
    yield (), int(sight.board.fleet(Fleet.STATE) == State.DRAINING)


def _expiry(sight: Sight) -> Iterator[tuple[Labels, float]]:
    if expiries := [each for each in sight.column(Field.CERTIFICATE_EXPIRY) if each]:
        yield (), min(expiries)


PROTOCOL = ("protocol",)
RESULTS = ("result",)

METRICS: tuple[Metric | Spans, ...] = (
    Metric(
        "tricorn_requests",
        "requests that have been answered, or have ended without a status, by the class of their "
        "status; a WebSocket counts when it has ended",
        ("protocol", "status"),
        _requests,
    ),
    Metric(
        "tricorn_requests_aborted",
        "responses that the client did not wait for, or that broke off",
        (),
        _single("aborted"),
    ),
    Spans(
        "tricorn_request_duration_seconds",
        "from the head of a request to the end of its response, refusals and WebSockets left out",
        PROTOCOL,
        _by_version(lambda tally: tally.latency),
    ),
    Spans(
        "tricorn_time_to_first_byte_seconds",
        "from the head of a request to the head of its response",
        PROTOCOL,
        _by_version(lambda tally: tally.first_byte),
    ),
    Metric(
        "tricorn_requests_in_flight",
        "requests and WebSockets whose application runs: streams, over HTTP/2 and HTTP/3",
        PROTOCOL,
        _in_flight,
        "gauge",
    ),
    Spans(
        "tricorn_queue_seconds",
        "how long something that is ready, such as a new request, waits for its turn in the event "
        "loop; measured once a second in each worker",
        (),
        lambda sight: [((), sight.total.queue)],
    ),
    Spans(
        "tricorn_event_loop_lag_seconds",
        "how late the event loop is for a timer; measured once a second in each worker",
        (),
        lambda sight: [((), sight.total.lag)],
    ),
    Metric("tricorn_connections", "connections that are open", PROTOCOL, _connections, "gauge"),
    Metric(
        "tricorn_connections_opened",
        "connections that were opened; one that changes to h2c counts for both",
        PROTOCOL,
        _by_version(lambda tally: tally.opened),
    ),
    Metric(
        "tricorn_streams_reset",
        "streams that a client has reset",
        PROTOCOL,
        _by_version(lambda tally: tally.resets),
    ),
    Metric(
        "tricorn_tls_handshakes",
        "TLS handshakes over TCP",
        RESULTS,
        _pair(completed="tls_handshakes", failed="tls_failures"),
    ),
    Metric(
        "tricorn_quic_handshakes",
        "QUIC handshakes",
        RESULTS,
        _pair(completed="quic_handshakes", failed="quic_failures"),
    ),
    Metric(
        "tricorn_quic_migrations",
        "changes of a QUIC client's address during a connection",
        (),
        _single("quic_migrations"),
    ),
    Metric(
        "tricorn_quic_retries",
        "QUIC clients that were asked to prove their address",
        (),
        _single("quic_retries"),
    ),
    Metric(
        "tricorn_quic_stateless_resets",
        "packets of QUIC connections that nobody knows, and that were answered",
        (),
        _single("quic_resets"),
    ),
    Metric(
        "tricorn_websocket_messages",
        "messages that applications have received and sent",
        ("direction",),
        _pair(received="messages_received", sent="messages_sent"),
    ),
    Metric(
        "tricorn_workers",
        "worker processes by state",
        ("state",),
        _workers,
        "gauge",
    ),
    Metric(
        "tricorn_workers_wanted",
        "how many workers there should be",
        (),
        _fleet(Fleet.WORKERS),
        "gauge",
    ),
    Metric(
        "tricorn_worker_endings",
        "worker processes that have ended, by cause",
        ("cause",),
        _endings,
    ),
    Metric(
        "tricorn_generation",
        "the generation that serves, from 1; a reload that was given up has a number, too",
        (),
        _fleet(Fleet.GENERATION),
        "gauge",
    ),
    Metric("tricorn_draining", "1 once the server was told to stop", (), _draining, "gauge"),
    Metric(
        "tricorn_certificate_expiry_timestamp_seconds",
        "when the certificate ends that is served, in seconds since 1970; the earliest of all "
        "workers",
        (),
        _expiry,
        "gauge",
    ),
    Metric(
        "tricorn_log_lines_dropped",
        "lines that a log could not take in time",
        (),
        _single("dropped_log_lines"),
    ),
    Metric("tricorn_info", "1", ("version",), lambda sight: [((__version__,), 1)], "gauge"),
)


def table() -> str:
    """For people, in Markdown."""
    lines = ["| metric | labels | meaning |", "|---|---|---|"]
    for metric in METRICS:
        suffix = "_total" if metric.kind == "counter" else ""
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}{suffix}` ({metric.kind}) | {labels} | {metric.help} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
