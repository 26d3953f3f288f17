"""An HTTP/2 connection with stream 1 in each state that RFC9113§5.1 knows, and what becomes of it.

`connected` makes a client of our own engine. The reference engine gives up the connection where a
stream would do, so what is exact here is not asked of it (see tests/server/test_http2_engines.py).
"""

from __future__ import annotations

from collections.abc import Callable

from tests.support import apps, frames
from tests.support.frames import GET, POST
from tests.support.h2peer import H2Peer
from tricorn.config import Config
from tricorn.connection import Application

OTHER = 9
"""A stream with which a test finds out whether the connection still serves."""
TRAILERS = ((b"x-sum", b"1"),)

Outcome = tuple[str, int]
"""What it has cost ("nothing", "stream" or "connection"), and the code that says why."""
NOTHING: Outcome = ("nothing", frames.NO_ERROR)


def stream(code: int) -> Outcome:
    return "stream", code


def connection(code: int) -> Outcome:
    return "connection", code


async def waits(gate, scope, receive, send):
    """Answers when the test opens the gate; at once what is asked for elsewhere than "/"."""
    if scope["path"] == "/":
        await gate.wait()
    await apps.hello(scope, receive, send)


async def holds(scope, receive, send):
    """Reads until the client is gone; answers at once what is asked for elsewhere than "/"."""
    if scope["path"] == "/":
        while (await receive())["type"] != "http.disconnect":
            pass
    else:
        await apps.hello(scope, receive, send)


def connected(
    app: Application | None = None, config: Config | None = None, **options: object
) -> H2Peer:
    return H2Peer(app or holds, config, **options)


def other(id: int = OTHER) -> bytes:
    """A request that is answered at once."""
    return frames.headers(id, [*GET[:3], (b":path", b"/other")])


def idle(peer: H2Peer) -> None:
    pass


def open_(peer: H2Peer) -> None:
    peer.send(frames.headers(1, POST, end=False))


def half_closed_remote(peer: H2Peer) -> None:
    peer.send(frames.headers(1))


def closed_by_both(peer: H2Peer) -> None:
    peer.send(other(1))
    assert peer.answer(1).complete


def closed_by_its_reset(peer: H2Peer) -> None:
    peer.send(frames.headers(1, POST, end=False), frames.rst(1))


def closed_by_our_reset(peer: H2Peer) -> None:
    peer.send(frames.headers(1, POST, end=False), frames.window_update(1, 0))
    assert peer.resets == {1: frames.PROTOCOL_ERROR}


def closed_by_an_early_answer(peer: H2Peer) -> None:
    """We end it, and reset what would still come (RFC9113§8.1)."""
    peer.send(frames.headers(1, [*POST[:3], (b":path", b"/early")], end=False))
    assert peer.answer(1).complete and peer.resets == {1: frames.NO_ERROR}


def skipped(peer: H2Peer) -> None:
    """Never used, and passed over by a later one (RFC9113§5.1.1)."""
    peer.send(other(3))


STATES: dict[str, Callable[[H2Peer], None]] = {
    "idle": idle,
    "open": open_,
    "half-closed-remote": half_closed_remote,
    "closed-by-both": closed_by_both,
    "closed-by-its-reset": closed_by_its_reset,
    "closed-by-our-reset": closed_by_our_reset,
    "closed-by-an-early-answer": closed_by_an_early_answer,
    "skipped": skipped,
}


def cost(peer: H2Peer, data: bytes, id: int = 1) -> Outcome:
    """What `data` costs the client that sends it."""
    answers = {each for each, answer in peer.streams.items() if answer.reset is not None}
    sent = len(peer.frames)
    peer.send(data)
    if peer.goaways:
        assert peer.closed, "GOAWAY for an error ends the connection"
        return connection(peer.goaways[-1][1])
    resets = [each for each in peer.frames[sent:] if each.type == frames.RST_STREAM]
    peer.send(other())
    assert peer.answer(OTHER).body == b"hello", "somebody else has to pay"
    if not resets:
        return NOTHING
    assert len(resets) == 1 and id not in answers, "it is reset once"
    assert resets[0].stream_id == id
    return stream(resets[0].error_code)
