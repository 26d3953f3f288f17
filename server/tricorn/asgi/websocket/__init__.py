"""WebSocket over every version of HTTP: RFC 6455 on one side, ASGI on the other.

Read `stream` first. `handshake` judges the opening, `inbound` takes frames apart, `outbound` puts
them together; `deflate` is the one extension that is spoken (RFC 7692), `codes` why it ends
and `farewell` what is said after that.
"""

from tricorn.asgi.websocket.stream import WebSocket

__all__ = ["WebSocket"]
