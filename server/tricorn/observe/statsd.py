"""The catalogue of metrics to a statsd server, once a second, in datagrams.

What only grows is sent as its growth since the last time. A label is a part of the name, or, where
there are tags in Datadog's notation, a tag.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tricorn.config import Config, ConfigError
from tricorn.observe.catalogue import METRICS, Labels, Metric, Sight, Spans
from tricorn.observe.stats import BOUNDS, Histogram
from tricorn_supervisor.scoreboard import Scoreboard

INTERVAL = 1.0
PORT = 8125
DATAGRAM = 1432
"""Octets that an Ethernet carries whole, by statsd's own advice."""
RETRY = 10.0
"""Seconds until a name that cannot be resolved, or a socket file that is not there, is tried again.
"""

address = re.compile(r"(?:\[(?P<v6>[^]]+)\]|(?P<host>[^:\s]+))(?::(?P<port>\d{1,5}))?")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Address:
    """`path` of a unix socket, or else host and port."""

    path: str
    host: str = ""
    port: int = PORT

    @classmethod
    def of(cls, text: str) -> Address:
        """HOST, HOST:PORT, [V6]:PORT or unix:PATH. Raises ConfigError."""
        if text.startswith("unix:"):
            return cls(text.removeprefix("unix:").removeprefix("//"))
        found = address.fullmatch(text)
        if not found or not 0 < int(found["port"] or PORT) < 65536:
            raise ConfigError(f"--statsd-host {text}: write HOST, HOST:PORT or unix:PATH")
        return cls("", found["v6"] or found["host"], int(found["port"] or PORT))


class Lines:
    """What has changed since it was asked last, and what is now, as statsd's lines."""

    def __init__(self, prefix: str, tags: Iterable[str]) -> None:
        self._prefix = f"{prefix.rstrip('.')}." if prefix else ""
        self._tags = list(tags)
        self._last: dict[tuple[str, Labels, int], float] = {}

    def of(self, sight: Sight) -> Iterator[str]:
        for metric in METRICS:
            if isinstance(metric, Spans):
                for labels, histogram in metric.read(sight):
                    yield from self._timings(metric, labels, histogram)
            else:
                yield from self._numbers(metric, sight)

    def _numbers(self, metric: Metric, sight: Sight) -> Iterator[str]:
        for labels, value in metric.read(sight):
            if metric.kind == "gauge":
                yield self._line(metric, labels, f"{value:g}|g")
            elif grown := self._growth(metric.name, labels, 0, value):
                yield self._line(metric, labels, f"{grown:.0f}|c")

    def _timings(self, metric: Spans, labels: Labels, histogram: Histogram) -> Iterator[str]:
        """One for each bucket, at its upper bound, with how many it stands for."""
        for bucket, count in enumerate(histogram.counts):
            if grown := self._growth(metric.name, labels, bucket, count):
                milliseconds = BOUNDS[min(bucket, len(BOUNDS) - 1)] * 1000
                rate = f"|@{1 / grown:.9f}" if grown > 1 else ""
                yield self._line(metric, labels, f"{milliseconds:g}|ms{rate}")

    def _growth(self, name: str, labels: Labels, part: int, value: float) -> float:
        key = name, labels, part
        grown = value - self._last.get(key, 0)
        self._last[key] = value
        return grown

    def _line(self, metric: Metric | Spans, labels: Labels, value: str) -> str:
        name = self._prefix + metric.name.replace("tricorn_", "tricorn.", 1)
        if not self._tags:
            parts = [re.sub(r"[^\w-]", "_", label) for label in labels]
            return f"{'.'.join([name, *parts])}:{value}"
        pairs = [f"{key}:{label}" for key, label in zip(metric.labels, labels, strict=True)]
        return f"{name}:{value}|#{','.join([*pairs, *self._tags])}"


def datagrams(lines: Iterable[str]) -> Iterator[bytes]:
    """As many lines as fit into each."""
    held = b""
    for line in lines:
        data = line.encode()
        if held and len(held) + 1 + len(data) > DATAGRAM:
            yield held
            held = data
        else:
            held = held + b"\n" + data if held else data
    if held:
        yield held


class Statsd:
    """Sends from `start` to `stop`; what cannot be sent is left out."""

    def __init__(self, board: Scoreboard, config: Config) -> None:
        self._board = board
        self._address = Address.of(config.statsd_host)
        self._lines = Lines(config.statsd_prefix, config.dogstatsd_tags)
        # What was counted before is not this second's.
        list(self._lines.of(Sight(board)))
        self._socket: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._send()
        if self._socket is not None:
            self._socket.close()

    async def _run(self) -> None:
        while True:
            if self._socket is None:
                try:
                    self._socket = await self._connected()
                except OSError as error:
                    log.warning("statsd_host=%s cannot be sent to: %s", self._address, error)
                    await asyncio.sleep(RETRY)
                    continue
            await asyncio.sleep(INTERVAL)
            self._send()

    async def _connected(self) -> socket.socket:
        """Raises OSError."""
        family: int = socket.AF_UNIX
        target: Any = self._address.path
        if not target:
            # Not in the loop's own thread: probes must not wait for a name server.
            found = await asyncio.get_running_loop().getaddrinfo(
                self._address.host, self._address.port, type=socket.SOCK_DGRAM
            )
            family, _, _, _, target = found[0]
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.connect(target)
        except OSError:
            sock.close()
            raise
        return sock

    def _send(self) -> None:
        if self._socket is None:
            return
        gone = False
        try:
            sight = Sight(self._board)
        except TimeoutError:
            return  # the next second tells of this one as well
        for data in datagrams(self._lines.of(sight)):
            try:
                self._socket.send(data)
            except ConnectionError:
                gone = True  # started again it may be elsewhere, and a socket file is another one
            except OSError:
                pass  # no room: statsd is told what it can be told, and nobody waits
        if gone:
            self._socket.close()
            self._socket = None
