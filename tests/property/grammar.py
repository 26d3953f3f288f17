"""Makes request heads, chunked bodies and whole conversations that are right, or nearly so.

Everything is drawn from a `random.Random`, which may be Hypothesis's: then failures shrink.
"""

from __future__ import annotations

from random import Random

METHODS = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"]
ODD_METHODS = [b"get", b"CONNECT", b"TRACE", b"PRI", b"G T", b"", b"M-SEARCH", b"G\xc3T"]
TARGETS = [b"/", b"/a/b?c=d", b"/%20%C3%A9?%zz", b"//x/../y", b'/a|b{c}"<>^`~', b"/?"]
ODD_TARGETS = [
    b"*",
    b"http://x/a",
    b"HTTPS://X",
    b"x:80",
    b"/a#b",
    b"/\xe9",
    b"",
    b"/a b",
    b"a",
    b"/\t",
]
VERSIONS = [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 ", b"HTTP/1.10", b""]
HOSTS = [b"x", b"X.example:8000", b"[::1]:80", b"a-b_c.d", b"127.0.0.1", b""]
ODD_HOSTS = [b"a b", b"a,b", b"a/b", b"u@x", b"[::1", b"x:port", b"%zz", b"\xe9"]
ORDINARY = [
    b"Accept: */*",
    b"accept-encoding: gzip, deflate, br",
    b"User-Agent:\tMozilla/5.0 (X11) \xe9 \t",
    b'Cookie: a=b; c="d"',
    b"X-Empty:",
    b"X-Empty: \t ",
    b"Range: bytes=0-",
    b"Trailer: x",
    b"Keep-Alive: 300",
]
MEANING = [
    b"Content-Length: 5",
    b"content-length: 0",
    b"Content-Length:  0007",
    b"Content-Length: 5, 5",
    b"Content-Length: +5",
    b"Content-Length: 99999999999999999999",
    b"Content-Length:",
    b"Connection: keep-alive",
    b"connection: Close",
    b"Connection: keep-alive, close",
    b"Connection: upgrade, http2-settings",
    b"Connection:",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding: CHUNKED",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding:",
    b"Expect: 100-continue",
    b"Expect: x",
    b"TE: trailers",
    b"Upgrade: h2c",
    b"HTTP2-Settings: AAM",
    b"Host: x",
    b"host: y",
]
ODD_OCTETS = b'\r\n\0\t \x0b\x0c\x1f\x7f\x80\x85\xa0\xff:,;"_-'


def head(random: Random) -> bytes:
    """A request head with the empty line that ends it: ordinary, or a step away from it."""
    method = random.choice(METHODS) if random.random() < 0.95 else random.choice(ODD_METHODS)
    target = random.choice(TARGETS) if random.random() < 0.93 else random.choice(ODD_TARGETS)
    version = b"HTTP/1.1" if random.random() < 0.95 else random.choice(VERSIONS)
    host = random.choice(HOSTS) if random.random() < 0.93 else random.choice(ODD_HOSTS)
    lines = [b"Host: " + host] if random.random() < 0.97 else []
    lines += [_ordinary(random) for _ in range(random.randint(0, 4))]
    if random.random() < 0.5:
        lines += [random.choice(MEANING) for _ in range(random.randint(1, 2))]
    if random.random() < 0.2:
        random.shuffle(lines)
    data = b"\r\n".join([b"%b %b %b" % (method, target, version), *lines]) + b"\r\n\r\n"
    return mutated(random, data) if random.random() < 0.3 else data


def _ordinary(random: Random) -> bytes:
    if random.random() < 0.8:
        return random.choice(ORDINARY)
    name = bytes(random.choice(b"abcXYZ-_!#09") for _ in range(random.randint(1, 6)))
    value = bytes(random.choice(b'ab \t,;="\x80\xff~!') for _ in range(random.randint(0, 8)))
    return name + random.choice([b":", b": ", b":\t ", b":  "]) + value


def mutated(random: Random, data: bytes) -> bytes:
    """The same with one to three small things wrong, or merely different."""
    for _ in range(random.randint(1, 3)):
        data = random.choice([_put, _swap, _drop, _case, _repeat_line, _merge_lines])(random, data)
    return data


def _put(random: Random, data: bytes) -> bytes:
    at = random.randint(0, len(data))
    return data[:at] + bytes([random.choice(ODD_OCTETS)]) + data[at:]


def _swap(random: Random, data: bytes) -> bytes:
    if not data:
        return data
    at = random.randint(0, len(data) - 1)
    return data[:at] + bytes([random.choice(ODD_OCTETS)]) + data[at + 1 :]


def _drop(random: Random, data: bytes) -> bytes:
    at = random.randint(0, max(0, len(data) - 1))
    return data[:at] + data[at + 1 :]


def _case(random: Random, data: bytes) -> bytes:
    at = random.randint(0, len(data))
    end = at + random.randint(0, 12)
    return data[:at] + data[at:end].swapcase() + data[end:]


def _repeat_line(random: Random, data: bytes) -> bytes:
    lines = data.split(b"\r\n")
    line = random.choice(lines)
    lines.insert(random.randint(0, len(lines)), line)
    return b"\r\n".join(lines)


def _merge_lines(random: Random, data: bytes) -> bytes:
    lines = data.split(b"\r\n")
    at = random.randint(0, len(lines) - 1)
    glue = random.choice([b"\r\n ", b"\n", b"\r", b", ", b"\r\n\t"])
    return b"\r\n".join(lines[:at]) + glue + b"\r\n".join(lines[at:])


def chunked(random: Random) -> bytes:
    """A chunked body, then the beginning of what follows it."""
    data = b""
    for _ in range(random.randint(0, 5)):
        content = bytes(random.choice(b"ab\r\n0;") for _ in range(random.randint(1, 20)))
        size = b"%x" % len(content) if random.random() < 0.8 else b"%05X" % len(content)
        extension = random.choice([b""] * 6 + [b";", b";a=b", b';a="b c"', b"; a", b";\xff"])
        data += size + extension + b"\r\n" + content + b"\r\n"
    data += random.choice([b"0", b"0", b"00", b"0;x"]) + b"\r\n"
    for _ in range(random.choice([0, 0, 0, 1, 2])):
        data += (
            random.choice([b"X: a", b"x-sum:1 ", b"Host: x", b"Content-Length: 1", b"a b: c"])
            + b"\r\n"
        )
    data += b"\r\n"
    if random.random() < 0.5:
        data = mutated(random, data)
    return data + random.choice([b"", b"GET / HTTP/1.1\r\n", b"\r\n", b"0"])


def conversation(random: Random) -> bytes:
    """What a client sends on one connection: some requests, more or less right."""
    data = b""
    for _ in range(random.randint(1, 4)):
        data += random.choice([b"", b"", b"", b"\r\n"])
        kind = random.random()
        if kind < 0.25:
            data += b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde"
        elif kind < 0.55:
            head_lines = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            data += head_lines + chunked(random)
        else:
            data += head(random)
    return mutated(random, data) if random.random() < 0.2 else data


def pieces(random: Random, data: bytes) -> list[bytes]:
    """The same octets in any segments."""
    if random.random() < 0.2:
        return [data[at : at + 1] for at in range(len(data))]
    cuts = sorted({random.randint(0, len(data)) for _ in range(random.randint(1, 6))})
    parts = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return [part for part in parts if part]
