"""One record per response, when it has ended: in Hypercorn's and Gunicorn's atoms, or as JSON.

The format is taken apart once, at the start; a record then costs only the atoms that it has.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from tricorn.config import ConfigError
from tricorn.connection import Endpoints, Fields, Request, Stream
from tricorn.observe.logfile import LogFile

PRESETS = {
    "common": '%(h)s %(l)s %(u)s %(t)s "%(R)s" %(s)s %(b)s',
    "combined": '%(h)s %(l)s %(u)s %(t)s "%(R)s" %(s)s %(b)s "%(f)s" "%(a)s"',
}
CLIENT_CLOSED = 499
"""What nginx writes where the client left before there was a status."""

atom = re.compile(r"%\((?:(?P<name>[A-Za-z]+)|\{(?P<field>[^}]+)\}(?P<of>[ioe]))\)s|%%")
# A client must not be able to write lines, or to end a quoted part, in somebody's log.
ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), 0x22, 0x5C, *range(0x7F, 0xA0))}


@dataclass(slots=True)
class Entry:
    """What there is to say about one response. Times are monotonic seconds."""

    endpoints: Endpoints
    request: Request | None
    """None where the head could not be understood."""
    status: int
    fields: Fields
    sent: int
    opened: float
    first_sent: float
    aborted: bool
    worker: int


Render = Callable[[Entry], str]


class AccessLog:
    """Renders entries into a LogFile."""

    def __init__(self, file: LogFile, format: str) -> None:
        """Raises ConfigError for an atom that does not exist."""
        self.file = file
        self._render = _as_json if format == "json" else _compiled(PRESETS.get(format, format))

    def record(self, entry: Entry) -> None:
        self.file.write(self._render(entry).encode("utf-8", "backslashreplace") + b"\n")

    def ended(
        self,
        stream: Stream,
        status: int,
        fields: Fields,
        sent: int,
        opened: float,
        first_sent: float = 0.0,
        *,
        aborted: bool,
    ) -> None:
        """A request that an application has seen, and its response; see Entry."""
        endpoints, worker = stream.endpoints, stream.context.worker
        self.record(
            Entry(
                endpoints, stream.request, status, fields, sent, opened, first_sent, aborted, worker
            )
        )

    def refused(self, endpoints: Endpoints, status: int, worker: int) -> None:
        """A request that no application has seen, because its head could not be understood."""
        now = time.monotonic()
        self.record(Entry(endpoints, None, status, (), 0, now, now, False, worker))


def _compiled(format: str) -> Render:
    parts: list[Render] = []
    end = 0
    for match in atom.finditer(format):
        if literal := format[end : match.start()]:
            parts.append(_literal(literal))
        end = match.end()
        if match[0] == "%%":
            parts.append(_literal("%"))
        elif match["name"] is None:
            parts.append(_field(match["field"], match["of"]))
        elif (render := ATOMS.get(match["name"])) is not None:
            parts.append(render)
        else:
            raise ConfigError(
                f"--access-logformat: there is no atom {match[0]}; there are "
                + " ".join(f"%({name})s" for name in ATOMS)
            )
    if rest := format[end:]:
        parts.append(_literal(rest))
    return lambda entry: "".join([render(entry) for render in parts])


def _literal(text: str) -> Render:
    return lambda entry: text


def _field(name: str, of: str) -> Render:
    key = name.lower().encode("latin-1", "replace")
    if of == "i":
        return lambda entry: _request_field(entry, key)
    if of == "o":
        return lambda entry: _found(entry.fields, key)
    value = os.environ.get(name, "-")
    return lambda entry: value


def _request_field(entry: Entry, name: bytes) -> str:
    return _found(entry.request.headers, name) if entry.request else "-"


def _found(fields: Fields, name: bytes) -> str:
    # What an application put into a response that was never sent may be anything.
    with contextlib.suppress(TypeError, ValueError, AttributeError):
        for key, value in fields:
            if key.lower() == name:
                return _text(value) or "-"
    return "-"


def _text(value: bytes) -> str:
    return value.decode("latin-1").translate(ESCAPES)


def _client(entry: Entry) -> str:
    client = entry.endpoints.client
    return client[0] if client else "-"


def _user(entry: Entry) -> str:
    scheme, _, token = _request_field(entry, b"authorization").partition(" ")
    if scheme.lower() != "basic":
        return "-"
    try:
        user = base64.b64decode(token, validate=True).partition(b":")[0]
    except ValueError:  # binascii.Error is one
        return "-"
    return _text(user) or "-"


_stamp: tuple[int, str] = (0, "")


def _time(entry: Entry) -> str:
    global _stamp
    now = int(time.time())
    if _stamp[0] != now:
        _stamp = (now, time.strftime("[%d/%b/%Y:%H:%M:%S %z]", time.localtime(now)))
    return _stamp[1]


def _line(target: Callable[[Request], bytes]) -> Render:
    def render(entry: Entry) -> str:
        if (request := entry.request) is None:
            return "-"
        return f"{request.method} {_text(target(request))} HTTP/{request.version}"

    return render


def _of_request(value: Callable[[Request], str]) -> Render:
    return lambda entry: "-" if entry.request is None else value(entry.request)


def _phrase(entry: Entry) -> str:
    try:
        return HTTPStatus(entry.status).phrase
    except ValueError:
        return "-"


def _seconds(entry: Entry) -> float:
    return time.monotonic() - entry.opened


def _waited(entry: Entry) -> float | None:
    """Seconds until the first octet of the response."""
    return entry.first_sent - entry.opened if entry.first_sent else None


ATOMS: dict[str, Render] = {
    "h": _client,
    "l": lambda entry: "-",
    "u": _user,
    "t": _time,
    "r": _line(lambda request: request.raw_path),
    "R": _line(lambda request: request.target),
    "m": _of_request(lambda request: request.method),
    "U": _of_request(lambda request: _text(request.raw_path)),
    "Uq": _of_request(lambda request: _text(request.target)),
    "q": _of_request(lambda request: _text(request.query)),
    "H": _of_request(lambda request: f"HTTP/{request.version}"),
    "S": lambda entry: entry.endpoints.scheme,
    "s": lambda entry: str(entry.status or CLIENT_CLOSED),
    "st": _phrase,
    "B": lambda entry: str(entry.sent),
    "b": lambda entry: str(entry.sent or "-"),
    "f": lambda entry: _request_field(entry, b"referer"),
    "a": lambda entry: _request_field(entry, b"user-agent"),
    "T": lambda entry: str(int(_seconds(entry))),
    "M": lambda entry: str(int(_seconds(entry) * 1e3)),
    "D": lambda entry: str(int(_seconds(entry) * 1e6)),
    "L": lambda entry: f"{_seconds(entry):.6f}",
    "F": lambda entry: "-" if (waited := _waited(entry)) is None else f"{waited:.6f}",
    "p": lambda entry: f"<{os.getpid()}>",
    "w": lambda entry: str(entry.worker),
    "A": lambda entry: "aborted" if entry.aborted else "-",
}


def _as_json(entry: Entry) -> str:
    request = entry.request
    waited = _waited(entry)
    fields: dict[str, Any] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "client": _client(entry),
        "scheme": entry.endpoints.scheme,
        "protocol": f"HTTP/{request.version}" if request else None,
        "method": request.method if request else None,
        "path": _plain(request.raw_path) if request else None,
        "query": _plain(request.query) if request else None,
        "host": _plain(request.authority) if request else None,
        "status": entry.status or CLIENT_CLOSED,
        "bytes": entry.sent,
        "duration": round(_seconds(entry), 6),
        "first_byte": None if waited is None else round(waited, 6),
        "worker": entry.worker,
        "aborted": entry.aborted,
        "user_agent": _header(request, b"user-agent"),
        "referer": _header(request, b"referer"),
    }
    return json.dumps(fields)


def _plain(value: bytes) -> str:
    return value.decode("latin-1")


def _header(request: Request | None, name: bytes) -> str | None:
    for key, value in request.headers if request else ():
        if key == name:
            return _plain(value)
    return None
