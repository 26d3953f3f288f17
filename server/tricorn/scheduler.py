"""Which stream writes next (RFC9218)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Priority:
    """How urgent a response is, 0 first, and whether it is of use in parts (RFC9218§4)."""

    urgency: int = 3
    incremental: bool = False


def parse_priority(value: bytes) -> Priority:
    return Priority()
