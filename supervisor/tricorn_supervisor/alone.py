"""What a worker has instead of a master when it is alone: `workers 0`."""

import logging
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from setproctitle import setproctitle

from tricorn_supervisor import birth, notify
from tricorn_supervisor.channel import ChildEnd, open_channel
from tricorn_supervisor.lanes import close_alone, derive_secret, open_alone
from tricorn_supervisor.listeners import close_listeners
from tricorn_supervisor.pidfile import PidFile
from tricorn_supervisor.plan import Plan, listen
from tricorn_supervisor.scoreboard import Field, Scoreboard
from tricorn_supervisor.signals import deafen

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class LoneEnd(ChildEnd):
    """Speaks to systemd and to the log where another would speak to its master."""

    systemd: notify.Systemd = field(kw_only=True)
    started: Callable[[], None] = field(kw_only=True)

    def beat(self) -> None:
        # Not super(): slots make a dataclass another class than the one written here.
        ChildEnd.beat(self)
        self.systemd.live(time.monotonic())

    def status(self, text: str) -> None:
        self.systemd.status(text)

    def ready(self) -> None:
        ChildEnd.ready(self)
        self.started()

    def send(self, *pairs: notify.Pair) -> None:
        said = dict(pairs)
        if sentence := said.pop(notify.FAILED, ""):
            log.error("cannot serve: %s", f"{sentence}\n{said.pop(notify.DETAIL, '')}".rstrip())
        else:
            self.systemd.send(*pairs)


def run_alone(plan: Plan) -> int:
    """Serve a plan without forking; returns the exit status of its `run`.

    Raises ListenError and PlanError.
    """
    with ExitStack() as opened:
        pidfile = PidFile()
        pidfile.open(plan.pid)
        opened.callback(pidfile.close)
        listeners = listen(plan)
        opened.callback(close_listeners, listeners)
        parent, sock = open_channel()  # held open, so that the master never seems to die
        opened.enter_context(sock)
        opened.callback(parent.close)
        datagrams = open_alone(plan)
        opened.callback(close_alone, datagrams)
        lane = 0 if datagrams else -1
        board = Scoreboard(1)
        board.claim(0, number=1, generation=1, lane=lane)
        board.row(0)[Field.PID] = os.getpid()
        opened.callback(deafen)
        systemd = notify.Systemd.take(os.environ)
        birth.enter_environment(1)
        setproctitle(f"server [{plan.application}]")
        end = LoneEnd(
            1,
            0,
            1,
            tuple(listeners),
            board,
            sock,
            alone=True,
            lane=lane,
            datagrams=datagrams,
            secret=derive_secret(plan.quic_secret) if datagrams else b"",
            server_id=plan.quic_server_id,
            systemd=systemd,
            started=plan.started,
        )
        return plan.work(end)
