"""What connections with many streams at once have in common: those of HTTP/2 and HTTP/3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tricorn.connection import Connection, Gone, Stream
from tricorn.waiters import Waiters


class Waited(Protocol):
    """What a connection knows of a stream, as far as an application may wait for it."""

    waiters: Waiters | None


class Multiplexed(Connection):
    """One whose streams come and go by themselves."""

    __slots__ = ()

    flows: Mapping[int, Waited]
    orphans: set[Stream]
    """Streams that are gone although their applications go on."""

    async def writable(self, id: int) -> None:
        while (flow := self.flows.get(id)) is not None and id in self.streams and not self.room(id):
            if flow.waiters is None:
                flow.waiters = Waiters()
            await flow.waiters.wait(self.context.loop)
        if id not in self.streams:
            raise Gone("the client has gone")

    def outlived(self, stream: Stream) -> None:
        """The stream is gone; while its application goes on it counts as an open one."""
        if stream.task is not None and not stream.task.done():
            self.orphans.add(stream)
            stream.task.add_done_callback(lambda _: self.orphans.discard(stream))
