"""hyper-h2's state machine, fed frame by frame, where one stream is not the end of all of them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from h2.config import H2Configuration
from h2.connection import AllowedStreamIDs, H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from h2.stream import H2Stream

from tricorn.config import Config
from tricorn.connection import Broken
from tricorn.http2.frames import (
    CONTINUATION,
    DEFAULT_WINDOW,
    END_HEADERS,
    HEAD_SIZE,
    HEADERS,
    NO_RFC7540_PRIORITIES,
    PREFACE,
    SETTINGS,
    Code,
    goaway,
)
from tricorn.http2.header_blocks import TABLE_SIZE

if TYPE_CHECKING:
    from hpack.struct import Header

PRIVATE = {
    H2Stream: ("_initialize_content_length", "_track_content_length"),
    H2Connection: ("_begin_new_stream", "_receive_goaway_frame"),
}
"""The names that we override: without one of them hyper-h2 would do its own again."""
for owner, names in PRIVATE.items():
    for name in names:
        if not hasattr(owner, name):
            raise ImportError(f"{owner.__name__} has no {name}: this hyper-h2 is not known here")


class Failed(Broken):
    """The whole connection cannot go on (RFC9113§5.4.1)."""

    def __init__(self, code: ErrorCodes, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Lenient(H2Stream):
    """Leaves to `sections` what is wrong with a request: hyper-h2 would end the connection for it.

    And would not find all of it (library-gaps 9, 11).
    """

    def receive_headers(
        self, headers: Iterable[Header], end_stream: bool, header_encoding: bool | str | None
    ) -> tuple[list[Any], list[Event]]:
        # `:status` would make it an interim response; and RFC9113§8.1: trailers end the stream.
        unended = bool(self.state_machine.headers_received) and not end_stream
        if unended or any(name == b":status" for name, _ in headers):
            headers = [(b":malformed", b"")]
        return super().receive_headers(headers, end_stream or unended, header_encoding)

    def _initialize_content_length(self, headers: Iterable[Header]) -> None: ...

    def _track_content_length(self, length: int, end_stream: bool) -> None: ...


class Machine(H2Connection):
    """The server's end of one connection."""

    def __init__(self, config: Config) -> None:
        super().__init__(
            H2Configuration(
                client_side=False,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
            )
        )
        self.largest = config.h2_max_inbound_frame_size
        self.largest_head = config.h2_max_header_list_size
        self.buffer = bytearray()
        self.preface = len(PREFACE)
        """Octets of it that are still to come."""
        self.settled = False
        """The peer's SETTINGS have come, before anything else."""
        self.within_head = False
        """A header block has begun, and not ended."""

    def greet(self, config: Config, *, connect: bool) -> None:
        """Sends our SETTINGS; `connect` offers extended CONNECT (RFC8441§3)."""
        self.update_settings(
            {
                SettingCodes.MAX_CONCURRENT_STREAMS: config.h2_max_concurrent_streams,
                SettingCodes.INITIAL_WINDOW_SIZE: config.h2_initial_stream_window_size,
                SettingCodes.MAX_FRAME_SIZE: self.largest,
                SettingCodes.MAX_HEADER_LIST_SIZE: self.largest_head,
                NO_RFC7540_PRIORITIES: 1,
                **({SettingCodes.ENABLE_CONNECT_PROTOCOL: 1} if connect else {}),
            }
        )
        if config.h2_initial_connection_window_size > DEFAULT_WINDOW:
            self.increment_flow_control_window(
                config.h2_initial_connection_window_size - DEFAULT_WINDOW
            )
        self.tolerate()

    def tolerate(self) -> None:
        """Decodes heads that are too large, up to a point: they are refused by their stream."""
        self.decoder.max_header_list_size = 2 * self.largest_head

    def upgrade(self, settings: bytes) -> None:
        """Begins with a request of HTTP/1.1 as stream 1. Raises Broken (RFC7540§3.2.1)."""
        try:
            if len(settings) % 6:
                raise ValueError("a setting has six octets")
            self.initiate_upgrade_connection(base64.urlsafe_b64encode(settings))
        except (ValueError, ProtocolError) as error:
            raise Broken("malformed HTTP2-Settings") from error

    def take(self, data: bytes) -> Iterator[Event]:
        """The events of each frame while hyper-h2 is in the state that it left.

        Raises ProtocolError, after which hyper-h2 has sent GOAWAY, or Failed.
        """
        buffer = self.buffer
        buffer += data
        if self.preface:
            size = min(self.preface, len(buffer))
            self.receive_data(bytes(buffer[:size]))
            del buffer[:size]
            self.preface -= size
        while len(buffer) >= HEAD_SIZE:
            size = HEAD_SIZE + int.from_bytes(buffer[:3])
            kind, flags = buffer[3], buffer[4]
            if size > HEAD_SIZE + self.largest:
                # hyper-h2 would wait for all of it (library-gaps 7).
                raise Failed(ErrorCodes.FRAME_SIZE_ERROR, "a frame is too large")
            if kind != SETTINGS and not self.settled:
                raise Failed(ErrorCodes.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            if len(buffer) < size:
                return
            frame = bytes(buffer[:size])
            del buffer[:size]
            yield from self.receive_data(frame)
            self.settled = True
            if kind in (HEADERS, CONTINUATION):
                self.within_head = not flags & END_HEADERS

    def clamp_table(self) -> None:
        """The peer would choose how much we remember of our own fields (library-gaps 18)."""
        self.encoder.header_table_size = min(self.encoder.header_table_size, TABLE_SIZE)

    def goaway(self, last: int, code: int = ErrorCodes.NO_ERROR) -> bytes:
        """The frame: hyper-h2 would be unable to finish what is open after it (h2 #1181)."""
        return goaway(last, Code(code))

    @property
    def open_inbound_streams(self) -> int:
        super().open_inbound_streams  # noqa: B018  # forgets the closed ones
        return 0  # one too many costs the connection there, and is refused by itself here

    def _begin_new_stream(self, stream_id: int, allowed_ids: AllowedStreamIDs) -> H2Stream:
        stream = super()._begin_new_stream(stream_id, allowed_ids)
        stream.__class__ = Lenient
        return stream

    def _receive_goaway_frame(self, frame: Any) -> tuple[list[Any], list[Event]]:
        return [], [ConnectionTerminated()]  # what is open is finished (h2 #1181)
