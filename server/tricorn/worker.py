"""One worker process: the loop, the application's lifespan, the listeners, and the drain."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from tricorn.asgi.exchange import Exchange
from tricorn.asgi.lifespan import Lifespan, LifespanFailed
from tricorn.asgi.websocket import WebSocket
from tricorn.config import Config
from tricorn.connection import Application, Context, Field, Forwarding
from tricorn.fields import Defaults
from tricorn.importer import ImportFailed, load_application
from tricorn.leaving import Leaving
from tricorn.net.accept import Acceptor
from tricorn.net.rotation import Encryption
from tricorn.net.tcp import sweep
from tricorn.observe.accesslog import AccessLog
from tricorn.observe.logfile import LogFile
from tricorn.observe.publishing import Pulse, publish
from tricorn.observe.stacks import Stacks
from tricorn.observe.stats import Stats
from tricorn.upkeep import Upkeep
from tricorn.versions import limits_of, versions_of
from tricorn_supervisor.channel import ChildEnd
from tricorn_supervisor.scoreboard import Field as Column
from tricorn_supervisor.scoreboard import State
from tricorn_supervisor.steering import NONCE_SIZE, Layout

if TYPE_CHECKING:
    from tricorn.http3.endpoint import Endpoint

APPLICATION_FAILED = 3
"""Exit status, as Uvicorn's and Gunicorn's: there is no point in starting it again."""
ALTERNATIVE_AGE = 86_400
"""Seconds for which a client may remember that HTTP/3 is spoken here; RFC7838's own default."""
FAREWELL = 1.0
"""Seconds that applications have to act on http.disconnect, and then on being cancelled."""

GOING_AWAY, SERVICE_RESTART = 1001, 1012
"""Why WebSockets are closed: RFC6455§7.4.1, and the registry of RFC6455§11.7."""
FAREWELLS = 1000
"""WebSockets that are closed in a second, at the most."""

log = logging.getLogger(__name__)


def run(
    child: ChildEnd,
    config: Config,
    encryption: Encryption | None,
    accesslog: AccessLog | None,
    errorlog: LogFile,
    variables: Mapping[str, str],
) -> int:
    """The life of a worker; returns its exit status. `variables` are for the application."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)
    try:
        application = load_application(
            config.application, factory=config.factory, app_dir=config.app_dir
        )
    except ImportFailed as failure:
        child.failed(failure.sentence, failure.detail)
        return APPLICATION_FAILED
    return live(child, config, application, encryption, accesslog, errorlog)


def live(
    child: ChildEnd,
    config: Config,
    application: Application,
    encryption: Encryption | None,
    accesslog: AccessLog | None,
    errorlog: LogFile,
) -> int:
    """What follows once there is an application."""
    loop = new_loop(config.worker_class)
    asyncio.set_event_loop(loop)
    try:
        worker = Worker(child, config, application, loop, encryption, accesslog, errorlog)
        return loop.run_until_complete(worker.serve())
    finally:
        loop.run_until_complete(_end_tasks())
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()


def new_loop(worker_class: str) -> asyncio.AbstractEventLoop:
    """uvloop where it is asked for and installed, else asyncio's own."""
    if worker_class == "uvloop":
        try:
            import uvloop
        except ImportError:
            log.warning("uvloop is not installed; serving with asyncio's own event loop")
        else:
            return uvloop.new_event_loop()
    return asyncio.new_event_loop()


async def _end_tasks() -> None:
    """What the application left running hears that it ends."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=FAREWELL)


class Worker:
    """Serves until told to stop, by a signal or by the death of the master."""

    def __init__(
        self,
        child: ChildEnd,
        config: Config,
        application: Application,
        loop: asyncio.AbstractEventLoop,
        encryption: Encryption | None,
        accesslog: AccessLog | None,
        errorlog: LogFile,
    ) -> None:
        self.child = child
        self.config = config
        self.loop = loop
        self.log_files = [errorlog, *([accesslog.file] if accesslog else [])]
        self.stacks = Stacks(loop, errorlog)
        self.lifespan = Lifespan(application, config.lifespan)
        limits = limits_of(config)
        self.defaults = [_defaults(config, [])]
        """What is added to responses: over QUIC, and over TCP."""
        defaults = _defaults(config, _alternative(child, config))
        self.defaults.append(defaults)
        self.context = Context(
            application=application,
            config=config,
            loop=loop,
            streams={None: Exchange, "websocket": WebSocket},
            defaults=defaults,
            stats=Stats(timed=bool(config.health_bind or config.statsd_host)),
            worker=child.number,
            accesslog=accesslog,
            state=self.lifespan.state,
            variables=self.lifespan.variables,
            now=time.monotonic(),
            forwarding=_forwarding(config),
        )
        versions = versions_of(config, defaults)
        listeners = [(each.socket, each.bind.secure) for each in child.listeners]
        renewals = [encryption.prepare] if encryption else []
        shared = encryption.context if encryption else None
        self.acceptor = Acceptor(self.context, versions, listeners, shared, child.board, child.row)
        self.endpoint: Endpoint | None = None
        if child.datagrams:
            assert encryption is not None and encryption.identity is not None
            # Only then: it takes longer to import than everything else.
            from tricorn.http3 import opening

            ids = issuing(child), resettable(child)
            self.endpoint = opening.endpoint(
                self.context,
                self.defaults[0],
                limits,
                child.datagrams,
                child.secret,
                ids,
                self.acceptor.capacity,
                encryption.identity,
            )
            renewals.append(partial(opening.prepare, self.endpoint.terms.configuration, config))
        watch = encryption.watch if encryption else None
        self.upkeep = Upkeep(child, config, watch, renewals)
        self.pulse = Pulse(self.context)
        self.stop = asyncio.Event()
        """No new work: finish what there is."""
        self.at_once = asyncio.Event()
        """Do not even finish."""

    async def serve(self) -> int:
        """Returns the exit status."""
        self._listen_to_the_master()
        self.upkeep.look_for_certificate()
        for file in self.log_files:
            file.attach(self.loop.call_later)
        try:
            return await self._live()
        finally:
            for file in self.log_files:
                file.finish()

    async def _live(self) -> int:
        try:
            started = await self._unless_stopped(self.lifespan.startup(self.config.startup_timeout))
        except LifespanFailed as failure:
            self.child.failed(failure.sentence, failure.detail)
            return APPLICATION_FAILED
        if started:
            self._tick()
            self.acceptor.open()
            if self.endpoint is not None:
                self.endpoint.open()
            self.child.ready()
            await self.stop.wait()
            self.child.stopping()
            await self._drain()
            await self.lifespan.shutdown(self.config.shutdown_timeout)
        self._publish()
        return 0

    def _listen_to_the_master(self) -> None:
        add = self.loop.add_signal_handler
        add(signal.SIGTERM, self.stop.set)
        add(signal.SIGQUIT, self._stop_now)
        add(signal.SIGUSR1, self._reopen_logs)
        self._reopen_logs()  # they may have been rotated while the application was imported
        if self.child.alone:
            add(signal.SIGINT, self._interrupted)
        else:
            self.loop.add_reader(self.child.fileno(), self._orphaned)

    def _stop_now(self) -> None:
        self.stop.set()
        self.at_once.set()

    def _interrupted(self) -> None:
        if self.stop.is_set():
            self.at_once.set()
        self.stop.set()

    def _orphaned(self) -> None:
        self.loop.remove_reader(self.child.fileno())
        log.warning("worker=%d the master has died; draining", self.child.number)
        self.stop.set()

    def _reopen_logs(self) -> None:
        for file in self.log_files:
            file.reopen()
        self.stacks.enable()

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Does the work and returns True; False if the worker was told to stop meanwhile."""
        task = self.loop.create_task(work)
        stop = self.loop.create_task(self.stop.wait())
        await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            stop.cancel()
            task.result()
            return True
        task.cancel()
        await asyncio.wait((task,))
        return False

    def _tick(self) -> None:
        """Once a second, with the wall clock's seconds so that Date is right."""
        wall = time.time()
        following = 1.001 - wall % 1.0
        self.loop.call_later(following, self._tick)
        self.pulse.tick(following)
        sweep(self.context, time.monotonic())
        for defaults in self.defaults:
            defaults.refresh(wall)
        self.acceptor.shed()
        self._publish()
        self.upkeep.turn(time.monotonic(), sum(self.context.stats.responses))

    def _publish(self) -> None:
        self.child.beat()
        publish(self.context, self.child.row, self.log_files)

    async def _drain(self) -> None:
        """Finishes what is open, for graceful_timeout seconds; then ends it."""
        context = self.context
        context.draining = True
        context.leaving = self._leaving()
        context.shutdown["event"].set()
        self.acceptor.close()
        for connection in list(context.connections):
            try:
                connection.drain()
            except Exception:
                log.exception("worker=%d a connection could not be drained", self.child.number)
                connection.abort()
        finished = self.loop.create_task(self._finished())
        now = self.loop.create_task(self.at_once.wait())
        await asyncio.wait(
            (finished, now),
            timeout=self.config.graceful_timeout,
            return_when=asyncio.FIRST_COMPLETED,
        )
        now.cancel()
        if finished.done():
            return
        finished.cancel()
        log.warning(
            "worker=%d ending %d requests and %d connections that did not finish in time",
            self.child.number,
            len(context.running),
            len(context.connections),
        )
        await self._end_the_rest()

    def _leaving(self) -> Leaving:
        """Clients may come back at once only if there is somebody to come back to."""
        child = self.child
        code = GOING_AWAY
        for row in child.board.living():
            if row[Column.STATE] == State.READY and row[Column.GENERATION] > child.generation:
                code = SERVICE_RESTART
        seconds = len(self.context.running) / FAREWELLS
        return Leaving(code, min(seconds, self.config.graceful_timeout / 2))

    async def _finished(self) -> None:
        """Returns when no application runs and no connection is left."""
        while True:
            tasks = [each.task for each in self.context.running if each.task]
            if tasks:
                await asyncio.wait(tasks)
            elif self.acceptor.held:
                await self.acceptor.emptied.wait()
            elif self.endpoint is not None and self.endpoint.held:
                await self.endpoint.emptied.wait()
            else:
                return

    async def _end_the_rest(self) -> None:
        """Tells every application that its client is gone, then cancels those that go on."""
        for connection in list(self.context.connections):
            connection.eof()
            connection.abort()
        for insist in (False, True):
            tasks = [each.task for each in self.context.running if each.task]
            if tasks:
                for task in tasks if insist else ():
                    task.cancel()
                await asyncio.wait(tasks, timeout=FAREWELL)


def _defaults(config: Config, more: list[Field]) -> Defaults:
    pairs = (line.split(": ", 1) for line in config.header)
    fixed = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in pairs]
    return Defaults(server=config.server_header, date=config.date_header, fixed=(*fixed, *more))


def _forwarding(config: Config) -> Forwarding | None:
    """What finds the client behind a proxy that is trusted; None if no field is believed."""
    if config.proxy_headers == "off":
        return None
    from tricorn.net.forwarded import forwarding  # few servers need it, or ipaddress

    return forwarding(config)


def _alternative(child: ChildEnd, config: Config) -> list[Field]:
    """What tells clients that came over TCP where HTTP/3 is spoken (RFC7838§3)."""
    said = config.alt_svc
    if said == "auto":
        ports = dict.fromkeys(each.socket.getsockname()[1] for each in child.datagrams)
        said = ", ".join(f'h3=":{port}"; ma={ALTERNATIVE_AGE}' for port in ports)
    return [(b"alt-svc", said.encode("latin-1"))] if said not in ("", "off") else []


def issuing(child: ChildEnd) -> Callable[[], bytes]:
    """Makes connection IDs that lead to this worker."""
    layout = Layout.of(child.secret, child.server_id)
    return lambda: layout.connection_id(child.lane, os.urandom(NONCE_SIZE))


def resettable(child: ChildEnd) -> Callable[[bytes], bool]:
    """Whether a connection ID that leads nowhere is ours to reset.

    RFC9000§21.11: not if another worker may know it, or whoever makes its packets come here could
    end its connection.
    """
    layout = Layout.of(child.secret, child.server_id)

    def mine(id: bytes) -> bool:
        lane = layout.lane_of(id)
        return lane is None or lane == child.lane or not child.board.owns_lane(lane)

    return mine
