"""RFC 9113§8, HTTP semantics in frames, and §9.1: what a malformed message costs, and whom."""

from __future__ import annotations

import pytest
from hyperframe.frame import HeadersFrame

from tests.support import apps, frames
from tests.support.apps import body, start
from tests.support.frames import GET, POST
from tests.support.peers import errors
from tests.support.tunnel import Tunnel
from tests.wire.states import NOTHING, TRAILERS, connected, connection, cost, stream
from tricorn.config import Config

MALFORMED = stream(frames.PROTOCOL_ERROR)
METHOD, SCHEME, AUTHORITY, PATH = GET


def asking(fields: list, **options: object) -> bytes:
    return frames.headers(1, fields, **options)


def replaced(name: bytes, value: bytes) -> list:
    return [(name, value) if each[0] == name else each for each in GET]


def without(name: bytes) -> list:
    return [each for each in GET if each[0] != name]


# 8.1. HTTP Message Framing


def test_content_and_trailers_follow_the_head():
    app = apps.Recorder()
    peer = connected(app)
    peer.send(frames.headers(1, POST, end=False), frames.data(1, b"ab"), frames.data(1, b"c"))
    peer.send(frames.headers(1, TRAILERS))
    assert app.call.body == b"abc" and app.call.trailers == list(TRAILERS)


def test_an_empty_frame_may_end_a_request():
    app = apps.Recorder()
    peer = connected(app)
    peer.send(frames.headers(1, POST, end=False), frames.data(1, b"abc"), frames.data(1, end=True))
    assert app.call.body == b"abc" and app.call.ended


@pytest.mark.parametrize(
    "rest",
    [
        frames.headers(1, TRAILERS, end=False),
        frames.headers(1, GET),
        frames.headers(1, [(b":path", b"/")]),
        frames.headers(1, [(b"X-Sum", b"1")]),
        frames.headers(1, [(b"connection", b"close")]),
        frames.headers(1, [(b"content-length", b"0")]),
        frames.headers(1, [(b"transfer-encoding", b"chunked")]),
        frames.headers(1, [(b"host", b"x")]),
        frames.headers(1, [(b"x-a", b"1")] * 200),
    ],
)
def test_trailers_that_cannot_be_cost_their_stream(rest):
    app = apps.Recorder()
    peer = connected(app)
    peer.send(frames.headers(1, [*POST[:3], (b":path", b"/x")], end=False))
    peer.send(rest)
    assert peer.resets == {1: frames.PROTOCOL_ERROR} and peer.goaway is None
    assert app.call.disconnected and not app.call.ended


def test_an_early_answer_asks_for_no_more():
    peer = connected(apps.hello)
    peer.send(frames.headers(1, POST, end=False))
    assert peer.answer(1).complete and peer.resets == {1: frames.NO_ERROR}


def test_what_was_on_its_way_to_early_answers_is_ignored():
    peer = connected(apps.hello)
    for id in range(1, 41, 2):
        peer.send(frames.headers(id, POST, end=False))
    for id in range(1, 41, 2):  # 64 KiB each, as an application wrote them
        peer.send(frames.data(id, b"x" * 512) * 128)
    peer.next = 41
    assert peer.goaway is None and peer.fetch().complete


def test_interim_responses_come_before_the_final_one():
    early = {"type": "http.response.early_hint", "links": [b"</a>; rel=preload"]}
    peer = connected(apps.sends(early, early, start(200), body(b"x")))
    answer = peer.fetch()
    assert [status for status, _ in answer.informational] == [103, 103] and answer.status == 200


# 8.1.1. Malformed Messages: Content-Length


@pytest.mark.parametrize(
    "rest",
    [
        [frames.data(1, b"abcd", end=True)],
        [frames.data(1, b"abcdef")],
        [frames.data(1, end=True)],
        [frames.data(1, b"abcd", padding=1, end=True)],
        [frames.headers(1, TRAILERS)],
        [frames.data(1, b"ab"), frames.data(1, b"cd"), frames.headers(1, TRAILERS)],
        [frames.data(1, b"abcde"), frames.data(1, b"f", end=True)],
    ],
)
def test_a_length_is_true_wherever_the_request_ends(rest):
    app = apps.Recorder()
    peer = connected(app)
    peer.send(asking([*POST, (b"content-length", b"5")], end=False))
    peer.send(*rest)
    assert peer.resets == {1: frames.PROTOCOL_ERROR} and peer.goaway is None
    assert app.call.disconnected and not app.call.ended


def test_a_head_that_ends_has_no_length_but_none():
    assert cost(connected(), asking([*GET, (b"content-length", b"5")])) == MALFORMED
    assert cost(connected(apps.hello), asking([*GET, (b"content-length", b"0")])) == NOTHING


@pytest.mark.parametrize("value", [b"", b"x", b"-1", b"+1", b"1.0", b"1,1", b"0x1", b"1_0"])
def test_a_length_is_a_number(value):
    data = asking([*POST, (b"content-length", value)], end=False)
    assert cost(connected(), data) == MALFORMED


def test_nothing_of_a_malformed_request_reaches_an_application():
    peer = connected(apps.never)
    for id, fields in enumerate((without(b":path"), [*GET, (b"X", b"1")])):
        peer.send(frames.headers(2 * id + 1, fields))
    assert set(peer.resets.values()) == {frames.PROTOCOL_ERROR} and len(peer.resets) == 2


# 8.2. HTTP Fields

NAMES = [b"", b"X", b"x-A", b"a b", b"a:", b"a\0", b"a\n", b"a\r", b"a\t", b"\x80", b"a(", b'a"']
NAMES += [bytes((octet,)) for octet in (0x1F, 0x20, 0x7F, 0xFF)]
VALUES = [b"a\0", b"\r", b"a\nb", b" a", b"a ", b"\ta", b"a\t", b"a\x7f", b"\x01", b"a\x1fb"]
SPECIFIC = [b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"]


@pytest.mark.parametrize(
    "field",
    [
        *[(name, b"1") for name in NAMES],
        *[(b"x-a", value) for value in VALUES],
        *[(name, b"close") for name in SPECIFIC],
        *[(b"te", value) for value in (b"gzip", b"trailers, gzip", b"", b"trailers;q=1")],
    ],
)
def test_a_field_that_cannot_be_costs_its_stream(field):  # §8.2.1, §8.2.2
    assert cost(connected(), asking([*GET, field])) == MALFORMED


@pytest.mark.parametrize(
    "field",
    [(b"te", b"trailers"), (b"x-a", b""), (b"x-a", b"\x80\xff"), (b"x!#$%&'*+-.^_`|~", b"a\tb")],
)
def test_a_field_that_can_be_is_taken(field):
    app = apps.Recorder()
    connected(app, Config(underscores_in_headers=True)).send(asking([*GET, field]))
    assert field in app.call.scope["headers"]


def test_crumbs_are_joined_in_their_order():  # §8.2.3
    app = apps.Recorder()
    crumbs = [(b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"x", b"y"), (b"cookie", b"c=3")]
    connected(app).send(asking([*GET, *crumbs]))
    cookies = [value for name, value in app.call.scope["headers"] if name == b"cookie"]
    assert cookies == [b"a=1; b=2; c=3"]


@pytest.mark.parametrize("field", [(b"x-a", b"1\r\n2"), (b"x-a", b"\0"), (b"a b", b"1")])
def test_a_response_field_that_cannot_be_is_not_sent(field):  # library-gaps 10
    peer = connected(apps.answers(b"x", 200, field))
    assert peer.fetch().status == 500
    errors.expect("")


def test_fields_of_a_connection_are_left_out_of_responses():
    fields = [(name, b"close") for name in SPECIFIC if name != b"transfer-encoding"]
    peer = connected(apps.answers(b"x", 200, *fields, (b"x-a", b"1")))
    answer = peer.fetch()  # which fails on them
    assert answer.complete and answer[b"x-a"] == b"1"


def test_names_are_sent_in_lower_case():
    peer = connected(apps.answers(b"x", 200, (b"X-Answer", b"1")))
    assert peer.fetch()[b"x-answer"] == b"1"


# 8.3. HTTP Control Data


@pytest.mark.parametrize(
    "fields",
    [
        without(b":method"),
        without(b":scheme"),
        without(b":path"),
        [METHOD],
        [(b"x-a", b"1")],
        *[[*GET, field] for field in GET],
        [(b"x-a", b"1"), *GET],
        [METHOD, SCHEME, (b"x-a", b"1"), AUTHORITY, PATH],
        [METHOD, SCHEME, (b"cookie", b"1"), AUTHORITY, PATH],
        [METHOD, SCHEME, (b"content-length", b"0"), AUTHORITY, PATH],
        [METHOD, SCHEME, (b"http2-settings", b""), AUTHORITY, PATH],
        [*GET, (b":status", b"200")],
        [*GET, (b":unknown", b"1")],
        [*GET, (b":", b"1")],
        [*GET, (b":Path", b"/")],
        *[replaced(b":method", value) for value in (b"", b"G T", b"GET / HTTP/1.1", b"G\xc9T")],
        *[replaced(b":scheme", value) for value in (b"", b"1", b"a b", b"ftp:")],
        *[
            replaced(b":path", value)
            for value in (b"", b"x", b"*", b"http://x/", b"/a b", b"/\xe9")
        ],
        *[replaced(b":path", value) for value in (b"/a#b", b"/ HTTP/1.1", b"/\0", b" /")],
        *[replaced(b":authority", value) for value in (b"u@x", b"x y", b"x/", b"x\0", b"[::1")],
        [*GET, (b"host", b"y")],
        [*GET, (b"host", b"x"), (b"host", b"x")],
    ],
)
def test_pseudo_fields_are_what_they_have_to_be(fields):
    assert cost(connected(), asking(fields)) == MALFORMED


def test_an_options_request_may_ask_about_the_server():
    app = apps.Recorder()
    peer = connected(app)
    peer.send(asking([(b":method", b"OPTIONS"), SCHEME, AUTHORITY, (b":path", b"*")]))
    assert peer.answer(1).complete and app.call.scope["raw_path"] == b"*"


def test_host_may_take_the_place_of_authority():
    app = apps.Recorder()
    connected(app).send(asking([*without(b":authority"), (b"host", b"y")]))
    assert [field for field in app.call.scope["headers"] if field[0] == b"host"] == [
        (b"host", b"y")
    ]


@pytest.mark.parametrize("fields", [without(b":authority"), replaced(b":authority", b"")])
def test_a_request_without_an_authority_is_refused(fields):
    peer = connected(apps.never)
    peer.send(asking(fields))
    assert peer.goaway is None
    assert peer.resets == {1: frames.PROTOCOL_ERROR} or peer.answer(1).status == 400


def test_methods_are_any_token():
    app = apps.Recorder()
    connected(app).send(asking(replaced(b":method", b"PROPFIND!")))
    assert app.call.scope["method"] == "PROPFIND!"


# 8.5. The CONNECT Method; RFC 8441

CONNECT = (b":method", b"CONNECT")
TUNNEL = [CONNECT, SCHEME, AUTHORITY, PATH, (b":protocol", b"echo")]


class Echo(Tunnel):
    """What 101 says on HTTP/1.1, 200 says here (RFC8441§5)."""

    __slots__ = ()

    async def run(self) -> None:
        try:
            self.connection.send_headers(self.id, 200, [])
        finally:
            self.context.running.discard(self)


def tunnelled():
    return connected(apps.never, streams={"echo": Echo})


def test_we_are_no_proxy():
    peer = connected(apps.never)
    peer.send(asking([CONNECT, AUTHORITY], end=False))
    assert peer.answer(1).status == 501 and peer.goaway is None


@pytest.mark.parametrize("fields", [[CONNECT, SCHEME, AUTHORITY, PATH], [CONNECT, AUTHORITY, PATH]])
def test_a_plain_connect_names_no_scheme_and_no_path(fields):
    assert cost(connected(), asking(fields, end=False)) == MALFORMED


def test_extended_connect_is_announced_where_it_is_spoken():  # RFC8441§3
    assert tunnelled().settings[frames.ENABLE_CONNECT_PROTOCOL] == 1
    assert frames.ENABLE_CONNECT_PROTOCOL not in connected().settings


def test_a_tunnel_carries_octets_both_ways():  # RFC8441§5
    peer = tunnelled()
    peer.send(asking(TUNNEL, end=False))
    assert peer.answer(1).status == 200 and not peer.answer(1).complete
    peer.send(frames.data(1, b"abc"))
    assert peer.answer(1).body == b"abc"
    peer.send(frames.data(1, b"d", end=True))
    assert peer.answer(1).body == b"abcd" and peer.answer(1).complete and not peer.resets


@pytest.mark.parametrize(
    "fields",
    [
        [CONNECT, AUTHORITY, PATH, (b":protocol", b"echo")],
        [CONNECT, SCHEME, AUTHORITY, (b":protocol", b"echo")],
        [*GET, (b":protocol", b"echo")],
        [*TUNNEL, (b":protocol", b"echo")],
        [*TUNNEL[:4], (b":protocol", b"")],
    ],
)
def test_a_malformed_tunnel_costs_its_stream(fields):  # RFC8441§4
    peer = connected(streams={"echo": Tunnel.accepting})
    assert cost(peer, asking(fields, end=False)) == MALFORMED


def test_a_tunnel_that_nobody_offered_costs_its_stream():
    assert cost(connected(), asking(TUNNEL, end=False)) == MALFORMED


def test_a_protocol_that_is_not_spoken_is_refused():
    peer = tunnelled()
    peer.send(asking([*TUNNEL[:4], (b":protocol", b"telnet")], end=False))
    assert peer.answer(1).status == 501 and peer.goaway is None


def test_a_tunnel_that_is_reset_is_told():
    tunnels: list[Tunnel] = []
    peer = connected(apps.never, streams={"echo": Tunnel.noted_in(tunnels)})
    peer.send(asking(TUNNEL, end=False), frames.rst(1))
    assert tunnels[0].lost and peer.goaway is None


# 9.1. Connection Management


def test_a_host_that_is_not_ours_is_misdirected():  # §9.1.1
    peer = connected(apps.hello, Config(server_name=("y",)))
    peer.send(asking(GET), frames.headers(3, replaced(b":authority", b"y")))
    assert peer.answer(1).status == 421 and peer.answer(3).body == b"hello"


def test_a_response_has_one_head():
    peer = connected(apps.hello)
    peer.fetch()
    assert len(peer.of(HeadersFrame)) == 1


def test_the_first_head_is_no_trailer_section():
    assert cost(connected(), frames.headers(1, TRAILERS)) == MALFORMED
    assert cost(connected(), frames.headers(1, b"")) == MALFORMED
    assert cost(connected(), frames.headers(0, b"")) == connection(frames.PROTOCOL_ERROR)
