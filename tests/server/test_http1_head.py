"""http1/head.py: which heads are ordinary, and what is remembered of them."""

from __future__ import annotations

import pytest

from tricorn.http1.head import REMEMBERED_HEAD, Heads
from tricorn.target import Limits, split_target


def heads(**limits: int) -> Heads:
    return Heads(Limits(**limits))


def head(*lines: bytes, first: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: x") -> bytes:
    return b"\r\n".join([first, host, *lines]) + b"\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        head(),
        head(b"Content-Length: 5"),
        head(b"Connection: keep-alive"),
        head(b"Connection: Close"),
        head(b"X: a", b"X: a", b"Y:", b"Z: \xff"),
        head(first=b"OPTIONS /a HTTP/1.1"),
        head(host=b"HOST:  x:80 "),
    ],
)
def test_is_ordinary(data):
    assert heads().parse(data) is not None


@pytest.mark.parametrize(
    "data",
    [
        head(b"Transfer-Encoding: chunked"),
        head(b"Upgrade: x"),
        head(b"Expect: 100-continue"),
        head(b"TE: trailers"),
        head(b"Connection: upgrade"),
        head(b"Content-Length: 1", b"Content-Length: 1"),
        head(b"Host: x"),
        head(first=b"GET / HTTP/1.0"),
        head(first=b"GET http://x/ HTTP/1.1"),
        head(first=b"OPTIONS * HTTP/1.1"),
        head(first=b"CONNECT / HTTP/1.1"),
        head(first=b"get / HTTP/1.1"),
        head(host=b"X: y"),
        head(host=b"Host:"),
        head(b"X : y"),
        head(b" X: y"),
    ],
)
def test_is_left_to_the_guard(data):
    parser = heads()
    assert parser.parse(data) is None
    assert parser.parse(data) is None, "the second time as well"


def test_limits_hold_for_remembered_lines_too():
    parser = heads(fields=3)
    assert parser.parse(head(b"A: 1", b"B: 2")) is not None
    assert parser.parse(head(b"A: 1", b"B: 2", b"A: 1")) is None


def test_a_body_that_is_too_large_is_left_to_the_guard_each_time():
    parser = heads(body=9)
    assert parser.parse(head(b"Content-Length: 9")) is not None
    for _ in range(2):
        assert parser.parse(head(b"Content-Length: 10")) is None


def test_a_head_is_remembered_as_a_whole_once_all_its_lines_are_known():
    parser = heads()
    data = head(b"A: 1")
    first, second, third = parser.parse(data), parser.parse(data), parser.parse(data)
    assert not first.remembered and second.remembered and third.remembered
    assert parser.whole.young[data].target == b"/"


@pytest.mark.parametrize(
    "data", [head(b"A: 1" + b"a" * 300), head(*[b"A: 1"] * 98, b"B: " + b"b" * 900)]
)
def test_nothing_long_is_remembered(data):
    parser = heads()
    for _ in range(3):
        assert parser.parse(data) is not None
    assert all(len(line) < 256 for line in parser.lines.young)
    assert all(len(each) <= REMEMBERED_HEAD for each in parser.whole.young)


def test_what_does_not_frame_the_message_does_not_get_into_the_other_memory():
    # A line found among the ordinary ones is not looked at again.
    parser = heads()
    for line in (b"Content-Length: 3", b"Connection: close", b"X: y"):
        parser.parse(head(line))
    names = {name for name, _ in parser.lines.young.values()}
    assert names == {b"x"}


@pytest.mark.parametrize(
    "target, parts",
    [
        (b"/", ("/", b"/", b"")),
        (b"/a?b?c", ("/a", b"/a", b"b?c")),
        (b"/%41%ff?%41", ("/A\ufffd", b"/%41%ff", b"%41")),
        (b"*", ("*", b"*", b"")),
        (b"/?", ("/", b"/", b"")),
    ],
)
def test_a_target_has_a_path_and_a_query(target, parts):
    assert split_target(target) == parts
