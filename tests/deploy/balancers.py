"""Runs the samples of deploy/ as they are, but for addresses and files."""

import itertools
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.clients.programs import program
from tests.support.certificates import Authority, Files
from tests.support.nginx import configuration
from tests.support.process import PATIENCE

DEPLOY = Path(__file__).parents[2] / "deploy"
COUNTER = itertools.count(1)

Change = tuple[str, str]
"""A text of a sample, and what stands there in a test."""


@dataclass(frozen=True)
class Place:
    """Where a balancer runs: what its sample has to be changed for."""

    directory: Path
    address: str
    files: Files
    upstream: int
    health: int

    def write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text)

    @property
    def servers(self) -> tuple[Change, Change]:
        return (
            ("127.0.0.1:8000", f"127.0.0.1:{self.upstream}"),
            ("port 9090", f"port {self.health}"),
        )


@dataclass(frozen=True)
class Kind:
    """A program, the file that is its sample, and the port that it has there."""

    command: tuple[str, ...]
    file: str
    port: int
    prepare: Callable[[Place], Sequence[Change]]
    """Writes what else it needs, and says what has to be changed."""


@dataclass
class Balancer:
    """One that runs. `front` is a socket without TLS, where it has one."""

    directory: Path
    address: tuple[str, int]
    process: subprocess.Popen[bytes]

    @property
    def secure(self) -> bool:
        return self.address[1] == 443

    @property
    def front(self) -> Path:
        return self.directory / "front"


@contextmanager
def balancer(
    name: str, directory: Path, upstream: int, health: int, *changes: Change
) -> Iterator[Balancer]:
    """Runs a sample, with these changes, in front of a port of this machine; waits for it."""
    kind = KINDS[name]
    files = Authority().issue(directory, "localhost")
    place = Place(directory, own_address(), files, upstream, health)
    file = Path(kind.file).name
    place.write(file, sample(kind.file, *changes, *kind.prepare(place)))
    command = [program(name), *(each.format(file=file) for each in kind.command)]
    with (
        open(directory / "balancer.log", "wb") as log,
        subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd=directory,
            env=os.environ | {"HOME": str(directory)},
        ) as process,
    ):
        running = Balancer(directory, (place.address, kind.port), process)
        try:
            _wait(running)
            yield running
        except BaseException as error:
            error.add_note((directory / "balancer.log").read_text()[-4000:])
            raise
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def sample(path: str, *changes: Change) -> str:
    """A file of deploy/, in which each of these texts is replaced, and has to be there."""
    text = (DEPLOY / path).read_text()
    for old, new in changes:
        assert old in text, f"{path} has no {old!r}"
        text = text.replace(old, new)
    return text


def own_address() -> str:
    """An address of loopback on which nobody else binds its well-known ports."""
    return f"127.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}.{next(COUNTER)}"


def _nginx(place: Place) -> list[Change]:
    parts = [f"    include {place.directory}/{name}.conf;" for name in ("upstream", "site")]
    place.write("nginx.conf", configuration(place.directory, "\n".join(parts)))
    place.write("upstream.conf", sample("nginx/upstream.conf", place.servers[0]))
    return [
        ("listen 80;", f"listen {place.address}:80;"),
        ("listen 443 ", f"listen unix:{place.directory}/front; listen {place.address}:443 "),
        ("/etc/nginx/tls/tls.crt", place.files.certificate),
        ("/etc/nginx/tls/tls.key", place.files.key),
    ]


def _haproxy(place: Place) -> list[Change]:
    pair = Path(place.files.certificate).read_text() + Path(place.files.key).read_text()
    place.write("tls.pem", pair)
    front = f"    bind unix@{place.directory}/front name front\n"
    return [
        ("global\n", f"global\n    stats socket {place.directory}/stats level admin\n"),
        ("maxconn 10000", "maxconn 500"),  # as descriptors allow here
        ("bind :80\n", f"bind {place.address}:80\n{front}"),
        ("unless { ssl_fc }", "unless { ssl_fc } || { so_name front }"),
        ("bind :443 ", f"bind {place.address}:443 "),
        ("/etc/haproxy/tls.pem", f"{place.directory}/tls.pem"),
        *place.servers,
    ]


def _envoy(place: Place) -> list[Change]:
    return [
        ("address: 0.0.0.0", f"address: {place.address}"),
        ("port_value: 8000", f"port_value: {place.upstream}"),
        ("port_value: 9090", f"port_value: {place.health}"),
    ]


def _caddy(place: Place) -> list[Change]:
    upstream, _ = place.servers
    return [
        ("(health) {", "{\n\tadmin off\n}\n\n(health) {"),
        ("example.com {", f"http://:8080 {{\n\tbind {place.address}"),
        upstream,
        ("health_port 9090", f"health_port {place.health}"),
    ]


KINDS = {
    "nginx": Kind(("-p", ".", "-c", "nginx.conf", "-e", "stderr"), "nginx/site.conf", 443, _nginx),
    "haproxy": Kind(("-db", "-f", "{file}"), "haproxy/haproxy.cfg", 443, _haproxy),
    "envoy": Kind(
        ("-c", "{file}", "--disable-hot-restart", "--concurrency", "1", "-l", "warning"),
        "envoy/envoy.yaml",
        8080,
        _envoy,
    ),
    "caddy": Kind(("run", "--config", "{file}"), "caddy/Caddyfile", 8080, _caddy),
}


def _wait(balancer: Balancer) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(balancer.address).close()
            return
        except OSError:
            alive = balancer.process.poll() is None and time.monotonic() < deadline
            assert alive, "the balancer is not there"
            time.sleep(0.02)
