"""A server that speaks HTTP/2 in the clear and over TLS, for clients that do both."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients.programs import program
from tests.support.certificates import Authority
from tests.support.process import PATIENCE, Server, serve

SCHEMES = ("http", "https")


@dataclass(frozen=True)
class Both:
    """A running command with a listener for each scheme."""

    server: Server
    certificate: str
    """The path of the authority's, which clients have to trust."""
    context: ssl.SSLContext

    def base(self, scheme: str) -> str:
        """What a URL begins with."""
        (found,) = [each for each in self.server.addresses if each.startswith(f"{scheme}:")]
        return found


@contextmanager
def serve_both(directory: Path, *options: str, **others: Any) -> Iterator[Both]:
    """As `serve`."""
    authority = Authority()
    files = authority.issue(directory, "localhost")
    clear = ("--insecure-bind", "127.0.0.2:0")
    with serve(directory, *files.options, *clear, *options, **others) as server:
        yield Both(server, authority.write(directory), authority.client_context())


def run(
    name: str, *arguments: str, base: str = "", input: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """An installed program to its end, whatever that is.

    What begins with a slash is a target behind `base`, what begins with file: a path.
    """
    whole = [base + each if each.startswith("/") else each for each in arguments]
    command = [program(name), *(each.removeprefix("file:") for each in whole)]
    return subprocess.run(command, input=input, capture_output=True, timeout=PATIENCE)
