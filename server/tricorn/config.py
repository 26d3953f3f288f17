"""What the server can be told: one frozen dataclass, one field for each option.

A field declares its name, type, default, unit and help, and this is the only place that does.
options.py fills a Config from the command line, the environment and a file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from tricorn.forms import (
    ADDRESS,
    BYTES,
    COUNT,
    FLAG,
    OCTAL,
    PATH,
    SECONDS,
    SOME_SECONDS,
    TEXT,
    Form,
    Group,
    Kind,
    Names,
    Option,
    choice,
)
from tricorn.observeconfig import ObserveConfig

AUTO = -1  # workers: one for each processor that this process may use
LOG_PRESETS = ("common", "combined", "json")
KIB = 1024


class ConfigError(Exception):
    """The operator's mistake, as one sentence: exit status 2."""


APPLICATION = Group("Application")
LISTENERS = Group("Listeners")
WORKERS = Group("Workers")
SECURITY = Group("TLS")
HTTP = Group("HTTP")
HTTP2 = Group("HTTP/2")
WEBSOCKET = Group("WebSocket")
LIMITS = Group("Limits and timeouts")
LOGGING = Group("Logging")


@dataclass(frozen=True, slots=True)
class Config(ObserveConfig):
    """Everything the operator decided. Times are seconds, sizes are bytes, "" is not set."""

    application: str = APPLICATION.option(
        "",
        "what to serve, as module:attribute; the attribute may be left out if it is app or "
        "application",
        Form(Kind.APPLICATION, "MODULE:ATTRIBUTE"),
    )
    factory: bool = APPLICATION.option(
        False, "the attribute is a function without arguments that returns the application", FLAG
    )
    app_dir: str = APPLICATION.option(".", "the directory to import the application from", PATH)
    root_path: str = APPLICATION.option(
        "",
        "the path under which a proxy mounts the application (ASGI root_path)",
        Form(Kind.PREFIX, "PATH"),
    )
    lifespan: str = APPLICATION.option(
        "auto",
        "whether the application speaks the ASGI lifespan protocol; auto asks it",
        choice("auto", "on", "off"),
    )
    startup_timeout: float = APPLICATION.option(
        60.0, "how long a worker may take to become ready; 0 = no limit", SECONDS
    )
    shutdown_timeout: float = APPLICATION.option(
        8.0, "how long the application's lifespan shutdown may take", SOME_SECONDS
    )

    bind: tuple[str, ...] = LISTENERS.option(
        ("127.0.0.1:8000",),
        "listen here, with TLS if a certificate is given: HOST:PORT, [V6]:PORT, :PORT, HOST, "
        "unix:PATH, fd://N, systemd: or systemd:NAME",
        ADDRESS,
        Names("-b"),
    )
    insecure_bind: tuple[str, ...] = LISTENERS.option(
        (), "listen here without TLS, beside the TLS addresses of --bind", ADDRESS
    )
    backlog: int = LISTENERS.option(
        2048,
        "connections that the system may queue before they are accepted",
        Form(Kind.COUNT, "N", minimum=1, maximum=2**31 - 1),  # listen(2) takes a C int
    )
    uds_permissions: int | None = LISTENERS.option(
        None, "octal permissions of unix sockets; not set = by the umask", OCTAL
    )
    umask: int | None = LISTENERS.option(
        None,
        "octal file mode creation mask of the server's processes, for sockets too; not set = "
        "inherited",
        OCTAL,
        Names("-m"),
    )

    workers: int = WORKERS.option(
        1,
        "worker processes; auto = one for each processor, 0 = serve in this process, unsupervised",
        Form(Kind.COUNT, "N|auto", maximum=512, words=(("auto", AUTO),)),
        Names("-w"),
    )
    worker_class: str = WORKERS.option(
        "uvloop",
        "the event loop of a worker; uvloop where it is installed, else asyncio",
        choice(
            "uvloop",
            "asyncio",
            words=(
                ("auto", "uvloop"),
                # What Gunicorn's command lines say for ASGI.
                ("uvicorn.workers.uvicornworker", "uvloop"),
                ("uvicorn_worker.uvicornworker", "uvloop"),
            ),
        ),
        Names("-k", aliases=("--loop",)),
    )
    name: str = WORKERS.option(
        "",
        "what the processes are called in ps; not set = after the application",
        TEXT,
        Names("-n"),
    )
    heartbeat_timeout: float = WORKERS.option(
        30.0,
        "replace a worker whose event loop has been stuck for this long, at least 2; 0 = never",
        SECONDS,
        Names(aliases=("--timeout", "-t", "--timeout-worker-healthcheck")),
    )
    respawn_backoff_max: float = WORKERS.option(
        30.0, "the longest wait before a worker that keeps crashing is started again", SOME_SECONDS
    )
    reload_settle: float = WORKERS.option(
        5.0, "how long the first new worker must live before a reload goes on", SECONDS
    )

    certfile: str = SECURITY.option(
        "",
        "the certificate chain, PEM; turns TLS on",
        PATH,
        Names(aliases=("--ssl-certfile",)),
    )
    keyfile: str = SECURITY.option(
        "",
        "the private key, PEM; not set = in the certificate's file",
        PATH,
        Names(aliases=("--ssl-keyfile",)),
    )
    keyfile_password: str = SECURITY.option(
        "",
        "what the private key is encrypted with; --print-config leaves it out",
        Form(Kind.SECRET, "TEXT"),
        Names(aliases=("--ssl-keyfile-password",)),
    )
    ca_certs: str = SECURITY.option(
        "",
        "the authorities that clients' certificates are checked against, PEM",
        PATH,
        Names(aliases=("--ssl-ca-certs",)),
    )
    verify_mode: str = SECURITY.option(
        "CERT_NONE",
        "whether clients need a certificate",
        choice(
            "CERT_NONE",
            "CERT_OPTIONAL",
            "CERT_REQUIRED",
            words=(("0", "CERT_NONE"), ("1", "CERT_OPTIONAL"), ("2", "CERT_REQUIRED")),
        ),
        Names(aliases=("--cert-reqs", "--ssl-cert-reqs"), keys=("cert_reqs",)),
    )
    ciphers: str = SECURITY.option(
        "ECDHE+AESGCM:ECDHE+CHACHA20",
        "the ciphers of TLS 1.2, in OpenSSL's notation",
        TEXT,
        Names(aliases=("--ssl-ciphers",)),
    )
    tls_min_version: str = SECURITY.option(
        "1.2", "the oldest version of TLS that clients may speak", choice("1.2", "1.3")
    )
    ssl_handshake_timeout: float = SECURITY.option(
        10.0, "how long a TLS handshake may take", SOME_SECONDS
    )

    keep_alive: float = HTTP.option(
        75.0,
        "close a connection that has been idle for this long; 0 = after every response",
        SECONDS,
        Names(aliases=("--timeout-keep-alive",), keys=("keep_alive_timeout",)),
    )
    keep_alive_max_requests: int = HTTP.option(
        0, "close a connection after this many requests; 0 = no limit", COUNT
    )
    alpn: tuple[str, ...] = HTTP.option(
        ("h2", "http/1.1"),
        "the versions of HTTP that are offered over TLS, the best one first",
        choice("h2", "http/1.1"),
        Names(keys=("alpn_protocols",)),
    )
    server_name: tuple[str, ...] = HTTP.option(
        (),
        "a host that this server answers for, with 421 (Misdirected Request) for any other; not "
        "set = for all",
        TEXT,
        Names(keys=("server_names",)),
    )
    priority: str = HTTP.option(
        "rfc9218",
        "which priorities clients may give to responses: extensible ones, with RFC 7540's for "
        "clients that know no others; only RFC 7540's; or none",
        choice("rfc9218", "rfc7540", "off"),
    )
    server_header: bool = HTTP.option(
        True, "send a Server field", FLAG, Names(keys=("include_server_header",))
    )
    date_header: bool = HTTP.option(
        True, "send a Date field", FLAG, Names(keys=("include_date_header",))
    )
    header: tuple[str, ...] = HTTP.option(
        (),
        "a field to add to every response",
        Form(Kind.FIELD_LINE, "'NAME: VALUE'"),
    )

    h2c: bool = HTTP2.option(
        True, "speak HTTP/2 without TLS to clients that begin with it (prior knowledge)", FLAG
    )
    h2c_upgrade: bool = HTTP2.option(
        False,
        "let requests of HTTP/1.1 without a body upgrade to h2c; not behind a proxy, which may be "
        "led past its rules by it",
        FLAG,
    )
    http2_engine: str = HTTP2.option(
        "tricorn",
        "what speaks HTTP/2: the server's own state machine, or hyper-h2, which is slower and less "
        "hardened",
        choice("tricorn", "h2"),
    )
    h2_max_concurrent_streams: int = HTTP2.option(
        100,
        "requests that one connection may have open at once",
        Form(Kind.COUNT, "N", minimum=1, maximum=10_000),
    )
    h2_initial_stream_window_size: int = HTTP2.option(
        64 * KIB,
        "bytes of one request's body that wait for the application before the client has to",
        Form(Kind.BYTES, "SIZE", minimum=1 * KIB, maximum=2**31 - 1),
    )
    h2_initial_connection_window_size: int = HTTP2.option(
        1024 * KIB,
        "the same for all requests of a connection together",
        Form(Kind.BYTES, "SIZE", minimum=64 * KIB, maximum=2**31 - 1),
    )
    h2_max_inbound_frame_size: int = HTTP2.option(
        16 * KIB,
        "the largest frame that clients may send",
        Form(Kind.BYTES, "SIZE", minimum=16 * KIB, maximum=2**24 - 1),
    )
    h2_max_header_list_size: int = HTTP2.option(
        32 * KIB,
        "the largest head of a request, decoded, with 32 bytes for each field",
        Form(Kind.BYTES, "SIZE", minimum=1 * KIB, maximum=1024 * KIB),
    )
    h2_max_resets: int = HTTP2.option(
        100,
        "requests that a client may cancel, or break, in excess of those that are answered",
        Form(Kind.COUNT, "N", minimum=1),
    )
    h2_ping_interval: float = HTTP2.option(
        0.0, "ask an idle connection for a sign of life this often; 0 = never", SECONDS
    )
    server_push: bool = HTTP2.option(
        False, "offer http.response.push to applications, where the client allows it", FLAG
    )

    websocket_max_message_size: int = WEBSOCKET.option(
        16 * 1024 * KIB,
        "the largest message that clients may send, decompressed",
        Form(Kind.BYTES, "SIZE", minimum=1, maximum=2**31 - 1),
        Names(aliases=("--ws-max-size",)),
    )
    websocket_per_message_deflate: bool = WEBSOCKET.option(
        True, "compress messages for clients that offer it (RFC 7692)", FLAG
    )
    websocket_ping_interval: float = WEBSOCKET.option(
        20.0,
        "ask a client that has been silent for so long for a sign of life; 0 = never",
        SECONDS,
        Names(aliases=("--ws-ping-interval",)),
    )
    websocket_ping_timeout: float = WEBSOCKET.option(
        20.0,
        "how long a client may take to answer that",
        SOME_SECONDS,
        Names(aliases=("--ws-ping-timeout",)),
    )
    websocket_accept_timeout: float = WEBSOCKET.option(
        10.0, "how long the application may take to accept or to close", SOME_SECONDS
    )
    websocket_close_grace: float = WEBSOCKET.option(
        2.0, "how long a client may take to answer our close", SOME_SECONDS
    )
    websocket_origin: tuple[str, ...] = WEBSOCKET.option(
        (),
        "an Origin that pages may connect from, such as https://example.com; not set = any",
        TEXT,
    )

    request_header_timeout: float = LIMITS.option(
        10.0, "how long the head of a request may take to arrive", SOME_SECONDS
    )
    read_timeout: float = LIMITS.option(
        30.0, "how long the body of a request may stall; 0 = no limit", SECONDS
    )
    read_rate_min: int = LIMITS.option(
        240,
        "bytes a second that the body of a request must reach after its first 10 seconds; 0 = off",
        BYTES,
    )
    write_timeout: float = LIMITS.option(
        60.0, "how long a client may leave a response unread; 0 = no limit", SECONDS
    )
    graceful_timeout: float = LIMITS.option(
        20.0,
        "how long a worker that stops waits for open requests; 0 = does not wait",
        SECONDS,
        Names(aliases=("--timeout-graceful-shutdown",)),
    )
    # Apache 8190, nginx 8k; Gunicorn 4094.
    limit_request_line: int = LIMITS.option(
        8 * KIB,
        "the longest request line",
        Form(Kind.BYTES, "SIZE", minimum=128, maximum=1024 * KIB),
    )
    # Apache, Gunicorn and h2o 100, HAProxy 101.
    limit_request_fields: int = LIMITS.option(
        100, "the most fields a request may have", Form(Kind.COUNT, "N", minimum=1, maximum=10_000)
    )
    # nginx 4 x 8k, h11 16 KiB, node 16 KiB.
    limit_request_head: int = LIMITS.option(
        32 * KIB,
        "the largest head, request line and fields together",
        Form(Kind.BYTES, "SIZE", minimum=1 * KIB, maximum=1024 * KIB),
        Names(
            aliases=("--h11-max-incomplete-size", "--h11-max-incomplete-event-size"),
            keys=("h11_max_incomplete_size",),
        ),
    )
    max_request_body_size: int = LIMITS.option(
        0, "the largest body of a request; 0 = no limit", BYTES
    )
    limit_connections: int = LIMITS.option(
        0,
        "connections that one worker holds at once; 0 = what its descriptor limit allows, at most "
        "10000",
        COUNT,
        Names(aliases=("--worker-connections",)),
    )

    access_logfile: str = LOGGING.option(
        "",
        "one line for each response goes here, - is the standard output; not set = no access log",
        PATH,
        Names(keys=("accesslog",)),
    )
    access_logformat: str = LOGGING.option(
        '%(h)s %(l)s %(l)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"',
        f"atoms as in Gunicorn, or one of {', '.join(LOG_PRESETS)}",
        TEXT,
        Names(keys=("access_log_format",)),
    )
    error_logfile: str = LOGGING.option(
        "-",
        "the server's own log goes here, - is the standard error",
        PATH,
        Names(aliases=("--log-file",), keys=("errorlog",)),
    )
    log_level: str = LOGGING.option(
        "info",
        "how much the server logs",
        choice("debug", "info", "warning", "error", "critical", words=(("trace", "debug"),)),
        Names(keys=("loglevel",)),
    )
    log_format: str = LOGGING.option(
        "text", "how the server's own log is written", choice("text", "json")
    )


OPTIONS: Mapping[str, Option] = {each.name: each.metadata["option"] for each in fields(Config)}
DEFAULTS = Config()
