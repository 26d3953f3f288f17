"""What the HTTP/2 connections of one worker share: limits, vocabularies, the fields we add."""

from __future__ import annotations

from tricorn.config import Config
from tricorn.connection import Field, Request
from tricorn.fields import Defaults, Memory
from tricorn.http2 import frames
from tricorn.http2.header_blocks import Decoder, Encoder, Literal, Vocabulary
from tricorn.http2.representations import literal_block
from tricorn.sections import DATE, PSEUDO, SAID, SERVER, classifier
from tricorn.target import Limits

Head = tuple[bytes, int | None, int]
"""The block of a response's head, its Content-Length, and what of DATE and SERVER it has said."""


class Shared:
    """Made once for each worker."""

    def __init__(self, config: Config, defaults: Defaults, limits: Limits) -> None:
        self.limits = limits
        self.defaults = defaults
        self.frame_size = config.h2_max_inbound_frame_size
        self.stream_window = config.h2_initial_stream_window_size
        self.connection_window = config.h2_initial_connection_window_size
        self.most_streams = config.h2_max_concurrent_streams
        self.most_resets = config.h2_max_resets
        self.head_size = config.h2_max_header_list_size
        self.tree_alone = config.priority == "rfc7540"
        self.vocabulary = Vocabulary(classifier(limits))
        self.literals: Memory[Field, Literal] = Memory()
        self.endings = [b""] * ((DATE | SERVER) + 1)
        """The block of the fields that the server adds to a response: Date, Server and so on.

        By what the application has said itself, of DATE and SERVER.
        """
        defaults.watchers.append(self.refresh)
        self.refresh()

    def decoder(self) -> Decoder[Request]:
        return Decoder(
            self.vocabulary,
            most_fields=self.limits.fields + len(PSEUDO),
            most_octets=self.head_size,
        )

    def encoder(self) -> Encoder[Head]:
        return Encoder(self.literals)

    def refresh(self) -> None:
        """A new second has begun: makes `endings` anew."""
        for said in range((DATE | SERVER) + 1):
            own = [(name, b"") for name, bit in SAID.items() if bit & said]
            self.endings[said] = literal_block(self.defaults.missing(own))

    def greeting(self, *, tunnels: bool) -> bytes:
        """The server's preface (RFC9113§3.4), and the rest of the connection's window."""
        values = {
            frames.MAX_CONCURRENT_STREAMS: self.most_streams,
            frames.INITIAL_WINDOW_SIZE: self.stream_window,
            frames.MAX_FRAME_SIZE: self.frame_size,
            frames.MAX_HEADER_LIST_SIZE: self.head_size,
        }
        if not self.tree_alone:
            # RFC9218§2.1: who knows better need not bother with RFC 7540's tree.
            values[frames.NO_RFC7540_PRIORITIES] = 1
        if tunnels:
            values[frames.ENABLE_CONNECT_PROTOCOL] = 1
        greeting = frames.settings(values)
        if more := self.connection_window - frames.DEFAULT_WINDOW:
            greeting += frames.window_update(0, more)
        return greeting
