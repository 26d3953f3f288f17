"""Whatever the fast head parser accepts, h11 and the guard accept, with the same result."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.property import fast_path, grammar
from tricorn.connection import Refused
from tricorn.http1.guard import guarded
from tricorn.http1.head import Heads

RANDOMS = st.randoms(use_true_random=False)
MANY = settings(
    max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


@MANY
@given(RANDOMS)
def test_whatever_the_fast_path_accepts_h11_and_the_guard_accept(random):
    heads = Heads(fast_path.LIMITS)
    heads.lines.limit = heads.special.limit = 4
    for _ in range(random.randint(1, 6)):
        fast_path.check(heads, grammar.head(random))


@pytest.mark.slow
def test_the_same_for_twenty_thousand_heads():
    results = fast_path.run(20_000, seed=9112)
    assert results["disagreement"] == 0
    assert min(results["accepted"], results["guarded"], results["refused"]) > 2000, "a fair mixture"


LINES = st.lists(st.binary(max_size=12) | st.sampled_from(grammar.MEANING), max_size=6)


@MANY
@given(st.binary(max_size=24), LINES)
@example(b"GET / HTTP/1.1", [b"Host: x", b"Content-Length: \xb2"])
@example(b"GET / HTTP/1.1", [b"Host: x", b"Content-Length: 0", b"Content-Length: 0"])
def test_the_same_for_any_octets(first, lines):
    heads = Heads(fast_path.LIMITS)
    for start in (first, b"GET / HTTP/1.1"):
        head = b"\r\n".join([start, *lines, b"Host: x"]) + b"\r\n\r\n"
        fast_path.check(heads, head)


@MANY
@given(st.binary(max_size=200))
def test_the_guard_raises_nothing_but_refused(data):
    try:
        guarded(data, fast_path.LIMITS, {None, "x"})
    except Refused as refusal:
        assert refusal.status in (400, 413, 414, 417, 431, 501, 505)


def test_the_check_would_notice():
    # A memory that was tampered with: the property must not hold by accident.
    heads = Heads(fast_path.LIMITS)
    head = b"GET / HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n\r\n"
    heads.parse(head)
    heads.lines.young[b"X-A: 1"] = (b"x-a", b"2")
    heads.whole.young.clear()
    with pytest.raises(fast_path.Disagreement):
        fast_path.check(heads, head)
