"""Counters of one worker: plain integers on the way of a request, published once a second."""

from __future__ import annotations


class Stats:
    """What this worker has done since it started."""

    __slots__ = ("aborted", "accepted", "responses")

    def __init__(self) -> None:
        self.accepted = 0
        self.responses = [0] * 6
        """By status class; at 0 those that ended before they had a status."""
        self.aborted = 0
