"""Sends a file by reading it, where the kernel cannot send it by itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tricorn.connection import Connection

FILE_PART = 256 * 1024
"""Bytes of a file in memory at once."""


async def copy_file(connection: Connection, id: int, file: int, offset: int, count: int) -> None:
    """As `Connection.send_file`, for transports that have to transform what they send."""
    while count:
        # A disk may block: read in a thread, as the loop has other connections to serve.
        part = await connection.context.loop.run_in_executor(
            None, os.pread, file, min(count, FILE_PART), offset
        )
        if not part:
            raise OSError(f"the file ended {count} octets early")
        offset += len(part)
        count -= len(part)
        connection.send_data(id, part)
        if not connection.room(id):
            await connection.writable(id)
