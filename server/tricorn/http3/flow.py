"""What a connection keeps of one request: how far it has been read, and what is still owed."""

from __future__ import annotations

from enum import IntEnum

from tricorn.connection import Stream
from tricorn.waiters import Waiters

HIGH_WATER = 128 * 1024
"""Octets of a response that have not been sent before its application has to wait."""
MOST_UNHEARD = 768 * 1024
"""Octets of it that the peer has not acknowledged, sent or not."""


class Part(IntEnum):
    """Where the next frame of a request belongs (RFC9114§4.1)."""

    HEAD = 0
    CONTENT = 1
    END = 2  # the trailers have come: nothing may follow


class Flow:
    """One request stream's two directions."""

    __slots__ = (
        "beginning",
        "declared",
        "ended",
        "ending",
        "framed",
        "head",
        "heard",
        "invited",
        "left",
        "mark",
        "part",
        "partial",
        "received",
        "remaining",
        "silent",
        "skipping",
        "stalled",
        "stream",
        "waiters",
    )

    def __init__(self, now: float) -> None:
        self.stream: Stream | None = None
        """None until the head of the request has come."""

        # From the peer
        self.part = Part.HEAD
        self.partial = b""
        """The beginning of a frame that is read whole."""
        self.left = 0
        """Octets of the payload of a DATA frame, or of one to skip, that are still to come."""
        self.skipping = False
        self.head = 0
        """Octets of a large request head."""
        self.ended = False
        self.received = 0
        self.declared: int | None = None
        """Content-Length."""
        self.invited = True
        """The peer need not wait for 100 (Continue) any more."""
        self.beginning = self.heard = now
        """When something was first, and last, to be expected from the peer."""

        # To the peer
        self.framed = False
        """The response head has been sent."""
        self.remaining: int | None = None
        """Octets of content that a declared Content-Length still asks for."""
        self.silent = False
        """There is no content, whatever the application sends (RFC9110§6.4.1)."""
        self.ending = False
        self.stalled = now
        """When the peer last took something of what waits."""
        self.mark = 0
        """Octets that it had not taken then."""
        self.waiters: Waiters | None = None
