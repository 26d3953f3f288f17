"""What the HTTP/3 connections of one worker share: limits, field sections, the fields we add.

Both dynamic tables are left empty (RFC9204§3.2.3): a section then means the same wherever it comes,
so that it can be remembered by its octets, no stream ever waits for another one, and a client
cannot make a small section large.
"""

from __future__ import annotations

from collections.abc import Iterable

from pylsqpack import Decoder, DecompressionFailed, Encoder, StreamBlocked

from tricorn.config import Config
from tricorn.connection import Field, Refused, Request
from tricorn.fields import Defaults, Memory
from tricorn.http3 import frames
from tricorn.http3.frames import Code, ConnectionFault
from tricorn.sections import DATE, PSEUDO, SAID, SERVER, Entry, classifier
from tricorn.target import Limits

Head = tuple[bytes, int | None, int, bytes | None]
"""A response's section, its Content-Length, what of DATE and SERVER it says, its Priority."""

OVERHEAD = 32
"""RFC9114§4.2.2: what each field counts beside its octets."""
PREFIX_SIZE = 2
"""Octets of a section before its lines, zero without a dynamic table (RFC9204§4.5.1)."""
LARGEST_BLOCK = 16 * 1024
"""Octets of a field section as it is sent; a client may be told less by `head_size`."""
REMEMBERED = 2 * 1024
"""Octets of a section that may be worth remembering."""


class Shared:
    """Made once for each worker."""

    def __init__(self, config: Config, defaults: Defaults, limits: Limits) -> None:
        self.limits = limits
        self.defaults = defaults
        self.most_streams = config.quic_max_concurrent_streams
        self.most_resets = config.h2_max_resets
        self.head_size = config.h2_max_header_list_size
        self.decoder = Decoder(0, 0)
        self.encoder = Encoder()
        self.encoder.apply_settings(0, 0)
        self.requests: Memory[tuple[bytes, bool], Request] = Memory()
        """By its section, and whether that is all of it."""
        self.heads: Memory[tuple[int, tuple[Field, ...]], Head] = Memory()
        self.kinds: Memory[Field, int] = Memory()
        self.classify = classifier(limits)
        self.endings = [b""] * ((DATE | SERVER) + 1)
        """The lines that the server adds, by what the application has said itself."""
        defaults.watchers.append(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """A new second has begun."""
        for said in range((DATE | SERVER) + 1):
            own = [(name, b"") for name, bit in SAID.items() if bit & said]
            self.endings[said] = self.encode(self.defaults.missing(own))[PREFIX_SIZE:]

    def encode(self, fields: Iterable[Field]) -> bytes:
        return self.encoder.encode(0, list(fields))[1]

    def decode(self, id: int, block: bytes) -> list[Entry]:
        """The fields of a section with their kinds. Raises Refused, or ConnectionFault."""
        try:
            _, fields = self.decoder.feed_header(id, block)
        except (DecompressionFailed, StreamBlocked):
            # Without a table there is nothing that a section could wait for (RFC9204§2.2.3).
            raise ConnectionFault(
                Code.DECOMPRESSION_FAILED, "a section that means nothing"
            ) from None
        if len(fields) > self.limits.fields + len(PSEUDO):
            raise Refused(431, f"more than {self.limits.fields} header fields")
        size = sum(len(name) + len(value) + OVERHEAD for name, value in fields)
        if size > self.head_size:
            raise Refused(431, f"a head of more than {self.head_size} octets")
        kinds = self.kinds
        entries: list[Entry] = []
        for field in fields:
            kind = kinds.young.get(field)
            if kind is None and (kind := kinds.recall(field)) is None:
                kind = self.classify(*field)
                if len(field[0]) + len(field[1]) < 256:
                    kinds.keep(field, kind)
            entries.append((field, kind, 0))
        return entries

    def greeting(self, *, tunnels: bool) -> bytes:
        """What the server's control stream begins with (RFC9114§6.2.1)."""
        values = {
            frames.MAX_TABLE_CAPACITY: 0,
            frames.MAX_FIELD_SECTION_SIZE: self.head_size,
            frames.BLOCKED_STREAMS: 0,
            frames.GREASE + 0x1F * 7: 1,
        }
        if tunnels:
            values[frames.ENABLE_CONNECT_PROTOCOL] = 1
        return frames.integer(frames.CONTROL_STREAM) + frames.settings(values)
