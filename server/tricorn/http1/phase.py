"""Where on an HTTP/1.1 connection the peer is."""

from __future__ import annotations

from enum import IntEnum


class Phase(IntEnum):
    """What the next octet from the peer is."""

    HEAD = 0  # of a request head
    BODY = 1  # of a request's body
    BUSY = 2  # of a later request, while one is being answered
    TUNNEL = 3  # of another protocol
    DISCARD = 4  # of no interest: our direction has ended, and we wait for the peer's end
    CLOSED = 5  # of no interest: what is buffered still leaves


# Compared on every request: plain names and plain integers.
HEAD, BODY, BUSY, TUNNEL, DISCARD, CLOSED = (int(phase) for phase in Phase)
