"""What users of other servers may go on writing."""

from pathlib import Path

import pytest

from tricorn.config import Config, ConfigError
from tricorn.options import load


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def config(*argv, **environ) -> Config:
    return load(["main:app", *argv], environ).config


def config_of(text, *argv) -> Config:
    Path("tricorn.toml").write_text(text, "utf-8")
    return config("-c", "tricorn.toml", *argv)


@pytest.mark.parametrize(
    ("argv", "bind"),
    [
        (["--host", "0.0.0.0", "--port", "80"], "0.0.0.0:80"),
        (["--port", "80"], "127.0.0.1:80"),
        (["--host", "0.0.0.0"], "0.0.0.0:8000"),
        (["--host", "::"], "[::]:8000"),
        (["--host", "[::1]"], "[::1]:8000"),
        (["--uds", "/run/a.sock"], "unix:/run/a.sock"),
        (["--fd", "3"], "fd://3"),
    ],
)
def test_addresses_may_be_spelled_as_for_uvicorn(argv, bind):
    assert config(*argv, TRICORN_BIND=":1").bind == (bind,)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--port", "1", "-b", ":2"], "--port and --bind exclude each other; write --bind HOST"),
        (["--uds", "a", "-b", ":2"], "--uds and --bind exclude each other; write --bind unix:PATH"),
        (["--uds", "a", "--port", "1"], "--port and --uds exclude each other"),
        (["--uds", "a", "--fd", "1"], "--uds and --fd exclude each other"),
        (["--port", "x"], "--port: '127.0.0.1:x' is not an address"),
        (["--fd", "x"], "--fd: 'fd://x' is not an address"),
    ],
)
def test_two_spellings_of_an_address_are_refused(argv, sentence):
    with pytest.raises(ConfigError) as refused:
        config(*argv)
    assert sentence in str(refused.value)


UVICORN = (
    "--host 0.0.0.0 --port 80 --loop auto --http h11 --ws websockets --interface asgi3"
    " --lifespan on --log-level debug --no-access-log --no-use-colors --no-proxy-headers"
    " --workers 4 --backlog 9"
    " --timeout-keep-alive 5 --timeout-graceful-shutdown 7 --timeout-worker-healthcheck 9"
    " --ssl-certfile c --ssl-keyfile k --ssl-keyfile-password p --ssl-ca-certs a --ssl-cert-reqs 2"
    " --ssl-ciphers x --h11-max-incomplete-event-size 65536 --app-dir src --root-path /api"
    " --no-server-header --no-date-header --header x:y --factory --reset-contextvars"
)


def test_a_command_line_of_uvicorn_works():
    expected = Config(
        application="main:app",
        bind=("0.0.0.0:80",),
        lifespan="on",
        log_level="debug",
        workers=4,
        backlog=9,
        keep_alive=5.0,
        graceful_timeout=7.0,
        heartbeat_timeout=9.0,
        certfile="c",
        keyfile="k",
        keyfile_password="p",
        ca_certs="a",
        verify_mode="CERT_REQUIRED",
        ciphers="x",
        limit_request_head=65_536,
        app_dir="src",
        root_path="/api",
        server_header=False,
        date_header=False,
        header=("x: y",),
        factory=True,
    )
    assert config(*UVICORN.split()) == expected


def test_a_command_line_of_gunicorn_works():
    argv = (
        "-b :80 -w 4 -k uvicorn.workers.UvicornWorker -t 60 --graceful-timeout 30 --keep-alive 5"
        " -m 007 -n web --log-file e.log --access-logfile - --worker-connections 500"
        " --worker-tmp-dir /dev/shm --limit-request-line 4094 --limit-request-fields 50"
        " --certfile c --ca-certs a --cert-reqs 1"
    )
    expected = Config(
        application="main:app",
        bind=(":80",),
        workers=4,
        worker_class="uvloop",
        heartbeat_timeout=60.0,
        graceful_timeout=30.0,
        keep_alive=5.0,
        umask=7,
        name="web",
        error_logfile="e.log",
        access_logfile="-",
        limit_connections=500,
        limit_request_line=4094,
        limit_request_fields=50,
        certfile="c",
        ca_certs="a",
        verify_mode="CERT_OPTIONAL",
    )
    assert config(*argv.split()) == expected


def test_access_log_is_a_shorthand():
    assert config("--access-log").access_logfile == "-"
    assert config_of("accesslog = 'a.log'", "--no-access-log").access_logfile == ""


def test_what_changes_nothing_is_noted():
    loaded = load(["main:app", "--http", "h11", "--use-colors", "--interface=auto"], {})
    assert loaded.config == config()
    assert [note.split(" ")[0] for note in loaded.notes] == [
        "--http",
        "--use-colors",
        "--interface",
    ]
    assert all("changes nothing here: " in note for note in loaded.notes)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ('accesslog = "-"', "access_logfile", "-"),
        ('errorlog = "e.log"', "error_logfile", "e.log"),
        ('loglevel = "INFO"', "log_level", "info"),
        ('access_log_format = "%(r)s"', "access_logformat", "%(r)s"),
        ("keep_alive_timeout = 5", "keep_alive", 5.0),
        ("h11_max_incomplete_size = 16384", "limit_request_head", 16_384),
        ("include_date_header = false", "date_header", False),
        ("include_server_header = false", "server_header", False),
        ('bind = "0.0.0.0:80"', "bind", ("0.0.0.0:80",)),
        ('bind = ["0.0.0.0:80", "unix:a"]', "bind", ("0.0.0.0:80", "unix:a")),
        ("ssl_handshake_timeout = 60", "ssl_handshake_timeout", 60.0),
    ],
)
def test_hypercorn_keys_are_accepted_verbatim(text, name, value):
    assert getattr(config_of(text), name) == value


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--proxy-headers", "m:a"], "x-forwarded"),  # Uvicorn's is a flag
        (["m:a", "--proxy-headers"], "x-forwarded"),
        (["--proxy-headers", "forwarded", "m:a"], "forwarded"),
        (["--proxy-headers=forwarded", "m:a"], "forwarded"),
        (["--no-proxy-headers", "m:a"], "off"),
        (["m:a"], "off"),
    ],
)
def test_proxy_headers_are_a_flag_or_a_choice(words, expected):
    assert load(words, {}).config.proxy_headers == expected


def test_who_is_believed_may_be_a_list():
    words = ["--forwarded-allow-ips", "10.0.0.1, 10.1.0.0/16", "m:a"]
    assert load(words, {}).config.forwarded_allow_ips == ("10.0.0.1", "10.1.0.0/16")
    environ = {"FORWARDED_ALLOW_IPS": "*"}
    assert load(["m:a"], environ).config.forwarded_allow_ips == ("*",)
    assert load(words, environ).config.forwarded_allow_ips == ("10.0.0.1", "10.1.0.0/16")


def test_who_is_believed_must_be_an_address():
    with pytest.raises(ConfigError, match=r"--forwarded-allow-ips: .*'proxy'.* network"):
        load(["--forwarded-allow-ips", "proxy", "m:a"], {})
