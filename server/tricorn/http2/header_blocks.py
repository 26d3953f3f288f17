"""Header blocks of HTTP/2: HPACK (RFC7541), made for fields that repeat.

A field is decoded, classified and measured once. Then it is an `Entry` of the dynamic table, and a
reference to it is one look-up in a list. Whole blocks are remembered as well, both ways: until the
dynamic table changes, the same octets mean the same fields, and the same fields the same octets.
What does not depend on the table of a connection is remembered for all connections of a worker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

from tricorn.connection import Field, Refused
from tricorn.fields import REMEMBERED_LENGTH, Memory
from tricorn.http2 import huffman
from tricorn.http2.huffman import CompressionError
from tricorn.http2.representations import (
    ADDED,
    ADDED_BITS,
    CODED,
    INDEXED,
    LENGTH_BITS,
    NEWEST,
    OVERHEAD,
    PLAIN_BITS,
    SECRET,
    STATIC_TABLE,
    UPDATE,
    UPDATE_BITS,
    Literal,
    encoded_integer,
    integer,
    spelled,
    string_at,
)

__all__ = ["CompressionError", "Decoder", "Encoder", "Entry", "Literal", "Vocabulary"]

T = TypeVar("T")

Entry = tuple[Field, int, int]
"""A field, what it was classified as, and its size: 32 octets more than its own (RFC7541§4.1)."""
TABLE_SIZE = 4096  # RFC9113§6.5.2's initial value; nginx and Go let a peer have no more
MOST_BLOCKS = 64
MOST_BLOCK = 512
"""Blocks that a connection remembers each way, and the octets up to which it does."""
MOST_UPDATES = 2  # RFC7541§4.2
MOST_SEEN = 64
"""Fields that an encoder remembers to have sent once."""


class Vocabulary:
    """What the decoders of a worker have in common: the static table, and the literals of late.

    `classify(name, value)` says what a field means to the caller. It is called once for what is
    then referred to a thousand times, so its answer must depend on nothing else.
    """

    __slots__ = ("classify", "largest", "literals", "names", "static")

    def __init__(self, classify: Callable[[bytes, bytes], int]) -> None:
        self.classify = classify
        # There is no index 0 (RFC7541§6.1).
        self.static: list[Entry] = [
            ((name, value), classify(name, value), OVERHEAD + len(name) + len(value))
            for name, value in ((b"", b""), *STATIC_TABLE)
        ]
        self.largest = max(size for _, _, size in self.static)
        self.literals: Memory[bytes, Entry] = Memory()
        """By all the octets of a representation that names its field without a dynamic table."""
        self.names: Memory[bytes, bytes] = Memory()


class Decoder(Generic[T]):
    """The fields of the header blocks of one connection, which must come in their order.

    `known` is the caller's own memory of what it made of a block. It is emptied when the dynamic
    table changes, so what it has is still true, and a block that is in it need not be decoded.
    """

    __slots__ = (
        "fresh",
        "known",
        "largest",
        "limit",
        "lowered",
        "most_fields",
        "most_octets",
        "octets",
        "stable",
        "table",
        "table_size",
        "vocabulary",
    )

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        table_size: int = TABLE_SIZE,
        most_fields: int,
        most_octets: int,
    ) -> None:
        self.vocabulary = vocabulary
        self.table_size = table_size
        """The SETTINGS_HEADER_TABLE_SIZE of ours that the peer has acknowledged."""
        self.most_fields = most_fields
        self.most_octets = most_octets
        """Of all fields of a block, with 32 for each (RFC9113§6.5.2)."""
        self.known: dict[Hashable, T] = {}
        self.stable = True
        """Whether the last block left the table alone, so that it means the same again."""
        self.table = vocabulary.static.copy()
        """Entries by their index: the static ones, then the dynamic ones, newest first."""
        self.octets = 0
        self.limit = table_size
        """Octets that the dynamic table has, and those that the peer has chosen to use."""
        self.lowered: int | None = None
        """What the next block must begin with an update to, or to less (RFC7541§4.2)."""
        self.fresh = True
        """Whether the table had no dynamic entry when the block began."""
        self.largest = vocabulary.largest
        """No field of this connection was larger."""

    def decode(self, block: bytes) -> list[Entry]:
        """The fields of a whole block; cookie crumbs are fields of their own.

        Raises Refused (431) for more than is allowed: the table is right all the same, and the
        connection can go on. Raises CompressionError: then it cannot.
        """
        table = self.table
        entries: list[Entry] = []
        append = entries.append
        excessive = False
        position, end = 0, len(block)
        self.stable = True
        self.fresh = not self.octets
        try:
            if self.lowered is not None:
                position = self._resize(block)
            while position < end:
                octet = block[position]
                position += 1
                if octet > INDEXED:
                    if octet < 0xFF:
                        append(table[octet - INDEXED])
                    else:
                        index, position = integer(block, position, 0x7F)
                        append(table[index])
                    continue
                if ADDED <= octet < INDEXED:
                    entry, position = self._literal(block, position, octet, ADDED_BITS)
                    self._add(entry)
                elif octet < UPDATE:
                    entry, position = self._literal(block, position, octet, PLAIN_BITS)
                elif octet == INDEXED or position > 1:
                    raise CompressionError("index 0, or a table size update behind its place")
                else:
                    position = self._resize(block)
                    continue
                if entry[2] > self.largest:
                    self.largest = entry[2]
                if len(entries) >= self.most_fields:
                    excessive = True
                    entries.clear()  # to hold no more than a block of references can mean
                append(entry)
        except IndexError as error:  # of the table or of the block
            raise CompressionError("no such entry, or the end of the block") from error
        if excessive or len(entries) > self.most_fields or self._excessive(entries):
            raise Refused(431, "too many header fields, or too large")
        return entries

    def remember(self, block: bytes, value: T, key: Hashable = None) -> None:
        """Keeps what was made of the block that was decoded last, if it will mean the same."""
        if self.stable and len(block) <= MOST_BLOCK:
            if len(self.known) >= MOST_BLOCKS:
                self.known.clear()
            self.known[key or block] = value

    def set_table_size(self, size: int) -> None:
        """The peer has acknowledged a SETTINGS_HEADER_TABLE_SIZE of ours."""
        self.table_size = size
        if size < self.limit:
            self.lowered = size if self.lowered is None else min(size, self.lowered)

    def _literal(self, block: bytes, position: int, octet: int, mask: int) -> tuple[Entry, int]:
        """The entry of a literal whose first octet was read, and the position behind it."""
        start = position - 1
        index = octet & mask
        if index == mask:
            index, position = integer(block, position, mask)
        if index:
            name = self.table[index][0][0]
        else:
            name, position = self._name(block, position)
        # What string_at does, without a call.
        length = block[position]
        position += 1
        coded = length >= CODED
        if length & LENGTH_BITS == LENGTH_BITS:
            length, position = integer(block, position, LENGTH_BITS)
        elif coded:
            length -= CODED
        value = block[position : position + length]
        position += length
        if position > len(block):
            raise CompressionError("a string is longer than its block")

        vocabulary = self.vocabulary
        # What enters the table is not sent again, except by other connections at their beginning.
        lasting = index < NEWEST and (mask == PLAIN_BITS or self.fresh)
        if lasting:
            literals = vocabulary.literals
            literal = block[start:position]
            known = literals.young.get(literal) or literals.recall(literal)
            if known is not None:
                return known, position
        if coded:
            value = huffman.decode(value)
        size = OVERHEAD + len(name) + len(value)
        entry = (name, value), vocabulary.classify(name, value), size
        if lasting and len(literal) <= REMEMBERED_LENGTH:
            literals.keep(literal, entry)
        return entry, position

    def _name(self, block: bytes, position: int) -> tuple[bytes, int]:
        octets, coded, position = string_at(block, position)
        if not coded:
            return octets, position
        names = self.vocabulary.names
        name = names.young.get(octets) or names.recall(octets)
        if name is None:
            name = huffman.decode(octets)
            if len(octets) <= REMEMBERED_LENGTH:
                names.keep(octets, name)
        return name, position

    def _add(self, entry: Entry) -> None:
        """RFC7541§4.4: what is larger than the table empties it, and is not added."""
        table = self.table
        table.insert(NEWEST, entry)
        octets = self.octets + entry[2]
        while octets > self.limit:
            octets -= table.pop()[2]
        self.octets = octets
        self.stable = False
        if self.known:
            self.known.clear()

    def _resize(self, block: bytes) -> int:
        """Obeys the table size updates that a block begins with; the position behind them."""
        position = updates = 0
        smallest = self.limit
        while position < len(block) and UPDATE <= block[position] < ADDED:
            if (updates := updates + 1) > MOST_UPDATES:
                raise CompressionError("too many table size updates")
            size = block[position] & UPDATE_BITS
            position += 1
            if size == UPDATE_BITS:
                size, position = integer(block, position, UPDATE_BITS)
            if size > self.table_size:
                raise CompressionError("a larger table than was allowed")
            smallest = min(smallest, size)
            self.limit = size
            while self.octets > size:
                self.octets -= self.table.pop()[2]
        if self.lowered is not None and smallest > self.lowered:
            raise CompressionError("the table was not made as small as it had to be")
        self.lowered = None
        self.stable = False
        self.known.clear()
        return position

    def _excessive(self, entries: list[Entry]) -> bool:
        # The sum is taken only where it can matter.
        return (
            len(entries) * self.largest > self.most_octets
            and sum([size for _, _, size in entries]) > self.most_octets
        )


class Encoder(Generic[T]):
    """The header blocks of one connection, which must be sent in their order.

    Fields arrive valid and in lower case. `literals` is shared by all connections of a worker.
    `known` is the caller's own memory of blocks; it is emptied when they would mean something else.
    """

    __slots__ = (
        "added",
        "indices",
        "known",
        "lasting",
        "literals",
        "octets",
        "order",
        "seen",
        "smallest",
        "table_size",
    )

    def __init__(self, literals: Memory[Field, Literal]) -> None:
        self.literals = literals
        self.table_size = TABLE_SIZE
        self.smallest: int | None = None
        """The smallest size since the last block; None where nothing has changed."""
        self.known: dict[Hashable, T] = {}
        self.lasting = True
        """Whether the last block leaves the table alone, so that it can be sent again."""
        self.added = 0
        """Entries that the dynamic table has ever had: the number of the newest one."""
        self.indices: dict[Field, int] = {}
        """The fields of the dynamic table, and the numbers under which they were added."""
        self.order: deque[tuple[Field, int]] = deque()
        """The same, newest last, with their sizes."""
        self.octets = 0
        self.seen: set[Field] = set()
        """What was sent as a literal once. Sent again, it is added to the table."""

    def encode(self, status: int, fields: tuple[Field, ...]) -> bytes:
        """The block of a response, informational ones included."""
        return self.encode_fields(((b":status", b"%d" % status), *fields))

    def remember(self, key: Hashable, value: T) -> None:
        """Keeps what was made of the block that was encoded last, if it can be sent again."""
        if self.lasting:
            if len(self.known) >= MOST_BLOCKS:
                self.known.clear()
            self.known[key] = value

    def set_table_size(self, size: int) -> None:
        """The peer's SETTINGS_HEADER_TABLE_SIZE; we use 4096 of it at most."""
        size = min(size, TABLE_SIZE)
        if size == self.table_size:
            return
        self.smallest = size if self.smallest is None else min(size, self.smallest)
        self.table_size = size
        self._evict()

    def encode_fields(self, fields: Iterable[Field]) -> bytes:
        """The block of trailers or of a promised request."""
        block = bytearray()
        self.lasting = True
        if self.smallest is not None:
            self._announce(block, self.smallest)
        indices = self.indices
        for field in fields:
            number = indices.get(field)
            if number is None:
                block += self._literal(field)
            elif (index := NEWEST + self.added - number) < 0x7F:
                block.append(INDEXED + index)
            else:
                block += encoded_integer(index, 0x7F, INDEXED)
        return bytes(block)

    def _announce(self, block: bytearray, smallest: int) -> None:
        """RFC7541§4.2: the smallest size that there was, and the one that there is."""
        for size in sorted({smallest, self.table_size}):
            block += encoded_integer(size, UPDATE_BITS, UPDATE)
        self.smallest = None
        self.lasting = False

    def _literal(self, field: Field) -> bytes:
        literals = self.literals
        literal = literals.young.get(field) or literals.recall(field)
        if literal is None:
            literal = spelled(field)
            if literal[2] <= REMEMBERED_LENGTH and field[0] not in SECRET:
                literals.keep(field, literal)
        plain, adding, size = literal
        if adding is None or size > self.table_size:
            return plain
        self.lasting = False
        if field not in self.seen:
            if len(self.seen) >= MOST_SEEN:
                self.seen.clear()
            self.seen.add(field)
            return plain
        self.seen.discard(field)
        self.added += 1
        self.indices[field] = self.added
        self.order.append((field, size))
        self.octets += size
        self._evict()
        return adding

    def _evict(self) -> None:
        while self.octets > self.table_size:
            field, size = self.order.popleft()
            del self.indices[field]
            self.octets -= size
        self.known.clear()
