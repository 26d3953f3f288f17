"""How values are written, and what is said of those that are none."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tricorn import config
from tricorn.config import AUTO, OPTIONS
from tricorn.forms import Form, Kind
from tricorn.values import read_text, read_toml, shown, toml

SIZE = config.BYTES
FIELD_LINE = OPTIONS["header"].form
MODULE = OPTIONS["application"].form
MOUNT = OPTIONS["root_path"].form
WORKERS = OPTIONS["workers"].form
LEVEL = OPTIONS["log_level"].form
VERIFY = OPTIONS["verify_mode"].form


@pytest.mark.parametrize(
    ("form", "text", "value"),
    [
        (config.SECONDS, "30", 30.0),
        (config.SECONDS, "1.5", 1.5),
        (config.SECONDS, ".5", 0.5),
        (config.SECONDS, "500ms", 0.5),
        (config.SECONDS, "45s", 45.0),
        (config.SECONDS, "2m", 120.0),
        (config.SECONDS, "24h", 86_400.0),
        (config.SECONDS, "1d", 86_400.0),
        (config.SECONDS, "0", 0.0),
        (SIZE, "0", 0),
        (SIZE, "4096", 4096),
        (SIZE, "64k", 65_536),
        (SIZE, "64K", 65_536),
        (SIZE, "64kb", 65_536),
        (SIZE, "16MiB", 16 * 1024**2),
        (SIZE, "2 GiB", 2 * 1024**3),
        (config.FLAG, "1", True),
        (config.FLAG, "True", True),
        (config.FLAG, "yes", True),
        (config.FLAG, "ON", True),
        (config.FLAG, "0", False),
        (config.FLAG, "false", False),
        (config.FLAG, "no", False),
        (config.FLAG, "off", False),
        (config.OCTAL, "022", 0o022),
        (config.OCTAL, "0o660", 0o660),
        (config.OCTAL, "0", 0),
        (WORKERS, "0", 0),
        (WORKERS, "8", 8),
        (WORKERS, "auto", AUTO),
        (LEVEL, "INFO", "info"),
        (LEVEL, "trace", "debug"),
        (VERIFY, "cert_required", "CERT_REQUIRED"),
        (VERIFY, "2", "CERT_REQUIRED"),
        (config.ADDRESS, "127.0.0.1:0", "127.0.0.1:0"),
        (config.ADDRESS, ":8000", ":8000"),
        (config.ADDRESS, "localhost", "localhost"),
        (config.ADDRESS, "[::1]:8000", "[::1]:8000"),
        (config.ADDRESS, "[fe80::1%eth0]:8000", "[fe80::1%eth0]:8000"),
        (config.ADDRESS, "unix:/run/server.sock", "unix:/run/server.sock"),
        (config.ADDRESS, "fd://3", "fd://3"),
        (config.ADDRESS, "systemd:", "systemd:"),
        (config.ADDRESS, "systemd:web", "systemd:web"),
        (FIELD_LINE, "X-Frame-Options:DENY", "X-Frame-Options: DENY"),
        (FIELD_LINE, "x:  a b ", "x: a b"),
        (FIELD_LINE, "x:", "x: "),
        (MODULE, "main", "main"),
        (MODULE, "main:app", "main:app"),
        (MODULE, "a.b:c.d", "a.b:c.d"),
        (MODULE, "asgi:a.b:c", "a.b:c"),
        (MODULE, "asgi:app", "asgi:app"),
        (MODULE, "wsgi:app", "wsgi:app"),
        (MODULE, "", ""),
        (MOUNT, "/api/", "/api"),
        (MOUNT, "/", ""),
        (MOUNT, "", ""),
    ],
)
def test_reads(form, text, value):
    read = read_text(form, text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("form", "text", "sentence"),
    [
        (config.SECONDS, "soon", "'soon' is not a time such as 30, 1.5, 500ms, 2m or 24h"),
        (config.SECONDS, "-1", "from 0 s to 2000000 s"),
        (config.SECONDS, "30d", "from 0 s to 2000000 s"),
        (config.SECONDS, "inf", "is not a time"),
        (config.SECONDS, "nan", "is not a time"),
        (config.SECONDS, "1e3", "is not a time"),
        (config.SOME_SECONDS, "0", "from 0.1 s to"),
        (SIZE, "64x", "'64x' is not a size such as 65536, 64k or 16MiB, of 0 or more"),
        (SIZE, "-1", "is not a size"),
        (SIZE, "1.5k", "is not a size"),
        (OPTIONS["limit_request_head"].form, "1", "from 1 KiB to 1 MiB"),
        (config.FLAG, "maybe", "one of 1, true, yes, on, 0, false, no, off"),
        (config.OCTAL, "9", "octal digits such as 022, at most 777"),
        (config.OCTAL, "1777", "at most 777"),
        (config.OCTAL, "-1", "octal digits"),
        (WORKERS, "-1", "a whole number from 0 to 512, or auto"),
        (WORKERS, "many", "a whole number from 0 to 512, or auto"),
        (WORKERS, "1_000", "a whole number"),
        (WORKERS, "٣", "a whole number"),
        (config.COUNT, "1.0", "a whole number of 0 or more"),
        (LEVEL, "loud", "one of debug, info, warning, error, critical"),
        (config.ADDRESS, "8000", "for a port on every interface write :8000"),
        (config.ADDRESS, "::1", "[V6]:PORT"),
        (config.ADDRESS, "127.0.0.1:65536", "HOST:PORT"),
        (config.ADDRESS, "127.0.0.1:", "HOST:PORT"),
        (config.ADDRESS, "http://127.0.0.1:8000", "HOST:PORT"),
        (config.ADDRESS, "unix:", "unix:PATH"),
        (config.ADDRESS, "fd://x", "fd://N"),
        (config.ADDRESS, "fd:3x", "fd://N"),
        (config.ADDRESS, "", "HOST:PORT"),
        (FIELD_LINE, "nocolon", "a name, a colon and a value"),
        (FIELD_LINE, ": value", "a name, a colon and a value"),
        (FIELD_LINE, "na me: value", "a name, a colon and a value"),
        (FIELD_LINE, "name : value", "a name, a colon and a value"),
        (FIELD_LINE, "name: a\r\nset-cookie: b", "printable ASCII"),
        (FIELD_LINE, "name: é", "printable ASCII"),
        (FIELD_LINE, "Content-Length: 0", "the server itself decides it"),
        (FIELD_LINE, "transfer-encoding: chunked", "the server itself decides it"),
        (MODULE, "wsgi:a:b", "WSGI applications are not yet offered"),
        (MODULE, "main.py", "names a file, not a module; write main:app"),
        (MODULE, "src/main.py:api", "write main:api, with --app-dir src"),
        (MODULE, "main:create()", "leave out the parentheses and add --factory"),
        (MODULE, "main:", "such as module:app"),
        (MODULE, ":app", "such as module:app"),
        (MODULE, "my-module:app", "such as module:app"),
        (MODULE, "main:__import__('os')", "such as module:app"),
        (MOUNT, "api", "starts with /"),
        (MOUNT, "/api?x", "starts with /"),
        (config.PATH, "a\0b", "NUL"),
        (config.PATH, "a\udcffb", "not valid UTF-8"),
    ],
)
def test_refuses_and_says_what_is_accepted(form, text, sentence):
    with pytest.raises(ValueError) as refusal:
        read_text(form, text)
    assert sentence in str(refusal.value)


@pytest.mark.parametrize(
    ("form", "raw", "value"),
    [
        (config.FLAG, True, True),
        (WORKERS, 4, 4),
        (WORKERS, "4", 4),
        (WORKERS, "auto", AUTO),
        (config.SECONDS, 30, 30.0),
        (config.SECONDS, 1e-7, 1e-7),
        (config.SECONDS, "2m", 120.0),
        (SIZE, 4096, 4096),
        (SIZE, "64k", 65_536),
        (OPTIONS["tls_min_version"].form, 1.3, "1.3"),
        (VERIFY, 2, "CERT_REQUIRED"),
        (config.OCTAL, "022", 0o22),
    ],
)
def test_reads_toml(form, raw, value):
    assert read_toml(form, raw) == value


@pytest.mark.parametrize(
    ("form", "raw", "sentence"),
    [
        (config.FLAG, "yes", "true or false"),
        (config.FLAG, 1, "true or false"),
        (WORKERS, True, "a whole number"),
        (WORKERS, 4.0, "a whole number"),
        (WORKERS, [4], "a whole number"),
        (config.SECONDS, float("nan"), "is not a time"),
        (config.SECONDS, float("inf"), "is not a time"),
        (config.SECONDS, -1, "from 0 s"),
        (config.PATH, 3, "text, in quotes"),
        (config.PATH, ["a"], "text, in quotes"),
        (config.PATH, {"a": "b"}, "text, in quotes"),
        # 0o22 is 18 to a TOML reader, and so might a forgotten 0o have been.
        (config.OCTAL, 0o22, "octal digits such as 022, at most 777, in quotes"),
    ],
)
def test_refuses_toml_of_another_type(form, raw, sentence):
    with pytest.raises(ValueError) as refusal:
        read_toml(form, raw)
    assert sentence in str(refusal.value)


def test_never_repeats_a_secret_in_an_error():
    with pytest.raises(ValueError) as refusal:
        read_toml(OPTIONS["keyfile_password"].form, 20_220_801)
    assert "20220801" not in str(refusal.value)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_toml(text):
    assert tomllib.loads(f"value = {toml(config.TEXT, text)}")["value"] == text


@given(st.floats(0, 2_000_000))
def test_any_time_survives_toml(seconds):
    raw = tomllib.loads(f"value = {toml(config.SECONDS, seconds)}")["value"]
    assert read_toml(config.SECONDS, raw) == seconds


@given(st.text())
def test_text_is_read_or_refused_with_a_reason(text):
    for kind in Kind:
        try:
            read_text(Form(kind, choices=("a", "b"), maximum=1000), text)
        except ValueError as refusal:
            assert str(refusal)


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        (config.SECONDS, 75.0, "75 s"),
        (config.SECONDS, 0.5, "0.5 s"),
        (SIZE, 8192, "8 KiB"),
        (SIZE, 240, "240 bytes"),
        (SIZE, 0, "0"),
        (config.FLAG, False, "off"),
        (config.OCTAL, None, "not set"),
        (config.PATH, "", "not set"),
        (config.ADDRESS, (), "not set"),
        (config.ADDRESS, ("a:1", "b:2"), "a:1, b:2"),
        (config.COUNT, 100, "100"),
    ],
)
def test_shows_the_unit(form, value, text):
    assert shown(form, value) == text
