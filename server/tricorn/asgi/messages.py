"""What an application may put into its messages, where that is not plainly so."""

from __future__ import annotations

from tricorn.connection import ApplicationError


def octets(data: object) -> bytes:
    """Content that is not given as bytes; raises ApplicationError."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)  # a view may change before it has left
    raise ApplicationError(f"the content is bytes, not {type(data).__name__}")


def final_status(status: object) -> int:
    """A status that is no plain number from 200 to 599, but an HTTPStatus, perhaps.

    Raises ApplicationError.
    """
    if isinstance(status, int) and 200 <= status <= 599:
        return int(status)
    raise ApplicationError(f"{status!r} is not the status of a final response")
