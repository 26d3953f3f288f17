"""The catalogue of metrics in Prometheus' text format or OpenMetrics, as the collector asks.

Imported in the admin child only: workers know nothing of formats.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector, CollectorRegistry

from tricorn.observe.catalogue import METRICS, Metric, Sight, Spans
from tricorn.observe.stats import BOUNDS
from tricorn_supervisor.scoreboard import Scoreboard

UPPER = [*map(str, BOUNDS), "+Inf"]


class Exposition(Collector):
    """Reads the scoreboard at each scrape, and keeps nothing."""

    def __init__(self, board: Scoreboard) -> None:
        self._board = board
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def render(self, accept: str) -> tuple[bytes, str]:
        """The page and its media type, for an Accept field."""
        try:
            encode, kind = choose_encoder(accept)
        except TypeError:  # a version that is no number, which the library compares with one
            encode, kind = choose_encoder("")
        return encode(self._registry), kind

    def describe(self) -> list[Family]:
        return []  # or the registry would collect once, only to learn the names

    def collect(self) -> Iterator[Family]:
        sight = Sight(self._board)
        for metric in METRICS:
            yield _spans(metric, sight) if isinstance(metric, Spans) else _numbers(metric, sight)


def _numbers(metric: Metric, sight: Sight) -> Family:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in metric.read(sight):
        family.add_metric(labels, value)
    return family


def _spans(metric: Spans, sight: Sight) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, histogram in metric.read(sight):
        buckets = list(zip(UPPER, map(float, accumulate(histogram.counts)), strict=True))
        family.add_metric(labels, buckets, sum_value=histogram.seconds)
    return family
