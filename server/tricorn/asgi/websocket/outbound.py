"""Messages → frames (RFC6455§5). An ordinary frame is put together here, the rest by wsproto."""

from __future__ import annotations

from struct import Struct

from wsproto.frame_protocol import FrameProtocol

from tricorn.asgi.websocket.deflate import Deflate

CLOSE, PING, PONG = 0x88, 0x89, 0x8A
DEFLATED = 64
"""Octets below which a message is not worth compressing."""
LONGEST_REASON = 123
"""Octets that a control frame has left for the reason of a close (RFC6455§5.5)."""

medium = Struct(">BBH").pack
large = Struct(">BBQ").pack


def frame(first: int, payload: bytes) -> bytes:
    """A frame that is not masked, as servers send them (RFC6455§5.1)."""
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 1 << 16:
        return medium(first, 126, size) + payload
    return large(first, 127, size) + payload


def close_frame(code: int, reason: str) -> bytes:
    text = reason.encode()[:LONGEST_REASON]
    # What was cut off may be a part of a character.
    text = text.decode("utf-8", "ignore").encode()
    return frame(CLOSE, code.to_bytes(2, "big") + text)


class Deflated:
    """Compresses messages, in the order in which they are sent."""

    __slots__ = ("protocol",)

    def __init__(self, deflate: Deflate) -> None:
        self.protocol = FrameProtocol(client=False, extensions=[deflate])

    def frame(self, data: str | bytes) -> bytes:
        return bytes(self.protocol.send_data(data))
