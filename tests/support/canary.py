"""The standing canary: clients of every protocol that ask, and check what they get, beside a fault.

HTTP/1.1 over lasting and over new connections, HTTP/2, HTTP/3, WebSocket; short, slow, large
answers and uploads. Each request has a number that its answer repeats, with the process that gave
it and a digest of what was sent. Every request ends in one of four ways (`Outcome`); which worker
was asked is noted, so that what dies with a worker can be told from what must not.
"""

from __future__ import annotations

import asyncio
import enum
import hashlib
import itertools
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from tests.process.load import TIMEOUT, Driven
from tests.support.canary_connections import (
    RESET,
    Again,
    Connection,
    Http1,
    Http2,
    Http3,
    Lost,
    WebSocket,
)
from tests.support.certificates import Authority

PROTOCOLS: dict[str, type[Connection]] = {
    "HTTP/1.1": Http1,
    "HTTP/2": Http2,
    "HTTP/3": Http3,
    "WebSocket": WebSocket,
}
UPLOAD = 128 * 1024
DOWNLOAD = 256 * 1024
SLOW = 1.0
CROSSING = 0.05
"""Seconds in which the end of a connection may wait for the canary to take note of it."""
ACCEPTING = 0.25
"""Seconds in which a worker that stands still may have taken a last connection before it did."""
SHOWN = 5
OPEN_TIMEOUT = 5.0
AGAIN = 4
"""Attempts at one request, each after a server that has said that it may be asked again."""


class Outcome(enum.Enum):
    """What became of one attempt."""

    ANSWERED = "answered"
    AGAIN = "asked again"
    UNOPENED = "not let in"
    """There was no connection to ask on."""
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request, sent once."""

    protocol: str
    target: str
    began: float
    ended: float
    first_began: float
    """When the request was sent for the first time."""
    worker: int | None
    """Who was asked; None if nothing has ever been heard on the connection."""
    outcome: Outcome
    reason: str = ""

    @property
    def latency(self) -> float:
        """What the client has waited for, beyond what it has asked for."""
        _, kind, argument, *_ = self.target.split("/")
        asked_for = float(argument) if kind == "slow" else 0.0
        return self.ended - self.first_began - asked_for


@dataclass(frozen=True)
class Death:
    """Workers that a fault has stopped at one time, and that were dead at a later one."""

    workers: Collection[int]
    began: float
    ended: float

    def cut(self, attempt: Attempt) -> bool:
        """Whether a request went down with one of them: it had been sent there, or it was on a
        connection on which nobody had said a word yet, and which such a worker may have had.
        """
        if attempt.outcome is Outcome.ANSWERED:
            return False
        if attempt.worker is None:
            deaf = min(self.began + ACCEPTING, self.ended)
            return attempt.began < deaf and self.began < attempt.ended
        return attempt.worker in self.workers and attempt.began < self.ended + CROSSING


@dataclass
class Tally:
    """The attempts of one protocol, or of all."""

    answered: int = 0
    again: int = 0
    cut: int = 0
    """In flight on a worker when it was killed."""
    lost: int = 0
    worst: float = 0.0
    """Seconds, of an answer for which no killed worker was asked."""
    reasons: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return (
            f"{self.answered} answered, {self.again} asked again, {self.cut} cut with their worker,"
            f" {self.lost} lost, at most {self.worst * 1000:.0f} ms"
        )


@dataclass(frozen=True)
class Endpoint:
    """Ports of one server."""

    tcp: int
    quic: int


@dataclass(frozen=True)
class Plan:
    """One connection, and what is asked on it at once: pairs of a kind and a pause in seconds."""

    protocol: str
    asked: tuple[tuple[str, float], ...]
    lasting: bool = True


TRANSFERS = (("upload", 0.1), (f"download/{DOWNLOAD}", 0.1), (f"slow/{SLOW}", 0.0))
STANDING = (
    *[Plan("HTTP/1.1", (("short", 0.02),))] * 6,
    Plan("HTTP/1.1", (("short", 0.05),), lasting=False),
    *[Plan("HTTP/1.1", (each,)) for each in TRANSFERS],
    *[Plan("HTTP/2", (("short", 0.03),) * 3)] * 2,
    Plan("HTTP/2", TRANSFERS),
    *[Plan("HTTP/3", (("short", 0.04),) * 2)] * 2,
    Plan("HTTP/3", (("short", 0.1),), lasting=False),
    Plan("HTTP/3", TRANSFERS),
    *[Plan("WebSocket", (("echo", 0.03),))] * 4,
)
LONG = (("slow/3.0", 0.0),)
BUSY = (
    *STANDING,
    *[Plan("HTTP/1.1", LONG)] * 4,
    Plan("HTTP/2", LONG * 80),
    *[Plan("HTTP/3", LONG * 10)] * 2,
)
"""With much that is in flight for long."""


class Canary(Driven):
    """Asks from entering the `with` to leaving it; `attempts` are what it has seen."""

    def __init__(
        self, endpoints: list[Endpoint], authority: Authority, plans: Sequence[Plan] = STANDING
    ) -> None:
        """New connections go to each of the `endpoints` in turn; the list may change."""
        super().__init__(2 * len(plans))
        self.plans = plans
        self.attempts: list[Attempt] = []
        self.settled = 0.0
        """Since when the latencies count: all connections are made."""
        self.endpoints = endpoints
        # What a context offers by ALPN is its own, so there is one for each version.
        self.contexts = {kind: authority.client_context() for kind in PROTOCOLS.values()}
        for kind, context in self.contexts.items():
            context.set_alpn_protocols(["h2"] if kind is Http2 else ["http/1.1"])
        self._turns = itertools.count()
        self._goodbyes: set[asyncio.Task[None]] = set()

    def tally(self, deaths: Sequence[Death] = (), until: float = float("inf")) -> dict[str, Tally]:
        """By protocol. What is not let in counts as lost if it began before `until`: a server that
        ends may turn away who comes later.
        """
        tallies = {protocol: Tally() for protocol in PROTOCOLS}
        killed = {worker for death in deaths for worker in death.workers}
        cut = {id(each) for each in self.attempts if any(d.cut(each) for d in deaths)}
        touched = {each.target for each in self.attempts if id(each) in cut}
        for each in self.attempts:
            tally = tallies[each.protocol]
            match each.outcome:
                case Outcome.ANSWERED:
                    tally.answered += 1
                    if each.began < self.settled:
                        continue
                    if each.target not in touched and each.worker not in killed:
                        tally.worst = max(tally.worst, each.latency)
                    continue
                case Outcome.UNOPENED if each.began >= until:
                    continue
                case _ if id(each) in cut:
                    tally.cut += 1
                case Outcome.AGAIN if each.reason != RESET or each.worker in killed:
                    tally.again += 1
                case _:
                    tally.lost += 1
            tally.reasons[f"{each.outcome.value}: {each.reason}"] += 1
        return tallies

    def complaints(self, deaths: Sequence[Death] = (), until: float = float("inf")) -> list[str]:
        """The first requests that are lost."""
        lost = [
            each
            for each in self.attempts
            if each.outcome in (Outcome.LOST, Outcome.UNOPENED)
            and not any(death.cut(each) for death in deaths)
            and not (each.outcome is Outcome.UNOPENED and each.began >= until)
        ]
        return [
            f"{each.protocol} {each.target} of worker {each.worker} after "
            f"{each.ended - each.began:.3f} s: {each.reason}"
            for each in lost[:SHOWN]
        ]

    def _complaints(self) -> list[str]:
        return self.complaints()

    async def _all(self) -> None:
        clients = [Client(self, plan, name) for name, plan in enumerate(self.plans)]
        await asyncio.gather(
            *(
                client.ask(f"{kind}/{client.name}.{stream}", pause)
                for client in clients
                for stream, (kind, pause) in enumerate(client.plan.asked)
            )
        )
        for client in clients:
            client.leave()
        await asyncio.gather(*self._goodbyes)

    @property
    def ending(self) -> bool:
        return self._ending

    def next_endpoint(self) -> Endpoint:
        return self.endpoints[next(self._turns) % len(self.endpoints)]

    def part(self, connection: Connection) -> None:
        """Closes a connection, beside what else goes on."""
        goodbye = asyncio.ensure_future(connection.close())
        self._goodbyes.add(goodbye)
        goodbye.add_done_callback(self._goodbyes.discard)


class Client:
    """Has one connection at a time, which may be asked many things at once."""

    def __init__(self, canary: Canary, plan: Plan, name: int) -> None:
        self.canary, self.plan, self.name = canary, plan, name
        self._connection: Connection | None = None
        self._users: Counter[Connection] = Counter()
        self._opening = asyncio.Lock()

    async def ask(self, kind: str, pause: float) -> None:
        """Asks again and again, one request after the other."""
        for number in itertools.count(1):
            if self.canary.ending:
                return
            target = f"/{kind}/{number}"
            first_began = time.monotonic()
            for _ in range(AGAIN):
                attempt = await self._attempt(target, first_began)
                self.canary.attempts.append(attempt)
                if attempt.outcome is not Outcome.AGAIN:
                    break
            if attempt.outcome is Outcome.ANSWERED:
                self.canary.note()
            await asyncio.sleep(pause if attempt.outcome is Outcome.ANSWERED else 0.1)

    def leave(self) -> None:
        if self._connection is not None:
            self.canary.part(self._connection)
            self._connection = None

    async def _attempt(self, target: str, first_began: float) -> Attempt:
        began, worker = time.monotonic(), None
        outcome, reason = Outcome.ANSWERED, ""
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                connection = await self._open()
        except (OSError, TimeoutError) as error:
            outcome, reason = Outcome.UNOPENED, repr(error)
        else:
            self._users[connection] += 1
            worker = connection.worker
            content = (target * UPLOAD)[:UPLOAD].encode() if "/upload/" in target else None
            try:
                async with asyncio.timeout(TIMEOUT):
                    answer = await connection.ask(target, content)
                worker = connection.worker = check(target, content, *answer)
            except Again as error:
                outcome, reason = Outcome.AGAIN, str(error)
            except Lost as error:
                outcome, reason = Outcome.LOST, str(error)
            except TimeoutError:
                outcome, reason = Outcome.LOST, f"nothing came for {TIMEOUT:.0f} s"
            if outcome is not Outcome.ANSWERED or not self.plan.lasting:
                connection.open = False
            self._leave_behind(connection)
        ended = time.monotonic()
        return Attempt(
            self.plan.protocol, target, began, ended, first_began, worker, outcome, reason
        )

    async def _open(self) -> Connection:
        async with self._opening:
            if self._connection is None or not self._connection.open:
                endpoint = self.canary.next_endpoint()
                kind = PROTOCOLS[self.plan.protocol]
                port = endpoint.quic if kind is Http3 else endpoint.tcp
                self._connection = await kind.to(port, self.canary.contexts[kind])
            return self._connection

    def _leave_behind(self, connection: Connection) -> None:
        """What may not be asked any more is closed by the last who waits for an answer."""
        self._users[connection] -= 1
        if not self._users[connection] and not connection.open:
            del self._users[connection]
            self.canary.part(connection)
            if self._connection is connection:
                self._connection = None


def check(target: str, content: bytes | None, status: int, answer: bytes) -> int:
    """The process that has answered; Lost if it is not the answer to this."""
    line, _, given = answer.partition(b"\n")
    worker, said, digest = (*line.decode("utf-8", "replace").split(), "", "", "")[:3]
    subject = given if content is None else content
    if "/echo/" in target:
        subject = target.encode()
    elif "/download/" in target and len(given) != DOWNLOAD:
        raise Lost(f"{len(given)} octets of {DOWNLOAD}")
    if (status, said, digest) != (200, target, hashlib.sha256(subject).hexdigest()):
        raise Lost(f"{target} was answered with {status} {answer[:100]!r}")
    return int(worker)
