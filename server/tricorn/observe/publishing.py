"""From the counters of a worker to its row of the scoreboard, once a second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tricorn.connection import Context
from tricorn.observe.logfile import LogFile
from tricorn_supervisor.scoreboard import Field, Row

IN_FLIGHT = {
    "1.0": Field.IN_FLIGHT_1,
    "1.1": Field.IN_FLIGHT_1,
    "2": Field.IN_FLIGHT_2,
    "3": Field.IN_FLIGHT_3,
}


def publish(context: Context, row: Row, files: Sequence[LogFile]) -> None:
    """Everything but the heartbeat and the number of connections, which others write."""
    stats = context.stats
    stats.dropped_log_lines = sum(file.dropped for file in files)
    responses = stats.responses
    row[Field.ACCEPTED] = stats.accepted
    row[Field.REQUESTS] = sum(responses)
    for status_class in range(1, 6):
        row[Field.RESPONSES_1XX - 1 + status_class] = responses[status_class]
    row[Field.ABORTED] = stats.aborted
    row[Field.DROPPED_LOG_LINES] = stats.dropped_log_lines
    row[Field.IN_FLIGHT] = len(context.running)
    running = dict.fromkeys(IN_FLIGHT.values(), 0)
    for version, count in Counter(each.request.version for each in context.running).items():
        running[IN_FLIGHT[version]] += count
    for field, count in running.items():
        row[field] = count
    row.count(stats.values())


class Pulse:
    """Measures the event loop, from inside it: its lag at each tick, and its queue just after."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._due = float("inf")

    def tick(self, following: float) -> None:
        """It is called again in `following` seconds."""
        loop = self._context.loop
        now = loop.time()
        if self._due < float("inf"):
            self._context.stats.lag.observe(max(0.0, now - self._due))
        self._due = now + following
        loop.call_soon(self._taken_up, now)

    def _taken_up(self, since: float) -> None:
        self._context.stats.queue.observe(self._context.loop.time() - since)
