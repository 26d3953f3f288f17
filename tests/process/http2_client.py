"""A connection of HTTP/2 over a socket, on which a test decides what is sent and read when."""

from __future__ import annotations

import socket
import ssl
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes

from tests.support.process import Client

FRAME = 16_384
WINDOW = 2**24
"""Of the whole connection; that of a stream is what HTTP/2 begins with."""
FIRST_WINDOW = 65_535


class Machine(H2Connection):
    """Goes on after a GOAWAY, as a client has to (python-hyper/h2#1181)."""

    goaways: list[tuple[int, int]]

    def _receive_goaway_frame(self, frame: Any) -> tuple[list[Any], list[events.Event]]:
        self.goaways.append((frame.last_stream_id, frame.error_code))
        return [], []


@dataclass
class Response:
    """What has come on one stream."""

    status: int = 0
    body: bytes = b""
    ended: bool = False
    reset: int | None = None


class Http2Client:
    """Gives credit for whatever it reads, except on the streams that are `held`."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        if context is not None:
            context.set_alpn_protocols(["h2"])
        self.client = Client("127.0.0.1", port, context)
        self.client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.machine = Machine(H2Configuration(client_side=True, header_encoding="ascii"))
        self.machine.goaways = []
        self.responses: dict[int, Response] = defaultdict(Response)
        self.held: set[int] = set()
        self.ended = False
        """The server has closed the connection."""
        self.machine.local_settings[SettingCodes.ENABLE_PUSH] = 0
        self.machine.initiate_connection()
        self.machine.increment_flow_control_window(WINDOW - FIRST_WINDOW)
        self._send()

    def __enter__(self) -> Http2Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self.client.socket.close()

    @property
    def goaways(self) -> list[tuple[int, int]]:
        """The last stream and the code of each GOAWAY."""
        return self.machine.goaways

    def ask(self, target: str = "/", method: str = "GET", *, end: bool = True) -> int:
        """Sends a head; the number of its stream."""
        id = self.machine.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "https"), (":authority", "localhost")]
        self.machine.send_headers(id, [*head, (":path", target)], end_stream=end)
        self._send()
        return id

    def send(self, id: int, data: bytes, *, end: bool = False) -> None:
        """Sends content, waiting for credit where it has to."""
        for at in range(0, len(data), FRAME):
            part = data[at : at + FRAME]
            while self.machine.local_flow_control_window(id) < len(part):
                self.read()
            self.machine.send_data(id, part)
        if end:
            self.machine.end_stream(id)
        self._send()

    def room(self, id: int) -> int:
        """What may be sent on a stream now."""
        return self.machine.local_flow_control_window(id)

    def read(self) -> None:
        """What has come, or comes next."""
        self._send()
        data = self.client.socket.recv(65_536)
        self.ended = not data
        for event in self.machine.receive_data(data) if data else ():
            self._take(event)
        self._send()

    def answer(self, id: int) -> Response:
        """Waits for all of a response."""
        response = self.responses[id]
        while not response.ended and response.reset is None:
            self.read()
            assert not self.ended, f"the connection has ended before stream {id}"
        return response

    def fetch(self, target: str = "/") -> str:
        """The content of one page."""
        response = self.answer(self.ask(target))
        assert response.status == 200 and response.reset is None
        return response.body.decode()

    def grant(self, id: int) -> None:
        """Reads a stream on that was held."""
        self.held.discard(id)
        self.machine.increment_flow_control_window(WINDOW, id)
        self._send()

    def wait_for_end(self) -> None:
        while not self.ended:
            self.read()

    def _send(self) -> None:
        if data := self.machine.data_to_send():
            self.client.send(data)

    def _take(self, event: events.Event) -> None:
        match event:
            case events.ResponseReceived(stream_id=id, headers=headers):
                self.responses[id].status = int(dict(headers)[":status"])
            case events.DataReceived(stream_id=id, data=data):
                self.responses[id].body += data
                if id in self.held:
                    self.machine.increment_flow_control_window(event.flow_controlled_length)
                else:
                    self.machine.acknowledge_received_data(event.flow_controlled_length, id)
            case events.StreamEnded(stream_id=id):
                self.responses[id].ended = True
            case events.StreamReset(stream_id=id):
                self.responses[id].reset = int(event.error_code)
            case _:
                pass  # what hyper-h2 answers by itself
