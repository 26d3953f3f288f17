"""Why a WebSocket closes (RFC6455§7.4)."""

from __future__ import annotations

NORMAL, PROTOCOL_ERROR, NO_STATUS, ABNORMAL = 1000, 1002, 1005, 1006
INVALID_DATA, POLICY, TOO_BIG, INTERNAL_ERROR = 1007, 1008, 1009, 1011


class Failed(Exception):
    """The client has broken the protocol: the connection is closed with `code` (RFC6455§7.1.7)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
