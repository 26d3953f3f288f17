"""What a client still says to a server that has ended its direction (RFC6455§7.1.7).

Nothing of it means anything but its close: after that there is nothing left to wait for, and a
client that has sent one waits for the end of the connection.
"""

from __future__ import annotations

CLOSE, MASKED = 0x88, 0x80
EXTENDED = {126: 2, 127: 8}
"""Octets of a size that has octets of its own, by what is written in its place."""


class Farewell:
    """Skips frames, whatever is in them: even the one that was wrong."""

    __slots__ = ("data", "skipped")

    def __init__(self) -> None:
        self.data = b""
        """The beginning of a frame."""
        self.skipped = 0
        """Octets yet to come of the one in progress."""

    def closes(self, data: bytes | bytearray) -> bool:
        """Whether the client's close is whole with `data`."""
        data = self.data + data
        at = self.skipped
        while at + 2 <= len(data):
            size = data[at + 1] & ~MASKED
            payload = at + 2 + EXTENDED.get(size, 0)
            if payload > len(data):
                break
            if size in EXTENDED:
                size = int.from_bytes(data[at + 2 : payload], "big")
            end = payload + (4 if data[at + 1] & MASKED else 0) + size
            if data[at] == CLOSE and size < 126:
                if end <= len(data):
                    return True
                break
            at = end
        self.data = bytes(data[at:])
        self.skipped = max(0, at - len(data))
        return False
