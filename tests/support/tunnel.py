"""A stream for what comes after 101 (Switching Protocols): it sends back what it gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tricorn.connection import Connection, Field, Request, Stream


class Tunnel(Stream):
    """Accepts the upgrade and echoes, or refuses it with 403."""

    __slots__ = ("_accepts", "_consuming", "lost", "unconsumed")

    def __init__(
        self,
        connection: Connection,
        id: int,
        request: Request,
        *,
        accepts: bool = True,
        consuming: bool = True,
    ) -> None:
        super().__init__(connection, id, request)
        self._accepts = accepts
        self._consuming = consuming
        self.lost = False
        self.unconsumed = 0

    @staticmethod
    def accepting(connection: Connection, id: int, request: Request) -> Stream:
        return Tunnel(connection, id, request)

    @staticmethod
    def refusing(connection: Connection, id: int, request: Request) -> Stream:
        return Tunnel(connection, id, request, accepts=False)

    @staticmethod
    def noted_in(
        tunnels: list[Tunnel], *, consuming: bool = True
    ) -> Callable[[Connection, int, Request], Stream]:
        """Makes streams that a test can look at."""

        def make(connection: Connection, id: int, request: Request) -> Stream:
            tunnels.append(Tunnel(connection, id, request, consuming=consuming))
            return tunnels[-1]

        return make

    def consume(self) -> None:
        """Takes all that has come, and all that will come."""
        self._consuming = True
        size, self.unconsumed = self.unconsumed, 0
        self.connection.consumed(self.id, size)

    def feed_data(self, data: bytes) -> None:
        self.connection.send_data(self.id, data)
        self.unconsumed += len(data)
        if self._consuming:
            self.consume()

    def feed_end(self, trailers: Sequence[Field] = ()) -> None:
        self.connection.send_data(self.id, b"", end=True)

    def feed_reset(self, *, listening: bool = False, answered: int = 0) -> None:
        self.lost = True

    async def run(self) -> None:
        try:
            if self._accepts:
                self.connection.send_headers(self.id, 101, [])
            else:
                self.connection.send_headers(self.id, 403, [])
                self.connection.send_data(self.id, b"no", end=True)
        finally:
            self.context.running.discard(self)
