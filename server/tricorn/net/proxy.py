"""The PROXY protocol, versions 1 and 2: who a load balancer says that it connects for.

https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt. The header comes before everything
else on a connection, TLS included, and whoever has to send one may not leave it out: a receiver
that guesses lets clients write it. It is read octet for octet from the socket, so that what follows
stays there.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address

HEADER_TIMEOUT = 5.0
"""Seconds in which the whole header has to come."""
LINE = 107
"""Octets of the longest line of version 1 (§2.1)."""
MOST = 16 + 2048
"""Octets of a header of version 2 that are read: addresses take 216, the rest is TLVs."""
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FIXED = 16
"""Octets of a header of version 2 before the addresses."""
LOCAL, PROXY = 0x20, 0x21
UNSPECIFIED = 0x00
FAMILIES = {
    0x11: struct.Struct("!4s4sHH"),
    0x21: struct.Struct("!16s16sHH"),
    0x31: struct.Struct("!108s108s"),
}
"""Streams of IPv4, IPv6 and unix sockets: source and destination, and their ports."""
CRC32C, SSL = 0x03, 0x20
"""Types of TLVs (§2.2) that mean something here."""

Address = tuple[str, int]
_line = re.compile(
    rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]{2,45}) ([0-9A-Fa-f:.]{2,45})"
    rb" (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n"
).fullmatch
_unknown = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n").fullmatch


class ProxyError(ConnectionError):
    """There is no header, or one that means nothing: the connection is closed."""


@dataclass(frozen=True, slots=True)
class Announced:
    """What a header says. Without a `server` it speaks for the load balancer itself."""

    client: Address | None = None
    server: tuple[str, int | None] | None = None
    secure: bool = False
    """The client has come over TLS, as far as the load balancer."""
    tlvs: tuple[tuple[int, bytes], ...] = ()


async def receive(sock: socket.socket, versions: str, loop: asyncio.AbstractEventLoop) -> Announced:
    """Reads a header from the beginning of a connection, and nothing of what follows it.

    `versions` is "v1", "v2" or "auto". Raises ProxyError; OSError if the connection is lost.
    """
    try:
        async with asyncio.timeout(HEADER_TIMEOUT):
            return parse(await _read(sock, versions, loop))
    except TimeoutError:
        raise ProxyError(f"it has not come within {HEADER_TIMEOUT:.0f} s") from None


async def _read(sock: socket.socket, versions: str, loop: asyncio.AbstractEventLoop) -> bytes:
    data = b""
    while True:
        try:
            seen = sock.recv(MOST, socket.MSG_PEEK)
        except BlockingIOError:
            await _readable(sock, loop)
            continue
        if not seen:
            raise ProxyError("the connection has ended before it")
        size = size_of(data + seen, versions)
        # What has come belongs to the header, as far as the header goes.
        data += sock.recv(len(seen) if size is None else size - len(data))
        if size == len(data):
            return data


async def _readable(sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
    ready = asyncio.Event()
    loop.add_reader(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sock)


def size_of(data: bytes, versions: str) -> int | None:
    """How long the header is that `data` begins with; None as long as it has not all come."""
    known = data[: len(SIGNATURE)]
    if versions != "v1" and SIGNATURE.startswith(known):
        if len(data) < FIXED:
            return None
        size = FIXED + int.from_bytes(data[14:FIXED], "big")
        if size > MOST:
            raise ProxyError(f"a header of {size} octets")
        return size if size <= len(data) else None
    if versions != "v2" and b"PROXY ".startswith(data[:6]):
        end = data.find(b"\n", 0, LINE)
        if end < 0 and len(data) >= LINE:
            raise ProxyError("a line that does not end")
        return end + 1 if end >= 0 else None
    raise ProxyError("no header, or one of a version that is not spoken here")


def parse(data: bytes) -> Announced:
    """What a whole header says; raises ProxyError."""
    return _parse_line(data) if data.startswith(b"PROXY ") else _parse_binary(data)


def _parse_line(line: bytes) -> Announced:
    if _unknown(line):
        return Announced()  # §2.1: the connection's own addresses count
    if (match := _line(line)) is None:
        raise ProxyError("a malformed line")
    family, source, target, source_port, target_port = match.groups()
    version = 4 if family == b"TCP4" else 6
    return Announced(
        _address(source.decode("ascii"), int(source_port), version),
        _address(target.decode("ascii"), int(target_port), version),
    )


def _address(host: str, port: int, version: int) -> Address:
    try:
        address = ip_address(host)
    except ValueError:
        raise ProxyError("an address that is none") from None
    if address.version != version or port > 65535:
        raise ProxyError("an address of another family, or a port that is none")
    return str(address), port


def _parse_binary(data: bytes) -> Announced:
    command, family, rest = data[12], data[13], data[FIXED:]
    if command == LOCAL:
        return Announced()  # §2.2: a health check of the load balancer's own
    if command != PROXY:
        raise ProxyError("a command that is not known")
    if family == UNSPECIFIED:
        return Announced(tlvs=_tlvs(data, FIXED))
    if (form := FAMILIES.get(family)) is None:
        raise ProxyError("addresses that are not those of a stream")
    if len(rest) < form.size:
        raise ProxyError("addresses that are cut off")
    source, target, *ports = form.unpack_from(rest)
    tlvs = _tlvs(data, FIXED + form.size)
    secure = any(kind == SSL and value[:1] and value[0] & 1 for kind, value in tlvs)  # §2.2.6
    if not ports:
        path = target.partition(b"\0")[0].decode("utf-8", "surrogateescape")
        return Announced(None, (path, None), secure, tlvs)
    client, server = (str(ip_address(each)) for each in (source, target))
    return Announced((client, ports[0]), (server, ports[1]), secure, tlvs)


def _tlvs(data: bytes, at: int) -> tuple[tuple[int, bytes], ...]:
    """The type-length-value fields (§2.2) from there on; a checksum among them is verified."""
    found = []
    while at < len(data):
        kind, length = data[at], int.from_bytes(data[at + 1 : at + 3], "big")
        at += 3
        value = data[at : at + length]
        if at + length > len(data):
            raise ProxyError("a TLV that is cut off")
        if kind == CRC32C:
            zeroed = data[:at] + bytes(length) + data[at + length :]
            if length != 4 or int.from_bytes(value, "big") != crc32c(zeroed):
                raise ProxyError("a wrong checksum")
        found.append((kind, value))
        at += length
    return tuple(found)


@cache
def _table() -> tuple[int, ...]:
    """RFC3720§B.4, octet by octet."""
    table = []
    for octet in range(256):
        for _ in range(8):
            octet = octet >> 1 ^ (0x82F63B78 if octet & 1 else 0)
        table.append(octet)
    return tuple(table)


def crc32c(data: bytes) -> int:
    """The checksum of Castagnoli's polynomial, which the standard library has not got."""
    table, crc = _table(), 0xFFFFFFFF
    for octet in data:
        crc = crc >> 8 ^ table[(crc ^ octet) & 0xFF]
    return crc ^ 0xFFFFFFFF
