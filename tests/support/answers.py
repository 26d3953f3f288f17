"""What a client makes of the bytes that it got: h11 in the role of the client is the oracle."""

from __future__ import annotations

from dataclasses import dataclass, field

import h11

from tricorn.connection import Field


@dataclass(slots=True)
class Answer:
    """One response, in any version of HTTP."""

    status: int
    headers: list[Field]
    body: bytes = b""
    trailers: list[Field] = field(default_factory=list)
    informational: list[tuple[int, list[Field]]] = field(default_factory=list)
    complete: bool = False
    """The client knows that it has all of the content."""
    reset: int | None = None
    """The code of the RST_STREAM that the server ended the stream with."""

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name]

    def __getitem__(self, name: bytes) -> bytes | None:
        """The value of a field that must not be there more than once."""
        values = self.all(name)
        assert len(values) <= 1, f"{name!r} is there {len(values)} times"
        return values[0] if values else None

    @property
    def persistent(self) -> bool:
        return (self[b"connection"] or b"").lower() != b"close"


def http1_answers(data: bytes, methods: list[bytes], *, ended: bool) -> list[Answer]:
    """Every final response in `data`; after 101, the rest is one more body, of status 101."""
    answers: list[Answer] = []
    while data:
        method = methods[len(answers)] if len(answers) < len(methods) else b"GET"
        answer, data = _http1_answer(data, method, ended=ended)
        if answer is None:
            break
        answers.append(answer)
    return answers


def _http1_answer(data: bytes, method: bytes, *, ended: bool) -> tuple[Answer | None, bytes]:
    client = h11.Connection(h11.CLIENT)
    # Offers an upgrade, as otherwise h11 takes every 101 for an error.
    offer = [("host", "x"), ("connection", "upgrade"), ("upgrade", "x"), ("te", "trailers")]
    client.send(h11.Request(method=method, target="/", headers=offer))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    informational: list[tuple[int, list[Field]]] = []
    answer: Answer | None = None
    while True:
        event = client.next_event()
        if event is h11.NEED_DATA and ended and client.their_state is not h11.CLOSED:
            ended = False
            try:
                client.receive_data(b"")
                event = client.next_event()
            except h11.RemoteProtocolError:
                return answer, b""  # cut off, and the client can tell
        if isinstance(event, h11.InformationalResponse):
            if event.status_code == 101:
                rest, _ = client.trailing_data
                return Answer(101, list(event.headers), bytes(rest)), b""
            informational.append((event.status_code, list(event.headers)))
        elif isinstance(event, h11.Response):
            answer = Answer(event.status_code, list(event.headers), informational=informational)
        elif isinstance(event, h11.Data):
            assert answer is not None
            answer.body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            assert answer is not None
            answer.trailers = list(event.headers)
            answer.complete = True
            rest, _ = client.trailing_data
            return answer, bytes(rest)
        else:  # NEED_DATA, PAUSED or the end
            if answer is None and informational:
                answer = Answer(0, [], informational=informational)
            return answer, b""
