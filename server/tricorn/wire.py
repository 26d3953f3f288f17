"""What connections have in common that speak over octets in their order: all but those of QUIC."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol

from tricorn.connection import Broken, Connection, Context, Endpoints, Request


class Wire(Protocol):
    """The transport as a byte protocol sees it. After `close` or `abort` a write is ignored."""

    full: bool
    """True while more is buffered towards the peer than should be: `drain` would wait."""

    @property
    def closing(self) -> bool:
        """Nothing can be sent any more, though the loss is not known yet: `drain` would wait."""
        ...

    write: Callable[[bytes], object]
    """Takes octets; ignores them once the connection is lost."""

    def writelines(self, parts: Sequence[bytes | memoryview]) -> None: ...

    def buffered(self) -> int:
        """Octets written that the kernel has not taken yet."""
        ...

    def close(self) -> None:
        """Sends what is buffered, then closes."""
        ...

    def abort(self) -> None:
        """Closes at once; what is buffered is lost, and the peer sees a reset."""
        ...

    def shutdown(self) -> None:
        """Ends our direction where the transport can; the peer may still send."""
        ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def divert(self, feed: Callable[[bytes], None]) -> None:
        """What arrives goes there from now on."""
        ...

    def switch(self, version: str) -> WireConnection:
        """The connection that speaks another version from here on, in place of the present one."""
        ...

    async def drain(self) -> None:
        """Waits until there is room to write; raises Gone when the connection is lost."""
        ...

    async def sendfile(self, file: int, offset: int, count: int) -> bool:
        """Sends a part of a file without copying it; False where the transport cannot."""
        ...


class WireConnection(Connection):
    """One on a transport of octets."""

    __slots__ = ("wire",)

    def __init__(self, context: Context, wire: Wire, endpoints: Endpoints) -> None:
        super().__init__(context, endpoints)
        self.wire = wire

    def abort(self) -> None:
        self.wire.abort()

    @abstractmethod
    def feed(self, data: bytes) -> None:
        """Octets from the peer."""

    def adopt(self, request: Request, settings: bytes) -> None:
        """Answers, as its first, a request that came in another version (RFC7540§3.2).

        `settings` are those of the peer, as in a SETTINGS frame. Raises Broken if they are none.
        """
        raise Broken("nothing upgrades to this version")
