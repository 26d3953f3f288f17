"""Requests by the header blocks that they came in, as long as those mean the same.

Most blocks of a connection are references to fields that have been sent before, and a path that
an encoder does not think worth a place in its table. Without its path such a block is a template:
what is left of it means the same, whatever the path.
"""

from __future__ import annotations

from tricorn.connection import Request
from tricorn.http2 import huffman
from tricorn.http2.header_blocks import MOST_BLOCK, Decoder
from tricorn.http2.huffman import CompressionError
from tricorn.http2.representations import CODED, INDEXED, LENGTH_BITS
from tricorn.sections import with_target
from tricorn.target import Limits

MOST_SEEN = 64
"""Blocks that are known to have come once."""
PATH = b"\x04"
"""A literal that leaves the table alone, with the name of RFC7541's static index 4: :path."""
ALL_ONES = 0xFF
"""A reference of more than one octet."""

Template = tuple[bytes, bytes]
"""The octets before a path, and behind it."""
Spelled = tuple[Template, bytes, bool]
"""The template of a block, its path, and whether that is in Huffman's code."""


class Recall:
    """What one connection remembers; a decoder forgets it when its table changes."""

    __slots__ = ("decoder", "limits", "seen")

    def __init__(self, decoder: Decoder[Request], limits: Limits) -> None:
        self.decoder = decoder
        self.limits = limits
        self.seen: set[bytes] = set()
        """Blocks that have come once; those that come again are worth remembering whole."""

    def fill_in(self, block: bytes) -> Request | None:
        """The request of a block that is like one of late, except for its path."""
        spelled = cut(block)
        if spelled is None:
            return None
        template, path, coded = spelled
        if (request := self.decoder.known.get(template)) is None:
            return None
        if coded:
            try:
                path = huffman.decode(path)
            except CompressionError:
                return None  # the decoder will say so
        return with_target(request, path, self.limits)

    def keep(self, block: bytes, request: Request) -> None:
        """Remembers the request of the block that was decoded last, as long as it is true."""
        decoder = self.decoder
        if not decoder.stable or len(block) > MOST_BLOCK:
            return
        spelled = cut(block)
        if spelled is not None and precise(spelled[0]):
            decoder.remember(block, request, spelled[0])
        if block in self.seen:
            decoder.remember(block, request)
            request.remembered = True
            return
        if len(self.seen) >= MOST_SEEN:
            self.seen.clear()
        self.seen.add(block)


def cut(block: bytes) -> Spelled | None:
    """Takes the path out of a block; what is found means that only if the template is `precise`."""
    at = block.find(PATH)
    if at < 0 or at + 1 >= len(block):
        return None
    size = block[at + 1]
    begin = at + 2
    stop = begin + (size & LENGTH_BITS)
    if size & LENGTH_BITS == LENGTH_BITS or stop > len(block):
        return None
    return (block[: at + 1], block[stop:]), block[begin:stop], size >= CODED


def precise(template: Template) -> bool:
    """Whether nothing but references of one octet comes before the path: nothing looks like it."""
    before = template[0][: -len(PATH)]
    return not before or (min(before) > INDEXED and max(before) < ALL_ONES)
