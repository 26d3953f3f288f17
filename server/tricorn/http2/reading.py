"""Octets from the peer on HTTP/2 → frames, in the order that RFC9113 allows.

Whole frames go to the methods that are named after them; a header block that comes in parts is put
together first. A StreamFault ends the stream of its frame, a ConnectionFault the connection.
"""

from __future__ import annotations

from abc import abstractmethod
from enum import IntEnum

from tricorn.connection import FOREVER, Context, Endpoints
from tricorn.http2 import frames
from tricorn.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEAD_SIZE,
    HEADERS,
    LARGEST_ID,
    PREFACE,
    PRIORITIZED,
    SETTINGS,
    Budgets,
    Code,
    ConnectionFault,
    StreamFault,
)
from tricorn.http2.shared import Shared
from tricorn.multiplexed import Multiplexed
from tricorn.priorities import Dependency
from tricorn.wire import Wire, WireConnection

MOST_CONTINUATIONS = 8
LARGEST_BLOCK = 64 * 1024
"""Octets of a header block, compressed: it is decoded without a pause."""
FREE = 1024 * 1024
"""Octets of frames that carry nothing which nobody minds; beyond them, seven in eight (nginx)."""
FUND = 64 * 1024
"""Octets of content or heads that pay for another thousand frames that only control."""
ORDINARY = (END_HEADERS, END_HEADERS | END_STREAM)
"""The flags of a HEADERS frame that is a whole block, and nothing else."""
REPEATED = END_HEADERS | END_STREAM


class Phase(IntEnum):
    """What the next octet from the peer is."""

    PREFACE = 0  # of the preface
    GREETING = 1  # of the SETTINGS that have to follow it
    OPEN = 2  # of any frame
    CLOSED = 3  # of no interest


# Compared for every frame: plain names and plain integers.
AWAITED, GREETING, OPEN, CLOSED = (int(phase) for phase in Phase)


class Block:
    """A header block that comes in several frames (RFC9113§6.10)."""

    __slots__ = ("count", "data", "deadline", "dependency", "ended", "id")

    def __init__(self, id: int, data: bytes, dependency: Dependency | None, ended: bool) -> None:
        self.id = id
        self.data = bytearray(data)
        self.dependency = dependency
        self.ended = ended
        self.count = 0
        self.deadline = FOREVER


class Reading(WireConnection, Multiplexed):
    """An HTTP/2 connection as far as it reads frames."""

    __slots__ = (
        "block",
        "budgets",
        "carried",
        "feeding",
        "funded",
        "partial",
        "phase",
        "shared",
        "total",
        "wanted",
    )

    def __init__(self, context: Context, wire: Wire, endpoints: Endpoints, shared: Shared) -> None:
        super().__init__(context, wire, endpoints)
        self.shared = shared
        self.phase = AWAITED
        self.feeding = False
        self.partial = bytearray()
        """The beginning of a frame, or of the preface."""
        self.wanted = len(PREFACE)
        """Octets that `partial` needs before it can be read."""
        self.block: Block | None = None
        self.budgets = Budgets(context.now)
        self.total = self.carried = 0
        """Octets that have arrived; those that were content or heads, in either direction."""
        self.funded = FUND
        """Octets to be carried until there is a new budget for frames that only control."""

    def feed(self, data: bytes) -> None:
        if self.phase == CLOSED:
            self._waste(data)
            return
        self.total += len(data)
        if self.partial:
            self.partial += data
            if len(self.partial) < self.wanted and self.phase:
                return  # a preface is looked at whenever there is more of it
            data = bytes(self.partial)
            self.partial.clear()
        self.feeding = True
        try:
            self._read(data)
            if self.total > 8 * (self.carried + FREE):
                raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "frames that carry nothing")
            self._start_streams()
            self.flush()
        except ConnectionFault as fault:
            self._fail(fault)
        finally:
            self.feeding = False

    def spend(self) -> None:
        """Counts a frame that only controls. Raises ConnectionFault when there were too many.

        Who moves content may send more of them: gRPC, for one, pings as often as that arrives.
        """
        control = self.budgets.control
        if not control.left and self.carried >= self.funded:
            self.funded = self.carried + FUND
            control.left = control.most
        control.spend(self.context.now)

    def _read(self, data: bytes) -> None:
        """Every whole frame in `data`; keeps what is left."""
        at, end = 0, len(data)
        if self.phase == AWAITED:
            at = self._read_preface(data)
        unpack = frames.head.unpack_from
        limit = self.shared.frame_size
        wanted = HEAD_SIZE if self.phase else len(PREFACE)
        while end - at >= HEAD_SIZE and self.phase:
            word, flags, id = unpack(data, at)
            length = word >> 8
            if length > limit:
                # RFC9113§4.2: before any of it is kept.
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"a frame of {length} octets")
            stop = at + HEAD_SIZE + length
            if stop > end:
                wanted = HEAD_SIZE + length
                break
            payload = data[at + HEAD_SIZE : stop]
            at = stop
            id &= LARGEST_ID  # RFC9113§4.1: the highest bit means nothing
            kind = word & 0xFF
            try:
                if self.phase != OPEN or self.block is not None:
                    self._take_expected(kind, flags, id, payload)
                elif kind == HEADERS and flags in ORDINARY:
                    self._take_block(id, payload, ended=flags == REPEATED)
                elif kind == DATA:
                    self._take_data(flags, id, payload)
                else:
                    self._take(kind, flags, id, payload)
            except StreamFault as fault:
                self._break(id, fault)
            if self.phase == CLOSED:
                return
        if at < end:
            self.partial += data[at:]
            self.wanted = wanted

    def _read_preface(self, data: bytes) -> int:
        """RFC9113§3.4. Returns where the frames begin."""
        if data[: len(PREFACE)] != PREFACE[: len(data)]:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "not the preface of HTTP/2")
        if len(data) < len(PREFACE):
            return 0
        self.phase = GREETING
        return len(PREFACE)

    def _take_expected(self, kind: int, flags: int, id: int, payload: bytes) -> None:
        """A frame where only one kind of frame may be."""
        block = self.block
        if self.phase == GREETING:
            if kind != SETTINGS or flags & frames.ACK:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "no SETTINGS behind the preface")
            self.phase = OPEN
            self._take_settings(flags, id, payload)
            if self.context.draining:
                self.drain()  # the others have been told before
        elif block is None or kind != CONTINUATION or id != block.id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a header block is interrupted")
        else:
            block.count += 1
            block.data += payload
            if block.count > MOST_CONTINUATIONS or len(block.data) > LARGEST_BLOCK:
                raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "a header block without end")
            if flags & END_HEADERS:
                self.block = None
                self._take_section(block)

    def _take(self, kind: int, flags: int, id: int, payload: bytes) -> None:
        match kind:
            case frames.HEADERS:
                self._take_headers(flags, id, payload)
            case frames.PRIORITY:
                self._take_priority(id, payload)
            case frames.RST_STREAM:
                self._take_reset(id, payload)
            case frames.SETTINGS:
                self._take_settings(flags, id, payload)
            case frames.PUSH_PROMISE:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "a client promises nothing")
            case frames.PING:
                self._take_ping(flags, id, payload)
            case frames.GOAWAY:
                self._take_goaway(id, payload)
            case frames.WINDOW_UPDATE:
                self._take_window_update(id, payload)
            case frames.CONTINUATION:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "CONTINUATION of nothing")
            case frames.PRIORITY_UPDATE:
                self._take_priority_update(id, payload)
            case _:  # RFC9113§5.5: unknown, so ignored
                self.spend()

    def _take_headers(self, flags: int, id: int, payload: bytes) -> None:
        """A HEADERS frame with something beside its block, or without the end of it."""
        payload = frames.unpadded(flags, payload)
        dependency = None
        if flags & PRIORITIZED:
            if len(payload) < frames.PRIORITY_SIZE:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a HEADERS frame that is cut off")
            dependency = frames.read_dependency(payload)
            payload = payload[frames.PRIORITY_SIZE :]
        block = Block(id, payload, dependency, bool(flags & END_STREAM))
        if flags & END_HEADERS:
            self._take_section(block)
        else:
            block.deadline = self.context.now + self.context.config.request_header_timeout
            self.block = block
            self._watch()

    def _take_section(self, block: Block) -> None:
        self._take_block(block.id, bytes(block.data), ended=block.ended)
        # Not before: whatever is wrong with a stream, its block has to be decoded (RFC9113§4.3).
        if block.dependency is not None and block.id in self.streams:
            self._take_dependency(block.id, block.dependency)

    # RFC9113§6, in its order; a block is what HEADERS and CONTINUATION bring together

    @abstractmethod
    def _take_data(self, flags: int, id: int, payload: bytes) -> None: ...

    @abstractmethod
    def _take_block(self, id: int, block: bytes, *, ended: bool) -> None: ...

    @abstractmethod
    def _take_priority(self, id: int, payload: bytes) -> None: ...

    @abstractmethod
    def _take_dependency(self, id: int, dependency: Dependency) -> None:
        """The priority in a HEADERS or PRIORITY frame."""

    @abstractmethod
    def _take_priority_update(self, id: int, payload: bytes) -> None: ...

    @abstractmethod
    def _take_reset(self, id: int, payload: bytes) -> None: ...

    @abstractmethod
    def _take_settings(self, flags: int, id: int, payload: bytes) -> None: ...

    @abstractmethod
    def _take_ping(self, flags: int, id: int, payload: bytes) -> None: ...

    @abstractmethod
    def _take_goaway(self, id: int, payload: bytes) -> None: ...

    @abstractmethod
    def _take_window_update(self, id: int, payload: bytes) -> None: ...

    # What follows from it

    @abstractmethod
    def _start_streams(self) -> None:
        """Everything that arrived together has been read."""

    @abstractmethod
    def flush(self) -> None:
        """Writes what this turn has produced."""

    @abstractmethod
    def _break(self, id: int, fault: StreamFault) -> None:
        """Resets a stream for the peer's fault."""

    @abstractmethod
    def _fail(self, fault: ConnectionFault) -> None:
        """Ends the connection for the peer's fault."""

    @abstractmethod
    def _watch(self) -> None:
        """There is something to look after, once a second."""

    @abstractmethod
    def _waste(self, data: bytes) -> None:
        """What arrives after the end."""
