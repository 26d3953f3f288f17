"""The Huffman code of HPACK, both ways (RFC7541§5.2, Appendix B).

Decoding has an authority and a fast path. The authority is a table that takes an octet a step: what
is pending of a code, and the next octet, give the text that is complete and what is pending then.
The fast path is zlib. HPACK's code is canonical, and so are deflate's (RFC1951§3.2.2): both are
told by the lengths alone, and the octets differ only in the order of their bits. Deflate allows 15
bits; the longer codes of HPACK, all of them of rare octets, begin with 15 ones, the only code of 15
bits that is left over: it becomes deflate's end of block. So a string with ones added behind it is
a deflate block that ends behind the string, or elsewhere, and then the authority decides.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

CODES = [
    format(code, f"0{length}b")
    for code, length in zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True)
]
"""Of every octet, and of the end of a string, the bits as text."""
code_of = CODES.__getitem__
END_OF_STRING = 256
OCTETS = {code: octet for octet, code in enumerate(CODES)}
PADDING = frozenset("1" * length for length in range(8))
REJECTED = "rejected"

FAST = 16
"""Octets from which on zlib is faster than the table: it takes 0.7 microseconds for any few."""
MIRRORED = bytes(int(format(octet, "08b")[::-1], 2) for octet in range(256))
# Fifteen ones and a zero. With at most seven ones of padding before them they are an end of block
# that leaves one octet at most; behind any other padding there is none.
ENDING = b"\xff\xfe".translate(MIRRORED)

Node = list["Step"]
Step = tuple[Node, bytes, str]
"""Where an octet leads to: the next node, the text that is complete, the bits that are pending."""


class CompressionError(Exception):
    """A header block cannot be decoded, and none after it: COMPRESSION_ERROR (RFC9113§4.3)."""


def decode(data: bytes) -> bytes:
    """The text of an encoded string. Raises CompressionError."""
    # With all ones in the last octet there may be more padding than the seven bits allowed.
    if len(data) >= FAST and data[-1] != 0xFF:
        stream = empty_block.copy()
        text = stream.decompress(data.translate(MIRRORED) + ENDING, 2 * len(data))
        if stream.eof and len(stream.unused_data) < 2:
            return text
    return decode_by_table(data)


def decode_by_table(data: bytes) -> bytes:
    """The same for every string. Raises CompressionError."""
    while True:
        step = START
        try:
            text = b"".join([(step := step[0][octet])[1] for octet in data])
        except IndexError:  # nobody has been at this node
            step[0].extend(_steps(step[2]))
            continue
        if step[2] not in PADDING:
            raise CompressionError("a Huffman string has a wrong ending")
        return text


def encode(text: bytes) -> bytes:
    """The encoded string of a text that is not empty."""
    bits = "".join(map(code_of, text))
    length = (len(bits) + 7) // 8
    return int(bits.ljust(8 * length, "1"), 2).to_bytes(length, "big")


nodes: dict[str, Node] = {"": []}
"""One for what may be pending; filled when it is first needed, for all connections."""
START: Step = (nodes[""], b"", "")


def _steps(pending: str, depth: int = 8, text: bytes = b"") -> Iterator[Step]:
    """The steps of a node in the order of their octets."""
    octet = OCTETS.get(pending)
    if octet == END_OF_STRING or pending == REJECTED:
        # RFC7541§5.2: it must not be in a string. From here every octet leads back to here.
        step = (nodes.setdefault(REJECTED, []), b"", REJECTED)
        yield from (step for _ in range(2**depth))
        return
    if octet is not None:
        pending, text = "", text + bytes((octet,))
    if depth:
        yield from _steps(pending + "0", depth - 1, text)
        yield from _steps(pending + "1", depth - 1, text)
    else:
        yield nodes.setdefault(pending, []), text, pending


def _preamble() -> bytes:
    """A deflate stream up to the first code of its only block with content (RFC1951§3.2.7)."""
    lengths = [length if length <= 15 else 0 for length in REQUEST_CODES_LENGTH[:256]]
    lengths += [15, 0, 0]  # the end of block, and two distances that are never used
    bits = (
        "0" + "10" + "0000000"  # an empty block of the fixed codes, to end on a whole octet
        "1" + "01"  # the last block, with codes of its own
        "00000"
        + "10000"
        + "1111"  # for 257 literals, 2 distances and 19 lengths, which are
        + "000" * 3  # no repetitions,
        + "001" * 16  # and four bits each for the lengths 0 to 15
        + "".join(format(length, "04b") for length in lengths)
    )
    return int(bits[::-1], 2).to_bytes(len(bits) // 8, "little")


empty_block = zlib.decompressobj(-9)
empty_block.decompress(_preamble())
