"""The control socket: lines of JSON from operators, answers to them, and nobody who can stall us.

A client sends one line, {"command": "status"}, and hears one line, which has "ok" and either
"error" or what was asked for. What takes long (a reload, the end of the server) is answered when
it is done. Every descriptor is non-blocking; clients are few, their lines short, and whoever
neither asks nor listens for a while is hung up on.
"""

import contextlib
import json
import logging
import select
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tricorn_supervisor.listeners import Bind, Listener, close_listeners, open_listeners

log = logging.getLogger(__name__)

MOST_CLIENTS = 16
LINE_LIMIT = 1024
READ_SIZE = 4096
PATIENCE = 5.0  # seconds to send the question, and to take the answer
RETRY = 1.0  # seconds, where there is no descriptor for a client
ONLY_US = 0o600

Question = dict[str, object]


@dataclass(slots=True, eq=False)
class Client:
    """An operator's connection; `answer` may be called once, at any time."""

    socket: socket.socket
    deadline: float | None
    asked: bool = False
    gone: bool = False
    _received: bytes = b""
    _unsent: bytes = field(default=b"")
    _answered: bool = False

    def answer(self, **values: object) -> None:
        self._unsent = json.dumps({"ok": "error" not in values} | values).encode() + b"\n"
        self._answered = True

    @property
    def events(self) -> int:
        return (0 if self.asked else select.POLLIN) | (select.POLLOUT if self._unsent else 0)

    def turn(self, now: float, hung_up: bool = False) -> Question | None:
        """Read and write what can be; the question, when it is complete."""
        question = None
        try:
            if not self.asked:
                question = self._read()
                self.deadline = None if question else self.deadline
            if self._unsent:
                self.deadline = self.deadline or now + PATIENCE
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:  # reset, or it does not listen any more
            self.gone = True
        finished = self._answered and not self._unsent
        late = self.deadline is not None and now >= self.deadline
        # One that has asked and only closed its own half still listens.
        self.gone = self.gone or finished or late or (hung_up and self.asked)
        return question

    def _read(self) -> Question | None:
        data = self.socket.recv(READ_SIZE)
        self._received += data
        line, end, _ = self._received.partition(b"\n")
        if not end:
            self.gone = not data or len(line) > LINE_LIMIT
            return None
        self.asked = True
        with contextlib.suppress(ValueError, RecursionError):
            question = json.loads(line[: LINE_LIMIT + 1])
            if isinstance(question, dict):
                return question
        self.answer(error='a question is one line of JSON, such as {"command": "status"}')
        return None


class Control:
    """Opened with a path; without one nobody is heard."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._clients: list[Client] = []
        self._closed_until: float | None = None  # while there is no descriptor for anybody

    def open(self, path: str) -> None:
        """Raises ListenError."""
        if path:
            binds = [Bind(f"unix:{path}")]
            self._listeners = open_listeners(binds, backlog=MOST_CLIENTS, unix_mode=ONLY_US)
            log.info("control socket at %s", path)

    def watched(self) -> Iterator[tuple[socket.socket, int]]:
        """What the master's wait has to look at, and for what."""
        if len(self._clients) < MOST_CLIENTS and self._closed_until is None:
            yield from ((listener.socket, select.POLLIN) for listener in self._listeners)
        yield from ((client.socket, client.events) for client in self._clients)

    @property
    def deadline(self) -> float | None:
        """Turn at that time if nothing comes before it."""
        deadlines = [self._closed_until, *(client.deadline for client in self._clients)]
        return min((each for each in deadlines if each is not None), default=None)

    def turn(self, now: float, ask: Callable[[Client, Question], None]) -> None:
        """Hear every client that can be heard; `ask` is called with each question."""
        self._accept(now)
        poll = select.poll()
        for client in self._clients:
            poll.register(client.socket, 0)  # the ends of connections are told anyway
        hung_up = {number for number, _ in poll.poll(0)}
        for client in self._clients:
            question = client.turn(now, client.socket.fileno() in hung_up)
            if question is not None:
                ask(client, question)
                client.turn(now)
            if client.gone:
                client.socket.close()
        self._clients = [client for client in self._clients if not client.gone]

    def leave(self) -> None:
        """In a child: it is not for it."""
        for listener in self._listeners:
            listener.socket.close()
        for client in self._clients:
            client.socket.close()

    def close(self) -> None:
        """Whoever waits sees the end of the connection, which is that of the master."""
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.turn(0.0)
            client.socket.close()
        self._clients.clear()
        close_listeners(self._listeners)

    def _accept(self, now: float) -> None:
        if self._closed_until is not None and now < self._closed_until:
            return
        self._closed_until = None
        for listener in self._listeners:
            while len(self._clients) < MOST_CLIENTS:
                try:
                    sock, _ = listener.socket.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    # Whoever waits would wake us at once, for as long as it lasts.
                    log.warning("control: nobody can be heard: %s", error.strerror)
                    self._closed_until = now + RETRY
                    break
                sock.setblocking(False)
                self._clients.append(Client(sock, now + PATIENCE))
