"""What a connection keeps of one stream: its windows, what waits in them, and what it still owes.

Most streams never have one: a request without content that is answered at once needs no more than
the windows that the connection's settings give. It is made when a stream's state first differs
from that.
"""

from __future__ import annotations

from collections import deque

from tricorn.connection import Field, Stream
from tricorn.waiters import Waiters

HIGH_WATER = 64 * 1024
"""Octets of a response that wait for the peer before its application has to."""
LOW_WATER = HIGH_WATER // 4
"""Octets below which the application goes on."""


class Flow:
    """One stream's two directions."""

    __slots__ = (
        "beginning",
        "blocked",
        "declared",
        "ended",
        "ending",
        "framed",
        "heard",
        "invited",
        "owed",
        "preference",
        "queue",
        "queued",
        "received",
        "remaining",
        "silent",
        "stalled",
        "stream",
        "trailers",
        "waiters",
        "window_in",
        "window_out",
    )

    def __init__(self, stream: Stream, window_in: int, window_out: int, now: float) -> None:
        self.stream = stream

        # From the peer
        self.ended = True
        """The peer has ended its direction; a stream with content is given False."""
        self.window_in = window_in
        """Octets that the peer may still send."""
        self.owed = 0
        """Octets that the application has taken and the peer has no credit for yet."""
        self.received = 0
        self.declared: int | None = None
        """Content-Length."""
        self.beginning = self.heard = now
        """When content was first, and last, to be expected from the peer."""
        self.blocked = 0.0
        """Seconds in which the peer could not send: they do not count for its rate."""
        self.invited = True
        """The peer need not wait for 100 (Continue) any more."""

        # To the peer
        self.window_out = window_out
        self.queue: deque[memoryview] | None = None
        self.queued = 0
        """Octets that wait."""
        self.framed = False
        """The response head has been sent."""
        self.remaining: int | None = None
        """Octets of content that a declared Content-Length still asks for."""
        self.silent = False
        """There is no content, whatever the application sends (RFC9110§6.4.1)."""
        self.ending = False
        """Nothing follows what waits."""
        self.trailers: list[Field] | None = None
        """What ends the response when the queue is empty."""
        self.preference: bytes | None = None
        """The Priority field of the response (RFC9218§8)."""
        self.stalled = now
        """When it last could send something."""
        self.waiters: Waiters | None = None

    def expect(self, declared: int | None) -> None:
        """Content follows, `declared` octets if that is known."""
        self.ended = False
        self.declared = declared
        self.invited = not self.stream.request.expects
