"""What the HTTP/2 connections of one worker share: limits, vocabularies, the fields we add."""

from __future__ import annotations

from itertools import chain
from typing import Any

from tricorn.config import Config
from tricorn.connection import Field, Fields, Request
from tricorn.fields import Defaults, Memory
from tricorn.http2 import frames
from tricorn.http2.header_blocks import Decoder, Encoder, Literal, Vocabulary
from tricorn.http2.representations import literal_block
from tricorn.sections import PSEUDO, SAID, Section, classify, response_section
from tricorn.target import Limits

REMEMBERED_SECTIONS = 512
REMEMBERED_SECTION = 1024
"""Octets up to which the fields of a response are remembered: a megabyte in all."""


class Shared:
    """Made once; `Defaults.refresh` once a second changes what `ending` says."""

    def __init__(self, config: Config, defaults: Defaults, limits: Limits) -> None:
        self.limits = limits
        self.defaults = defaults
        self.frame_size = config.h2_max_inbound_frame_size
        self.stream_window = config.h2_initial_stream_window_size
        self.connection_window = config.h2_initial_connection_window_size
        self.most_streams = config.h2_max_concurrent_streams
        self.most_resets = config.h2_max_resets
        self.head_size = config.h2_max_header_list_size
        self.vocabulary = Vocabulary(classify)
        self.literals: Memory[Field, Literal] = Memory()
        self.sections: Memory[tuple[Field, ...], Section] = Memory(REMEMBERED_SECTIONS)
        self._endings: dict[int, bytes] = {}
        self._ended: object = None

    def decoder(self) -> Decoder[Request]:
        return Decoder(
            self.vocabulary,
            most_fields=self.limits.fields + len(PSEUDO),
            most_octets=self.head_size,
        )

    def encoder(self) -> Encoder:
        return Encoder(self.literals)

    def section(self, headers: Fields) -> Section:
        """What may be sent of the application's fields. Raises ApplicationError."""
        fields: tuple[Any, ...] = tuple(headers)
        try:
            known = self.sections.young.get(fields)
        except TypeError:  # lists instead of tuples
            fields = tuple((name, value) for name, value in fields)
            known = self.sections.young.get(fields)
        if known is None:
            known = self.sections.recall(fields) or response_section(fields)
            if sum(map(len, chain.from_iterable(fields))) <= REMEMBERED_SECTION:
                self.sections.keep(fields, known)
        return known

    def ending(self, said: int) -> bytes:
        """The block of the fields that the server adds: Date, Server and the operator's.

        Without what the application has `said` itself.
        """
        defaults = self.defaults
        if self._ended is not defaults.fields:  # a new second has begun
            self._ended = defaults.fields
            self._endings.clear()
        if (block := self._endings.get(said)) is None:
            own = [(name, b"") for name, bit in SAID.items() if bit & said]
            block = self._endings[said] = literal_block(defaults.missing(own))
        return block

    def greeting(self, *, tunnels: bool) -> bytes:
        """The server's preface (RFC9113§3.4), and the rest of the connection's window."""
        values = {
            frames.MAX_CONCURRENT_STREAMS: self.most_streams,
            frames.INITIAL_WINDOW_SIZE: self.stream_window,
            frames.MAX_FRAME_SIZE: self.frame_size,
            frames.MAX_HEADER_LIST_SIZE: self.head_size,
            # RFC9218§2.1: who knows better need not bother with RFC 7540's tree.
            frames.NO_RFC7540_PRIORITIES: 1,
        }
        if tunnels:
            values[frames.ENABLE_CONNECT_PROTOCOL] = 1
        greeting = frames.settings(values)
        if more := self.connection_window - frames.DEFAULT_WINDOW:
            greeting += frames.window_update(0, more)
        return greeting
