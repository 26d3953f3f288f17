"""observe/accesslog.py: one record per response."""

from __future__ import annotations

import base64
import json
import os
import re

import pytest

from tests.support import apps
from tests.support.apps import body, start
from tests.support.peers import H1Peer, errors, request
from tricorn.config import DEFAULTS, ConfigError
from tricorn.connection import Endpoints
from tricorn.observe.accesslog import ATOMS, AccessLog
from tricorn.observe.logfile import LogFile

FIELDS = [(b"referer", b"http://r/"), (b"user-agent", b"me/1.0"), (b"x-a", b"1")]
REQUEST = request("/p%20q?a=b", headers=FIELDS)
TEXT = apps.answers(b"hello", 200, (b"X-Out", b"2"))


class Log:
    """A log in a file, and its lines."""

    def __init__(self, path, format):
        self.path = path
        self.log = AccessLog(LogFile(str(path), 1), format)

    @property
    def lines(self):
        return self.path.read_bytes().decode().split("\n")[:-1]

    @property
    def line(self):
        (line,) = self.lines
        return line


@pytest.fixture
def logged(tmp_path):
    """Serves one connection, and gives what was logged in this format."""

    def serve(format, data=REQUEST, app=TEXT):
        log = Log(tmp_path / f"log-{len(os.listdir(tmp_path))}", format)
        with H1Peer(app, accesslog=log.log) as peer:
            peer.send(data)
        return log.line

    return serve


ATOM_VALUES = [
    ("h", "192.0.2.1"),
    ("l", "-"),
    ("u", "-"),
    ("r", "GET /p%20q HTTP/1.1"),
    ("R", "GET /p%20q?a=b HTTP/1.1"),
    ("m", "GET"),
    ("U", "/p%20q"),
    ("Uq", "/p%20q?a=b"),
    ("q", "a=b"),
    ("H", "HTTP/1.1"),
    ("S", "http"),
    ("s", "200"),
    ("st", "OK"),
    ("B", "5"),
    ("b", "5"),
    ("f", "http://r/"),
    ("a", "me/1.0"),
    ("p", f"<{os.getpid()}>"),
    ("w", "1"),
    ("A", "-"),
    ("{X-A}i", "1"),
    ("{x-none}i", "-"),
    ("{x-out}o", "2"),
    ("{X-Out}o", "2"),
    ("{X-None}o", "-"),
    ("{NO_SUCH_VARIABLE}e", "-"),
]
ATOM_SHAPES = [
    ("t", r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"),
    ("T", r"\d+"),
    ("M", r"\d+"),
    ("D", r"\d+"),
    ("L", r"\d+\.\d{6}"),
    ("F", r"\d+\.\d{6}"),
]


@pytest.mark.parametrize("atom, value", ATOM_VALUES, ids=[atom for atom, _ in ATOM_VALUES])
def test_an_atom(logged, atom, value):
    assert logged(f"<%({atom})s>") == f"<{value}>"


@pytest.mark.parametrize("atom, shape", ATOM_SHAPES)
def test_an_atom_of_time(logged, atom, shape):
    assert re.fullmatch(shape, logged(f"%({atom})s"))


def test_there_is_a_test_for_every_atom():
    assert {name for name, _ in ATOM_VALUES + ATOM_SHAPES} >= set(ATOMS)


def test_variables_of_the_environment_are_those_of_the_start(tmp_path, monkeypatch):
    monkeypatch.setenv("REGION", "eu")
    log = Log(tmp_path / "log", "%({REGION}e)s")
    monkeypatch.setenv("REGION", "us")
    with H1Peer(TEXT, accesslog=log.log) as peer:
        peer.fetch()
    assert log.line == "eu"


def test_the_literal_parts_and_the_percent_sign(logged):
    assert logged("a %% b %(m)s%(s)s c%%") == "a % b GET200 c%"


@pytest.mark.parametrize("format", ["%(nonsense)s", "%(zz)s %(h)s"])
def test_an_atom_that_does_not_exist_is_the_operators_mistake(tmp_path, format):
    with pytest.raises(ConfigError, match="there is no atom"):
        AccessLog(LogFile(str(tmp_path / "log"), 1), format)


def test_common_and_combined(logged):
    time = r"\[[^]]+\]"
    common = rf'192\.0\.2\.1 - - {time} "GET /p%20q\?a=b HTTP/1\.1" 200 5'
    assert re.fullmatch(common, logged("common"))
    assert re.fullmatch(common + ' "http://r/" "me/1.0"', logged("combined"))
    assert re.fullmatch(
        rf'192.* - - {time} "GET .*" 200 5 "http://r/" "me/1.0"', logged(DEFAULTS.access_logformat)
    )


def test_json_has_one_object_a_line(logged):
    record = json.loads(logged("json"))
    expected = {
        "client": "192.0.2.1",
        "scheme": "http",
        "protocol": "HTTP/1.1",
        "method": "GET",
        "path": "/p%20q",
        "query": "a=b",
        "host": "x",
        "status": 200,
        "bytes": 5,
        "worker": 1,
        "aborted": False,
        "user_agent": "me/1.0",
        "referer": "http://r/",
    }
    assert {key: record[key] for key in expected} == expected
    assert set(record) - set(expected) == {"time", "duration", "first_byte"}
    assert 0 <= record["first_byte"] <= record["duration"] < 60


HOSTILE = [
    b'"; rm -rf',
    b"\\",
    b'\\"',
    b"\xe9\xff",
    b"\x85\x9b31m",
    b"\xe2\x80\xa8",
    b"%(h)s",
    b"a\tb",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_no_client_can_end_a_quoted_part_or_write_a_line(logged, value):
    fields = [(b"user-agent", value), (b"referer", value), (b"authorization", value)]
    line = logged('"%(a)s" "%(f)s" %(s)s', request(headers=fields))
    assert re.fullmatch(r'"([^"\\]|\\x[0-9a-f]{2})*" "([^"\\]|\\x[0-9a-f]{2})*" 200', line)
    assert line.isprintable() or not [c for c in line if ord(c) < 32 or 0x7F <= ord(c) < 0xA0]


@pytest.mark.parametrize("value", HOSTILE)
def test_no_client_can_write_a_line_in_json(logged, value):
    line = logged("json", request(headers=[(b"user-agent", value), (b"referer", value)]))
    assert json.loads(line)["user_agent"] == value.decode("latin-1")
    assert not [c for c in line if ord(c) < 32 or 0x7F <= ord(c) < 0xA0]


@pytest.mark.parametrize("target", [b'/"\\|<>', b'/?"%22\\', b"/%0a%0d"])
def test_no_target_can_end_a_quoted_part(logged, target):
    data = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target
    for atoms in ("%(R)s", "%(U)s", "%(r)s", "%(Uq)s", "%(q)s"):
        line = logged(f'"{atoms}"', data)
        assert '"' not in line[1:-1] and not re.search(r"\\(?!x[0-9a-f]{2})", line)


@pytest.mark.parametrize(
    "value, user",
    [
        (b"Basic " + base64.b64encode(b"me:secret"), "me"),
        (b"basic " + base64.b64encode(b"me:se:cret"), "me"),
        (b"Basic " + base64.b64encode(b'm"e\n:s'), "m\\x22e\\x0a"),
        (b"Basic " + base64.b64encode(b":s"), "-"),
        (b"Basic ***", "-"),
        (b"Basic \xe9\xe9", "-"),
        (b"Basic", "-"),
        (b"Basic =", "-"),
        (b"Bearer abc", "-"),
        (b"", "-"),
    ],
)
def test_the_user_is_named_and_the_password_is_not(logged, value, user):
    line = logged("%(u)s", request(headers=[(b"authorization", value)]))
    assert line == user and "secret" not in line


# What is recorded when


def lines_of(tmp_path, format, app, *doings):
    log = Log(tmp_path / "log", format)
    with H1Peer(app, accesslog=log.log) as peer:
        for doing in doings:
            doing(peer)
    return log.lines


def test_pipelined_requests_are_recorded_one_by_one(tmp_path):
    lines = lines_of(tmp_path, "%(U)s", TEXT, lambda peer: peer.send(request("/1") + request("/2")))
    assert lines == ["/1", "/2"]


def test_a_client_that_leaves_before_the_answer_is_recorded_as_499(tmp_path):
    async def waits(scope, receive, send):
        await receive()
        await receive()

    format = "%(s)s %(st)s %(b)s %(A)s %(F)s"
    lines = lines_of(tmp_path, format, waits, lambda peer: peer.send(REQUEST), H1Peer.lose)
    assert lines == ["499 - - aborted -"]


def test_a_client_that_leaves_in_the_middle_is_recorded_with_what_it_was_sent(tmp_path):
    async def half(scope, receive, send):
        await send(start(206))
        await send(body(b"half", more=True))
        await receive()
        await receive()

    format = "%(s)s %(b)s %(A)s"
    assert lines_of(tmp_path, format, half, lambda peer: peer.send(REQUEST), H1Peer.lose) == [
        "206 4 aborted"
    ]


def test_an_answer_that_breaks_off_is_recorded_as_aborted(tmp_path):
    app = apps.sends(start(), body(b"half", more=True))
    lines = lines_of(tmp_path, "%(s)s %(A)s", app, lambda peer: peer.send(REQUEST))
    errors.expect("without completing")
    assert lines == ["200 aborted"]


def test_a_failed_application_is_recorded_as_500(tmp_path):
    lines = lines_of(tmp_path, "%(s)s %(A)s", apps.sends(), lambda peer: peer.send(REQUEST))
    errors.expect("without completing")
    assert lines == ["500 -"]


def test_a_head_that_cannot_be_read_is_recorded_without_a_request(tmp_path):
    garbage = b'G"T / HTTP/1.1\r\n\r\n'
    format = '%(h)s "%(r)s" "%(R)s" %(m)s %(U)s %(q)s %(s)s "%(a)s" %(H)s'
    lines = lines_of(tmp_path, format, apps.never, lambda peer: peer.send(garbage))
    assert lines == ['192.0.2.1 "-" "-" - - - 400 "-" -']


def test_a_head_that_cannot_be_read_is_recorded_in_json(tmp_path):
    (line,) = lines_of(tmp_path, "json", apps.never, lambda peer: peer.send(b"GARBAGE\r\n\r\n"))
    record = json.loads(line)
    assert record["status"] == 400 and record["method"] is None


def test_a_body_that_comes_too_slowly_is_recorded_with_the_status_that_was_sent(tmp_path):
    half = request("/up", "POST", body=b"12345")[:-1]
    doings = (lambda peer: peer.send(half), lambda peer: peer.advance(40))
    assert lines_of(tmp_path, "%(U)s %(s)s", apps.Recorder(), *doings) == ["/up 408"]


@pytest.mark.parametrize("status, method", [(200, "HEAD"), (204, "GET"), (304, "GET")])
def test_content_that_was_not_sent_is_not_counted(tmp_path, status, method):
    app = apps.answers(b"hello", status)
    lines = lines_of(tmp_path, "%(b)s", app, lambda peer: peer.fetch(method=method))
    assert lines == ["-"]


def test_a_unix_socket_has_no_client_address(tmp_path):
    log = Log(tmp_path / "log", "%(h)s")
    with H1Peer(TEXT, accesslog=log.log, endpoints=Endpoints(None, None, "http")) as peer:
        peer.fetch()
    assert log.line == "-"


@pytest.mark.parametrize(
    "fields",
    [[(b"x-out", "text")], [("x-out", b"text")], [(b"x-out", None)], [None], None, 5, [b"x"]],
)
@pytest.mark.parametrize("format", ["%({x-out}o)s %(s)s", "json"])
def test_fields_that_are_none_are_no_harm_when_the_client_leaves(tmp_path, fields, format):
    async def waits(scope, receive, send):
        await send(start() | {"headers": fields})
        await receive()
        await receive()

    log = Log(tmp_path / "log", format)
    with H1Peer(waits, accesslog=log.log) as peer:
        peer.send(REQUEST)
        peer.lose()
        errors.records.clear()  # it may have been told so by send
    assert len(log.lines) == 1
