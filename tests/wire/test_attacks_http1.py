"""Framing and smuggling attacks on HTTP/1.1; H1-nn are the rows of the attack catalogue.

Whatever arrives, and in whatever pieces: an error status, the end of the connection, and nothing
of it reaches an application as a request, or as the whole body of one.
"""

from __future__ import annotations

import pytest

from tests.support import apps
from tests.support.apps import Recorder, body, start
from tests.support.peers import WAYS, H1Peer, request
from tests.support.tunnel import Tunnel
from tricorn.config import Config

GET = request("/smuggled")
BY_EVERY_WAY = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
CONTROLS = [*range(1, 9), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F]


def head(*lines: bytes, first: bytes = b"POST / HTTP/1.1", host: bytes = b"Host: x\r\n") -> bytes:
    """A head with these lines, each as it is, and a line break after it."""
    return first + b"\r\n" + host + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def line(first: bytes) -> bytes:
    return head(first=first)


def hosted(*hosts: bytes, first: bytes = b"GET / HTTP/1.1") -> bytes:
    return head(*[b"Host: " + host for host in hosts], first=first, host=b"")


TE = b"Transfer-Encoding: chunked"
BAD = (400,)
CODING = (400, 501)

# Row, name, bytes, allowed statuses. The application must not be called.
REFUSED_HEADS: list[tuple[str, str, bytes, tuple[int, ...]]] = [
    ("H1-01", "cl-te", head(b"Content-Length: 6", TE) + b"0\r\n\r\nG", BAD),
    ("H1-01", "te-cl", head(TE, b"Content-Length: 6") + b"0\r\n\r\nG", BAD),
    ("H1-01", "te-cl-zero", head(TE, b"Content-Length: 0") + b"0\r\n\r\n", BAD),
    ("H1-01", "te-cl-empty", head(TE, b"Content-Length:") + b"0\r\n\r\n", BAD),
    ("H1-02", "x", head(b"Transfer-Encoding: xchunked"), CODING),
    ("H1-02", "not-last", head(b"Transfer-Encoding: chunked, identity"), CODING),
    ("H1-02", "identity", head(b"Transfer-Encoding: identity"), CODING),
    ("H1-02", "identity-first", head(b"Transfer-Encoding: identity, chunked"), CODING),
    ("H1-02", "twice-in-one", head(b"Transfer-Encoding: chunked, chunked"), CODING),
    ("H1-02", "quoted", head(b'Transfer-Encoding: "chunked"'), CODING),
    ("H1-02", "parameter", head(b"Transfer-Encoding: chunked;q=1"), CODING),
    ("H1-02", "vertical-tab", head(b"Transfer-Encoding: \x0bchunked"), CODING),
    ("H1-02", "nul", head(b"Transfer-Encoding: chunked\0"), CODING),
    ("H1-02", "space-before-colon", head(b"Transfer-Encoding : chunked"), CODING),
    ("H1-02", "empty", head(b"Transfer-Encoding:"), CODING),
    ("H1-02", "comma", head(b"Transfer-Encoding: ,chunked"), CODING),
    ("H1-02", "two-words", head(b"Transfer-Encoding: chunked x"), CODING),
    ("H1-02", "obs-text", head(b"Transfer-Encoding: chunked\xa0"), CODING),
    (
        "H1-02",
        "underscore",
        head(b"Transfer-Encoding: chunked", b"Transfer_Encoding: x", b": "),
        BAD,
    ),
    ("H1-03", "same", head(TE, TE), CODING),
    ("H1-03", "different", head(TE, b"Transfer-Encoding: identity"), CODING),
    ("H1-03", "other-case", head(TE, b"TRANSFER-ENCODING: chunked"), CODING),
    ("H1-04", "folded-coding", head(b"Transfer-Encoding:\r\n chunked"), BAD),
    ("H1-04", "folded-coding-tab", head(b"Transfer-Encoding:\r\n\tchunked"), BAD),
    ("H1-05", "hidden", head(b"X: a\r\n Transfer-Encoding: chunked"), BAD),
    ("H1-05", "hidden-length", head(b"X: a\r\n\tContent-Length: 5"), BAD),
    ("H1-05", "blank-fold", head(b"X: a\r\n "), BAD),
    ("H1-06", "te-in-1.0", head(TE, first=b"POST / HTTP/1.0") + b"0\r\n\r\n", BAD),
    ("H1-07", "different", head(b"Content-Length: 3", b"Content-Length: 0") + b"abc", BAD),
    ("H1-08", "same", head(b"Content-Length: 3", b"Content-Length: 3") + b"abc", BAD),
    ("H1-08", "list", head(b"Content-Length: 3, 3") + b"abc", BAD),
    ("H1-08", "list-differing", head(b"Content-Length: 3, 4") + b"abc", BAD),
    *[
        ("H1-09", repr(value)[1:], head(b"Content-Length: " + value) + b"abc", BAD)
        for value in (
            *(
                b"+3",
                b"-1",
                b"-0",
                b"0x3",
                b"3_0",
                b"3 4",
                b"",
                b"\xb2",
                b"3.0",
                b"1e1",
                b"3;",
                b'"3"',
            ),
            *("٣".encode(), b"3\t3", b"three", b"3,", b",3", b"\x0b3", b"3\x0c", b"0b1", b"\xa03"),
        )
    ],
    ("H1-10", "20-digits", head(b"Content-Length: 99999999999999999999"), (400, 413)),
    ("H1-10", "2^63", head(b"Content-Length: 9223372036854775808"), (400, 413)),
    ("H1-10", "2^64", head(b"Content-Length: 18446744073709551616"), (400, 413)),
    ("H1-10", "4000-digits", head(b"Content-Length: " + b"9" * 4000), (400, 413)),
    ("H1-11", "everywhere", b"GET / HTTP/1.1\nHost: a\n\n", BAD),
    ("H1-11", "first-line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", BAD),
    ("H1-11", "one-field", b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", BAD),
    ("H1-11", "empty-line", b"GET / HTTP/1.1\r\nHost: a\r\n\n", BAD),
    ("H1-11", "before", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("H1-11", "end-lf-cr", b"GET / HTTP/1.1\r\nHost: a\n\r\n\r\n", BAD),
    ("H1-12", "in-value", head(b"X: a\rY: b"), BAD),
    ("H1-12", "before-name", head(b"\rX: a"), BAD),
    ("H1-12", "double", head(b"X: a\r"), BAD),
    ("H1-12", "as-line-end", b"GET / HTTP/1.1\rHost: a\r\r" + head(), BAD),
    ("H1-12", "in-target", line(b"GET /a\rb HTTP/1.1"), BAD),
    ("H1-13", "in-value", head(b"X: a\0b"), BAD),
    ("H1-13", "at-end", head(b"X: a\0"), BAD),
    ("H1-13", "in-host", hosted(b"a\0b"), BAD),
    ("H1-13", "in-name", head(b"X\0: a"), BAD),
    ("H1-15", "space-before-colon", head(b"X : a"), BAD),
    ("H1-15", "tab-before-colon", head(b"X\t: a"), BAD),
    ("H1-15", "space-in-name", head(b"X Y: a"), BAD),
    ("H1-15", "empty-name", head(b": a"), BAD),
    ("H1-15", "no-colon", head(b"foo"), BAD),
    ("H1-15", "8-bit", head(b"X\x80: a"), BAD),
    ("H1-15", "bracket", head(b"(X): a"), BAD),
    ("H1-15", "length-with-space", head(b"Content-Length : 3") + b"abc", BAD),
    ("H1-16", "first-folded", head(b" Host: a", host=b""), BAD),
    ("H1-16", "first-folded-tab", head(b"\tX: a", b"Host: a", host=b""), BAD),
    ("H1-28", "two", hosted(b"a", b"b"), BAD),
    ("H1-28", "two-same", hosted(b"a", b"a"), BAD),
    ("H1-28", "none", hosted(), BAD),
    ("H1-28", "two-in-1.0", hosted(b"a", b"b", first=b"GET / HTTP/1.0"), BAD),
    *[
        ("H1-29", repr(host)[1:], hosted(host), BAD)
        for host in (
            *(
                b"a b@c/#?",
                b"a, b",
                b"a b",
                b"a/b",
                b"a?b",
                b"a#b",
                b"u@a",
                b"a\\b",
                b"<a>",
                b'"a"',
            ),
            *(b"a:b", b"a:80:80", b"a:-1", b"a:123456", b"[::1", b"::1]", b"[::1]x", b"[]", b"[x]"),
            *(b"http://a", b"a%zz", b"a%", b"\xe9", b"a\tb", b":80", b"{a}", b"a|b", b"[::1]:x"),
        )
    ],
    ("H1-29", "empty-with-absolute", hosted(b"", first=b"GET http://x/ HTTP/1.1"), BAD),
    ("H1-30", "other", hosted(b"a", first=b"GET http://b/x HTTP/1.1"), BAD),
    ("H1-30", "other-port", hosted(b"a", first=b"GET http://a:81/x HTTP/1.1"), BAD),
    ("H1-30", "user", hosted(b"a", first=b"GET http://u@a/x HTTP/1.1"), BAD),
    ("H1-30", "no-authority", hosted(b"a", first=b"GET http:///x HTTP/1.1"), BAD),
    ("H1-30", "other-in-1.0", hosted(b"a", first=b"GET http://b/x HTTP/1.0"), BAD),
    ("H1-31", "relative", line(b"GET foo HTTP/1.1"), BAD),
    ("H1-31", "asterisk-get", line(b"GET * HTTP/1.1"), BAD),
    ("H1-31", "asterisk-more", line(b"OPTIONS */a HTTP/1.1"), BAD),
    ("H1-31", "connect", hosted(b"a:1", first=b"CONNECT a:1 HTTP/1.1"), (400, 405, 501)),
    ("H1-31", "connect-path", hosted(b"a:1", first=b"CONNECT /a HTTP/1.1"), (400, 405, 501)),
    ("H1-31", "connect-url", hosted(b"a", first=b"CONNECT http://a/ HTTP/1.1"), (400, 405, 501)),
    ("H1-31", "authority-get", line(b"GET x:80 HTTP/1.1"), BAD),
    ("H1-31", "fragment", line(b"GET /a#b HTTP/1.1"), BAD),
    ("H1-31", "absolute-fragment", line(b"GET http://x/a#b HTTP/1.1"), BAD),
    ("H1-31", "other-scheme", line(b"GET ftp://x/a HTTP/1.1"), BAD),
    ("H1-31", "8-bit", line(b"GET /\xe9 HTTP/1.1"), BAD),
    ("H1-31", "control", line(b"GET /\x01 HTTP/1.1"), BAD),
    ("H1-31", "delete", line(b"GET /\x7f HTTP/1.1"), BAD),
    ("H1-31", "nul", line(b"GET /\0 HTTP/1.1"), BAD),
    ("H1-31", "space", line(b"GET /a b HTTP/1.1"), BAD),
    ("H1-31", "two-spaces", line(b"GET  / HTTP/1.1"), BAD),
    ("H1-31", "tab", line(b"GET\t/ HTTP/1.1"), BAD),
    ("H1-31", "trailing-space", line(b"GET / HTTP/1.1 "), BAD),
    ("H1-31", "leading-space", line(b" GET / HTTP/1.1"), BAD),
    ("H1-31", "no-target", line(b"GET HTTP/1.1"), BAD),
    ("H1-31", "no-version", line(b"GET /"), BAD),
    ("H1-31", "method-with-slash", line(b"G/T / HTTP/1.1"), BAD),
    ("H1-31", "method-8-bit", line(b"G\xc3T / HTTP/1.1"), BAD),
    *[
        ("H1-32", version.decode(), line(b"GET / " + version), (400, 505))
        for version in (
            *(b"HTTP/0.9", b"HTTP/1.2", b"HTTP/1.9", b"HTTP/2.0", b"HTTP/9.9", b"HTTP/1.10"),
            *(
                b"http/1.1",
                b"HTTP/1",
                b"HTTP/1.",
                b"HTTP/.1",
                b"HTTP/1,1",
                b"HTTP/01.1",
                b"HTP/1.1",
            ),
            *(b"HTTP/-1.1", b"HTTP 1.1", b"HTTP/1.1x", b"HTTP/ 1.1", b"ICY/1.1", b"HTTP/2"),
        )
    ],
    (
        "H1-34",
        "upgrade-with-length",
        head(
            *[b"Upgrade: echo", b"Connection: upgrade"],
            b"Content-Length: 5",
            first=b"GET / HTTP/1.1",
        )
        + b"abcde",
        BAD,
    ),
    (
        "H1-34",
        "upgrade-with-chunks",
        head(*[b"Upgrade: echo", b"Connection: upgrade"], TE, first=b"GET / HTTP/1.1")
        + b"0\r\n\r\n",
        BAD,
    ),
    ("H1-35", "folded", head(b"X: a", b" Expect: 100-continue", b"Content-Length: 1"), BAD),
    ("H1-35", "other-first", head(b"Expect: y 100-continue", b"Content-Length: 1"), (400, 417)),
    ("H1-35", "unknown", head(b"Expect: y", b"Content-Length: 1"), (417,)),
    ("H1-35", "list", head(b"Expect: 100-continue, y", b"Content-Length: 1"), (400, 417)),
    (
        "H1-35",
        "twice",
        head(b"Expect: 100-continue", b"Expect: y", b"Content-Length: 1"),
        (400, 417),
    ),
    ("H1-35", "empty", head(b"Expect:", b"Content-Length: 1"), (400, 417)),
    ("H1-39", "three-empty-lines", b"\r\n\r\n\r\n" + head(), BAD),
    ("H1-40", "tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)), BAD),
    ("H1-40", "sslv2", b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10" + bytes(30), BAD),
    ("H1-40", "http2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), (400, 505)),
    ("H1-40", "proxy-v1", b"PROXY TCP4 1.2.3.4 1.2.3.5 1 2\r\n" + head(), BAD),
    ("H1-40", "proxy-v2", b"\r\n\r\n\x00\r\nQUIT\n" + bytes(16), BAD),
    ("H1-40", "socks", b"\x05\x01\x00", BAD),
    (
        "H1-41",
        "200-kb-of-fields",
        head(*[b"X-%d: %b" % (n, b"a" * 4000) for n in range(50)]),
        (431,),
    ),
    ("H1-41", "200-kb-field", head(b"X: " + b"a" * 200_000), (431,)),
    ("H1-41", "200-kb-line", line(b"GET /" + b"a" * 200_000 + b" HTTP/1.1"), (414, 431)),
]

# The same for what follows a head that announces chunks.
REFUSED_CHUNKS: list[tuple[str, str, bytes]] = [
    *[
        ("H1-17", repr(size)[1:], size + b"\r\nZ\r\n0\r\n\r\n")
        for size in (
            b"0x1",
            b"+1",
            b"-1",
            b" 1",
            b"1_0",
            b"",
            b"g",
            b"\t1",
            b"1.",
            b"1h",
            b"\xb2",
            b"\0",
        )
    ],
    ("H1-18", "space", b"1 \r\nZ\r\n0\r\n\r\n"),
    ("H1-18", "tab", b"1\t\r\nZ\r\n0\r\n\r\n"),
    ("H1-18", "space-before-extension", b"1 ;a\r\nZ\r\n0\r\n\r\n"),
    ("H1-18", "space-in-last", b"0 \r\n\r\n"),
    ("H1-19", "2^64+1", b"10000000000000001\r\nZ\r\n0\r\n\r\n"),
    ("H1-19", "20-digits", b"f" * 20 + b"\r\nZ\r\n0\r\n\r\n"),
    ("H1-19", "16-digits", b"f" * 16 + b"\r\nZ\r\n0\r\n\r\n"),
    ("H1-19", "zeros", b"0" * 300 + b"1\r\nZ\r\n0\r\n\r\n"),
    ("H1-20", "lf-in-extension", b"1;a\nX\r\nZ\r\n0\r\n\r\n"),
    ("H1-20", "lf-ends-extension", b"1;a\nZ\r\n0\r\n\r\n"),
    ("H1-21", "cr-in-extension", b"1;a\rX\r\nZ\r\n0\r\n\r\n"),
    ("H1-21", "nul-in-extension", b"1;\0\r\nZ\r\n0\r\n\r\n"),
    ("H1-21", "cr-cr-lf", b"1\r\r\nZ\r\n0\r\n\r\n"),
    *[("H1-21", f"{each:02x}", b"1;a%cb\r\nZ\r\n0\r\n\r\n" % each) for each in CONTROLS],
    ("H1-22", "long", b"1;" + b"a" * 16_000 + b"\r\nZ\r\n0\r\n\r\n"),
    ("H1-22", "many", (b"1;" + b"a" * 200 + b"\r\nZ\r\n") * 200 + b"0\r\n\r\n"),
    ("H1-23", "footer", b"1\r\nZXX0\r\n\r\n"),
    ("H1-23", "lf", b"1\r\nZ\n0\r\n\r\n"),
    ("H1-23", "cr", b"1\r\nZ\r0\r\n\r\n"),
    ("H1-23", "nothing", b"1\r\nZ0\r\n\r\n"),
    ("H1-23", "longer", b"1\r\nZZ\r\n0\r\n\r\n"),
    ("H1-24", "size", b"1\nZ\r\n0\r\n\r\n"),
    ("H1-24", "last", b"1\r\nZ\r\n0\n\r\n"),
    ("H1-24", "end", b"1\r\nZ\r\n0\r\n\n"),
    ("H1-24", "after-trailer", b"0\r\nX: a\n\r\n"),
    ("H1-26", "folded", b"0\r\nX: a\r\n b\r\n\r\n"),
    ("H1-26", "no-colon", b"0\r\nX\r\n\r\n"),
    ("H1-26", "space-before-colon", b"0\r\nX : a\r\n\r\n"),
    ("H1-26", "nul", b"0\r\nX: a\0\r\n\r\n"),
]


def rows(table: list) -> list:
    return [pytest.param(*each[2:], id=f"{each[0]}-{each[1]}") for each in table]


def assert_refused(peer: H1Peer, app: Recorder, statuses: tuple[int, ...]) -> None:
    """One error, the end, and nobody but the server has seen a whole request."""
    assert len(peer.statuses) == 1 and peer.status in statuses
    assert peer.closed and not peer.responses()[0].persistent and not peer.reset
    for call in app.calls:
        assert call.disconnected and not call.ended and isinstance(call.error, OSError)


@BY_EVERY_WAY
@pytest.mark.parametrize("data, statuses", rows(REFUSED_HEADS))
def test_is_refused_before_the_application_is_called(data, statuses, way):
    app = Recorder()
    peer = H1Peer(app, streams={"echo": Tunnel.accepting})
    peer.send(*way(data))
    peer.send(GET)
    assert_refused(peer, app, statuses)
    assert not app.calls


@BY_EVERY_WAY
@pytest.mark.parametrize("data, statuses", rows(REFUSED_HEADS))
def test_is_refused_after_a_good_request_as_well(data, statuses, way):  # H1-37
    app = Recorder()
    peer = H1Peer(app, streams={"echo": Tunnel.accepting})
    peer.send(*way(request("/good") + data))
    peer.send(GET)
    assert peer.statuses[0] == 200 and peer.statuses[1:] == [peer.status]
    assert peer.status in statuses and peer.closed and app.targets == ["/good"]


@BY_EVERY_WAY
@pytest.mark.parametrize("data", rows(REFUSED_CHUNKS))
def test_is_refused_and_the_body_never_ends(data, way):
    app = Recorder()
    peer = H1Peer(app)
    peer.send(*way(head(TE) + data))
    peer.send(GET)
    assert_refused(peer, app, (400, 413, 431))
    assert len(app.calls) <= 1


@pytest.mark.parametrize("data", rows(REFUSED_CHUNKS))
def test_no_application_is_called_for_what_is_wrong_at_once(data):
    peer = H1Peer(apps.never)
    peer.send(head(TE) + data)
    assert peer.closed


@BY_EVERY_WAY
def test_h1_14_no_control_character_in_a_value(way):
    for control in CONTROLS:
        for value in (b"a%cb", b"%ca", b"a%c", b"%c"):
            with H1Peer(apps.never) as peer:
                peer.send(*way(head(b"X: " + value % control)))
                assert peer.status == 400 and peer.closed, (value, control)


@BY_EVERY_WAY
def test_h1_14_what_only_python_takes_for_white_space_is_kept(way):
    # \x85 and \xa0 are obs-text; str.strip and str.splitlines would change what they surround.
    app = Recorder()
    peer = H1Peer(app)
    peer.send(*way(head(b"X: \x85a\x85b\xa0", b"Y:\xa0")))
    assert app.call.scope["headers"][1:] == [(b"x", b"\x85a\x85b\xa0"), (b"y", b"\xa0")]


@BY_EVERY_WAY
@pytest.mark.parametrize(
    "data",
    [
        head(TE) + b"1\r\nZ\r\n0\r\n",
        head(TE) + b"1\r\nZ\r\n0\r\nX: a\r\n",
        head(TE) + b"1\r\nZ\r\n",
        head(TE) + b"5\r\nZ",
        head(TE) + b"",
        head(b"Content-Length: 5") + b"abcd",
    ],
)
def test_h1_25_a_truncated_body_is_a_disconnect(data, way):
    app = Recorder()
    peer = H1Peer(app)
    peer.send(*way(data))
    peer.half_close()
    assert app.call.disconnected and not app.call.ended


NAMES = (
    "content-length transfer-encoding host trailer connection te upgrade expect authorization cookie "
    "set-cookie content-type content-encoding content-range range cache-control max-forwards forwarded "
    "x-forwarded-for x-forwarded-host x-forwarded-proto x-real-ip proxy-authorization keep-alive"
)


@BY_EVERY_WAY
@pytest.mark.parametrize("name", [name.encode() for name in NAMES.split()])
def test_h1_26_no_trailer_counts_as_a_header(name, way):
    app = Recorder()
    peer = H1Peer(app)
    peer.send(*way(head(TE) + b"1\r\nZ\r\n0\r\n" + name.title() + b": 5\r\n\r\n" + GET))
    for call in app.calls:
        assert all(key != name for key, _ in call.trailers)
        assert (name, b"5") not in call.scope["headers"]
    assert peer.statuses in ([400], [200, 200])


@BY_EVERY_WAY
@pytest.mark.parametrize(
    "data",
    [b"X: a\r\n" * 200, b"".join(b"X-%d: a\r\n" % n for n in range(5000)), b"X: " + b"a" * 9000],
)
def test_h1_27_endless_trailers_are_refused(data, way):
    app = Recorder()
    peer = H1Peer(app)
    peer.send(*way(head(TE) + b"1\r\nZ\r\n0\r\n" + data))
    assert_refused(peer, app, (400, 431))


def test_h1_27_dripping_trailers_are_refused():
    app = Recorder()
    peer = H1Peer(app, Config(limit_request_fields=1000))
    peer.send(head(TE) + b"1\r\nZ\r\n0\r\n")
    for _ in range(20):
        peer.send(b"X: a\r\n")
        peer.advance(1)
    assert_refused(peer, app, (408,))


@BY_EVERY_WAY
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_h1_33_h2c_upgrade_is_never_honoured(method, way):
    offer = [
        (b"connection", b"Upgrade, HTTP2-Settings"),
        (b"upgrade", b"h2c"),
        (b"http2-settings", b"AAMAAABkAAQAAP__"),
    ]
    app = Recorder()
    peer = H1Peer(app)
    peer.send(*way(request(method=method, headers=offer, body=b"abc") + request("/next")))
    assert peer.statuses == [200, 200] and app.calls[0].body == b"abc"


@BY_EVERY_WAY
def test_h1_34_no_tunnel_is_left_open_by_a_failed_handshake(way):
    offer = [(b"connection", b"Upgrade"), (b"upgrade", b"echo")]
    app = Recorder()
    peer = H1Peer(app, streams={"echo": Tunnel.refusing})
    peer.send(*way(request(headers=offer) + GET))
    assert peer.statuses == [403] and peer.closed and not app.calls


@BY_EVERY_WAY
def test_h1_35_an_early_answer_does_not_turn_the_body_into_a_request(way):
    app = apps.sends(start(), body(b"a", more=True), body(b"b"))
    peer = H1Peer(app)
    peer.send(*way(request(method="POST", body=GET) + request("/next")))
    assert peer.statuses in ([200], [200, 200])
    if peer.statuses == [200]:
        assert peer.closed


def test_h1_36_a_pipelining_flood_is_taken_bit_by_bit():
    opened: list[int] = []

    async def application(scope, receive, send):
        opened.append(len(peer.connection.streams))
        await apps.hello(scope, receive, send)

    peer = H1Peer(application)
    data = request() * 20_000
    peer.wire.arrive([data])
    held: list[int] = []
    for _ in range(3):
        peer.loop.call_soon(lambda: held.append(len(peer.connection.held)))
    peer.settle()
    assert len(opened) == 20_000 and max(opened) == 1
    assert max(held) <= 256 * 1024, "one read at most"
    assert not peer.closed


@BY_EVERY_WAY
@pytest.mark.parametrize("method, status", [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_h1_38_content_that_may_not_be_sent_does_not_shift_the_next_response(method, status, way):
    peer = H1Peer(apps.answers(b"HTTP/1.1 200 OK\r\n\r\n", status))
    peer.send(*way(request(method=method) * 2))
    answers = peer.responses(method, method)
    assert [each.status for each in answers] == [status] * 2 and not peer.closed
    assert peer.sent.count(b"HTTP/1.1") == 2


def test_h1_40_the_log_says_once_that_it_may_be_tls(caplog):
    caplog.set_level("INFO", "tricorn")
    peer = H1Peer(apps.never)
    peer.send(b"\x16\x03\x01", b"\x02\x00\x01\x00", b"\x01\xfc")
    assert [record for record in caplog.records if "TLS" in record.getMessage()][1:] == []
    assert peer.status == 400
