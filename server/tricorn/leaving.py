"""How a worker that drains takes leave of WebSockets, and tells its application."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Leaving:
    """Of WebSockets."""

    code: int = 1001
    """1001 (Going Away), or 1012 (Service Restart) when others go on serving (RFC6455§7.4)."""
    seconds: float = 0.0
    """The time over which it is spread."""


def notice() -> Mapping[str, asyncio.Event]:
    """What an application finds in a scope: `event` is set when its worker begins to drain.

    Read-only, because all scopes share it.
    """
    return MappingProxyType({"event": asyncio.Event()})
