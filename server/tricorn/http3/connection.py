"""RFC 9114: many streams at once, each a QUIC stream of its own.

`receiving` takes apart what comes on the streams; `transport` carries, paces and orders what goes
out. Here is what the streams ask for, and `life` is what becomes of the connection.
"""

from __future__ import annotations

import logging
from typing import Any

from tricorn.connection import Fields
from tricorn.fields import BODILESS, within_length
from tricorn.http3 import frames
from tricorn.http3.flow import HIGH_WATER, MOST_UNHEARD, Flow
from tricorn.http3.frames import Code
from tricorn.http3.life import Living
from tricorn.http3.shared import PREFIX_SIZE, Head
from tricorn.priorities import override
from tricorn.sections import response_section, trailer_section

log = logging.getLogger(__name__)


class Http3Connection(Living):
    """One HTTP/3 client connection."""

    __slots__ = ()

    # What the streams ask for

    def send_informational(self, id: int, status: int, headers: Fields) -> None:
        flow = self._open_flow(id)
        if flow is None or flow.framed:
            return
        if status == 100:
            flow.invited = True
            flow.beginning = flow.heard = self.context.now
        fields = ((b":status", b"%d" % status), *response_section(headers).fields)
        self._write(id, frames.frame(frames.HEADERS, self.shared.encode(fields)))

    def send_headers(self, id: int, status: int, headers: Fields, *, end: bool = False) -> None:
        flow = self._open_flow(id)
        if flow is None:
            return
        head = self._head(status, headers)
        self._frame(id, flow, status, head)
        flow.ending = end
        self._write(id, self._block(head, b""), end=end)
        if end:
            self.finish(id)

    def send_data(self, id: int, data: bytes, *, end: bool = False) -> None:
        flow = self._open_flow(id)
        if flow is None or flow.ending:
            return
        if flow.remaining is not None:
            data, flow.remaining = within_length(flow.remaining, data, end=end)
        elif flow.silent:
            data = b""
        if data:
            if not flow.mark:  # until now nothing has waited
                flow.stalled = self.context.now
                flow.mark = 1
            data = frames.frame(frames.DATA, data)
        if data or end:
            flow.ending = end
            self._write(id, data, end=end)
        if end:
            self.finish(id)

    def respond(self, id: int, status: int, headers: Fields, data: bytes) -> None:
        flow = self._open_flow(id)
        if flow is None:
            return
        head = self._head(status, headers)
        length = head[1]
        added = b""
        if length is None and status not in BODILESS:
            added = self.shared.encode(((b"content-length", b"%d" % len(data)),))[PREFIX_SIZE:]
        if status in BODILESS or self.streams[id].request.method == "HEAD":
            data = b""
        elif length is not None:
            data, _ = within_length(length, data, end=True)
        self._frame(id, flow, status, head)
        content = frames.frame(frames.DATA, data) if data else b""
        flow.ending = True
        self._write(id, self._block(head, added) + content, end=True)
        self.finish(id)

    def _head(self, status: int, headers: Fields) -> Head:
        """The section of a response's head, without what is added to it."""
        key: tuple[int, tuple[Any, ...]] = status, tuple(headers)
        known = self.shared.heads
        try:
            head = known.young.get(key) or known.recall(key)
        except TypeError:  # lists instead of tuples
            key = status, tuple((name, value) for name, value in headers)
            head = None
        if head is None:
            section = response_section(key[1])
            fields = section.fields
            if status in (204, 205):  # RFC9110§8.6, §15.3.6: none in a 204, zero in a 205
                fields = tuple(field for field in fields if field[0] != b"content-length")
            block = self.shared.encode(((b":status", b"%d" % status), *fields))
            head = block, section.length, section.said, section.priority
            if len(block) <= 256:
                known.keep(key, head)
        return head

    def _block(self, head: Head, added: bytes) -> bytes:
        block, _, said, _ = head
        return frames.frame(frames.HEADERS, block + added + self.shared.endings[said])

    def _frame(self, id: int, flow: Flow, status: int, head: Head) -> None:
        """The head of the response is about to be sent."""
        _, length, _, priority = head
        request = self.streams[id].request
        flow.framed = True
        flow.silent = request.method == "HEAD" or status in BODILESS
        if not flow.silent:
            flow.remaining = length
        if priority is not None:
            asked = self.transport.turns.priorities.get(id)
            if asked is not None:
                self.transport.prioritize(id, override(asked, priority))  # RFC9218§8

    def send_trailers(self, id: int, headers: Fields) -> None:
        flow = self._open_flow(id)
        if flow is None or flow.ending:
            return
        trailers = trailer_section(headers)
        data = b""
        if trailers and not flow.silent:
            data = frames.frame(frames.HEADERS, self.shared.encode(trailers))
        flow.ending = True
        self._write(id, data, end=True)
        self.finish(id)

    def send_reset(self, id: int, reason: str) -> None:
        if id in self.streams:
            log.debug("client=%s stream=%d given up: %s", self.endpoints.client, id, reason)
            self.transport.give_up(id, Code.INTERNAL_ERROR)
            self.remove(id).feed_reset()
            self.changed()

    def hang_up(self, id: int) -> None:
        """The end of a stream is enough: the connection has others."""

    def consumed(self, id: int, size: int) -> None:
        self.transport.credit(id, size)
        self.changed()

    def room(self, id: int) -> bool:
        if id not in self.streams:
            return False  # `writable` says so
        unsent, unheard = self.transport.unsent(id)
        return unsent <= HIGH_WATER and unheard <= MOST_UNHEARD

    def relieve(self) -> None:
        if self.last_served != frames.LAST_REQUEST and not self.flows and not self.broken:
            self.settle()  # what was left to deliver may have been delivered
        for id, flow in self.flows.items():
            if flow.waiters is not None:
                unsent, unheard = self.transport.unsent(id)
                if unheard < flow.mark:
                    flow.stalled = self.context.now
                flow.mark = unheard
                if unsent <= HIGH_WATER // 4 and unheard <= MOST_UNHEARD // 2:
                    flow.waiters.wake()

    def _open_flow(self, id: int) -> Flow | None:
        return self.flows.get(id) if id in self.streams else None

    def _write(self, id: int, data: bytes, *, end: bool = False) -> None:
        self.transport.write(id, data, end=end)
        self.changed()
