"""What a worker looks after once a second beside its clients: its wear, and its certificate."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence

from tricorn.config import Config, ConfigError
from tricorn.net.rotation import Watch
from tricorn.wear import Wear
from tricorn_supervisor.channel import ChildEnd
from tricorn_supervisor.scoreboard import Field

Renewal = Callable[[], Callable[[], None]]
"""Reads a certificate, raising ConfigError; what it returns shows that to new connections."""

log = logging.getLogger(__name__)


class Upkeep:
    """`watch` and `renewals` are those of TCP and of QUIC, where these have a certificate."""

    def __init__(
        self, child: ChildEnd, config: Config, watch: Watch | None, renewals: Sequence[Renewal]
    ) -> None:
        self._child = child
        self._config = config
        self._watch = watch if config.tls_watch else None
        self._renewals = renewals
        self._wear = Wear(config, random.random(), time.monotonic())
        if config.certfile:
            self._publish_expiry()

    def turn(self, now: float, requests: int) -> None:
        if reason := self._wear.reason(now, requests, self._child.resident):
            self._child.worn(reason)
        self.look_for_certificate()

    def look_for_certificate(self) -> None:
        """Also before the first connection: the master may have read it long ago."""
        if self._watch is None or not self._watch.changed():
            return
        if not self._watch.readable() and not self._child.alone:
            # As root keeps its keys to itself. It has read them for us before the fork.
            self._child.reload("the new certificate cannot be read without the master's rights")
            return
        from tricorn.certificates import invalidity  # only then: see cli.unusable

        try:
            if unusable := invalidity(self._config):
                raise ConfigError(unusable)
            # All or none: one of them may take what the other cannot use.
            shows = [prepare() for prepare in self._renewals]
        except ConfigError as error:
            log.error("worker=%d the old certificate stays: %s", self._child.number, error)
            return
        for show in shows:
            show()
        self._publish_expiry()
        log.info("worker=%d shows the new certificate", self._child.number)

    def _publish_expiry(self) -> None:
        from tricorn.certificates import not_after  # only then: see cli.unusable

        try:
            expiry = int(not_after(self._config).timestamp())
        except ConfigError as error:
            # It was read before this process became another user.
            log.debug("worker=%d knows no end of the certificate: %s", self._child.number, error)
        else:
            self._child.row[Field.CERTIFICATE_EXPIRY] = expiry
