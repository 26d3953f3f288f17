"""What the server can be told about HTTP/3: the part of Config that is QUIC's alone."""

from dataclasses import dataclass

from tricorn.forms import ADDRESS, PATH, SOME_SECONDS, TEXT, Form, Group, Kind, choice
from tricorn.proxyconfig import ProxyConfig

KIB = 1024

QUIC = Group("HTTP/3")


@dataclass(frozen=True, slots=True)
class QuicConfig(ProxyConfig):
    """Times are seconds, sizes are bytes, "" is not set."""

    quic_bind: tuple[str, ...] = QUIC.option(
        (),
        "speak HTTP/3 here, over UDP: HOST:PORT, [V6]:PORT or :PORT; needs a certificate",
        ADDRESS,
    )
    alt_svc: str = QUIC.option(
        "auto",
        "the Alt-Svc field of answers over TCP; auto names the port of --quic-bind, off sends none",
        TEXT,
    )
    quic_retry: str = QUIC.option(
        "auto",
        "whether clients must prove their address before a handshake costs anything; auto asks it "
        "while many handshakes are open",
        choice("auto", "on", "off"),
    )
    quic_early_data: str = QUIC.option(
        "off",
        "whether requests may come in a resumed connection's first flight, which can be replayed; "
        "safe takes GET, HEAD and OPTIONS without content",
        choice("off", "safe"),
    )
    quic_idle_timeout: float = QUIC.option(
        30.0, "close a QUIC connection that has been silent for this long", SOME_SECONDS
    )
    quic_max_datagram_size: int = QUIC.option(
        1200,
        "the largest datagram that is sent; every network carries 1200",
        Form(Kind.BYTES, "SIZE", minimum=1200, maximum=1452),
    )
    quic_congestion: str = QUIC.option(
        "cubic", "how a sender finds out what the network carries", choice("cubic", "reno")
    )
    quic_max_concurrent_streams: int = QUIC.option(
        100,
        "requests that one connection may have open at once",
        Form(Kind.COUNT, "N", minimum=1, maximum=10_000),
    )
    quic_initial_stream_window_size: int = QUIC.option(
        256 * KIB,
        "bytes of one request's body that wait for the application before the client has to",
        Form(Kind.BYTES, "SIZE", minimum=16 * KIB, maximum=2**30),
    )
    quic_initial_connection_window_size: int = QUIC.option(
        1024 * KIB,
        "the same for all requests of a connection together",
        Form(Kind.BYTES, "SIZE", minimum=64 * KIB, maximum=2**30),
    )
    quic_max_handshakes: int = QUIC.option(
        1000,
        "handshakes that one worker has open at once; further clients have to try again",
        Form(Kind.COUNT, "N", minimum=1),
    )
    quic_secret: str = QUIC.option(
        "",
        "a file with at least 32 random bytes, from which the keys of tickets, tokens and resets "
        "are made; not set = new ones at every start",
        PATH,
    )
    quic_server_id: str = QUIC.option(
        "",
        "1 to 12 octets that every connection ID has behind its first, by which a load balancer "
        "finds this server (QUIC-LB, not encrypted; AWS wants 0x and 16 digits); not set = none",
        Form(Kind.TEXT, "HEX"),
    )
    quic_steering: str = QUIC.option(
        "auto",
        "how datagrams find their worker: by a program in the kernel, by a dispatcher process, or "
        "by the kernel's hash, which loses clients that move; auto takes the first that works",
        choice("auto", "kernel", "dispatcher", "hash"),
    )
    qlog_dir: str = QUIC.option(
        "", "write a qlog trace of every QUIC connection into this directory", PATH
    )
