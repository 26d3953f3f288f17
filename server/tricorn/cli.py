"""argv → Config → Master: where the server and its supervisor meet."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path

from tricorn import __version__, manual, options, worker
from tricorn.config import AUTO, Config, ConfigError
from tricorn.net import tls
from tricorn.net.rotation import Encryption
from tricorn.observe import errorlog
from tricorn.observe.accesslog import AccessLog
from tricorn.observe.logfile import LogFile
from tricorn.observe.statsd import Address
from tricorn.processors import processors
from tricorn.versions import protocols_of
from tricorn_supervisor.channel import ChildEnd
from tricorn_supervisor.daemon import detach
from tricorn_supervisor.identity import Identity, IdentityError, identify
from tricorn_supervisor.listeners import Bind, ListenError
from tricorn_supervisor.master import Master, Plan, PlanError, run_alone
from tricorn_supervisor.scoreboard import Scoreboard
from tricorn_supervisor.steering import SECRET_SIZE

USAGE = 2
"""Exit status for whatever the operator has to mend."""
PATIENCE_OF_PLATFORMS = 30
"""Seconds between TERM and KILL in Kubernetes, unless the pod says otherwise."""
MARGIN = 2
"""Seconds for what a stop does besides waiting."""

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """The command `server`; ends the process."""
    _open_standard_streams()
    arguments = sys.argv[1:] if argv is None else argv
    try:
        sys.exit(run(arguments))
    except (ConfigError, ListenError, PlanError) as error:
        print(f"server: {error}", file=sys.stderr)
        sys.exit(USAGE)
    except BrokenPipeError:  # of `server --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)


def _open_standard_streams() -> None:
    """Where one is closed, so that no socket or log gets its number and what others write to it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one


def run(argv: Sequence[str]) -> int:
    """Does what `argv` asks for; returns the exit status. Raises ConfigError and ListenError."""
    loaded = options.load(argv, os.environ)
    config = loaded.config
    match loaded.action:
        case "help":
            print(manual.usage(), flush=True)
        case "version":
            print(f"tricorn {__version__}", flush=True)
        case "print":
            print(manual.describe(config), end="", flush=True)
        case "check":
            _plan(loaded, Logs(config))
            if sentence := unusable(config):
                raise ConfigError(sentence)
            print("the configuration is fine", flush=True)
        case "serve":
            return _serve(argv, loaded)
    return 0


def _serve(argv: Sequence[str], loaded: options.Loaded) -> int:
    logs = Logs(loaded.config)
    plan = _plan(loaded, logs)
    config = loaded.config
    for sentence in (*loaded.notes, *tls.warnings(config), *_too_slow(config)):
        log.warning("%s", sentence)
    if sentence := unusable(config):
        # Not the end of the start: clients that do not care should not lose a server for it.
        log.error("%s", sentence)
    if loaded.config.daemon:
        plan = replace(plan, started=detach())
    if not plan.workers:
        return run_alone(plan)
    first = [plan]

    def load() -> Plan:
        """The plan at the start, and for each reload a new one from what is written now."""
        if first:
            return first.pop()
        try:
            again = options.load(argv, os.environ)
            if sentence := unusable(again.config):
                raise PlanError(sentence)
            return _plan(again, logs)
        except ConfigError as error:
            raise PlanError(str(error)) from None

    return Master(load).run()


def unusable(config: Config) -> str:
    """Why no client will take the certificate; "" if there is none. Raises ConfigError."""
    if not config.certfile:
        return ""
    # Only then: it is a tenth of the start, and of the memory of a process that needs none of it.
    from tricorn.certificates import invalidity

    return invalidity(config)


def _plan(loaded: options.Loaded, logs: Logs) -> Plan:
    """What the supervisor has to know. Whatever is wrong is found here, before anything starts."""
    config = loaded.config
    encryption = Encryption(config) if config.certfile else None
    if config.umask is not None:
        os.umask(config.umask)
    secure = encryption is not None
    binds = [Bind(text, secure, protocols_of(config, secure=secure)) for text in config.bind]
    health = tuple(Bind(text, False, ("health", "metrics")) for text in config.health_bind)
    plain = protocols_of(config, secure=False)
    binds.extend(Bind(text, False, plain) for text in config.insecure_bind)
    return Plan(
        run=partial(
            worker.run,
            config=config,
            encryption=encryption,
            accesslog=logs.access(config),
            errorlog=logs.error,
            variables=loaded.variables,
        ),
        application=config.name or config.application,
        binds=tuple(binds),
        backlog=config.backlog,
        unix_mode=config.uds_permissions,
        workers=processors() if config.workers == AUTO else config.workers,
        startup_timeout=config.startup_timeout,
        heartbeat_timeout=config.heartbeat_timeout,
        graceful_timeout=config.graceful_timeout,
        shutdown_timeout=config.shutdown_timeout,
        respawn_backoff_max=config.respawn_backoff_max,
        reload_settle=config.reload_settle,
        control=config.control_socket,
        pid=config.pid,
        identity=_identity(config),
        reopen=logs.reopen,
        quic_binds=tuple(Bind(text, True, ("HTTP/3",)) for text in config.quic_bind),
        steering=config.quic_steering,
        quic_secret=_quic_secret(config),
        quic_server_id=bytes.fromhex(config.quic_server_id.removeprefix("0x")),
        admin=_admin(config, logs),
        admin_binds=health,
        drain_delay=config.drain_delay,
    )


def _admin(config: Config, logs: Logs) -> Callable[[ChildEnd, Scoreboard], int] | None:
    """The life of the admin child, if there is to be one. Raises ConfigError."""
    if config.statsd_host:
        Address.of(config.statsd_host)
    elif not config.health_bind:
        return None

    def run(child: ChildEnd, board: Scoreboard) -> int:
        # Here, in the child: neither the master nor a worker needs what it is made of.
        from tricorn import admin

        return admin.run(child, board, config, logs.error)

    return run


def _too_slow(config: Config) -> Iterator[str]:
    """Whether a stop may take longer than what stops us waits before it kills."""
    spans = ("drain_delay", "graceful_timeout", "shutdown_timeout")
    seconds = sum(getattr(config, name) for name in spans)
    if seconds > PATIENCE_OF_PLATFORMS:
        terms = " + ".join(f"{name} {getattr(config, name):g}" for name in spans)
        yield (
            f"a stop may take {terms} = {seconds:g} s, and Kubernetes kills after "
            f"{PATIENCE_OF_PLATFORMS} s: set terminationGracePeriodSeconds (or systemd's "
            f"TimeoutStopSec) to {ceil(seconds) + MARGIN} or more, or lower one of these"
        )


def _identity(config: Config) -> Identity | None:
    """Raises ConfigError."""
    try:
        return identify(config.user, config.group)
    except IdentityError as error:
        raise ConfigError(f"--user and --group: {error}") from None


def _quic_secret(config: Config) -> bytes:
    """What the operator's file has. Raises ConfigError."""
    if not (path := config.quic_secret):
        return b""
    try:
        secret = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"--quic-secret {path}: {error.strerror}") from None
    if len(secret) < SECRET_SIZE:
        raise ConfigError(
            f"--quic-secret {path}: it has {len(secret)} bytes, and needs {SECRET_SIZE}"
        )
    return secret


class Logs:
    """The log files of the master, which every worker inherits; each path is opened once."""

    def __init__(self, config: Config) -> None:
        """Sends the server's own log to where `config` says. Raises ConfigError."""
        identity = _identity(config)
        self._owner = (identity.uid, identity.gid) if identity else None
        try:
            self.error = errorlog.configure(config, self._owner)
        except OSError as error:
            raise ConfigError(f"--error-logfile {config.error_logfile}: {error.strerror}") from None
        self._access: dict[str, LogFile] = {}

    def access(self, config: Config) -> AccessLog | None:
        """The access log that `config` asks for. Raises ConfigError."""
        if not (path := config.access_logfile):
            return None
        if path not in self._access:
            try:
                self._access[path] = LogFile(path, 1, self._owner)
            except OSError as error:
                raise ConfigError(f"--access-logfile {path}: {error.strerror}") from None
        return AccessLog(self._access[path], config.access_logformat)

    def reopen(self) -> None:
        """Writes to the files that have the names now, after a rotation."""
        self.error.reopen()
        for file in self._access.values():
            file.reopen()
