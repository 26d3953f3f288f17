"""The admin child: a worker of its own small fleet, whose application is the server's own."""

from __future__ import annotations

from dataclasses import replace

from tricorn import worker
from tricorn.config import DEFAULTS, Config
from tricorn.observe.admin import Admin
from tricorn.observe.logfile import LogFile
from tricorn.observe.statsd import Statsd
from tricorn_supervisor.channel import ChildEnd
from tricorn_supervisor.scoreboard import Scoreboard

MOST_CONNECTIONS = 256
"""Probes, collectors, and people; not an application's clients."""


def run(child: ChildEnd, board: Scoreboard, config: Config, errorlog: LogFile) -> int:
    """Its life; returns its exit status. `board` is the fleet's, `child.board` its own."""
    own = replace(
        DEFAULTS,
        worker_class=config.worker_class,
        lifespan="on",
        limit_connections=MOST_CONNECTIONS,
        max_request_body_size=1024,
        graceful_timeout=1.0,
    )
    statsd = Statsd(board, config) if config.statsd_host else None
    application = Admin(board, config.heartbeat_timeout, statsd)
    return worker.live(child, own, application, None, None, errorlog)
