"""The contract between a client connection and its streams; read this first.

A `Connection` (one per client connection) speaks a protocol. A `Stream` (in asgi) is one request
with its response. Between them there are plain calls: `feed_*` comes from the peer,
`send_*` goes to the peer. Nothing on the way in awaits; the way out awaits only `writable`.
A stream is looked up with `self.streams.get(id)`: late events are normal, not errors.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tricorn.filecopy import copy_file
from tricorn.leaving import Leaving, notice

if TYPE_CHECKING:
    from tricorn.config import Config
    from tricorn.fields import Defaults
    from tricorn.observe.accesslog import AccessLog
    from tricorn.observe.stats import Stats
    from tricorn.priorities import Priority

Field = tuple[bytes, bytes]
Fields = Iterable[Sequence[bytes]]
Scope = dict[str, Any]
Message = MutableMapping[str, Any]
Application = Callable[
    [Scope, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]

FOREVER = float("inf")
"""The deadline of what waits for nobody but the application."""

BODY_GRACE = 10.0
"""Seconds before a minimum rate is asked of a body."""

LOOK = 1.0
"""Seconds between two looks at what has deadlines of its own, such as a tunnel."""

LINGER = 256 * 1024
"""Octets that a peer may send after our last answer, which it would not get if we just closed."""
LINGER_TIMEOUT = 5.0  # nginx lingering_timeout 5 s

DRAIN_GRACE = 1.0
"""Seconds in which a draining server still expects requests that are on their way."""

log = logging.getLogger(__name__)


class Refused(Exception):
    """The peer's fault, and HTTP can say so."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Broken(Exception):
    """The peer's fault, and it can no longer be told: its stream or its connection is reset."""


class ApplicationError(Exception):
    """The application broke ASGI: it is told by this exception, the client by a 500 or a reset."""


class Gone(ConnectionError):
    """What `send` raises once the client is gone (an OSError, as ASGI asks)."""


@dataclass(slots=True)
class Request:
    """One request head, the same for every version. It may be remembered: nobody changes it."""

    version: str
    method: str
    target: bytes
    authority: bytes
    path: str
    raw_path: bytes
    query: bytes
    headers: tuple[Field, ...]
    length: int | None = 0
    """The declared size of the body in octets; None where it is not known before its end."""
    persistent: bool = True
    """Whether the connection may carry another request after this one."""
    protocol: str | None = None
    """What the request asks to become: Upgrade on HTTP/1.1, :protocol on HTTP/2 and HTTP/3."""
    expects: bool = False
    """Expect: 100-continue (RFC9110§10.1.1)."""
    accepts_trailers: bool = False
    """TE: trailers (RFC9110§6.5.1)."""
    priority: Priority | None = None
    """How urgent the peer says the response is (RFC9218§4); None where it cannot or does not."""
    remembered: bool = False
    """The same object will be used for other requests with the same head."""
    scope: Scope | None = None
    """What asgi.scope made of a remembered request."""


@dataclass(slots=True)
class Endpoints:
    """The two ends of one client connection, as the ASGI scope shows them."""

    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    scheme: str
    extensions: dict[str, dict[str, Any]] = field(default_factory=dict)


Forwarding = Callable[[Request, Endpoints], tuple[Request, Endpoints]]
"""Puts the client that a trusted proxy names in the place of the proxy."""


@dataclass(slots=True)
class Context:
    """What all connections of one worker share."""

    application: Application
    config: Config
    loop: asyncio.AbstractEventLoop
    streams: dict[str | None, Callable[[Connection, int, Request], Stream]]
    """Which stream serves a request, by its protocol; None is plain HTTP."""
    defaults: Defaults
    stats: Stats
    worker: int
    accesslog: AccessLog | None = None
    state: dict[str, Any] = field(default_factory=dict)
    variables: contextvars.Context = field(default_factory=contextvars.copy_context)
    """The lifespan's context variables; each request runs in a copy."""
    now: float = 0.0
    """Monotonic seconds, as of the last sweep: good enough for a deadline, free to read."""
    draining: bool = False
    leaving: Leaving = field(default_factory=Leaving)
    forwarding: Forwarding | None = None
    """None where no proxy is trusted."""
    shutdown: Mapping[str, asyncio.Event] = field(default_factory=notice)
    """The scope extension `tricorn.shutdown`, shared by all requests; its event is ours to set."""
    connections: set[Connection] = field(default_factory=set)
    running: set[Stream] = field(default_factory=set)
    """Streams whose application has not returned yet."""

    def refused(self, endpoints: Endpoints, status: int, version: str) -> None:
        """Counts, and logs, a request that no application has seen."""
        self.stats.versions[version].responses[status // 100] += 1
        if self.accesslog is not None:
            self.accesslog.refused(endpoints, status, self.worker)


class Stream(ABC):
    """One request and what answers it. `feed_*` never await and never raise."""

    __slots__ = ("connection", "context", "endpoints", "id", "request", "task")

    def __init__(self, connection: Connection, id: int, request: Request) -> None:
        self.connection = connection
        self.context = connection.context
        self.endpoints = connection.endpoints
        self.id = id
        self.request = request
        self.task: asyncio.Task[None] | None = None

    @property
    def target(self) -> str:
        """For the log: as it came, because a decoded path may have line breaks in it."""
        return self.request.target.decode("latin-1")

    @abstractmethod
    def feed_data(self, data: bytes) -> None:
        """A part of the body, or of a tunnel: even of one that has ended our direction."""

    @abstractmethod
    def feed_end(self, trailers: Sequence[Field] = ()) -> None:
        """The peer has sent everything."""

    @abstractmethod
    def feed_reset(self, *, listening: bool = False, answered: int = 0) -> None:
        """The peer will send no more; only if `listening` may it still read the answer.

        `answered` is the status that the connection has sent in the application's place.
        """

    def watch(self, now: float) -> float:
        """Looks after its deadlines, if it is a tunnel; when to look again (monotonic seconds)."""
        return FOREVER

    def drain(self) -> None:  # noqa: B027
        """The worker is leaving: a tunnel has to end."""

    @abstractmethod
    async def run(self) -> None:
        """Calls the application; returns when it has, and never raises what it raised."""


class Connection(ABC):
    """One client connection. The streams call `send_*`, the transport calls `eof`."""

    __slots__ = ("__weakref__", "context", "deadline", "endpoints", "streams")

    def __init__(self, context: Context, endpoints: Endpoints) -> None:
        self.context = context
        self.endpoints = endpoints
        self.streams: dict[int, Stream] = {}
        self.deadline = FOREVER

    def open(self, id: int, request: Request) -> Stream:
        """Makes the stream for a request and registers it; `start` follows in the same turn."""
        streams = self.context.streams
        serve = streams[None]
        if request.protocol is not None:
            serve = streams.get(request.protocol, serve)
        if (look := self.context.forwarding) is None:
            self.streams[id] = stream = serve(self, id, request)
        else:
            request, endpoints = look(request, self.endpoints)
            self.streams[id] = stream = serve(self, id, request)
            stream.endpoints = endpoints
        return stream

    def start(self, stream: Stream) -> None:
        """Starts the stream's task, when what has already arrived has been fed to it."""
        # The name, because asyncio would format one for each request.
        context = self.context
        stream.task = asyncio.Task(
            stream.run(), loop=context.loop, context=context.variables.copy(), name="request"
        )
        context.running.add(stream)

    if sys.version_info >= (3, 12):

        def start(self, stream: Stream) -> None:
            # An application that answers without waiting never goes through the loop's queue.
            context = self.context
            stream.task = task = asyncio.Task(
                stream.run(),
                loop=context.loop,
                context=context.variables.copy(),
                eager_start=True,
            )
            if not task.done():
                context.running.add(stream)

    def eof(self, *, listening: bool = False) -> None:
        """The peer sends no more: every open stream hears of it, once."""
        for stream in list(self.streams.values()):
            stream.feed_reset(listening=listening)
        if not listening:
            self.streams.clear()

    @property
    def idle(self) -> bool:
        """Nothing is lost if this connection is closed now."""
        return not self.streams

    @abstractmethod
    def abort(self) -> None:
        """Ends it at once, with what is open on it."""

    @abstractmethod
    def late(self, now: float) -> None:
        """The deadline has passed."""

    @abstractmethod
    def send_informational(self, id: int, status: int, headers: Fields) -> None:
        """An interim response (RFC9110§15.2); left out where the peer could not understand it."""

    @abstractmethod
    def send_headers(self, id: int, status: int, headers: Fields, *, end: bool = False) -> None:
        """The response head. Raises ApplicationError for a field that HTTP cannot carry."""

    @abstractmethod
    def send_data(self, id: int, data: bytes, *, end: bool = False) -> None:
        """A part of the response body; after it ask `room`, and await `writable` if there is none.

        Raises ApplicationError where it contradicts the declared Content-Length.
        """

    def send_push(self, id: int, path: str, headers: Fields) -> None:  # noqa: B027
        """Promises a response that was not asked for, where the peer takes it (RFC9113§8.4)."""

    def respond(self, id: int, status: int, headers: Fields, data: bytes) -> None:
        """A whole response: what `send_headers` and `send_data` would send, at once."""
        self.send_headers(id, status, headers)
        self.send_data(id, data, end=True)

    @abstractmethod
    def send_trailers(self, id: int, headers: Fields) -> None:
        """The trailer section, which ends the response; dropped where it cannot be delivered."""

    @abstractmethod
    def send_reset(self, id: int, reason: str) -> None:
        """Gives the response up so that the peer cannot take it for complete."""

    def hang_up(self, id: int) -> None:  # noqa: B027
        """The peer of a tunnel that has ended says no more either: there is nothing to wait for."""

    @abstractmethod
    def consumed(self, id: int, size: int) -> None:
        """The application has taken `size` octets: the peer may send as many more."""

    @abstractmethod
    def room(self, id: int) -> bool:
        """Whether there is room towards the peer, that is, `writable` would not wait."""

    @abstractmethod
    async def writable(self, id: int) -> None:
        """Waits until there is room towards the peer."""

    def relieve(self) -> None:  # noqa: B027
        """The transport has room again."""

    @abstractmethod
    def drain(self) -> None:
        """No new streams; finish the open ones; then close."""

    async def send_file(self, id: int, file: int, offset: int, count: int) -> None:
        """Sends `count` octets of an open file as body data; raises OSError if it is shorter."""
        await copy_file(self, id, file, offset, count)
