"""Which versions of HTTP a worker speaks, and what its connections of each share."""

from __future__ import annotations

from tricorn.config import Config
from tricorn.connection import Context, Endpoints
from tricorn.fields import Defaults
from tricorn.http1.connection import Http1Connection
from tricorn.http1.head import Heads
from tricorn.http1.response import ResponseHeads
from tricorn.net.tcp import Speak, Versions
from tricorn.target import Limits
from tricorn.wire import Wire, WireConnection


def limits_of(config: Config) -> Limits:
    return Limits(
        config.limit_request_line,
        config.limit_request_fields,
        config.limit_request_head,
        config.max_request_body_size,
        frozenset(name.lower().encode("idna") for name in config.server_name),
        config.underscores_in_headers,
    )


def versions_of(config: Config, defaults: Defaults) -> Versions:
    """What makes a connection of each version that `config` asks for."""
    limits = limits_of(config)
    heads = Heads(limits)
    responses = ResponseHeads(defaults)

    def http1(context: Context, wire: Wire, endpoints: Endpoints) -> WireConnection:
        return Http1Connection(context, wire, endpoints, heads, responses)

    versions: dict[str, Speak] = {"http/1.1": http1}
    if "h2" in config.alpn or config.h2c or config.h2c_upgrade:
        versions["h2"] = _http2(config, defaults, limits)
        if config.h2c:
            versions["h2c"] = versions["h2"]
    return versions


def protocols_of(config: Config, *, secure: bool) -> tuple[str, ...]:
    """The names of the versions that a listener speaks, for people."""
    if secure:
        return tuple({"h2": "HTTP/2", "http/1.1": "HTTP/1.1"}[name] for name in config.alpn)
    return ("HTTP/1.1", "HTTP/2") if config.h2c else ("HTTP/1.1",)


def _http2(config: Config, defaults: Defaults, limits: Limits) -> Speak:
    # Imported here: a server that speaks HTTP/1.1 only starts sooner.
    if config.http2_engine == "h2":
        from tricorn.http2.reference.connection import ReferenceConnection

        def reference(context: Context, wire: Wire, endpoints: Endpoints) -> WireConnection:
            return ReferenceConnection(context, wire, endpoints, limits)

        return reference

    from tricorn.http2.connection import Http2Connection
    from tricorn.http2.shared import Shared

    shared = Shared(config, defaults, limits)

    def http2(context: Context, wire: Wire, endpoints: Endpoints) -> WireConnection:
        return Http2Connection(context, wire, endpoints, shared)

    return http2
