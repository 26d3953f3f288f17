"""Plays systemd: the notification socket, and sockets that it has opened."""

import socket
import sys
from types import TracebackType
from typing import Self

from tests.support.process import PATIENCE

# What systemd does: the sockets from descriptor 3 on, and the process that they are meant for.
ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


def activation(passed: socket.socket) -> tuple[str, ...]:
    """A command that runs a command with this socket; it has to be passed on to it."""
    return (sys.executable, "-Sc", ACTIVATE, str(passed.fileno()))


class Manager:
    """The end of the notification socket that systemd holds."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(PATIENCE)
        self._socket.bind(name.replace("@", "\0", 1))
        self.heard: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def wait_for(self, line: str) -> None:
        while line not in self.heard:
            self.heard += self._socket.recv(65536).decode().splitlines()
        self.heard.clear()
