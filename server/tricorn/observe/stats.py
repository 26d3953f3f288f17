"""Counters of one worker: plain integers on the way of a request, published once a second.

Everything in here only grows. What it is published as is one list of integers, in the same order in
every process, so that those of all workers, the dead ones too, add up to one more Stats.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import islice

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets of every histogram, in seconds; above them is one more."""

SINGLES = (
    "accepted",
    "aborted",
    "tls_handshakes",
    "tls_failures",
    "quic_handshakes",
    "quic_failures",
    "quic_migrations",
    "quic_retries",
    "quic_resets",
    "messages_received",
    "messages_sent",
    "dropped_log_lines",
)
VERSIONS = ("http/1.1", "h2", "h3")
"""By their names in ALPN; HTTP/1.0 counts as 1.1."""


class Histogram:
    """How many spans were how long."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0
        """All of them together; published in microseconds."""

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    def values(self) -> list[int]:
        return [*self.counts, int(self.seconds * 1e6)]

    def take(self, values: Iterator[int]) -> None:
        self.counts = list(islice(values, len(self.counts)))
        self.seconds = next(values) / 1e6


class Tally:
    """What one version of HTTP has done."""

    __slots__ = ("closed", "first_byte", "latency", "opened", "resets", "responses")

    def __init__(self) -> None:
        self.responses = [0] * 6
        """By status class; at 0 those that ended before they had a status."""
        self.opened = self.closed = 0
        """Connections."""
        self.resets = 0
        """Streams that the peer has reset."""
        self.latency = Histogram()
        self.first_byte = Histogram()

    def time(self, opened: float, first_sent: float, ended: float) -> None:
        """A response: when its request was known, its first octet was sent (or 0), it ended."""
        # Not by `observe`: this is done for every request, and mostly both are the same span.
        span = ended - opened
        bucket = bisect_left(BOUNDS, span)
        latency = self.latency
        latency.counts[bucket] += 1
        latency.seconds += span
        if first_sent == ended:
            first_byte = self.first_byte
            first_byte.counts[bucket] += 1
            first_byte.seconds += span
        elif first_sent:
            self.first_byte.observe(first_sent - opened)

    def values(self) -> list[int]:
        counts = [*self.responses, self.opened, self.closed, self.resets]
        return counts + self.latency.values() + self.first_byte.values()

    def take(self, values: Iterator[int]) -> None:
        self.responses = list(islice(values, len(self.responses)))
        self.opened, self.closed, self.resets = next(values), next(values), next(values)
        self.latency.take(values)
        self.first_byte.take(values)


class Stats:
    """What this worker has done since it started."""

    __slots__ = (*SINGLES, "lag", "queue", "tallies", "timed", "versions")

    accepted: int
    """Connections."""
    aborted: int
    """Responses that the client did not wait for, or that broke off."""
    tls_handshakes: int
    tls_failures: int
    quic_handshakes: int
    quic_failures: int
    quic_migrations: int
    quic_retries: int
    quic_resets: int
    """Packets of connections that nobody knows, answered with a stateless reset."""
    messages_received: int
    messages_sent: int
    """Of WebSocket."""
    dropped_log_lines: int

    def __init__(self, *, timed: bool = False) -> None:
        self.timed = timed
        """Somebody collects the histograms."""
        for name in SINGLES:
            setattr(self, name, 0)
        self.tallies = tuple(Tally() for _ in VERSIONS)
        http1, http2, http3 = self.tallies
        self.versions = {
            "1.0": http1,
            "1.1": http1,
            "2": http2,
            "3": http3,
            "http/1.1": http1,
            "h2": http2,
            "h2c": http2,
            "h3": http3,
        }
        """By what a request calls its version, and a transport."""
        self.lag = Histogram()
        """How late the event loop was for something that was due."""
        self.queue = Histogram()
        """How long something that was ready waited for its turn in the event loop."""

    @property
    def responses(self) -> list[int]:
        """Of all versions, by status class."""
        return [sum(counts) for counts in zip(*(t.responses for t in self.tallies), strict=True)]

    def values(self) -> list[int]:
        """All counters, in the order that `of` reads them in."""
        values = [getattr(self, name) for name in SINGLES]
        for part in self._parts:
            values += part.values()
        return values

    @classmethod
    def of(cls, values: Sequence[int]) -> Stats:
        """The counters whose `values` these are; what is behind them in a row is left."""
        stats = cls()
        rest = iter(values)
        for name in SINGLES:
            setattr(stats, name, next(rest))
        for part in stats._parts:
            part.take(rest)
        return stats

    @property
    def _parts(self) -> tuple[Tally | Histogram, ...]:
        return (*self.tallies, self.lag, self.queue)
