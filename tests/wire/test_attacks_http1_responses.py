"""What a careless or misled application sends, on HTTP/1.1. O-nn: the attack catalogue."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from tests.support import apps
from tests.support.apps import body, start
from tests.support.peers import H1Peer, errors, request

GET = request()
INJECTIONS = [
    b"a\r\nSet-Cookie: evil=1",
    b"a\nX: b",
    b"a\rX: b",
    b"a\r\n\r\n<html>",
    b"a\0b",
    b"\x0b",
    b"a\x0c",
    b"a\x7f",
    b"\r\n",
    b"\x01",
    b"a\r\n",
    b"\n",
]
NAMES = [
    b"x\r\ny",
    b"x:",
    b"x y",
    b"",
    b" x",
    b"x ",
    b"x\0",
    b"x\x80",
    b"x\n",
    b"\r\nx",
    b"x:y",
    b"(x)",
    "ü".encode(),
]


@pytest.mark.parametrize("in_parts", [False, True])
@pytest.mark.parametrize("value", INJECTIONS)
def test_o_01_no_line_break_or_control_character_gets_into_a_field(value, in_parts):
    app = apps.sends(start(200, (b"x-a", value)), body(b"x", more=in_parts), body(b"y"))
    peer = H1Peer(app)
    answer = peer.fetch()
    assert answer.status == 500 and b"evil" not in peer.sent and not peer.closed
    errors.expect("control character")


@pytest.mark.parametrize("in_parts", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_o_02_no_name_gets_out_that_is_none(name, in_parts):
    app = apps.sends(start(200, (name, b"a")), body(b"x", more=in_parts), body(b"y"))
    peer = H1Peer(app)
    assert peer.fetch().status == 500 and not peer.closed
    errors.expect("is not a header name")


@pytest.mark.parametrize("value", INJECTIONS)
def test_o_01_no_line_break_gets_into_trailers(value):
    app = apps.sends(start(trailers=True), body(b"x"), apps.trailers((b"x-a", value)))
    peer = H1Peer(app)
    peer.send(request(headers=[(b"te", b"trailers"), (b"connection", b"te")]))
    assert b"evil" not in peer.sent and not peer.answer().complete and peer.reset
    errors.expect("control character")


@pytest.mark.parametrize("value", INJECTIONS)
def test_o_01_no_line_break_gets_into_early_hints(value):
    hint = {"type": "http.response.early_hint", "links": [value]}
    peer = H1Peer(apps.sends(hint, start(), body(b"x")))
    assert peer.fetch().status == 500 and b"evil" not in peer.sent
    errors.expect("control character")


@pytest.mark.parametrize(
    "fields",
    [
        [("x-a", b"1")],
        [(b"x-a", "1")],
        [(b"x-a", 1)],
        [(b"x-a", None)],
        [(b"x-a",)],
        [(b"x-a", b"1", b"2")],
        [b"x-a: 1"],
        [(bytearray(b"x-a"), b"1")],
        [(b"x-a", bytearray(b"1\r\n"))],
        [None],
        5,
    ],
)
@pytest.mark.parametrize("in_parts", [False, True])
def test_o_02_what_are_no_fields_at_all_is_a_500(fields, in_parts):
    message = start() | {"headers": fields}
    peer = H1Peer(apps.sends(message, body(b"x", more=in_parts), body(b"y")))
    assert peer.fetch().status == 500 and not peer.closed
    errors.expect("the application raised")


def test_o_01_a_field_that_was_refused_once_is_refused_again():
    peer = H1Peer(apps.answers(b"", 200, (b"x-a", b"fine"), (b"x-b", b"a\nb")))
    for _ in range(3):
        assert peer.fetch().status == 500
        errors.expect("control character")


def test_o_01_an_application_that_ignores_the_refusal_still_gets_nothing_out():
    async def application(scope, receive, send):
        for _ in range(3):
            try:
                await send(start(200, (b"x-a", b"a\r\nevil: 1")))
                await send(body(b"x", more=True))
            except Exception:
                pass

    peer = H1Peer(application)
    assert peer.fetch().status == 500 and b"evil" not in peer.sent
    errors.expect("without completing")


@pytest.mark.parametrize("value", [b" a", b"a ", b"\ta\t", b"  a  "])
def test_o_03_white_space_around_a_value_is_left_out(value):
    assert H1Peer(apps.answers(b"", 200, (b"x-a", value))).fetch()[b"x-a"] == b"a"


# O-04: wrong lengths, in test_rfc9110 8.6


@pytest.mark.parametrize(
    "status", [0, 1, 99, 100, 101, 103, 199, 600, 999, -200, "200", None, 200.0, b"200", True]
)
def test_o_05_a_status_that_is_none_is_a_500(status):
    peer = H1Peer(apps.answers(b"x", status))
    assert peer.fetch().status == 500 and not peer.closed
    errors.expect("is not the status")


def test_o_05_a_status_of_the_standard_library_is_one():
    assert H1Peer(apps.answers(b"x", HTTPStatus.CREATED)).fetch().status == 201


@pytest.mark.parametrize(
    "message",
    [
        {"type": "http.response.start"},
        {"type": "http.response.sta\r\nrt", "status": 200},
        {"type": "websocket.accept"},
        {"type": None},
        {},
        {"type": "http.response.early_hint"},
        {"type": "http.response.trailers", "headers": []},
        {"type": "http.response.pathsend", "path": "/etc/hostname"},
        {"type": "http.response.body", "body": b"x"},
    ],
)
def test_o_05_a_message_that_may_not_come_is_a_500(message):
    peer = H1Peer(apps.sends(message))
    assert peer.fetch().status == 500 and not peer.closed
    errors.expect("the application raised")


@pytest.mark.parametrize("data", ["text", 5, None, [1, 2], {}])
@pytest.mark.parametrize("more", [False, True])
def test_o_05_content_that_is_no_bytes_is_a_500(data, more):
    peer = H1Peer(apps.sends(start(), body(data, more=more)))
    answer = peer.fetch()
    assert answer.status == 500 and b"\0" not in answer.body
    errors.expect("the application raised")


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_o_05_content_may_be_anything_like_bytes(kind):
    peer = H1Peer(apps.sends(start(), body(kind(b"ab"), more=True), body(kind(b"cd"))))
    assert peer.fetch().body == b"abcd"


def test_o_05_content_that_changes_after_it_was_sent_goes_out_as_it_was():
    async def application(scope, receive, send):
        data = bytearray(b"x" * 30_000)
        await send(start())
        await send(body(memoryview(data), more=True))
        data[:] = b"y" * 30_000
        await send(body(b""))

    peer = H1Peer(application)
    peer.stop_reading()
    peer.send(GET)
    peer.read()
    assert peer.answer().body == b"x" * 30_000


def test_o_06_no_text_of_the_application_is_in_the_status_line():
    message = start(299) | {"reason": "OK\r\nevil: 1", "phrase": b"a\r\nb"}
    peer = H1Peer(apps.sends(message, body(b"x")))
    peer.fetch()
    assert peer.sent.startswith(b"HTTP/1.1 299 \r\n") and b"evil" not in peer.sent


@pytest.mark.parametrize("in_parts", [False, True])
def test_o_07_an_early_answer_is_followed_by_the_end_or_by_the_next_request(in_parts):
    app = apps.sends(start(), body(b"early", more=in_parts), *([body()] if in_parts else []))
    peer = H1Peer(app)
    upload = request("/", "POST", body=b"x" * 100_000)
    peer.send(upload[:50_000], upload[50_000:], GET)
    answers = peer.responses("POST", "GET")
    assert [each.body for each in answers] in ([b"early"], [b"early"] * 2)
    if len(answers) == 1:
        assert peer.closed and not peer.reset


def test_o_07_what_an_answered_client_goes_on_sending_is_bounded():
    peer = H1Peer(apps.sends(start(), body(b"early", more=True), body()))
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n"
    peer.send(head, *[b"x" * 65_536] * 10)
    assert peer.answer("POST").body == b"early" and peer.closed


def test_a_second_answer_is_refused_and_the_next_request_gets_its_own():
    async def application(scope, receive, send):
        await send(start())
        await send(body(scope["raw_path"]))
        await send(start(404))

    peer = H1Peer(application)
    peer.send(request("/1") + request("/2"))
    assert [each.body for each in peer.responses()] == [b"/1", b"/2"]
    for _ in range(2):
        errors.expect("complete")
