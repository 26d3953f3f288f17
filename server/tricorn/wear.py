"""Whether a worker has served long enough to be replaced: by requests, age or memory."""

from __future__ import annotations

from collections.abc import Callable

from tricorn.config import Config

LIFETIME_JITTER = 0.1
SAMPLES = 3
"""Seconds in a row; a peak that is over by then is no leak."""


class Wear:
    """`chance`, from 0 to 1, is this worker's own: siblings should not be worn together."""

    def __init__(self, config: Config, chance: float, now: float) -> None:
        self._most = config.max_requests and config.max_requests + round(
            chance * config.max_requests_jitter
        )
        self._lifetime = config.workers_lifetime * (1 + chance * LIFETIME_JITTER)
        self._memory = config.workers_max_rss
        self._born = now
        self._large = 0
        self._told = False

    def reason(self, now: float, requests: int, memory: Callable[[], int]) -> str:
        """Asked once a second; said once. `memory` tells the octets that the process has."""
        if self._told:
            return ""
        found = self._look(now, requests, memory)
        self._told = found != ""
        return found

    def _look(self, now: float, requests: int, memory: Callable[[], int]) -> str:
        if self._most and requests >= self._most:
            return f"{requests} requests"
        if self._lifetime and now - self._born >= self._lifetime:
            return f"{now - self._born:.0f} s old"
        if self._memory:
            size = memory()
            self._large = self._large + 1 if size > self._memory else 0
            if self._large == SAMPLES:
                return f"{size / 2**20:.1f} MiB of memory"
        return ""
