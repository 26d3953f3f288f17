"""The application that the admin child serves: what probes and collectors ask for."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from tricorn.connection import Field, Message, Scope
from tricorn.observe.exposition import Exposition
from tricorn.observe.health import Health, health
from tricorn.observe.statsd import Statsd
from tricorn_supervisor.scoreboard import Scoreboard

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PROBES: dict[str, Callable[[Health], str]] = {
    "/livez": Health.live,
    "/readyz": Health.unready,
    "/startupz": Health.unstarted,
}
"""What each has against the present state: a reason, which is a 503, or nothing."""
METRICS = "/metrics"


class Admin:
    """An ASGI application over the scoreboard of a fleet."""

    def __init__(
        self, board: Scoreboard, heartbeat_timeout: float, statsd: Statsd | None = None
    ) -> None:
        self.board = board
        self.exposition = Exposition(board)
        self.heartbeat_timeout = heartbeat_timeout
        self.statsd = statsd

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        path = scope["path"]
        if scope["method"] not in ("GET", "HEAD"):
            await _answer(
                send, 405, _TEXT, b"only GET is answered here\n", (b"allow", b"GET, HEAD")
            )
        elif (complaint := PROBES.get(path)) is not None:
            await self._probe(send, complaint)
        elif path == METRICS:
            await self._metrics(scope, send)
        else:
            names = ", ".join((*PROBES, METRICS))
            await _answer(send, 404, _TEXT, f"there is nothing here but {names}\n".encode())

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        if self.statsd is not None:
            self.statsd.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self.statsd is not None:
            self.statsd.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _probe(self, send: Send, complaint: Callable[[Health], str]) -> None:
        state = health(self.board, self.heartbeat_timeout)
        why = complaint(state)
        said = {"ok": not why, "why": why or "all is well"} | asdict(state)
        body = json.dumps(said).encode() + b"\n"
        await _answer(send, 503 if why else 200, b"application/json", body, _FRESH)

    async def _metrics(self, scope: Scope, send: Send) -> None:
        accepted = [value for name, value in scope["headers"] if name == b"accept"]
        try:
            page, kind = self.exposition.render(b",".join(accepted).decode("latin-1"))
        except TimeoutError as error:  # no sample is better than one that is wrong
            await _answer(send, 503, _TEXT, f"{error}\n".encode(), _FRESH)
            return
        await _answer(send, 200, kind.encode(), page, (b"vary", b"accept"))


_TEXT = b"text/plain; charset=utf-8"
_FRESH = (b"cache-control", b"no-store")


async def _answer(send: Send, status: int, kind: bytes, body: bytes, *fields: Field) -> None:
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *fields]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
