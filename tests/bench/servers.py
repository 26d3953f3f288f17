"""The servers of the comparison, and what is known of a running one."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.certificates import Files

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
SERVER_CORE, CLIENT_CORE = 0, 1
START_TIMEOUT = 15.0


@dataclass(frozen=True)
class Server:
    """Its command line for each version of HTTP; {port}, {certificate} and {key} are filled in."""

    name: str
    commands: dict[str, str]
    tls: str

    def arguments(self, version: str, port: int, files: Files | None) -> list[str]:
        command = self.commands[version]
        words = (f"{command} {self.tls}" if files else command).split()
        values = {
            "port": port,
            "certificate": files and files.certificate,
            "key": files and files.key,
        }
        program, *rest = (word.format(**values) for word in words)
        return [str(Path(sys.executable).with_name(program)), *rest]


TRICORN = "server -w 1 app:app -b 127.0.0.1:{port} --log-level warning"
UVICORN = (
    "uvicorn app:app --port {port} --loop uvloop --http httptools --no-access-log"
    " --log-level warning"
)
GRANIAN = (
    "granian app:app --interface asgi --port {port} --loop uvloop --no-access-log"
    " --log-level warning --http "
)
H2CORN = "h2corn app:app --port {port} --loop uvloop --no-access-log"
QUIC = " --quic-bind 127.0.0.1:{port}"
HYPERCORN = "hypercorn app:app -b 127.0.0.1:{port} -k uvloop --log-level warning"

SERVERS = {
    server.name: server
    for server in (
        Server(
            "tricorn",
            {"1.1": TRICORN, "2": TRICORN, "3": TRICORN + QUIC, "ws": TRICORN},
            "--certfile {certificate} --keyfile {key}",
        ),
        Server(
            "uvicorn",
            {"1.1": UVICORN, "ws": UVICORN + " --ws websockets"},
            "--ssl-certfile {certificate} --ssl-keyfile {key}",
        ),
        Server(
            "granian",
            {"1.1": GRANIAN + "auto", "2": GRANIAN + "2", "ws": GRANIAN + "1"},
            "--ssl-certificate {certificate} --ssl-keyfile {key}",
        ),
        Server(
            "h2corn",
            {"1.1": H2CORN, "2": H2CORN, "ws": H2CORN},
            "--certfile {certificate} --keyfile {key}",
        ),
        Server(
            "hypercorn",
            {"2": HYPERCORN, "3": HYPERCORN + QUIC, "ws": HYPERCORN},
            "--certfile {certificate} --keyfile {key}",
        ),
    )
}


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


GREETINGS = {
    "3": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "ws": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "1.1": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)),
}
ALPN = {"1.1": "http/1.1", "2": "h2", "3": "http/1.1"}
"""Who serves HTTP/3 is asked over TCP first."""


def greet(version: str, port: int, *, secure: bool) -> None:
    """Waits for a first word from the server: who only listens need not be ready."""
    with socket.create_connection(("127.0.0.1", port), timeout=2) as client:
        if secure:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.set_alpn_protocols([ALPN[version]])
            client = context.wrap_socket(client)
        client.sendall(GREETINGS[version])
        if not client.recv(1):
            raise ConnectionError("the server has closed the connection")


@contextmanager
def running(server: Server, version: str, files: Files | None) -> Iterator[tuple[int, int]]:
    """Starts a server on one core; its process id and its port."""
    port = free_port()
    process = subprocess.Popen(
        ["taskset", "-c", str(SERVER_CORE), *server.arguments(version, port, files)],
        cwd=HERE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                greet(version, port, secure=files is not None)
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError(f"{server.name} did not start") from None
                time.sleep(0.05)
        yield process.pid, port
    finally:
        process.terminate()
        process.wait(30)


def processor_seconds(pid: int) -> float:
    """User and system time of a process and all of its descendants."""
    return sum(sum(_times(each)) for each in _tree(pid)) / TICKS


def _tree(pid: int) -> list[int]:
    tree = [pid]
    for each in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        fields = _stat(each)
        if fields and int(fields[1]) in tree:
            tree.append(each)
    return tree


def _times(pid: int) -> tuple[int, int]:
    fields = _stat(pid)
    return (int(fields[11]), int(fields[12])) if fields else (0, 0)


def _stat(pid: int) -> list[str]:
    try:
        # The name, in parentheses, may have spaces in it.
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []
