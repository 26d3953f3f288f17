"""RFC 9112, HTTP/1.1, in the order of its sections: what the bytes of a client bring about."""

from __future__ import annotations

import pytest

from tests.support import apps
from tests.support.apps import body, start
from tests.support.messages import BY_EVERY_WAY, GET, chunked, get, post
from tests.support.peers import H1Peer
from tricorn.config import Config

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
