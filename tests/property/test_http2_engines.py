"""Two engines of HTTP/2, the same frames: applications see the same, and so does the client.

The frames are mostly those of a client that knows what it does: they share one table of fields,
come alone or together, and begin, go on with, end and give up streams. Some are wrong.

What may differ, because the reference is documented to be plainer or because RFC 9113 leaves it to
the server, is not asked for, or not looked at:

* which code an error of the connection has, and which stream its GOAWAY calls the last one;
* whether a frame of a stream that both sides have closed is ignored, an error of the stream or one
  of the connection (RFC9113§5.1 allows each, by how long ago it was);
* whether a stream that has been reset is reset again for a frame that comes after;
* how much of an answer had left when the client gave its stream up;
* whether an answer to HEAD says how long the content is that it does not have;
* whether the rest of a request is waived when it comes together with its refusal;
* whether a stream beyond the last one is refused, or ignored;
* whether a request that was refused or reset counts as open for what comes together with it;
* RST_STREAM of an idle stream, and malformed PRIORITY_UPDATE, which hyper-h2 ignores;
* a frame of nothing but padding, which hyperframe takes for padding that is too long;
* the content of a refusal of a head that is too large: our engine does not know its method;
* floods and deadlines, where the reference keeps fewer budgets; and pushes, which it does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpack import Encoder
from hyperframe.frame import RstStreamFrame
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support import apps, frames
from tests.support.h2peer import H2Peer
from tests.support.versions import ENGINES
from tricorn.config import Config
from tricorn.connection import Field, Message

FEW = settings(
    max_examples=300,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    report_multiple_bugs=False,
)

MOST_SETTINGS = 6  # more of them are a flood
CONFIG = Config(h2_max_concurrent_streams=4, max_request_body_size=500)


class Application:
    """Answers by path, and notes what it was given."""

    def __init__(self) -> None:
        self.calls: list[apps.Call] = []

    async def __call__(self, scope: Any, receive: apps.Receive, send: apps.Send) -> None:
        call = apps.Call(scope)
        self.calls.append(call)
        name = scope["path"].strip("/")
        if name == "early":
            await send(apps.start(200, (b"content-length", b"5")))
            await send(apps.body(b"early"))
        if name == "hint":
            hint = {"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]}
            await send(hint)
        await self._read(call, receive)
        if not call.disconnected and name != "early":
            await self._answer(name, call, send)
        while not call.disconnected:
            self._note(call, await receive())

    async def _read(self, call: apps.Call, receive: apps.Receive) -> None:
        while not call.ended and not call.disconnected:
            self._note(call, await receive())

    def _note(self, call: apps.Call, message: Message) -> None:
        if message["type"] == "http.disconnect":
            call.disconnected = True
        else:
            call.body += message["body"]
            call.ended = not message["more_body"]
            call.trailers = list(message.get("trailers", ()))

    async def _answer(self, name: str, call: apps.Call, send: apps.Send) -> None:
        if name == "nothing":
            await send(apps.start(204))
            await send(apps.body())
        elif name == "parts":
            await send(apps.start(200, (b"x-a", b"1"), trailers=True))
            for size in (1, 0, 20_000, 50_000):
                await send(apps.body(b"x" * size, more=True))
            await send(apps.body(call.body))
            await send(apps.trailers((b"x-size", b"%d" % len(call.body))))
        else:
            await send(apps.start(201 if name else 200, (b"x-name", name.encode())))
            await send(apps.body(call.body + b"!"))


# What a client says

PATHS = st.sampled_from(
    [b"/", b"/echo?a=b", b"/early", b"/hint", b"/nothing", b"/parts", b"/%C3%A4"]
)
METHODS = st.sampled_from([b"GET", b"GET", b"POST", b"POST", b"PUT", b"HEAD", b"OPTIONS"])
FIELDS: Sequence[Sequence[Field]] = [
    [(b"user-agent", b"tests"), (b"accept", b"*/*")],
    [(b"cookie", b"a=1"), (b"x-a", b"1"), (b"cookie", b"b=2")],
    [(b"te", b"trailers"), (b"priority", b"u=1, i")],
    [(b"x-long", b"v" * 300)],
    [(b"expect", b"100-continue")],
    [(b"content-length", b"5")],
    [(b"content-length", b"0")],
    [(b"host", b"x")],
]
MALFORMED: Sequence[Sequence[Field]] = [
    [(b"X-Upper", b"1")],
    [(b"connection", b"close")],
    [(b"te", b"gzip")],
    [(b"x-a", b" spaced ")],
    [(b"x-a", b"1\n2")],
    [(b":path", b"/twice")],
    [(b":status", b"200")],
    [(b":unknown", b"1")],
    [(b"content-length", b"x")],
    [(b"content-length", b"1"), (b"content-length", b"2")],
    [(b"host", b"another")],
    [(b":protocol", b"x")],
]
REFUSED: Sequence[Sequence[Field]] = [
    [*frames.POST, (b"expect", b"magic")],
    [*frames.POST, *[(b"x-many", b"1")] * 101],
    [*frames.POST[:2], frames.POST[3]],
    [(b":method", b"CONNECT"), (b":authority", b"x:1")],
]
"""What is answered, if not by the application."""
TRAILERS: Sequence[Sequence[Field]] = [
    [(b"x-sum", b"1")],
    [(b"x-sum", b"1"), (b"x-other", b"2")],
    [],
    [(b":path", b"/")],
    [(b"X-Sum", b"1")],
    [(b"content-length", b"5")],
    [(b"transfer-encoding", b"chunked")],
]
WRONG = [
    *([*frames.POST, *fields] for fields in MALFORMED),
    *([*frames.POST[:which], *frames.POST[which + 1 :]] for which in (0, 1, 3)),
    *REFUSED,
]
PADDING = st.none() | st.integers(0, 255)
DEPENDENCIES = st.none() | st.tuples(st.integers(0, 40), st.integers(1, 256), st.booleans())
CONTENT = st.sampled_from([b"", b"abc", b"12345", b"x" * 150, b"y" * 600])
SETTINGS: Sequence[dict[int, int]] = [
    {},
    {frames.INITIAL_WINDOW_SIZE: 1000},
    {frames.INITIAL_WINDOW_SIZE: 2**31 - 1},
    {frames.HEADER_TABLE_SIZE: 0},
    {frames.HEADER_TABLE_SIZE: 100_000, frames.MAX_FRAME_SIZE: 20_000},
    {frames.NO_RFC7540_PRIORITIES: 1, 0xFF: 3},
    {frames.ENABLE_PUSH: 0, frames.MAX_CONCURRENT_STREAMS: 0},
]
FAULTS: Sequence[bytes] = [
    frames.data(0, b"x"),
    frames.headers(0),
    frames.headers(2),
    frames.continuation(99),
    frames.rst(0),
    frames.frame(frames.RST_STREAM, b"123", stream=1),
    frames.settings({frames.ENABLE_PUSH: 2}),
    frames.settings({frames.INITIAL_WINDOW_SIZE: 2**31}),
    frames.settings({frames.MAX_FRAME_SIZE: 100}),
    frames.settings({}, stream=1),
    frames.frame(frames.SETTINGS, b"12345"),
    frames.frame(frames.SETTINGS, b"123456", flags=frames.ACK),
    frames.frame(frames.PING, b"123"),
    frames.ping(stream=1),
    frames.window_update(0, 0),
    frames.window_update(0, 2**31 - 1),
    frames.window_update(99, 1),
    frames.data(99, b"x"),
    frames.frame(frames.PUSH_PROMISE, bytes(10), flags=frames.END_HEADERS, stream=1),
    frames.frame(frames.GOAWAY, b"123"),
    frames.frame(frames.DATA, bytes(16_385), stream=1),
    frames.frame(frames.DATA, b"\x05abc", flags=frames.PADDED, stream=99),
    frames.headers(99, b"\xff\xff\xff\xff\xff\xff\xff"),
    frames.headers(99, b"\x80"),
    frames.priority(0),
    frames.headers(99, whole=False) + frames.ping(),
    frames.headers(99, whole=False) + frames.continuation(97),
]
"""Faults of the connection, whatever streams there are below 99."""


class Engines(RuleBasedStateMachine):
    """What is said is collected, and delivered to both at once."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.apps = [Application() for _ in ENGINES]
        self.peers = [
            H2Peer(app, CONFIG, engine=engine)
            for app, engine in zip(self.apps, ENGINES, strict=True)
        ]
        self.pending = b""
        self.open: list[int] = []
        """Streams that the client may send more on, as far as it knows."""
        self.abandoned: set[int] = set()
        self.next = 1
        self.ending = False
        """What is pending may end a stream before its application has run."""
        self.settings = 0
        self.over = False
        self.agreed = True

    # What the client says

    @rule(
        method=METHODS,
        path=PATHS,
        extra=st.lists(st.sampled_from(FIELDS), max_size=2),
        end=st.booleans(),
        padding=PADDING,
        dependency=DEPENDENCIES,
        cut=st.none() | st.integers(1, 30),
    )
    def begin(
        self,
        method: bytes,
        path: bytes,
        extra: list[Sequence[Field]],
        end: bool,
        padding: int | None,
        dependency: tuple[int, int, bool] | None,
        cut: int | None,
    ) -> None:
        head = [
            (b":method", method),
            (b":scheme", b"http"),
            (b":authority", b"x"),
            (b":path", path),
        ]
        block = self.block([*head, *(field for fields in extra for field in fields)])
        id = self.opened(method, end=end)
        if dependency is not None and dependency[0] == id:
            dependency = None
        known = {"end": end, "padding": padding, "priority": dependency}
        if cut is None:
            self.pending += frames.headers(id, block, **known)
        else:
            self.pending += frames.headers(id, block[:cut], whole=False, **known)
            self.pending += frames.continuation(id, block[cut:])

    @rule(
        path=PATHS,
        parts=st.lists(CONTENT, max_size=4),
        trailers=st.none() | st.sampled_from(TRAILERS[:2]),
    )
    def upload(self, path: bytes, parts: list[bytes], trailers: Sequence[Field] | None) -> None:
        """A whole request, and nothing wrong with it but perhaps its size."""
        head = [*frames.POST[:3], (b":path", path)]
        id = self.opened(b"POST", end=True)
        self.pending += frames.headers(id, self.block(head), end=False)
        for number, part in enumerate(parts):
            last = trailers is None and number == len(parts) - 1
            self.pending += frames.data(id, part, end=last)
        if trailers is not None or not parts:
            self.pending += frames.headers(id, self.block(trailers or [(b"x-sum", b"1")]))
        self.ending = True

    @rule(fields=st.sampled_from(WRONG), end=st.booleans())
    def begin_wrongly(self, fields: Sequence[Field], end: bool) -> None:
        block = self.block(fields)
        id = self.opened(b"POST", end=end)
        self.pending += frames.headers(id, block, end=end)
        self.ending = True

    @precondition(lambda self: self.open)
    @rule(data=st.data(), content=CONTENT, end=st.booleans(), padding=PADDING)
    def go_on(self, data: st.DataObject, content: bytes, end: bool, padding: int | None) -> None:
        id = data.draw(st.sampled_from(self.open))
        self.pending += frames.data(id, content, end=end, padding=padding)
        if end:
            self.open.remove(id)
        self.ending = True

    @precondition(lambda self: self.open)
    @rule(
        data=st.data(), fields=st.sampled_from(TRAILERS), end=st.sampled_from([True] * 5 + [False])
    )
    def end_with_trailers(self, data: st.DataObject, fields: Sequence[Field], end: bool) -> None:
        id = data.draw(st.sampled_from(self.open))
        self.pending += frames.headers(id, self.block(fields), end=end)
        self.open.remove(id)
        self.ending = True

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(self.open))
        self.pending += frames.rst(id)
        self.open.remove(id)
        self.abandoned.add(id)
        self.ending = True

    @rule(values=st.sampled_from(SETTINGS))
    @precondition(lambda self: self.settings < MOST_SETTINGS)
    def settle(self, values: dict[int, int]) -> None:
        self.pending += frames.settings(values)
        self.settings += 1

    @rule(
        frame=st.one_of(
            st.builds(frames.ping, st.binary(min_size=8, max_size=8)),
            st.builds(frames.priority_update, st.integers(1, 40), st.sampled_from([b"u=0", b"?"])),
            st.builds(frames.frame, st.integers(20, 30), CONTENT, stream=st.integers(0, 9)),
            st.builds(frames.window_update, st.just(0), st.integers(1, 1000)),
        )
    )
    def say(self, frame: bytes) -> None:
        """Something that changes nothing, or nothing that shows."""
        self.pending += frame

    @rule(fault=st.sampled_from(FAULTS))
    @precondition(lambda self: self.next > 15)
    def break_off(self, fault: bytes) -> None:
        self.deliver()
        if not self.over:
            self.pending = fault
            self.deliver()
            assert all(peer.goaway for peer in self.peers), "not an error to both"

    @rule()
    @precondition(lambda self: self.next > 15)
    def drain(self) -> None:
        self.deliver()
        for peer in self.peers:
            peer.drain()
        self.compare()

    # What comes of it

    @rule()
    @precondition(lambda self: self.pending)
    def deliver(self) -> None:
        for peer in self.peers:
            if not self.over:
                peer.send(self.pending)
        self.pending = b""
        self.ending = False
        self.compare()

    def compare(self) -> None:
        ours, theirs = (self.seen(*each) for each in zip(self.peers, self.apps, strict=True))
        self.agreed = ours == theirs
        assert ours == theirs, "\n".join(
            f"{key}\n  ours: {ours[key]}\n  h2's: {theirs[key]}"
            for key in ours
            if ours[key] != theirs[key]
        )
        self.over = self.over or any(peer.closed for peer in self.peers)

    def seen(self, peer: H2Peer, app: Application) -> dict[str, Any]:
        resets: dict[int, int] = {}
        for frame in peer.of(RstStreamFrame):
            resets.setdefault(frame.stream_id, frame.error_code)
        last = min((last for last, _ in peer.goaways), default=self.next)
        answers = {}
        for id, answer in sorted(peer.streams.items()):
            if id in self.abandoned or id > last:
                continue
            silent = peer.methods[id] == "HEAD"
            ignored = (b"date", b"content-length") if silent else (b"date",)
            body = None if answer.status == 431 else answer.body
            headers = sorted(each for each in answer.headers if each[0] not in ignored)
            if answer.status == 431:
                headers = []
            facts = (answer.status, headers, body, answer.trailers, answer.informational)
            answers[id] = (*facts, answer.complete, resets.get(id) or None)
        calls = [
            (
                *(call.scope["method"], call.scope["raw_path"], call.scope["query_string"]),
                *(call.scope["headers"], call.body, call.trailers),
                *(call.ended, call.disconnected),
            )
            for call in app.calls
        ]
        return {
            "answers": answers,
            "calls": calls,
            "closed": peer.closed,
            "fault": bool(peer.goaway),
            "responses": peer.context.stats.responses,
            "aborted": peer.context.stats.aborted,
        }

    def teardown(self) -> None:
        try:
            if self.agreed:
                self.deliver()
                for peer in self.peers:
                    peer.lose()
                self.compare()
        finally:
            for peer in self.peers:
                peer.finish()

    # How it says it

    def block(self, fields: Sequence[Field]) -> bytes:
        return frames.block(fields, self.encoder)

    def opened(self, method: bytes, *, end: bool) -> int:
        if self.ending:
            self.deliver()
        id, self.next = self.next, self.next + 2
        for peer in self.peers:
            peer.methods[id] = method.decode()
        if not end:
            self.open.append(id)
        return id


def test_engines_agree():
    run_state_machine_as_test(Engines, settings=FEW)
