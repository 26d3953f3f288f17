"""The PROXY protocol, by the sections of its specification; P-03 of the attack catalogue."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.certificates import Authority
from tests.support.listening import LOOPS, close, run, site
from tricorn.config import Config
from tricorn.net import accept, proxy
from tricorn.net.proxy import CRC32C, MOST, SIGNATURE, SSL, Announced, ProxyError, parse, size_of

GET = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 5123 443\r\n"
FOR_V1 = Announced(("192.0.2.7", 5123), ("198.51.100.1", 443))


def binary(family=0x11, addresses=None, tlvs=b"", command=0x21, size=None):
    if addresses is None:
        places = socket.inet_aton("192.0.2.7"), socket.inet_aton("198.51.100.1")
        addresses = b"".join(places) + struct.pack("!HH", 5123, 443)
    rest = addresses + tlvs
    return (
        SIGNATURE + struct.pack("!BBH", command, family, len(rest) if size is None else size) + rest
    )


def tlv(kind, value):
    return struct.pack("!BH", kind, len(value)) + value


def checked(header):
    """The header with a checksum at its end (§2.2.3)."""
    whole = header[:14] + struct.pack("!H", len(header) - 16 + 7) + header[16:]
    crc = proxy.crc32c(whole + tlv(CRC32C, bytes(4)))
    return whole + tlv(CRC32C, crc.to_bytes(4, "big"))


# §2.1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (V1, FOR_V1),
        (
            b"PROXY TCP6 2001:db8::7 ::1 5123 443\r\n",
            Announced(("2001:db8::7", 5123), ("::1", 443)),
        ),
        (b"PROXY UNKNOWN\r\n", Announced()),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", Announced()),
        (b"PROXY TCP4 255.255.255.255 255.255.255.255 0 65535\r\n", None),
    ],
)
def test_version_1(line, said):
    assert size_of(line + GET, "v1") == size_of(line + GET, "auto") == len(line)
    if said is not None:
        assert parse(line) == said


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY TCP4 192.0.2.7 198.51.100.1 5123\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 5123 443 \r\n",
        b"PROXY  TCP4 192.0.2.7 198.51.100.1 5123 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 05123 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 5123 65536\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 443\r\n",
        b"PROXY TCP4 192.0.2 198.51.100.1 5123 443\r\n",
        b"PROXY TCP4 2001:db8::7 ::1 5123 443\r\n",
        b"PROXY TCP6 192.0.2.7 198.51.100.1 5123 443\r\n",
        b"PROXY TCP6 2001:db8::7%1 ::1 5123 443\r\n",
        b"PROXY tcp4 192.0.2.7 198.51.100.1 5123 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 5123 443\n",
        b"PROXY UNKNOWN\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY \r\n",
    ],
)
def test_version_1_malformed(line):
    with pytest.raises(ProxyError):
        parse(line[: size_of(line, "auto")])


def test_version_1_is_a_line_of_107_octets_at_most():
    longest = b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n"
    assert len(longest) == proxy.LINE == size_of(longest, "v1")
    with pytest.raises(ProxyError):
        size_of(b"PROXY UNKNOWN " + b"x" * 94, "v1")


# §2.2


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (binary(), FOR_V1),
        (
            binary(0x21, bytes(15) + b"\1" + bytes(15) + b"\2" + struct.pack("!HH", 1, 2)),
            Announced(("::1", 1), ("::2", 2)),
        ),
        (
            binary(0x31, b"/client".ljust(108, b"\0") + b"/run/server".ljust(108, b"\0")),
            Announced(None, ("/run/server", None)),
        ),
        (binary(0x00, b""), Announced()),
        (binary(command=0x20), Announced()),  # LOCAL: addresses are skipped
        (binary(0x00, b"", command=0x20), Announced()),
        (binary(tlvs=tlv(4, b"\0\0")), replace(FOR_V1, tlvs=((4, b"\0\0"),))),
    ],
)
def test_version_2(header, said):
    assert size_of(header + GET, "v2") == size_of(header + GET, "auto") == len(header)
    assert parse(header) == said


@pytest.mark.parametrize(
    "header",
    [
        binary(addresses=bytes(11)),
        binary(0x21, bytes(35)),
        binary(0x31, bytes(215)),
        binary(0x12),  # datagrams
        binary(0x41),
        binary(command=0x22),
        binary(command=0x11),  # another version
        binary(tlvs=b"\x04"),
        binary(tlvs=b"\x04\0\5abcd"),
        binary(tlvs=tlv(CRC32C, bytes(4))),
        binary(tlvs=tlv(CRC32C, b"")),
    ],
)
def test_version_2_malformed(header):
    with pytest.raises(ProxyError):
        parse(header[: size_of(header, "auto")])


def test_version_2_is_so_long_at_most():
    size_of(binary(tlvs=tlv(4, bytes(MOST - 31))), "v2")
    with pytest.raises(ProxyError):
        size_of(binary(tlvs=tlv(4, bytes(MOST - 30))), "v2")


def test_the_checksum_is_that_of_castagnoli():
    assert proxy.crc32c(b"123456789") == 0xE3069283
    assert proxy.crc32c(bytes(32)) == 0x8A9136AA  # RFC3720§B.4


def test_a_checksum_is_verified():
    good = checked(binary())
    assert parse(good).client == FOR_V1.client
    for at in (16, 20, len(good) - 1):
        with pytest.raises(ProxyError):
            parse(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])


@pytest.mark.parametrize(("flags", "secure"), [(b"\1", True), (b"\6", False), (b"", False)])
def test_the_balancer_says_whether_its_client_uses_tls(flags, secure):
    assert parse(binary(tlvs=tlv(SSL, flags + bytes(4) if flags else b""))).secure is secure


@given(st.sampled_from([V1, binary(), checked(binary()), binary(0x00, b"")]), st.data())
def test_a_header_is_recognized_however_it_comes(header, data):
    cut = data.draw(st.integers(1, len(header)))
    assert size_of(header[:cut], "auto") == (len(header) if cut == len(header) else None)


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda rest: SIGNATURE + rest))
def test_garbage_is_refused_or_waited_for(data):
    try:
        size = size_of(data, "auto")
        if size is not None:
            assert size <= len(data)
            parse(data[:size])
    except ProxyError:
        pass


@pytest.mark.parametrize(("versions", "header"), [("v1", binary()), ("v2", V1)])
def test_the_other_version_is_none(versions, header):
    with pytest.raises(ProxyError):
        size_of(header, versions)


# On a listener


async def who(scope, receive, send):
    said = scope["extensions"].get("tricorn.proxy", {}).get("tlvs", ())
    text = f"{scope['client']} {scope['server']} {scope['scheme']} {said}"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": text.encode()})


def asked(loop, *parts, version="auto", allow=("127.0.0.1",), pause=0.0):
    """What a connection gets that sends these parts one after the other."""
    config = Config(proxy_protocol=version, proxy_allow_from=allow)

    async def main():
        async with site(who, config) as place:
            reader, writer = await place.connect()
            for part in parts:
                writer.write(part)
                await asyncio.sleep(pause)
            answer = b""
            with suppress(ConnectionResetError):  # what it has sent is not read to its end
                answer = await reader.read()
            await close(writer)
            await place.until(lambda: not place.acceptor.held)
            return answer

    return run(loop, main)


on_both_loops = pytest.mark.parametrize("loop", LOOPS)


@on_both_loops
@pytest.mark.parametrize("header", [V1, binary()], ids=["v1", "v2"])
def test_the_application_sees_whom_the_balancer_speaks_for(loop, header):
    answer = asked(loop, header + GET)
    assert answer.endswith(b"('192.0.2.7', 5123) ('198.51.100.1', 443) http ()")


@on_both_loops
def test_a_header_may_come_octet_by_octet(loop):
    octets = [bytes([each]) for each in checked(binary())]
    answer = asked(loop, *octets, GET, pause=0.0005)
    assert b"('192.0.2.7', 5123)" in answer


@on_both_loops
def test_a_balancer_may_speak_for_itself(loop):
    answer = asked(loop, binary(0x00, b"", command=0x20) + GET)
    assert b"('127.0.0.1'," in answer


@on_both_loops
def test_tlvs_are_the_applications_to_see(loop):
    tlvs = tlv(2, b"example.com") + tlv(SSL, b"\1" + bytes(4))
    answer = asked(loop, binary(tlvs=tlvs) + GET)
    assert answer.endswith(b"https ((2, b'example.com'), (32, b'\\x01\\x00\\x00\\x00\\x00'))")


@on_both_loops
@pytest.mark.parametrize("first", [GET, b"PROXY nonsense\r\n" + GET, binary(size=9999)])
def test_a_balancer_without_a_good_header_is_closed(loop, first, caplog):
    assert asked(loop, first) == b""
    assert "is closed for its PROXY header" in caplog.text


def test_an_address_with_a_zone_is_no_format(monkeypatch, caplog):
    monkeypatch.setattr(accept, "_host", lambda sock: "fe80::1%eth0")
    assert asked(LOOPS[0], b"PROXY nonsense\r\n", allow=("fe80::/10",)) == b""
    assert "a connection of fe80::1%eth0 is closed for its PROXY header: a malf" in caplog.text


def test_a_header_that_is_not_good_is_no_handshake_that_failed(tmp_path):
    files = Authority().issue(tmp_path, "localhost")

    async def main():
        from tricorn.net.tls import server_context

        config = Config(proxy_protocol="v1", certfile=files.certificate, keyfile=files.key)
        async with site(who, config, encryption=server_context(config)) as place:
            reader, writer = await place.connect()
            writer.write(b"PROXY nonsense\r\n")
            assert await reader.read() == b""
            await close(writer)
            await place.until(lambda: not place.acceptor.held)
            return place.acceptor.context.stats.tls_failures

    assert run(LOOPS[0], main) == 0


@on_both_loops
def test_a_header_has_its_time(loop, monkeypatch, caplog):
    monkeypatch.setattr(proxy, "HEADER_TIMEOUT", 0.05)
    assert asked(loop, V1[:20]) == b""
    assert "it has not come within" in caplog.text


@on_both_loops
def test_who_is_no_balancer_cannot_say_who_he_is(loop):
    assert asked(loop, V1 + GET, allow=("10.0.0.0/8",)).startswith(b"HTTP/1.1 400 ")
    assert b"('127.0.0.1'," in asked(loop, GET, allow=("10.0.0.0/8",))


@on_both_loops
def test_a_client_that_leaves_before_its_header_leaves_nothing(loop):
    async def main():
        async with site(who, Config(proxy_protocol="auto")) as place:
            _, writer = await place.connect()
            writer.write(V1[:10])
            await place.until(lambda: place.acceptor.held == 1)
            writer.transport.abort()
            await place.until(lambda: not place.acceptor.held)

    run(loop, main)


@on_both_loops
def test_the_header_comes_before_tls(loop, tmp_path):
    authority = Authority()
    files = authority.issue(tmp_path, "localhost")
    context = authority.client_context()

    async def main():
        from tricorn.net.tls import server_context

        config = Config(
            proxy_protocol="v2", certfile=str(files.certificate), keyfile=str(files.key)
        )
        async with site(who, config, encryption=server_context(config)) as place:
            reader, writer = await place.connect()
            writer.write(binary())
            await writer.drain()
            await writer.start_tls(context, server_hostname="localhost")
            writer.write(GET)
            answer = await reader.read()
            await close(writer)
            return answer

    assert run(loop, main).endswith(b"('192.0.2.7', 5123) ('198.51.100.1', 443) https ()")
