"""A client in memory that speaks HTTP/2: hyperframe and hpack say what the server sent.

It takes nothing on trust: what a server may not send fails the test, whichever test it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hpack import Decoder
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.support import frames
from tests.support.answers import Answer
from tests.support.frames import PREFACE
from tests.support.peers import Peer, TcpPeer
from tricorn.config import Config
from tricorn.connection import Application, Endpoints, Field

FIRST_WINDOW = 65_535
FRAME_SIZE = 16_384
NEVER = (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
CONTENTLESS = (204, 205, 304)


@dataclass(slots=True)
class Upload:
    """What is still to be sent of a request."""

    data: bytearray = field(default_factory=bytearray)
    end: bool = False
    trailers: Sequence[Field] = ()


class H2Peer(TcpPeer):
    """One client connection of HTTP/2, in the clear by prior knowledge, or `secure`.

    It greets, acknowledges SETTINGS and PING, and gives back every credit, unless `polite` is
    False: then nothing is sent but what the test sends. `settings` are its own first ones.
    """

    def __init__(
        self,
        application: Application | None = None,
        config: Config | None = None,
        *,
        beside: Peer | None = None,
        engine: str = "tricorn",
        secure: bool = False,
        settings: Mapping[int, int] | None = None,
        polite: bool = True,
        **options: Any,
    ) -> None:
        config = replace(config or Config(), http2_engine=engine) if beside is None else None
        if secure:
            server = ("192.0.2.2", 443)
            options.setdefault("endpoints", Endpoints(("192.0.2.1", 50000), server, "https"))
            options.setdefault("half_closable", False)
        version = "h2" if secure else "h2c"
        super().__init__(version, application, config, beside=beside, **options)
        self.scheme = b"https" if secure else b"http"
        self.polite = polite
        self.generous = polite
        """It gives credit for what it has read."""
        self.streams: dict[int, Answer] = {}
        """What has come on each stream."""
        self.frames: list[Frame] = []
        """All that the server has sent and the client has read."""
        self.settings: dict[int, int] = {}
        """What the server has announced."""
        self.goaways: list[tuple[int, int]] = []
        """Last stream and code of each."""
        self.promised: dict[int, list[Field]] = {}
        self.decoder = Decoder()
        self.decoder.max_header_list_size = 2**24
        self.methods: dict[int, str] = {}
        self.next = 1
        self.ended: set[int] = set()
        self.window = FIRST_WINDOW
        self.windows: dict[int, int] = {}
        self.largest = FRAME_SIZE
        self.uploads: dict[int, Upload] = {}
        self.credit = FIRST_WINDOW
        """What the server lets us send."""
        self.credits: dict[int, int] = {}
        self._read_so_far = 0
        self._first_window = FIRST_WINDOW
        self._decreases: deque[int] = deque()
        self._block: HeadersFrame | PushPromiseFrame | None = None
        if polite:
            self.send(PREFACE + frames.settings(settings or {}))

    # What the client does

    def send(self, *segments: bytes) -> None:
        self._note(b"".join(segments))
        super().send(*segments)

    def settle(self) -> None:
        super().settle()
        while reply := self._take() + self._upload():
            self._note(reply)
            if not self.polite or self.wire.closing or self.wire.ended:
                break
            self.wire.arrive([reply])
            super().settle()

    def fetch(
        self,
        target: str = "/",
        method: str = "GET",
        headers: Sequence[Field] = (),
        body: bytes | None = None,
        trailers: Sequence[Field] = (),
    ) -> Answer:
        sized = [] if body is None or trailers else [(b"content-length", b"%d" % len(body))]
        id, head = self._head(target, method, [*headers, *sized], end=body is None and not trailers)
        if body is not None or trailers:
            self.uploads[id] = Upload(bytearray(body or b""), True, trailers)
        self.send(head + self._upload())
        return self.answer(id)

    def ask(self, target: str = "/", method: str = "GET", headers: Sequence[Field] = ()) -> int:
        id, head = self._head(target, method, headers, end=True)
        self.send(head)
        return id

    def begin(self, target: str = "/", method: str = "POST", headers: Sequence[Field] = ()) -> int:
        id, head = self._head(target, method, headers, end=False)
        self.send(head)
        return id

    def part(
        self, id: int, data: bytes = b"", *, end: bool = False, trailers: Sequence[Field] = ()
    ) -> None:
        upload = self.uploads.setdefault(id, Upload())
        upload.data += data
        upload.end, upload.trailers = end, trailers
        self.send(self._upload())

    def held(self, id: int) -> int:
        return len(self.uploads[id].data) if id in self.uploads else 0

    def abandon(self, id: int) -> None:
        self.uploads.pop(id, None)
        self.send(frames.rst(id))

    def grant(self, id: int, octets: int) -> None:
        """Credit for a stream; for the connection if it is 0."""
        self.send(frames.window_update(id, octets))

    def _head(
        self, target: str, method: str, headers: Sequence[Field], *, end: bool
    ) -> tuple[int, bytes]:
        id, self.next = self.next, self.next + 2
        self.methods[id] = method
        fields = [
            (b":method", method.encode()),
            (b":scheme", self.scheme),
            (b":authority", b"x"),
            (b":path", target.encode("latin-1")),
            *headers,
        ]
        return id, frames.headers(id, fields, end=end)

    def _upload(self) -> bytes:
        """The frames that the server's credit allows, of what is to be sent."""
        sent = b""
        credit = self.credit
        for id, upload in list(self.uploads.items()):
            first = self.credits.get(id, self._first_credit)
            size = max(0, min(len(upload.data), credit, first))
            content = bytes(upload.data[:size])
            del upload.data[:size]
            credit -= size
            last = upload.end and not upload.data
            ended = last and not upload.trailers
            if content or ended:
                for at in range(0, max(size, 1), FRAME_SIZE):
                    part = content[at : at + FRAME_SIZE]
                    sent += frames.data(id, part, end=ended and at + FRAME_SIZE >= size)
            if last and upload.trailers:
                sent += frames.headers(id, upload.trailers)
            if not upload.data:
                del self.uploads[id]
        return sent

    # What the client sees

    def result(self, id: int) -> Answer | None:
        return self.streams.get(id)

    def answer(self, id: int | None = None) -> Answer:
        """The response on a stream; the only one if it is not said on which."""
        if id is None:
            assert len(self.streams) == 1, f"{len(self.streams)} streams"
            (answer,) = self.streams.values()
            return answer
        assert id in self.streams, f"nothing came on stream {id}: {self.frames[-5:]}"
        return self.streams[id]

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self.streams.values()]

    @property
    def status(self) -> int | None:
        """Of the last stream that was answered."""
        statuses = self.statuses
        return statuses[-1] if statuses else None

    @property
    def resets(self) -> dict[int, int]:
        """The codes of the streams that the server has reset."""
        answers = self.streams.items()
        return {id: answer.reset for id, answer in answers if answer.reset is not None}

    @property
    def goaway(self) -> int | None:
        """The code of the last GOAWAY."""
        return self.goaways[-1][1] if self.goaways else None

    def of(self, kind: type[Frame], id: int | None = None) -> list[Any]:
        """The frames of a kind, on a stream if it is said on which."""
        return [
            each
            for each in self.frames
            if isinstance(each, kind) and (id is None or each.stream_id == id)
        ]

    # How it finds out

    def _note(self, data: bytes) -> None:
        """Keeps the windows of both directions, as far as what the client sends can be read."""
        data = data.removeprefix(PREFACE)
        for frame in _frames(data):
            if isinstance(frame, WindowUpdateFrame):
                if frame.stream_id:
                    self._widen(frame.stream_id, frame.window_increment)
                else:
                    self.window += frame.window_increment
            elif isinstance(frame, DataFrame):
                self._credit(frame.stream_id, -frame.flow_controlled_length)
                self.credit -= frame.flow_controlled_length
            elif isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
                first = frame.settings.get(frames.INITIAL_WINDOW_SIZE, self._first_window)
                change, self._first_window = first - self._first_window, first
                # What is less than before counts once the server knows of it.
                self._decreases.append(min(change, 0))
                self._widen_all(max(change, 0))
                largest = frame.settings.get(frames.MAX_FRAME_SIZE, self.largest)
                self.largest = max(self.largest, largest)
                table = frame.settings.get(frames.HEADER_TABLE_SIZE, 0)
                allowed = self.decoder.max_allowed_table_size
                self.decoder.max_allowed_table_size = max(allowed, table)

    def _widen(self, id: int, change: int) -> None:
        self.windows[id] = self.windows.get(id, self._first_window) + change

    def _credit(self, id: int, change: int) -> None:
        self.credits[id] = self.credits.get(id, self._first_credit) + change

    @property
    def _first_credit(self) -> int:
        return self.settings.get(frames.INITIAL_WINDOW_SIZE, FIRST_WINDOW)

    def _widen_all(self, change: int) -> None:
        for id in self.windows:
            self.windows[id] += change

    def _take(self) -> bytes:
        """Reads what has come; what a polite client answers to it."""
        unread = bytes(self.wire.sent[self._read_so_far :])
        reply = b""
        for frame in _frames(unread):
            self._read_so_far += 9 + frame.body_len
            self.frames.append(frame)
            reply += self._see(frame)
        return reply

    def _see(self, frame: Frame) -> bytes:
        id = frame.stream_id
        assert frame.body_len <= self.largest, f"larger than was allowed: {frame}"
        assert len(self.frames) > 1 or isinstance(frame, SettingsFrame), "SETTINGS come first"
        if self._block is not None:
            assert isinstance(frame, ContinuationFrame) and id == self._block.stream_id
        match frame:
            case DataFrame():
                return self._see_data(frame)
            case HeadersFrame() | PushPromiseFrame():
                self._block = frame
                self._see_end_of_block(frame)
            case ContinuationFrame():
                assert self._block is not None, "CONTINUATION of nothing"
                self._block.data += frame.data
                self._see_end_of_block(frame)
            case RstStreamFrame():
                self.streams.setdefault(id, Answer(0, [])).reset = frame.error_code
                self.uploads.pop(id, None)
            case SettingsFrame() if "ACK" in frame.flags:
                self._widen_all(self._decreases.popleft() if self._decreases else 0)
            case WindowUpdateFrame():
                if id:
                    self._credit(id, frame.window_increment)
                else:
                    self.credit += frame.window_increment
            case SettingsFrame():
                before = self._first_credit
                self.settings |= frame.settings
                for each in self.credits:
                    self.credits[each] += self._first_credit - before
                return frames.settings(ack=True)
            case PingFrame() if "ACK" not in frame.flags:
                return frames.ping(frame.opaque_data, ack=True)
            case GoAwayFrame():
                self.goaways.append((frame.last_stream_id, frame.error_code))
            case _:
                pass  # whoever wants to know looks into `frames`
        return b""

    def _see_data(self, frame: DataFrame) -> bytes:
        id, size = frame.stream_id, frame.flow_controlled_length
        self._open(id)
        answer = self.streams.get(id)
        assert answer is not None and answer.status, f"content before a response: {frame}"
        self.window -= size
        self._widen(id, -size)
        assert self.window >= 0 or not size, f"{-self.window} octets too many for the connection"
        assert self.windows[id] >= 0 or not size, f"{-self.windows[id]} too many on stream {id}"
        silent = self.methods.get(id) == "HEAD" or answer.status in CONTENTLESS
        assert not (silent and frame.data), f"content in {answer.status}"
        answer.body += frame.data
        if "END_STREAM" in frame.flags:
            self._end(id, answer)
            credit = frames.window_update(0, size)
        else:
            credit = frames.window_update(0, size) + frames.window_update(id, size)
        return credit if size and self.generous else b""

    def _see_end_of_block(self, frame: HeadersFrame | PushPromiseFrame | ContinuationFrame) -> None:
        if "END_HEADERS" not in frame.flags or self._block is None:
            return
        whole, self._block = self._block, None
        id = whole.stream_id
        fields = [
            (bytes(name), bytes(value)) for name, value in self.decoder.decode(whole.data, raw=True)
        ]
        for name, value in fields:
            assert name == name.lower() and name not in NEVER, f"{name!r} in a field section"
            assert value == value.strip(b" \t") and not set(value) & set(b"\0\r\n"), f"{value!r}"
        if isinstance(whole, PushPromiseFrame):
            self.promised[whole.promised_stream_id] = fields
            return
        self._open(id)
        ended = "END_STREAM" in whole.flags
        answer = self.streams.setdefault(id, Answer(0, []))
        if answer.status:
            assert ended, f"trailers that do not end stream {id}"
            assert not any(name[:1] == b":" for name, _ in fields), f"{fields} in trailers"
            answer.trailers = fields
        else:
            (name, value), *fields = fields
            assert name == b":status" and not any(key[:1] == b":" for key, _ in fields)
            status = int(value)
            if status < 200:
                assert not ended, "an interim response ends nothing"
                answer.informational.append((status, fields))
                return
            answer.status, answer.headers = status, fields
        if ended:
            self._end(id, answer)

    def _open(self, id: int) -> None:
        assert id not in self.ended, f"stream {id} has ended"
        answer = self.streams.get(id)
        assert answer is None or answer.reset is None, f"stream {id} was reset"

    def _end(self, id: int, answer: Answer) -> None:
        self.ended.add(id)
        length = answer[b"content-length"]
        if self.methods.get(id) != "HEAD" and answer.status not in CONTENTLESS:
            assert length is None or int(length) == len(answer.body), "the length is not true"
        answer.complete = True


def _frames(data: bytes) -> list[Frame]:
    """The whole frames that `data` begins with, up to one that is none."""
    found = []
    view = memoryview(data)
    while len(view) >= 9:
        try:
            frame, length = Frame.parse_frame_header(view[:9])
            if len(view) < 9 + length:
                break
            frame.parse_body(view[9 : 9 + length])
        except HyperframeError:  # whatever a test has made up
            break
        frame.body_len = length
        view = view[9 + length :]
        found.append(frame)
    return found
