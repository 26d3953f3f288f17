"""The framing and smuggling attacks on HTTP/1.1 that are plain octets, by row of the catalogue."""

from __future__ import annotations

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
