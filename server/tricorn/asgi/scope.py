"""Request and Context → ASGI scope (https://asgi.readthedocs.io, HTTP spec 2.5)."""

from __future__ import annotations

from typing import Any

from tricorn.connection import Context, Endpoints, Request, Scope

ASGI = {"version": "3.0", "spec_version": "2.5"}


def http_scope(request: Request, context: Context, endpoints: Endpoints) -> Scope:
    """The scope of one request; what an application may change in it is its own."""
    extensions: dict[str, Any] = {
        "http.response.pathsend": {},
        "http.response.zerocopysend": {},
    }
    if request.version != "1.0":
        extensions["http.response.early_hint"] = {}
    if request.accepts_trailers:
        extensions["http.response.trailers"] = {}
    if endpoints.extensions:
        extensions.update(endpoints.extensions)
    path = request.path
    if root_path := context.config.root_path:
        path = root_path + path  # `path` includes the root path, which proxies strip
    return {
        "type": "http",
        "asgi": ASGI,
        "http_version": request.version,
        "method": request.method,
        "scheme": endpoints.scheme,
        "path": path,
        "raw_path": request.raw_path,
        "query_string": request.query,
        "root_path": root_path,
        "headers": list(request.headers),
        "client": endpoints.client,
        "server": endpoints.server,
        "state": context.state.copy(),
        "extensions": extensions,
    }
