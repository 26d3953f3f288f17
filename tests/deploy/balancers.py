"""Runs the samples of deploy/ as they are, but for addresses and files."""

import itertools
import os
import pwd
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.clients.programs import program
from tests.support.certificates import Authority, Files
from tests.support.process import PATIENCE

DEPLOY = Path(__file__).parents[2] / "deploy"
COUNTER = itertools.count(1)
NGINX = """
daemon off;
user {user};
pid {directory}/nginx.pid;
error_log stderr warn;
worker_processes 1;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/upstream.conf;
    include {directory}/site.conf;
}}
"""


@dataclass
class Balancer:
    """One that runs. `secure` says whether its address speaks TLS; `front` is a socket that does
    not, where it has one."""

    directory: Path
    address: tuple[str, int]
    secure: bool
    process: subprocess.Popen[bytes]

    @property
    def front(self) -> Path:
        return self.directory / "front"

    @property
    def log(self) -> str:
        return (self.directory / "balancer.log").read_text()


def own_address() -> str:
    """An address of loopback on which nobody else binds its well-known port."""
    number = next(COUNTER)
    return f"127.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}.{number}"


@contextmanager
def balancer(kind: str, directory: Path, upstream: int, health: int) -> Iterator[Balancer]:
    """Runs a sample in front of a port of this machine; waits until it listens."""
    files = Authority().issue(directory, "localhost")
    address = own_address()
    command, port = STARTERS[kind](directory, address, files, upstream, health)
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
        running = Balancer(directory, (address, port), port == 443, process)
        try:
            _wait(running)
            yield running
        except BaseException as error:
            error.add_note(running.log[-4000:])
            raise
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def sample(path: str, *changes: tuple[str, str]) -> str:
    """A file of deploy/, in which each of these texts is replaced, and has to be there."""
    text = (DEPLOY / path).read_text()
    for old, new in changes:
        assert old in text, f"{path} has no {old!r}"
        text = text.replace(old, new)
    return text


def nginx(directory: Path, address: str, files: Files, upstream: int, health: int):
    user = pwd.getpwuid(os.getuid()).pw_name
    (directory / "nginx.conf").write_text(NGINX.format(directory=directory, user=user))
    (directory / "upstream.conf").write_text(
        sample("nginx/upstream.conf", ("127.0.0.1:8000", f"127.0.0.1:{upstream}"))
    )
    (directory / "site.conf").write_text(
        sample(
            "nginx/site.conf",
            ("listen 80;", f"listen {address}:80;"),
            ("listen 443 ", f"listen unix:{directory}/front; listen {address}:443 "),
            ("/etc/nginx/tls/tls.crt", str(files.certificate)),
            ("/etc/nginx/tls/tls.key", str(files.key)),
        )
    )
    return [program("nginx"), "-c", str(directory / "nginx.conf"), "-e", "stderr"], 443


def haproxy(directory: Path, address: str, files: Files, upstream: int, health: int):
    pair = Path(files.certificate).read_text() + Path(files.key).read_text()
    (directory / "tls.pem").write_text(pair)
    (directory / "haproxy.cfg").write_text(
        sample(
            "haproxy/haproxy.cfg",
            ("global\n", f"global\n    stats socket {directory}/stats level admin\n"),
            ("maxconn 10000", "maxconn 500"),  # as descriptors allow here
            ("bind :80\n", f"bind {address}:80\n    bind unix@{directory}/front name front\n"),
            ("unless { ssl_fc }", "unless { ssl_fc } || { so_name front }"),
            ("bind :443 ", f"bind {address}:443 "),
            ("/etc/haproxy/tls.pem", f"{directory}/tls.pem"),
            ("127.0.0.1:8000", f"127.0.0.1:{upstream}"),
            ("port 9090", f"port {health}"),
        )
    )
    return [program("haproxy"), "-db", "-f", str(directory / "haproxy.cfg")], 443


def envoy(directory: Path, address: str, files: Files, upstream: int, health: int):
    (directory / "envoy.yaml").write_text(
        sample(
            "envoy/envoy.yaml",
            ("address: 0.0.0.0", f"address: {address}"),
            ("port_value: 8000", f"port_value: {upstream}"),
            ("port_value: 9090", f"port_value: {health}"),
        )
    )
    options = ("--use-dynamic-base-id", "--concurrency", "1", "-l", "warning")
    return [program("envoy"), "-c", str(directory / "envoy.yaml"), *options], 8080


def caddy(directory: Path, address: str, files: Files, upstream: int, health: int):
    (directory / "Caddyfile").write_text(
        "{\n\tadmin off\n}\n"
        + sample(
            "caddy/Caddyfile",
            ("example.com {", f"http://:8080 {{\n\tbind {address}"),
            ("127.0.0.1:8000", f"127.0.0.1:{upstream}"),
            ("health_port 9090", f"health_port {health}"),
        )
    )
    return [program("caddy"), "run", "--config", str(directory / "Caddyfile")], 8080


STARTERS = {"nginx": nginx, "haproxy": haproxy, "envoy": envoy, "caddy": caddy}


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
