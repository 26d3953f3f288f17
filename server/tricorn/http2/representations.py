"""How a field looks in a header block, whatever is in the dynamic table (RFC7541§5, §6)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from hpack.table import HeaderTable

from tricorn.connection import Field
from tricorn.http2 import huffman
from tricorn.http2.huffman import CompressionError

Literal = tuple[bytes, bytes | None, int]
"""What leaves the table alone, what adds to it (None for what never does), the entry's size."""

STATIC_TABLE: tuple[Field, ...] = tuple((name, value) for name, value in HeaderTable.STATIC_TABLE)
STATIC_FIELDS = {field: index for index, field in enumerate(STATIC_TABLE, 1)}
STATIC_NAMES = {field[0]: index for field, index in reversed(STATIC_FIELDS.items())}
NEWEST = 1 + len(STATIC_TABLE)
"""The index of the newest entry of the dynamic table (RFC7541§2.3.3)."""
OVERHEAD = 32

GREATEST = 2**31 - 1
MOST_SHIFT = 28
"""The shift of the fifth octet behind a prefix. RFC7541§5.1 wants a bound."""

# The representations by their first octet (RFC7541§6), and the bits of it that are an integer.
INDEXED = 0x80
ADDED, ADDED_BITS = 0x40, 0x3F
UPDATE, UPDATE_BITS = 0x20, 0x1F
NEVER_INDEXED, PLAIN_BITS = 0x10, 0x0F
CODED, LENGTH_BITS = 0x80, 0x7F

SECRET = frozenset(
    b"set-cookie cookie authorization proxy-authorization authentication-info "
    b"proxy-authentication-info".split()
)
"""Fields of which nobody may find out by the length of a block what they are (RFC7541§7.1.3)."""
VOLATILE = frozenset(
    b"content-length content-range date etag last-modified location age expires x-request-id "
    b"x-correlation-id traceparent server-timing".split()
)
"""Fields that would push out of the table what repeats."""
MOST_ADDED = 1024
"""Octets up to which an entry is worth its room in the table."""
MOST_NAMES = 256
SHORT = 8
"""Octets below which Huffman's code saves two at most, and costs more than they do."""


def literal_block(fields: Iterable[Field]) -> bytes:
    """Fields that any block may end with: what they are encoded as depends on no table."""
    return b"".join([spelled(field)[0] for field in fields])


def spelled(field: Field) -> Literal:
    """A field in full; its name by the static table at most, so that it is true anywhere."""
    name, value = field
    size = OVERHEAD + len(name) + len(value)
    if index := STATIC_FIELDS.get(field):
        return bytes((INDEXED + index,)), None, size
    index = STATIC_NAMES.get(name, 0)
    rest = (b"" if index else known_string(name)) + string(value)
    if name in SECRET:
        return encoded_integer(index, PLAIN_BITS, NEVER_INDEXED) + rest, None, size
    plain = encoded_integer(index, PLAIN_BITS, 0) + rest
    if name in VOLATILE or size > MOST_ADDED:
        return plain, None, size
    return plain, encoded_integer(index, ADDED_BITS, ADDED) + rest, size


def string(text: bytes) -> bytes:
    """A string literal (RFC7541§5.2), by Huffman's code where that is shorter."""
    if len(text) >= SHORT and len(coded := huffman.encode(text)) < len(text):
        return encoded_integer(len(coded), LENGTH_BITS, CODED) + coded
    return encoded_integer(len(text), LENGTH_BITS, 0) + text


known_string = lru_cache(MOST_NAMES)(string)
"""For names: there are few, whatever the values are."""


def encoded_integer(value: int, prefix: int, flags: int) -> bytes:
    """An integer behind the flags of its first octet, of which it has the bits of `prefix`."""
    if value < prefix:
        return bytes((flags | value,))
    octets = bytearray((flags | prefix,))
    value -= prefix
    while value >= 0x80:
        octets.append(0x80 | value & 0x7F)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def string_at(block: bytes, position: int) -> tuple[bytes, bool, int]:
    """The octets of a string, whether they are Huffman's, and the position behind them.

    It may be behind the end of the block: then the octets are not all that they should be.
    """
    length = block[position]
    position += 1
    coded = length >= CODED
    length &= LENGTH_BITS
    if length == LENGTH_BITS:
        length, position = integer(block, position, LENGTH_BITS)
    return block[position : position + length], coded, position + length


def integer(block: bytes, position: int, prefix: int) -> tuple[int, int]:
    """An integer behind a prefix that is all ones, and the position behind it (RFC7541§5.1)."""
    value, shift = prefix, 0
    while (octet := block[position]) >= 0x80:
        value += (octet & 0x7F) << shift
        position += 1
        shift += 7
        if shift > MOST_SHIFT:
            raise CompressionError("an integer is too long")
    value += octet << shift
    if value > GREATEST:
        raise CompressionError("an integer is too large")
    return value, position + 1
