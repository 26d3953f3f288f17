"""Starts the real command, and waits for what its log says."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO
from urllib.parse import urlsplit

COMMAND = Path(sys.executable).with_name("server")
STANDING = Path(__file__).parents[1] / "process" / "standing.py"
"""The application that is served where a test needs nothing special."""
PATIENCE = 15.0
"""Seconds that anything may take on a busy machine."""
LOG_SHOWN = 20_000
"""Characters of the log that a failed test shows."""


class Server:
    """A running command. `log` is what it has written to its standard error so far."""

    def __init__(self, process: subprocess.Popen[bytes], directory: Path, workers: int) -> None:
        self.process = process
        self.directory = directory
        self.log = ""
        self.ended = False
        """Every process that could write to the log has ended."""
        self._waited = 0
        self._wanted = workers
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    # What it says

    def wait_for(self, pattern: str, count: int = 1) -> re.Match[str]:
        """The last of `count` matches in the log since the last wait."""
        found: list[re.Match[str]] = []

        def enough() -> bool:
            found[:] = re.compile(pattern, re.MULTILINE).finditer(self.log, self._waited)
            return len(found) >= count or self.ended

        with self._news:
            self._news.wait_for(enough, PATIENCE)
        if len(found) < count:
            raise AssertionError(f"no {count} x {pattern!r} in the log")
        self._waited = found[count - 1].end()
        return found[count - 1]

    def said(self, pattern: str) -> list[str]:
        """Everything in the log that matches, now."""
        return re.findall(pattern, self.log, re.MULTILINE)

    def wait_until_ready(self) -> Server:
        """All workers serve."""
        self.wait_for(r"listening on \S+ \(")
        if self._wanted:
            self.wait_for(r" ready$", self._wanted)
        return self

    def _read(self) -> None:
        stream = self.process.stderr
        assert stream is not None
        while data := os.read(stream.fileno(), 65536):
            with self._news:
                self.log += data.decode("utf-8", "replace")
                self._news.notify_all()
        with self._news:
            self.ended = True
            self._news.notify_all()

    # Where it is

    @property
    def addresses(self) -> list[str]:
        """Every listener as the log announces it: http://127.0.0.1:8000, unix:/path."""
        return [str(each) for each in self.said(r"listening on (\S+) \(")]

    @property
    def port(self) -> int:
        """Of the first listener that has one."""
        ports = [urlsplit(each).port for each in self.addresses if "://" in each]
        assert ports and ports[0], "there is no listener with a port"
        return ports[0]

    @property
    def quic_port(self) -> int:
        (port,) = (urlsplit(each).port for each in self.said(r"listening on (\S+) \(HTTP/3\)"))
        assert port
        return port

    @property
    def pid(self) -> int:
        return self.process.pid

    def workers(self) -> dict[int, int]:
        """The process of each number in the fleet; where two overlap, the younger."""
        return dict(sorted(self._titled()))

    def children(self) -> list[int]:
        """Every process that the master has started and not buried."""
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def _titled(self) -> Iterator[tuple[int, int]]:
        for pid in self.children():
            if found := re.match(r"server: worker (\d+) ", title(pid)):
                yield int(found[1]), pid

    # Talking to it

    def connect(
        self, context: ssl.SSLContext | None = None, *, session: ssl.SSLSession | None = None
    ) -> Client:
        return Client("127.0.0.1", self.port, context, session=session)

    def fetch(self, target: str = "/", context: ssl.SSLContext | None = None) -> Answer:
        """One request over a connection of its own."""
        with self.connect(context) as client:
            return client.fetch(target)

    # Its end

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Until it has ended, and all that it has started; the exit status."""
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.ended, "the command has ended, but not all that it has started"
        return status

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def end(self) -> None:
        """Whatever a test has left of the process group that `serve` has made."""
        if self.process.returncode is None or not self.ended:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stderr is not None
        self.process.stderr.close()


class Answer:
    """One response, read to its end."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()
        self.closing = response.will_close

    @property
    def text(self) -> str:
        return self.body.decode()


class Client:
    """A connection on which a test decides what is sent when. Closes at the end of a `with`."""

    def __init__(
        self,
        host: str,
        port: int = 0,
        context: ssl.SSLContext | None = None,
        *,
        receive_buffer: int = 0,
        session: ssl.SSLSession | None = None,
    ) -> None:
        """`host` is an address, or the path of a unix socket."""
        plain = socket.socket(_family(host))
        plain.settimeout(PATIENCE)
        if receive_buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket = plain
        try:
            plain.connect(host if plain.family == socket.AF_UNIX else (host, port))
            if context is not None:
                # The host name of the certificates that tests make.
                self.socket = context.wrap_socket(
                    plain, server_hostname="localhost", session=session
                )
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def request(self, target: str = "/", method: str = "GET", *fields: str) -> None:
        """Sends a head."""
        lines = [f"{method} {target} HTTP/1.1", "host: localhost", *fields, "", ""]
        self.send("\r\n".join(lines).encode())

    def response(self, method: str = "GET") -> http.client.HTTPResponse:
        """Waits for a head; the body is read from what this returns."""
        response = http.client.HTTPResponse(self.socket, method=method)
        response.begin()
        return response

    def answer(self, method: str = "GET") -> Answer:
        with self.response(method) as response:
            return Answer(response)

    def fetch(self, target: str = "/", method: str = "GET", *fields: str) -> Answer:
        self.request(target, method, *fields)
        return self.answer(method)

    def upload(self, target: str, body: bytes) -> Answer:
        self.request(target, "POST", f"content-length: {len(body)}")
        self.send(body)
        return self.answer("POST")

    def wait_until_readable(self) -> None:
        """There is an answer, or an end."""
        assert select.select([self.socket], [], [], PATIENCE)[0], "the server says nothing"

    def wait_for_end(self) -> bytes:
        """Reads until the server closes, or resets."""
        data = b""
        with contextlib.suppress(ConnectionResetError):
            while part := self.socket.recv(65536):
                data += part
        return data

    def reset(self) -> None:
        """Goes away as a process does that is killed with unread data."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()


class Gate:
    """A request that is held inside the application until the test lets it go.

    The standing application's /gate connects here: `entered` waits for that, and what it returns
    is closed to let the application answer.
    """

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "gate")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.settimeout(PATIENCE)
        self._listener.bind(self.path)
        self._listener.listen()
        self._inside: list[socket.socket] = []

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *error: object) -> None:
        for each in (*self._inside, self._listener):
            each.close()
        os.unlink(self.path)

    def entered(self) -> socket.socket:
        inside, _ = self._listener.accept()
        inside.settimeout(PATIENCE)
        self._inside.append(inside)
        return inside


@contextlib.contextmanager
def serve(
    directory: Path,
    *options: str,
    application: str | Path = STANDING,
    bind: Sequence[str] = ("127.0.0.1:0",),
    workers: int | str | None = 1,
    environ: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
    user: str | None = None,
    pass_fds: Sequence[int] = (),
    stdout: int | IO[bytes] = subprocess.DEVNULL,
    ready: bool = True,
) -> Iterator[Server]:
    """Serves `application`: a file or a source text, which becomes main.py, or "module:attribute".

    `prefix` is a command that runs the command. Without `ready` it is not waited for; where the
    number of `workers` is not given here, only the first of them is.
    """
    binds = [part for each in bind for part in ("-b", each)]
    count = () if workers is None else ("-w", str(workers))
    arguments = [*prefix, str(COMMAND), *binds, *count, *options]
    process = subprocess.Popen(
        [*arguments, _written(directory, application)],
        cwd=directory,
        # Reloads within a second: the interpreter would take the old code for the new.
        env=clean_environment() | {"PYTHONDONTWRITEBYTECODE": "1"} | dict(environ or {}),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        start_new_session=True,
        user=user,
        pass_fds=pass_fds,
    )
    server = Server(process, directory, workers if isinstance(workers, int) else 1)
    try:
        yield server.wait_until_ready() if ready else server
    except BaseException as error:
        server.end()
        error.add_note(f"the log of the server:\n{server.log[-LOG_SHOWN:]}")
        raise
    finally:
        server.end()


def run(
    *arguments: str,
    directory: Path,
    environ: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """The command to its end."""
    return subprocess.run(
        [*prefix, str(COMMAND), *arguments],
        cwd=directory,
        env=clean_environment() | dict(environ or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def clean_environment() -> dict[str, str]:
    """Without what would configure the server."""
    ours = ("TRICORN_", "LISTEN_", "NOTIFY_", "SERVER_")
    others = ("PORT", "WEB_CONCURRENCY")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours) and k not in others}


def title(pid: int) -> str:
    """What ps shows; nothing for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def wait_for_death(*pids: int) -> None:
    """Until these processes have ended, whoever their parent is."""
    deadline = time.monotonic() + PATIENCE
    for pid in pids:
        try:
            death = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if not select.select([death], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"process {pid} ({title(pid)}) goes on")
        finally:
            os.close(death)


def _family(host: str) -> socket.AddressFamily:
    if host.startswith("/"):
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _written(directory: Path, application: str | Path) -> str:
    if isinstance(application, Path):
        application = application.read_text()
    elif re.fullmatch(r"[\w.]+:[\w.]+", application):
        return application
    (directory / "main.py").write_text(application)
    return "main:app"
