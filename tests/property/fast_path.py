"""Whatever the fast head parser accepts, h11 and the guard accept, with the same result.

`python -m tests.property.fast_path 1000000 [SEED]` tries as many heads, and prints what became of
them; the exit status is 1 if there was a disagreement.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from random import Random

import h11

from tests.property.grammar import head
from tricorn.connection import Refused, Request
from tricorn.http1.guard import guarded
from tricorn.http1.head import Heads
from tricorn.target import Limits

LIMITS = Limits()
LARGEST = 64 * 1024
"""Octets of a body up to which h11 is made to read it."""


class Disagreement(AssertionError):
    """Two readers of the same octets found different requests."""


def check(heads: Heads, data: bytes) -> str:
    """What became of one head: accepted, guarded or refused. `heads` remembers earlier ones.

    Raises Disagreement.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return "incomplete"
    data = data[: end + 4]
    fast = heads.parse(data)
    first = Heads(LIMITS).parse(data)
    if _plain(fast) != _plain(first):
        raise Disagreement(f"{data!r}: {first} becomes {fast} after other heads")
    if fast is not None and _plain(heads.parse(data)) != _plain(fast):
        raise Disagreement(f"{data!r} is another request the second time")
    try:
        request = guarded(data[:end], LIMITS, {None})
    except Refused as refusal:
        if fast is not None:
            raise Disagreement(f"{data!r}: the guard refuses it: {refusal.reason}") from None
        return "refused"
    if fast is not None and _plain(fast) != request:
        raise Disagreement(f"{data!r}: {fast}, but the guard: {request}")
    _compare_to_h11(request, data)
    return "guarded" if fast is None else "accepted"


def _plain(request: Request | None) -> Request | None:
    """Without what only says that it is remembered."""
    return None if request is None else replace(request, remembered=False, scope=None)


def _compare_to_h11(request: Request, data: bytes) -> None:
    peer = h11.Connection(h11.SERVER, max_incomplete_event_size=len(data))
    peer.receive_data(data)
    try:
        event = peer.next_event()
    except h11.RemoteProtocolError as error:
        raise Disagreement(f"{data!r}: h11 refuses it: {error}") from None
    assert isinstance(event, h11.Request)
    theirs = (event.method.decode(), list(event.headers), event.http_version.decode())
    ours = (request.method, list(request.headers), request.version)
    target = event.target
    if target.lower().startswith((b"http://", b"https://")):
        _, _, rest = target.partition(b"://")
        target = rest[len(request.authority) :]
        target = target if target.startswith(b"/") else b"/" + target
        if target == b"/" and request.method == "OPTIONS":
            target = request.target
    if theirs != ours or target != request.target:
        raise Disagreement(f"{data!r}: {ours} {request.target!r}, h11: {theirs} {target!r}")
    _compare_framing(peer, request, data)


def _compare_framing(peer: h11.Connection, request: Request, data: bytes) -> None:
    length = request.length
    follows = b"0\r\n\r\n" if length is None else b"x" * min(length, LARGEST)
    peer.receive_data(follows + b"NEXT")
    received = 0
    while isinstance(event := peer.next_event(), h11.Data):
        received += len(event.data)
    if length is not None and length > LARGEST:
        if event is not h11.NEED_DATA:
            raise Disagreement(f"{data!r}: h11 does not wait for {length} octets")
        return
    rest, _ = peer.trailing_data
    if not isinstance(event, h11.EndOfMessage) or received != (length or 0) or rest != b"NEXT":
        raise Disagreement(
            f"{data!r}: a body of {length}, h11 reads {received} and leaves {rest!r}"
        )
    if request.persistent and peer.their_state is h11.MUST_CLOSE and request.version == "1.1":
        raise Disagreement(f"{data!r}: h11 would close")
    if not request.persistent and peer.their_state is h11.DONE:
        raise Disagreement(f"{data!r}: h11 would not close")


def run(count: int, seed: int) -> Counter[str]:
    """Tries `count` heads, with memories that last; disagreements are printed and counted."""
    random = Random(seed)
    results: Counter[str] = Counter()
    heads = Heads(LIMITS)
    for number in range(count):
        if number % 1000 == 0:
            heads = Heads(LIMITS)
            heads.lines.limit = random.choice([3, 30, 1024])
            heads.special.limit = random.choice([2, 1024])
        try:
            results[check(heads, head(random))] += 1
        except Disagreement as disagreement:
            results["disagreement"] += 1
            print(disagreement, file=sys.stderr)
    return results


if __name__ == "__main__":
    tried = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    outcome = run(tried, int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    print(f"tried {tried}:", ", ".join(f"{kind} {count}" for kind, count in outcome.most_common()))
    sys.exit(bool(outcome["disagreement"]))
