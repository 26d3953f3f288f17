"""RFC 9112, HTTP/1.1, in the order of its sections: what the bytes of a client bring about."""

from __future__ import annotations

import pytest

from tests.support import apps
from tests.support.apps import body, start
from tests.support.peers import WAYS, H1Peer, byte_by_byte, errors
from tricorn.config import Config

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
BY_EVERY_WAY = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def get(*lines: bytes, target: bytes = b"/", version: bytes = b"1.1") -> bytes:
    head = [b"GET %b HTTP/%b" % (target, version), b"Host: x", *lines]
    return b"\r\n".join(head) + b"\r\n\r\n"


def post(*lines: bytes, content: bytes = b"", version: bytes = b"1.1") -> bytes:
    head = [b"POST / HTTP/%b" % version, b"Host: x", *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + content


def chunked(content: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", content=content)


# 2.2. Message Parsing


@BY_EVERY_WAY
def test_a_request_may_arrive_in_any_pieces(way):
    app = apps.Recorder()
    peer = H1Peer(app)
    peer.send(*way(GET))
    assert peer.answer().body == b"seen"
    assert app.call.scope["path"] == "/"


@BY_EVERY_WAY
@pytest.mark.parametrize("count", [1, 2])
def test_an_empty_line_before_a_request_is_ignored(count, way):
    peer = H1Peer(apps.hello)
    peer.send(*way(b"\r\n" * count + GET))
    assert peer.status == 200 and not peer.closed


def test_an_empty_line_before_each_of_many_requests_is_ignored():
    # Some old clients end a body with one line too many; they do so each time.
    peer = H1Peer(apps.hello)
    for _ in range(6):
        peer.send(b"\r\n")
        peer.send(GET)
    assert peer.statuses == [200] * 6


def test_an_empty_line_after_a_body_is_ignored():
    peer = H1Peer(apps.echo)
    peer.send(post(b"Content-Length: 2", content=b"ab\r\n") + GET)
    assert [each.body for each in peer.responses("POST", "GET")] == [b"ab", b""]


def test_endless_empty_lines_are_refused():
    peer = H1Peer(apps.never)
    peer.send(b"\r\n" * 1000)
    assert peer.status == 400 and peer.closed


# 2.3. HTTP Version


def test_answers_http_1_0_as_http_1_1():
    peer = H1Peer(apps.hello)
    peer.send(b"GET / HTTP/1.0\r\n\r\n")
    assert peer.sent.startswith(b"HTTP/1.1 200 OK\r\n")


def test_http_1_0_needs_no_host():
    app = apps.Recorder()
    peer = H1Peer(app)
    peer.send(b"GET / HTTP/1.0\r\n\r\n")
    assert peer.status == 200
    assert app.call.scope["http_version"] == "1.0"


# 3. Request Line


def test_the_method_is_case_sensitive_and_may_be_unheard_of():
    app = apps.Recorder()
    peer = H1Peer(app)
    for method in ("get", "Get", "BREW", "PROPFIND", "M-SEARCH"):
        assert peer.fetch(method=method).status == 200
    assert [call.scope["method"] for call in app.calls] == [
        "get",
        "Get",
        "BREW",
        "PROPFIND",
        "M-SEARCH",
    ]


# 8000 octets is what RFC9112§3 recommends to support.
def test_a_request_line_of_8000_octets_is_served():
    app = apps.Recorder()
    peer = H1Peer(app)
    peer.send(get(target=b"/" + b"a" * 7985))
    assert peer.status == 200 and len(app.call.scope["raw_path"]) == 7986


@BY_EVERY_WAY
def test_a_request_line_of_exactly_the_limit_is_served(way):
    peer = H1Peer(apps.hello, Config(limit_request_line=128))
    peer.send(*way(get(target=b"/" + b"a" * (128 - len("GET / HTTP/1.1")))))
    assert peer.status == 200


@BY_EVERY_WAY
def test_a_request_line_of_one_octet_more_is_refused(way):
    peer = H1Peer(apps.never, Config(limit_request_line=128))
    peer.send(*way(get(target=b"/" + b"a" * (129 - len("GET / HTTP/1.1")))))
    assert peer.status == 414 and peer.closed


def test_an_endless_request_line_is_refused_before_its_end():
    peer = H1Peer(apps.never)
    peer.send(b"GET /" + b"a" * 8300)
    assert peer.status == 414 and peer.closed


# 3.2. Request Target


def test_origin_form_is_split_at_the_first_question_mark():
    app = apps.Recorder()
    peer = H1Peer(app)
    peer.send(get(target=b"/a%20b/%C3%A9?c=%20d?e"))
    scope = app.call.scope
    assert scope["path"] == "/a b/é"
    assert scope["raw_path"] == b"/a%20b/%C3%A9"
    assert scope["query_string"] == b"c=%20d?e"


@pytest.mark.parametrize(
    "target, path, query",
    [
        (b"http://x/a?b", "/a", b"b"),
        (b"http://x", "/", b""),
        (b"http://x?b", "/", b"b"),
        (b"HTTP://X/a", "/a", b""),
        (b"https://x/", "/", b""),
    ],
)
def test_absolute_form_is_served_as_origin_form(target, path, query):  # RFC9112§3.2.2
    app = apps.Recorder()
    peer = H1Peer(app)
    peer.send(get(target=target))
    assert peer.status == 200
    assert app.call.scope["path"] == path
    assert app.call.scope["query_string"] == query
    assert (b"host", b"x") in app.call.scope["headers"]


def test_asterisk_form_is_for_options():  # RFC9112§3.2.4
    app = apps.Recorder()
    peer = H1Peer(app)
    peer.send(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
    assert peer.status == 200
    assert app.call.scope["path"] == "*" and app.call.scope["raw_path"] == b"*"


def test_options_in_absolute_form_without_a_path_means_the_server():  # RFC9112§3.2.4
    app = apps.Recorder()
    peer = H1Peer(app)
    peer.send(b"OPTIONS http://x HTTP/1.1\r\nHost: x\r\n\r\n")
    assert app.call.scope["path"] == "*"


def test_authority_form_is_for_a_proxy():  # RFC9112§3.2.3
    peer = H1Peer(apps.never)
    peer.send(b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n")
    assert peer.status in (400, 405, 501) and peer.closed


@pytest.mark.parametrize("host", [b"", b"x", b"x:80", b"127.0.0.1:8000", b"[::1]:80", b"[v7.a:b]"])
def test_a_valid_host_is_accepted(host):
    peer = H1Peer(apps.hello)
    peer.send(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
    assert peer.status == 200


# 5. Field Syntax


def test_names_come_in_lower_case_and_values_without_the_white_space_around_them():
    app = apps.Recorder()
    peer = H1Peer(app)
    peer.send(get(b"X-A:   b  c \t", b"x-a:d", b"X-EMPTY:", b"X-8: \xe9\xff"))
    assert app.call.scope["headers"] == [
        (b"host", b"x"),
        (b"x-a", b"b  c"),
        (b"x-a", b"d"),
        (b"x-empty", b""),
        (b"x-8", b"\xe9\xff"),
    ]


@BY_EVERY_WAY
def test_a_head_of_exactly_the_limit_is_served(way):
    head = get(b"X: " + b"a" * 980)
    filler = 1024 - (len(head) - 4)
    peer = H1Peer(apps.hello, Config(limit_request_head=1024, limit_request_line=1024))
    peer.send(*way(get(b"X: " + b"a" * (980 + filler))))
    assert peer.status == 200


@BY_EVERY_WAY
def test_a_head_of_one_octet_more_is_refused(way):
    head = get(b"X: " + b"a" * 980)
    filler = 1025 - (len(head) - 4)
    peer = H1Peer(apps.never, Config(limit_request_head=1024, limit_request_line=1024))
    peer.send(*way(get(b"X: " + b"a" * (980 + filler))))
    assert peer.status == 431 and peer.closed


def test_as_many_fields_as_the_limit_are_served():
    peer = H1Peer(apps.hello, Config(limit_request_fields=20))
    peer.send(get(*[b"X-%d: y" % number for number in range(19)]))
    assert peer.status == 200


@BY_EVERY_WAY
def test_one_field_more_is_refused(way):
    peer = H1Peer(apps.never, Config(limit_request_fields=20))
    peer.send(*way(get(*[b"X-%d: y" % number for number in range(20)])))
    assert peer.status == 431 and peer.closed


# 6. Message Body


@BY_EVERY_WAY
def test_content_length_delimits_a_body(way):  # RFC9112§6.2
    app = apps.Recorder()
    peer = H1Peer(app)
    peer.send(*way(post(b"Content-Length: 11", content=b"hello world")))
    assert app.call.body == b"hello world" and app.call.ended
    assert peer.status == 200 and not peer.closed


def test_a_request_without_framing_has_no_body():  # RFC9112§6.3
    app = apps.Recorder()
    peer = H1Peer(app)
    peer.send(post())
    assert app.call.ended and app.call.body == b""


def test_content_length_zero_is_no_body():
    app = apps.Recorder()
    peer = H1Peer(app)
    peer.send(post(b"Content-Length: 0") + GET)
    assert [call.body for call in app.calls] == [b"", b""]


def test_a_transfer_coding_that_nobody_knows_is_answered_501():  # RFC9112§6.1
    peer = H1Peer(apps.never)
    peer.send(post(b"Transfer-Encoding: gzip, chunked"))
    assert peer.status == 501 and peer.closed


# 7. Transfer Codings


@BY_EVERY_WAY
def test_chunks_are_joined(way):  # RFC9112§7.1
    app = apps.Recorder()
    peer = H1Peer(app)
    peer.send(*way(chunked(b"5\r\nhello\r\n006\r\n world\r\n0\r\n\r\n")))
    assert app.call.body == b"hello world" and app.call.ended
    assert peer.status == 200 and not peer.closed


def test_chunk_sizes_are_hexadecimal_in_either_case():
    app = apps.Recorder()
    peer = H1Peer(app)
    peer.send(chunked(b"a\r\n" + b"x" * 10 + b"\r\nA\r\n" + b"x" * 10 + b"\r\n0\r\n\r\n"))
    assert len(app.call.body) == 20


def test_the_name_of_the_coding_may_be_in_any_case():
    app = apps.Recorder()
    peer = H1Peer(app)
    peer.send(post(b"Transfer-Encoding: Chunked", content=b"1\r\na\r\n0\r\n\r\n"))
    assert app.call.body == b"a"


@BY_EVERY_WAY
def test_chunk_extensions_are_ignored(way):  # RFC9112§7.1.1
    app = apps.Recorder()
    peer = H1Peer(app)
    peer.send(*way(chunked(b'2;a=b;c="d e"\r\nxy\r\n0;last\r\n\r\n')))
    assert app.call.body == b"xy" and peer.status == 200


@BY_EVERY_WAY
def test_request_trailers_reach_the_application_apart_from_the_headers(way):  # RFC9112§7.1.2
    app = apps.Recorder()
    peer = H1Peer(app)
    peer.send(*way(chunked(b"1\r\na\r\n0\r\nX-Sum: 1\r\nX-Sum:2 \r\n\r\n") + GET))
    call = app.calls[0]
    assert call.trailers == [(b"x-sum", b"1"), (b"x-sum", b"2")]
    assert not [name for name, _ in call.scope["headers"] if name == b"x-sum"]
    assert peer.statuses == [200, 200]


def test_content_of_unknown_length_is_sent_in_chunks():
    peer = H1Peer(apps.sends(start(), body(b"one", more=True), body(b"two")))
    answer = peer.fetch()
    assert answer[b"transfer-encoding"] == b"chunked" and answer[b"content-length"] is None
    assert answer.body == b"onetwo" and answer.complete and not peer.closed


def test_an_empty_part_does_not_end_the_chunks():
    peer = H1Peer(apps.sends(start(), body(b"", more=True), body(b"a", more=True), body()))
    assert peer.fetch().body == b"a"


def test_content_in_one_part_has_a_length_and_no_chunks():
    peer = H1Peer(apps.hello)
    answer = peer.fetch()
    assert answer[b"content-length"] == b"5" and answer[b"transfer-encoding"] is None


def test_no_chunks_for_an_http_1_0_client():  # RFC9112§6.1
    peer = H1Peer(apps.sends(start(), body(b"one", more=True), body(b"two")))
    peer.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    answer = peer.answer()
    assert answer[b"transfer-encoding"] is None
    assert answer.body == b"onetwo" and peer.closed and not peer.reset


@pytest.mark.parametrize("te", [b"trailers", b"gzip, trailers", b"Trailers"])
def test_trailers_are_sent_to_who_accepts_them(te):  # RFC9112§7.1.2, RFC9110§6.5.1
    first = apps.trailers((b"X-Sum", b"1"), more=True)
    second = apps.trailers((b"X-More", b"2"))
    peer = H1Peer(apps.sends(start(trailers=True), body(b"a"), first, second))
    answer = peer.fetch(headers=[(b"te", te), (b"connection", b"te")])
    assert answer.trailers == [(b"x-sum", b"1"), (b"x-more", b"2")]
    assert answer.complete and not peer.closed


def test_trailers_are_left_out_for_who_does_not_accept_them():
    peer = H1Peer(apps.sends(start(trailers=True), body(b"a"), apps.trailers((b"x", b"1"))))
    answer = peer.fetch()
    assert answer.trailers == [] and answer.body == b"a" and answer.complete


def test_trailers_without_content_are_sent():
    peer = H1Peer(apps.sends(start(trailers=True), body(), apps.trailers((b"x", b"1"))))
    answer = peer.fetch(headers=[(b"te", b"trailers"), (b"connection", b"te")])
    assert answer.trailers == [(b"x", b"1")] and answer.body == b""


def test_trailers_behind_a_content_length_are_left_out():
    message = start(200, (b"content-length", b"1"), trailers=True)
    peer = H1Peer(apps.sends(message, body(b"a"), apps.trailers((b"x", b"1"))))
    answer = peer.fetch(headers=[(b"te", b"trailers"), (b"connection", b"te")])
    assert answer.trailers == [] and answer.body == b"a" and answer.complete


# 9.3. Persistence


def test_a_connection_carries_one_request_after_another():
    peer = H1Peer(apps.hello)
    for _ in range(5):
        answer = peer.fetch()
        assert answer.status == 200 and answer.persistent
    assert not peer.closed


@pytest.mark.parametrize(
    "option", [b"close", b"Close", b"keep-alive, close", b"close, te", b"CLOSE"]
)
def test_connection_close_ends_the_connection_after_the_response(option):
    peer = H1Peer(apps.hello)
    peer.send(get(b"Connection: " + option))
    assert not peer.answer().persistent and peer.closed and not peer.reset


def test_what_follows_a_request_with_connection_close_is_not_served():  # RFC9112§9.6
    app = apps.Recorder()
    peer = H1Peer(app)
    peer.send(get(b"Connection: close") + GET)
    assert len(app.calls) == 1 and peer.statuses == [200] and peer.closed


def test_the_application_may_close_the_connection():
    peer = H1Peer(apps.answers(b"bye", 200, (b"Connection", b"close")))
    assert not peer.fetch().persistent and peer.closed


def test_http_1_0_does_not_persist_by_itself():
    peer = H1Peer(apps.hello)
    peer.send(b"GET / HTTP/1.0\r\n\r\n")
    assert peer.answer().body == b"hello" and peer.closed and not peer.reset


def test_http_1_0_persists_if_asked():
    peer = H1Peer(apps.hello)
    for _ in range(3):
        peer.send(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
    assert [each[b"connection"] for each in peer.responses()] == [b"keep-alive"] * 3
    assert not peer.closed


def test_keep_alive_may_be_turned_off():
    peer = H1Peer(apps.hello, Config(keep_alive=0))
    assert not peer.fetch().persistent and peer.closed


def test_the_last_of_the_allowed_requests_says_so():
    peer = H1Peer(apps.hello, Config(keep_alive_max_requests=3))
    assert [peer.fetch().persistent for _ in range(3)] == [True, True, False]
    assert peer.closed


# 9.3.2. Pipelining


@BY_EVERY_WAY
def test_pipelined_requests_are_answered_in_order(way):
    app = apps.Recorder()
    peer = H1Peer(app)
    requests = b"".join(
        get(target=b"/a")
        + post(b"Content-Length: 2", content=b"bb")
        + chunked(b"2\r\ncc\r\n0\r\n\r\n")
        + get(target=b"/d")
        for _ in range(3)
    )
    peer.send(*way(requests))
    assert peer.statuses == [200] * 12
    assert app.targets == ["/a", "/", "/", "/d"] * 3
    assert [call.body for call in app.calls] == [b"", b"bb", b"cc", b""] * 3


def test_the_second_request_waits_for_the_answer_to_the_first():
    async def steps(gate, scope, receive, send):
        gate.seen.append(scope["path"])
        await gate.wait()
        await send(start())
        await send(body(scope["raw_path"]))

    gate = apps.Gate(steps)
    peer = H1Peer(gate)
    peer.send(get(target=b"/1") + get(target=b"/2"))
    assert gate.seen == ["/1"] and not peer.sent
    gate.open()
    peer.settle()
    assert gate.seen == ["/1", "/2"]
    gate.open()
    peer.settle()
    assert [each.body for each in peer.responses()] == [b"/1", b"/2"]


def test_nothing_is_read_while_a_request_waits_for_its_turn():
    async def steps(gate, scope, receive, send):
        await gate.wait()
        await send(start())
        await send(body())

    gate = apps.Gate(steps)
    peer = H1Peer(gate)
    peer.send(GET, GET, GET, GET)
    assert peer.wire.paused and peer.wire.unread == 2 * len(GET)
    for _ in range(4):
        gate.open()
        peer.settle()
    assert peer.statuses == [200] * 4 and not peer.wire.paused


def test_two_thousand_pipelined_requests_are_answered_without_recursion():
    app = apps.Recorder()
    peer = H1Peer(app)
    peer.send(GET * 2000)
    assert len(app.calls) == 2000 and peer.sent.count(b"HTTP/1.1 200 OK\r\n") == 2000


def test_a_refused_request_after_a_good_one_comes_after_its_answer():
    app = apps.Recorder()
    peer = H1Peer(app)
    peer.send(GET + b"GARBAGE\r\n\r\n" + GET)
    assert peer.statuses == [200, 400] and peer.closed and len(app.calls) == 1


# 9.5. Failures and Timeouts


def test_an_idle_connection_is_closed_silently_in_the_end():
    peer = H1Peer(apps.hello, Config(keep_alive=20))
    peer.fetch()
    peer.advance(19)
    assert not peer.closed
    peer.advance(2)
    assert peer.closed and not peer.reset and peer.statuses == [200]


# 9.6. Tear-down


def test_a_client_that_ends_its_direction_gets_its_answer_and_then_the_end():
    async def steps(gate, scope, receive, send):
        await gate.wait()
        await send(start())
        await send(body(b"late"))

    gate = apps.Gate(steps)
    peer = H1Peer(gate)
    peer.send(GET)
    peer.half_close()
    assert not peer.sent and not peer.closed
    gate.open()
    peer.settle()
    assert peer.answer().body == b"late"
    assert peer.closed and not peer.reset, "the client waits for the end"


def test_a_client_that_ends_its_direction_gets_the_answers_to_all_its_requests():
    async def steps(gate, scope, receive, send):
        await gate.wait()
        await send(start())
        await send(body())

    gate = apps.Gate(steps)
    peer = H1Peer(gate)
    peer.send(GET * 3)
    peer.half_close()
    for _ in range(3):
        gate.open()
        peer.settle()
    assert peer.statuses == [200] * 3 and peer.closed and not peer.reset


def test_a_client_that_ends_its_direction_between_requests_is_closed():
    peer = H1Peer(apps.hello)
    peer.fetch()
    peer.half_close()
    assert peer.closed and not peer.reset


def test_a_client_that_ends_in_the_middle_of_a_head_is_closed():
    peer = H1Peer(apps.never)
    peer.send(GET[:-2])
    peer.half_close()
    assert peer.closed and 200 not in peer.statuses


def test_the_answer_to_a_truncated_upload_ends_the_connection_at_once():
    peer = H1Peer(apps.sends(start(), body(b"a", more=True), body(b"b")))
    peer.send(post(b"Content-Length: 10", content=b"12345"))
    peer.half_close()
    assert peer.closed, "the rest of the body cannot come any more"


def test_over_a_transport_that_cannot_half_close_the_end_is_a_disconnect():
    app = apps.Recorder()
    peer = H1Peer(app, half_closable=False)
    peer.send(post(b"Content-Length: 10", content=b"12345"))
    peer.half_close()
    assert app.call.disconnected and isinstance(app.call.error, OSError)
    assert peer.sent == b""


@pytest.mark.parametrize("content", [b"x" * 5, b"x" * 100_000])
def test_the_answer_to_an_unread_body_is_not_lost_in_a_reset(content):
    # RFC9112§9.6: end our direction, read on for a while, then close.
    peer = H1Peer(apps.hello)
    peer.send(post(b"Content-Length: 250000", content=content))
    assert peer.answer("POST").body == b"hello" and not peer.answer("POST").persistent
    assert peer.closed and not peer.reset and not peer.wire.closing
    peer.send(b"x" * 50_000)
    assert not peer.reset and not peer.wire.paused
    peer.advance(6)
    assert peer.wire.closing


def test_lingering_ends_when_the_client_ends():
    peer = H1Peer(apps.never)
    peer.send(b"GARBAGE\r\n\r\n")
    assert peer.closed and not peer.wire.closing
    peer.half_close()
    assert peer.wire.closing and not peer.reset


def test_lingering_takes_five_seconds_at_most_and_ends_without_a_reset():
    peer = H1Peer(apps.never)
    peer.send(b"GARBAGE\r\n\r\n")
    peer.advance(4)
    assert not peer.wire.closing
    peer.advance(2)
    assert peer.wire.closing and not peer.reset


def test_lingering_takes_a_bounded_number_of_octets():
    peer = H1Peer(apps.never)
    peer.send(b"GARBAGE\r\n\r\n")
    peer.send(*[b"x" * 65536] * 5)
    assert peer.wire.closing


def test_over_a_transport_that_cannot_half_close_lingering_ends_too():
    peer = H1Peer(apps.never, half_closable=False)
    peer.send(b"GARBAGE\r\n\r\n")
    peer.advance(6)
    assert peer.closed and peer.status == 400 and not peer.reset


def test_an_upload_that_the_application_ignores_does_not_stop_the_connection():
    # The whole of it has arrived, so the next request is where it should be.
    peer = H1Peer(apps.hello)
    for _ in range(3):
        before = len(peer.sent)
        peer.send(post(b"Content-Length: 100000", content=b"x" * 100_000))
        answer = peer.answer("POST", since=before)
        assert answer.status == 200
        if not answer.persistent:
            assert peer.closed
            return


def test_an_unread_rest_of_a_body_is_discarded_or_ends_the_connection():  # RFC9112§9.3
    peer = H1Peer(apps.sends(start(), body(b"a", more=True), body(b"b")))
    peer.send(post(b"Content-Length: 10", content=b"12345"))
    first = peer.answer("POST")
    assert first.body == b"ab"
    if first.persistent:
        peer.send(b"67890" + GET)
        assert peer.statuses == [200, 200]
    else:
        assert peer.closed


def test_a_worker_that_stops_says_so_in_the_next_answer():
    peer = H1Peer(apps.hello)
    peer.fetch()
    peer.drain()
    assert not peer.closed, "a request may be on its way"
    assert not peer.fetch().persistent and peer.closed


def test_a_worker_that_stops_closes_what_stays_idle():
    peer = H1Peer(apps.hello)
    peer.fetch()
    peer.drain()
    peer.advance(2)
    assert peer.closed and not peer.reset


def test_a_worker_that_stops_closes_a_connection_that_has_asked_for_nothing_yet():
    peer = H1Peer(apps.never)
    peer.drain()
    peer.advance(2)
    assert peer.closed


def test_a_worker_that_stops_finishes_a_request_that_has_begun_to_arrive():
    peer = H1Peer(apps.echo)
    peer.send(post(b"Content-Length: 2", content=b"a"))
    peer.drain()
    peer.send(b"b")
    answer = peer.answer("POST")
    assert answer.body == b"ab" and not answer.persistent and peer.closed


def test_a_worker_that_stops_finishes_a_head_that_has_begun_to_arrive():
    peer = H1Peer(apps.hello)
    peer.send(GET[:9])
    peer.drain()
    peer.send(GET[9:])
    assert not peer.answer().persistent and peer.closed


def test_a_worker_that_stops_serves_one_pipelined_request_and_closes():
    async def steps(gate, scope, receive, send):
        await gate.wait()
        await send(start())
        await send(body())

    gate = apps.Gate(steps)
    peer = H1Peer(gate)
    peer.send(GET * 2)
    peer.drain()
    gate.open()
    peer.settle()
    assert [each.persistent for each in peer.responses()] == [False] and peer.closed


def test_a_worker_that_stops_does_not_wait_for_who_was_sending_an_unread_body():
    peer = H1Peer(apps.sends(start(), body(b"a", more=True), body(b"b")))
    peer.send(post(b"Content-Length: 10", content=b"12345"))
    peer.drain()
    peer.send(b"67890")
    peer.advance(2)
    assert peer.closed


# What the application does wrong


def test_an_error_before_the_response_is_a_500_and_the_connection_goes_on():
    async def application(scope, receive, send):
        raise ValueError("oops")

    peer = H1Peer(application)
    for _ in range(2):
        answer = peer.fetch()
        assert answer.status == 500 and answer.complete and b"oops" not in answer.body
        errors.expect("ValueError: oops")
    assert not peer.closed


def test_an_error_after_the_head_is_known_but_not_sent_is_a_500():
    async def application(scope, receive, send):
        await send(start(200, (b"x-secret", b"1")))
        raise ValueError("oops")

    peer = H1Peer(application)
    answer = peer.fetch()
    assert answer.status == 500 and answer[b"x-secret"] is None
    errors.expect("oops")


@pytest.mark.parametrize("request_", [GET, b"GET / HTTP/1.0\r\n\r\n"], ids=["1.1", "1.0"])
def test_an_error_in_the_middle_of_the_content_cannot_be_taken_for_its_end(request_):
    async def application(scope, receive, send):
        await send(start())
        await send(body(b"half", more=True))
        raise ValueError("oops")

    peer = H1Peer(application)
    peer.send(request_)
    assert peer.reset and not peer.sent.endswith(b"0\r\n\r\n")
    errors.expect("oops")


def test_an_error_in_the_middle_of_a_declared_length_ends_the_connection():
    async def application(scope, receive, send):
        await send(start(200, (b"content-length", b"10")))
        await send(body(b"half", more=True))
        raise ValueError("oops")

    peer = H1Peer(application)
    peer.send(GET)
    assert not peer.answer().complete and peer.reset
    errors.expect("oops")


def test_an_application_that_returns_without_an_answer_is_a_500():
    peer = H1Peer(apps.sends())
    assert peer.fetch().status == 500 and not peer.closed
    errors.expect("without completing")


def test_an_application_that_returns_in_the_middle_ends_the_connection():
    peer = H1Peer(apps.sends(start(), body(b"half", more=True)))
    peer.send(GET)
    assert peer.reset
    errors.expect("without completing")


def test_an_error_after_the_whole_answer_changes_nothing_for_the_client():
    async def application(scope, receive, send):
        await send(start())
        await send(body(b"fine"))
        raise ValueError("too late")

    peer = H1Peer(application)
    assert peer.fetch().body == b"fine"
    errors.expect("too late")
    assert peer.fetch().body == b"fine"
    errors.expect("too late")


def test_system_exit_in_one_request_ends_only_that_request():
    async def application(scope, receive, send):
        if scope["path"] == "/exit":
            raise SystemExit(1)
        await apps.hello(scope, receive, send)

    peer = H1Peer(application)
    assert peer.fetch("/exit").status == 500
    errors.expect("SystemExit")
    assert peer.fetch().status == 200


def test_a_byte_at_a_time_is_as_good_as_all_at_once_for_a_long_conversation():
    app = apps.Recorder()
    peer = H1Peer(app)
    for _ in range(3):
        peer.send(*byte_by_byte(post(b"Content-Length: 3", content=b"abc")))
    assert peer.statuses == [200] * 3 and [call.body for call in app.calls] == [b"abc"] * 3
