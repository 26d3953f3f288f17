"""RFC 9110, HTTP semantics, in the order of its sections, as HTTP/1.1 carries them."""

from __future__ import annotations

import pytest

from tests.support import apps
from tests.support.apps import body, start
from tests.support.peers import WAYS, H1Peer, byte_by_byte, errors, request
from tests.support.tunnel import Tunnel
from tricorn.config import Config

ECHO = {"echo": Tunnel.accepting}
UPGRADE = request(headers=[(b"connection", b"Upgrade"), (b"upgrade", b"echo")])
BY_EVERY_WAY = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


# 5. Fields


def test_white_space_around_a_value_of_the_application_is_left_out():  # RFC9110§5.5
    peer = H1Peer(apps.answers(b"", 200, (b"x-a", b" \tb c\t ")))
    assert peer.fetch()[b"x-a"] == b"b c"


def test_names_are_sent_in_lower_case():
    peer = H1Peer(apps.answers(b"", 200, (b"X-Up", b"b")))
    peer.fetch()
    assert b"\r\nx-up: b\r\n" in peer.sent


def test_fields_of_one_name_stay_apart_and_in_order():  # RFC9110§5.3: set-cookie
    cookies = [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"set-cookie", b"a=1")]
    peer = H1Peer(apps.answers(b"", 200, *cookies))
    assert peer.fetch().all(b"set-cookie") == [b"a=1", b"b=2", b"a=1"]


# 6.6.1. Date; 10.2.4. Server


def test_every_response_has_a_date_and_a_server():
    answer = H1Peer(apps.hello).fetch()
    assert answer[b"date"] == b"Sun, 06 Nov 1994 08:49:37 GMT"
    assert answer[b"server"] == b"tricorn"


def test_the_date_and_server_of_the_application_are_the_only_ones():
    date = b"Mon, 07 Nov 1994 08:49:37 GMT"
    app = apps.answers(b"", 200, (b"Date", date), (b"Server", b"mine"))
    answer = H1Peer(app, Config(header=("X-Fixed: 1",))).fetch()
    assert answer[b"date"] == date and answer[b"server"] == b"mine"
    assert answer[b"x-fixed"] == b"1"


def test_date_and_server_may_be_turned_off():
    answer = H1Peer(apps.hello, Config(date_header=False, server_header=False)).fetch()
    assert answer[b"date"] is None and answer[b"server"] is None


def test_the_operators_fields_are_in_every_response():
    peer = H1Peer(apps.hello, Config(header=("X-A: 1", "X-B: 2")))
    assert peer.fetch()[b"x-a"] == b"1"
    peer.send(b"GARBAGE\r\n\r\n")
    assert peer.responses()[1][b"x-b"] == b"2"


# 7.8. Upgrade


@BY_EVERY_WAY
def test_after_101_the_bytes_belong_to_the_other_protocol(way):
    peer = H1Peer(apps.never, streams=ECHO)
    peer.send(*way(UPGRADE + b"one"))
    peer.send(b"two")
    answer = peer.answer()
    assert answer.status == 101 and answer[b"upgrade"] == b"echo"
    assert answer[b"connection"] == b"upgrade" and answer.body == b"onetwo"


def test_the_tunnel_ends_when_its_stream_does():
    peer = H1Peer(apps.never, streams=ECHO)
    peer.send(UPGRADE)
    peer.half_close()  # which ends the stream of Tunnel.accepting
    assert peer.answer().status == 101 and peer.closed and not peer.reset


def test_a_stream_of_a_tunnel_hears_that_the_client_is_gone():
    tunnels: list[Tunnel] = []
    peer = H1Peer(apps.never, streams={"echo": Tunnel.noted_in(tunnels)})
    peer.send(UPGRADE)
    peer.lose()
    assert tunnels[0].lost


def test_a_tunnel_that_nobody_reads_stops_reading():
    tunnels: list[Tunnel] = []
    peer = H1Peer(apps.never, streams={"echo": Tunnel.noted_in(tunnels, consuming=False)})
    peer.send(UPGRADE, *[b"x" * 16_384] * 20)
    assert peer.wire.paused and peer.wire.unread > 200_000
    tunnels[0].consume()
    peer.settle()
    assert not peer.wire.paused or peer.wire.unread < 200_000


def test_a_tunnel_after_a_response_that_failed_carries_its_own_bytes():
    # A head that could not be sent must not come back in the middle of another protocol.
    app = apps.sends(start(200, (b"x-bad", b"a\r\nb")), body(b"x", more=True))
    peer = H1Peer(app, streams=ECHO)
    assert peer.fetch().status == 500
    errors.expect("control character")
    before = len(peer.sent)
    peer.send(UPGRADE)
    peer.send(b"one")
    assert peer.answer(since=before).body == b"one"


def test_a_refused_upgrade_is_the_last_answer():
    peer = H1Peer(apps.never, streams={"echo": Tunnel.refusing})
    peer.send(UPGRADE + b"what the client already says in the other protocol")
    assert peer.answer().status == 403 and peer.closed


def test_an_unknown_upgrade_is_ignored():
    peer = H1Peer(apps.hello)
    answer = peer.fetch(headers=[(b"connection", b"upgrade"), (b"upgrade", b"foo/2")])
    assert answer.status == 200 and answer.persistent and not peer.closed


def test_an_upgrade_that_connection_does_not_name_is_ignored():
    peer = H1Peer(apps.hello, streams=ECHO)
    assert peer.fetch(headers=[(b"upgrade", b"echo")]).status == 200


def test_an_upgrade_in_http_1_0_is_ignored():
    peer = H1Peer(apps.hello, streams=ECHO)
    peer.send(UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert peer.status == 200


def test_the_known_one_of_several_offers_is_taken():
    peer = H1Peer(apps.never, streams=ECHO)
    offer = [(b"connection", b"keep-alive, UPGRADE"), (b"upgrade", b"foo, ECHO")]
    peer.send(request(headers=offer))
    assert peer.answer().status == 101


# 8.6. Content-Length


def test_too_much_content_is_cut_off_and_logged():
    peer = H1Peer(apps.answers(b"12345", 200, (b"content-length", b"3")))
    assert peer.fetch().body == b"123" and not peer.closed
    errors.expect("Content-Length")
    assert peer.fetch().body == b"123"
    errors.expect("Content-Length")


def test_too_much_content_in_parts_is_cut_off_and_logged():
    app = apps.sends(start(200, (b"content-length", b"3")), body(b"12", more=True), body(b"345"))
    peer = H1Peer(app)
    assert peer.fetch().body == b"123"
    errors.expect("Content-Length")
    assert peer.fetch().body == b"123"
    errors.expect("Content-Length")


def test_too_little_content_at_once_is_a_500():
    peer = H1Peer(apps.answers(b"12", 200, (b"content-length", b"3")))
    assert peer.fetch().status == 500
    errors.expect("Content-Length")


def test_too_little_content_in_parts_cannot_be_taken_for_all():
    app = apps.sends(start(200, (b"content-length", b"30")), body(b"12", more=True), body(b"34"))
    peer = H1Peer(app)
    peer.send(request())
    assert not peer.answer().complete and peer.reset
    errors.expect("Content-Length")


@pytest.mark.parametrize(
    "fields",
    [
        [(b"content-length", b"3"), (b"content-length", b"3")],
        [(b"content-length", b"3, 3")],
        [(b"content-length", b"-3")],
        [(b"content-length", b"three")],
        [(b"content-length", b"")],
    ],
)
def test_a_content_length_that_is_none_is_a_500(fields):
    assert H1Peer(apps.answers(b"abc", 200, *fields)).fetch().status == 500
    errors.expect("Content-Length")


def test_a_content_length_that_is_true_keeps_the_connection():
    app = apps.sends(start(200, (b"Content-Length", b"4")), body(b"12", more=True), body(b"34"))
    peer = H1Peer(app)
    answer = peer.fetch()
    assert answer[b"transfer-encoding"] is None and answer.body == b"1234" and not peer.closed


@pytest.mark.parametrize("name", [b"Transfer-Encoding", b"Connection", b"Keep-Alive", b"Upgrade"])
def test_what_is_the_connections_to_say_is_not_the_applications(name):  # RFC9110§7.6.1
    peer = H1Peer(apps.answers(b"abc", 200, (name, b"chunked")))
    answer = peer.fetch()
    assert answer.body == b"abc" and answer.all(name.lower()) == []


# 9.3.2. HEAD


@pytest.mark.parametrize("length", [[], [(b"content-length", b"5")], [(b"content-length", b"99")]])
@pytest.mark.parametrize(
    "parts", [[body(b"hello")], [body(b"he", more=True), body(b"llo")], [body()]]
)
def test_head_gets_no_content_and_the_connection_goes_on(parts, length):
    peer = H1Peer(apps.sends(start(200, *length), *parts))
    for _ in range(2):
        answer = peer.fetch(method="HEAD")
        assert (
            answer.complete
            and answer.body == b""
            and answer.all(b"content-length")
            in (
                [value for _, value in length],
                [b"5"],
            )
        )
    assert peer.sent.endswith(b"\r\n\r\n") and not peer.closed


def test_an_error_in_the_application_has_no_content_for_head():
    async def application(scope, receive, send):
        raise ValueError("oops")

    peer = H1Peer(application)
    answer = peer.fetch(method="HEAD")
    assert answer.status == 500 and peer.sent.endswith(b"\r\n\r\n") and not peer.closed
    errors.expect("oops")


def test_a_refused_head_request_gets_no_content():
    peer = H1Peer(apps.never)
    peer.send(request(method="HEAD", headers=[(b"expect", b"magic")]))
    assert peer.answer("HEAD").status == 417 and peer.sent.endswith(b"\r\n\r\n")


# 15. Status Codes


@pytest.mark.parametrize("status", [200, 201, 299, 302, 404, 418, 451, 499, 500, 503, 599])
def test_any_final_status_can_be_sent(status):
    peer = H1Peer(apps.answers(b"x", status))
    assert peer.fetch().status == status and not peer.closed


@pytest.mark.parametrize("parts", [[body(b"x")], [body(b"x", more=True), body(b"y")], [body()]])
@pytest.mark.parametrize("status", [204, 304])
def test_204_and_304_have_no_content(status, parts):  # RFC9110§15.3.5, §15.4.5
    peer = H1Peer(apps.sends(start(status), *parts))
    for _ in range(2):
        answer = peer.fetch()
        assert answer.status == status and answer.body == b"" and answer.complete
        assert answer[b"transfer-encoding"] is None
    assert peer.sent.endswith(b"\r\n\r\n") and not peer.closed


def test_204_has_no_content_length_even_if_the_application_says_so():  # RFC9110§8.6
    peer = H1Peer(apps.answers(b"", 204, (b"content-length", b"0")))
    assert peer.fetch()[b"content-length"] is None


def test_304_may_tell_the_length_of_what_it_does_not_send():  # RFC9110§8.6
    peer = H1Peer(apps.answers(b"", 304, (b"content-length", b"99"), (b"etag", b'"a"')))
    assert peer.fetch()[b"content-length"] == b"99"
    assert peer.fetch()[b"etag"] == b'"a"'


@pytest.mark.parametrize("parts", [[body(b"x")], [body(b"x", more=True), body(b"y")]])
def test_205_has_no_content(parts):  # RFC9110§15.3.6: MUST NOT generate content
    peer = H1Peer(apps.sends(start(205), *parts))
    answer = peer.fetch()
    assert answer.status == 205 and answer.body == b"" and not peer.closed


@BY_EVERY_WAY
def test_early_hints_come_before_the_response(way):  # RFC8297
    hint = {"type": "http.response.early_hint", "links": [b"</a>; rel=preload", b"</b>"]}
    peer = H1Peer(apps.sends(hint, start(), hint, body(b"x")))
    peer.send(*way(request()))
    answer = peer.answer()
    links = [(b"link", b"</a>; rel=preload"), (b"link", b"</b>")]
    assert answer.informational == [(103, links), (103, links)] and answer.body == b"x"


def test_early_hints_are_not_sent_to_http_1_0():  # RFC9110§15.2
    hint = {"type": "http.response.early_hint", "links": [b"</a>"]}
    peer = H1Peer(apps.sends(hint, start(), body(b"x")))
    peer.send(b"GET / HTTP/1.0\r\n\r\n")
    assert peer.answer().informational == []


def test_options_reaches_the_application():
    app = apps.Recorder()
    assert H1Peer(app).fetch("/a", method="OPTIONS").status == 200
    assert app.call.scope["method"] == "OPTIONS"


def test_trace_is_not_answered_by_the_server_itself():  # RFC9110§9.3.8
    app = apps.Recorder()
    peer = H1Peer(app)
    answer = peer.fetch(method="TRACE", headers=[(b"cookie", b"secret")])
    assert b"secret" not in answer.body


def test_memory_of_heads_does_not_mix_requests_up():
    # The same bytes twice go another way; nothing of the first request may stick to the second.
    app = apps.Recorder()
    peer = H1Peer(app)
    one, two = request("/a?1", headers=[(b"x-a", b"1")]), request("/b", headers=[(b"x-a", b"2")])
    for data in (one, one, two, one, two, two):
        peer.send(data)
    for data in (one, two):
        peer.send(*byte_by_byte(data))
    assert app.targets == ["/a", "/a", "/b", "/a", "/b", "/b", "/a", "/b"]
    seen = [dict(call.scope["headers"])[b"x-a"] for call in app.calls]
    assert seen == [b"1", b"1", b"2", b"1", b"2", b"2", b"1", b"2"]
