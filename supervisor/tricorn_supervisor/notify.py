"""The vocabulary of sd_notify: spoken by workers to the master, and by the master to systemd."""

import logging
import os
import socket
import time
from collections.abc import MutableMapping
from typing import Self

log = logging.getLogger(__name__)

READY = ("READY", "1")
RELOADING = ("RELOADING", "1")
STOPPING = ("STOPPING", "1")
WATCHDOG = ("WATCHDOG", "1")
STATUS = "STATUS"
# The X_ prefix is reserved by sd_notify(3) for private use: these go no further than the master.
FAILED = "X_FAILED"
DETAIL = "X_DETAIL"
WORN = "X_WORN"
RELOAD = "X_RELOAD"

MEANINGS = {
    "READY": "it serves",
    "STOPPING": "it drains, told to or not; if not, it is replaced meanwhile",
    STATUS: "a sentence for operators",
    FAILED: "why it cannot serve; its exit follows",
    DETAIL: "the traceback of that, before it",
    WORN: "why it should be replaced in its turn; it serves until then",
    RELOAD: "why the master, with its rights, should reload; heard from the newest generation only",
}
"""What a child may say; every other line is passed over."""

DETAIL_LIMIT = 64 * 1024  # bytes of a traceback that are sent
SEND_TIMEOUT = 1.0

Pair = tuple[str, str]


def encode(*pairs: Pair) -> bytes:
    """One line for each pair; line ends and backslashes in values are escaped."""
    lines = []
    for key, value in pairs:
        escaped = value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
        lines.append(f"{key}={escaped}\n")
    return "".join(lines).encode(errors="backslashreplace")


def decode(line: bytes) -> Pair:
    """The pair in one line without its end; a line without "=" is a key with an empty value."""
    key, _, value = line.decode(errors="replace").partition("=")
    parts = value.split("\\\\")
    return key, "\\".join(part.replace("\\n", "\n").replace("\\r", "\r") for part in parts)


def table() -> str:
    """The table in the README."""
    rows = [f"| `{key}` | {meaning} |" for key, meaning in MEANINGS.items()]
    return "\n".join(["| line | what a child says with it |", "|---|---|", *rows])


def shorten(text: str, limit: int = DETAIL_LIMIT) -> str:
    """At most `limit` bytes, the middle left out: a traceback tells most at both ends."""
    data = text.encode(errors="backslashreplace")
    if len(data) <= limit:
        return text
    mark = b"\n[...]\n"
    half = (limit - len(mark)) // 2
    return (data[:half] + mark + data[-half:]).decode(errors="ignore")


class Systemd:
    """Where the master reports; without an address it reports to nobody.

    `watchdog` is how many seconds systemd waits for a sign of life before it kills the service; 0
    if it does not.
    """

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        self._address = address
        self._status = ""
        # sd_watchdog_enabled(3) recommends half of it.
        self._interval = watchdog / 2
        self.deadline: float | None = 0.0 if address and watchdog else None

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> Self:
        """Take the address out of the environment: no child is to speak for the service."""
        microseconds = environ.pop("WATCHDOG_USEC", "")
        meant = environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog = int(microseconds) / 1e6 if microseconds.isdecimal() and meant else 0.0
        return cls(environ.pop("NOTIFY_SOCKET", ""), watchdog)

    def live(self, now: float) -> None:
        """To be called at `deadline`, in seconds of the monotonic clock, or at any time before."""
        if self.deadline is not None and now >= self.deadline:
            self.deadline = now + self._interval
            self.send(WATCHDOG)

    def ready(self) -> None:
        self.send(READY)

    def reloading(self) -> None:
        # Type=notify-reload compares this time with that of its own signal.
        self.send(RELOADING, ("MONOTONIC_USEC", str(time.monotonic_ns() // 1000)))

    def stopping(self) -> None:
        self.send(STOPPING)

    def status(self, text: str) -> None:
        """Said once, until it changes."""
        if text != self._status:
            self._status = text
            self.send((STATUS, text))

    def send(self, *pairs: Pair) -> None:
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):
            address = "\0" + address[1:]
        message = "".join(f"{key}={' '.join(value.splitlines())}\n" for key, value in pairs)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(SEND_TIMEOUT)
            try:
                sender.sendto(os.fsencode(message), address)
            except OSError as exc:
                log.warning("cannot notify systemd at %s: %s", self._address, exc)
