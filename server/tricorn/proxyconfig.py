"""What the server may believe of the proxies in front of it: a part of Config."""

from dataclasses import dataclass

from tricorn.forms import FLAG, PEER, Group, choice

PROXIES = Group("Proxies")
LOCAL = ("127.0.0.1", "::1", "unix")


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """Whom a connection comes from is decided by what these trust, never by who sends a field."""

    proxy_headers: str = PROXIES.option(
        "off",
        "which fields of a request say who its client is: X-Forwarded-For and the like, or "
        "Forwarded (RFC 7239); the other ones are not looked at. Without a value: x-forwarded",
        choice("off", "x-forwarded", "forwarded", words=(("on", "x-forwarded"),)),
    )
    forwarded_allow_ips: tuple[str, ...] = PROXIES.option(
        LOCAL,
        "proxies whose fields are believed: addresses, networks, unix for those that come through "
        "a socket file, or * for all",
        PEER,
    )
    forwarded_fields: tuple[str, ...] = PROXIES.option(
        ("for", "proto"),
        "what is taken from them: the client's address, the scheme, the host",
        choice("for", "proto", "host"),
    )
    underscores_in_headers: bool = PROXIES.option(
        False,
        "pass on fields whose names have an underscore; otherwise they are left out, as an "
        "application may take X_Forwarded_For for X-Forwarded-For",
        FLAG,
    )
    proxy_protocol: str = PROXIES.option(
        "off",
        "the version of the PROXY protocol that connections of --proxy-allow-from begin with, "
        "before TLS; auto takes either, and none of them may leave it out",
        choice("off", "v1", "v2", "auto"),
    )
    proxy_allow_from: tuple[str, ...] = PROXIES.option(
        LOCAL,
        "load balancers that speak the PROXY protocol, written like --forwarded-allow-ips; all "
        "others are served as who they are",
        PEER,
    )
