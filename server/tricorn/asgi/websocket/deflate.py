"""permessage-deflate (RFC 7692): what is agreed on, and an inflate that is bounded.

wsproto's extension compresses. What it inflates has no bound, and a control frame between two
fragments ends a message for it (wsproto 1.3.2): that is done here.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator

from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import FrameDecoder, FrameProtocol, Opcode, RsvBits

from tricorn.asgi.websocket.codes import INVALID_DATA, POLICY, TOO_BIG, Failed

NAME = "permessage-deflate"
WINDOW_BITS = 12
"""4 KiB instead of 32 for what we compress, and for what clients do that let themselves be told."""
MEMORY_LEVEL = 5
"""A compressor takes 16 KiB and its window four times, instead of 128 KiB and the same."""
LARGEST_WINDOW_BITS = 15
SMALLEST_WINDOW_BITS = 9
"""zlib has no smaller one; for what we inflate a larger one is as good (RFC7692§7.1.2.2)."""

TAIL = b"\x00\x00\xff\xff"  # RFC7692§7.2.1, §7.2.2
PIECE = 16 * 1024
"""Octets that are given to zlib at once."""
MOST_ENDS = 1024
"""Final blocks in one message, each of which costs a new stream of deflate."""
TRUSTED = 512 * 1024
"""Octets that are inflated before it is asked how many more will follow."""
LITTLE = TRUSTED // 1032
"""Octets that cannot inflate to more than that: deflate makes 1032 of one at most."""

# RFC7692§7.1: 8 to 15, without leading zeros; quoted or not (RFC6455§9.1).
window_bits = re.compile(r'"?([89]|1[0-5])"?').fullmatch


class Deflate(PerMessageDeflate):
    """One connection's agreement, and its two streams of deflate."""

    def __init__(
        self,
        most: int,
        *,
        client_bits: int = LARGEST_WINDOW_BITS,
        server_bits: int = WINDOW_BITS,
        client_forgets: bool = False,
        server_forgets: bool = False,
    ) -> None:
        """Messages have at most `most` octets, inflated."""
        super().__init__(
            client_no_context_takeover=client_forgets,
            client_max_window_bits=client_bits,
            server_no_context_takeover=server_forgets,
            server_max_window_bits=server_bits,
        )
        self._enabled = True
        self.most = most
        self.inflated = 0
        """Octets of the message in progress."""
        self.ends = 0
        """Final blocks in it."""

    def inflate(self, data: bytes, *, last: bool) -> bytes:
        """What a part of a message holds; `last`, with what its sender left out. Raises Failed."""
        inflated = self._inflate(data)
        if last:
            # RFC7692§7.2.2; a stream that has ended with the message has nothing left to be told.
            if self._decompressor is not None:
                inflated += self._inflate(TAIL)
            if self.client_no_context_takeover:
                self._decompressor = None
            self.inflated = self.ends = 0
        return inflated

    def _inflate(self, data: bytes) -> bytes:
        if self._decompressor is None:
            self._decompressor = zlib.decompressobj(-self.client_max_window_bits)
        try:
            if len(data) > LITTLE:
                inflated = self._much(data)
            else:
                inflated = self._decompressor.decompress(data)
                if self._decompressor.eof:
                    data = self._decompressor.unused_data
                    self._decompressor = None
                    self.ends += 1
                    inflated += self._much(data)
        except zlib.error:
            raise Failed(INVALID_DATA, "compressed data that is not") from None
        self.inflated += len(inflated)
        if self.inflated > self.most:
            raise Failed(TOO_BIG, f"a message that inflates to more than {self.most} octets")
        if self.ends > MOST_ENDS:
            raise Failed(POLICY, "too many final blocks")
        return inflated

    def _much(self, data: bytes) -> bytes:
        inflation = Inflation(self._decompressor, self.client_max_window_bits, data)
        room = self.most - self.inflated
        kept: list[bytes] = []
        size, trusted = 0, TRUSTED
        for part in inflation.parts():
            size += len(part)
            kept.append(part)
            if size >= trusted:
                trusted = self.most
                if not inflation.copy().fits(room - size):
                    raise Failed(
                        TOO_BIG, f"a message that inflates to more than {self.most} octets"
                    )
        self._decompressor = inflation.decompressor
        self.ends += inflation.ends
        return b"".join(kept)

    def frame_outbound(
        self,
        proto: FrameDecoder | FrameProtocol,
        opcode: Opcode,
        rsv: RsvBits,
        data: bytes,
        fin: bool,
    ) -> tuple[RsvBits, bytes]:
        if self._compressor is None and not opcode.iscontrol():
            self._compressor = zlib.compressobj(
                wbits=-self.server_max_window_bits, memLevel=MEMORY_LEVEL
            )
        return super().frame_outbound(proto, opcode, rsv, data, fin)


if missing := {"_enabled", "_compressor", "_decompressor"} - vars(PerMessageDeflate()).keys():
    raise ImportError(f"wsproto has changed: its PerMessageDeflate has no {', '.join(missing)}")


class Inflation:
    """Octets on their way through a stream of deflate, or several that follow each other."""

    __slots__ = ("at", "bits", "data", "decompressor", "ends", "piece")

    def __init__(self, decompressor: zlib._Decompress | None, bits: int, data: bytes) -> None:
        """With no `decompressor` a stream begins, with a window of `bits`."""
        self.decompressor = decompressor
        self.bits = bits
        self.data = data
        self.at = 0
        """Up to here they have been taken."""
        self.piece = b""
        """What has been taken, and is not inflated yet."""
        self.ends = 0
        """Streams that have ended."""

    def copy(self) -> Inflation:
        """The same from here on, apart from this one."""
        decompressor = self.decompressor
        copy = Inflation(decompressor and decompressor.copy(), self.bits, self.data)
        copy.at, copy.piece, copy.ends = self.at, self.piece, self.ends
        return copy

    def parts(self) -> Iterator[bytes]:
        """What it inflates to, a bounded part at a time. Raises zlib.error."""
        while self.ends <= MOST_ENDS:
            if not self.piece:
                # Not all at once: whatever a stream leaves behind its end is copied.
                self.piece = self.data[self.at : self.at + PIECE]
                self.at += PIECE
                if not self.piece:
                    return
            if self.decompressor is None:
                self.decompressor = zlib.decompressobj(-self.bits)
            part = self.decompressor.decompress(self.piece, TRUSTED)
            self.piece = self.decompressor.unconsumed_tail
            if self.decompressor.eof:
                # RFC7692§7.2.3.4: a block may be final; the next one begins anew.
                self.piece = self.decompressor.unused_data
                self.decompressor = None
                self.ends += 1
            yield part

    def fits(self, room: int) -> bool:
        """Whether it inflates to no more than `room` octets: they are counted, not kept."""
        for part in self.parts():
            room -= len(part)
            if room < 0:
                return False
        return True


def agree(offers: Iterable[bytes], most: int) -> tuple[Deflate, bytes] | None:
    """The first offer that can be taken, and how it is taken; None where there is none."""
    for value in offers:
        for offer in value.decode("latin-1").split(","):
            name, *parameters = (part.strip(" \t") for part in offer.split(";"))
            if name == NAME and (agreed := _take(parameters, most)) is not None:
                return agreed
    return None


def _take(parameters: list[str], most: int) -> tuple[Deflate, bytes] | None:
    """RFC7692§5.1, §7: an offer with a parameter that is unknown, doubled or wrong is declined."""
    given: dict[str, str | None] = {}
    for parameter in parameters:
        name, equals, value = parameter.partition("=")
        if name in given:
            return None
        given[name] = value if equals else None
    client_bits, server_bits = LARGEST_WINDOW_BITS, WINDOW_BITS
    response = [NAME]
    for name, text in given.items():
        bits = window_bits(text) if text is not None else None
        number = int(bits[1]) if bits else 0
        match name:
            case "server_no_context_takeover" | "client_no_context_takeover" if text is None:
                response.append(name)
            case "server_max_window_bits" if number >= SMALLEST_WINDOW_BITS:
                server_bits = min(number, WINDOW_BITS)
                response.append(f"{name}={server_bits}")
            case "client_max_window_bits" if number or text is None:
                asked = min(number or LARGEST_WINDOW_BITS, WINDOW_BITS)
                client_bits = max(asked, SMALLEST_WINDOW_BITS)
                response.append(f"{name}={asked}")
            case _:
                return None
    agreed = Deflate(
        most,
        client_bits=client_bits,
        server_bits=server_bits,
        client_forgets="client_no_context_takeover" in given,
        server_forgets="server_no_context_takeover" in given,
    )
    return agreed, "; ".join(response).encode("ascii")
