"""Request and Context → ASGI scope (https://asgi.readthedocs.io, HTTP spec 2.5)."""

from __future__ import annotations

from typing import Any

from tricorn.connection import Context, Endpoints, Request, Scope


def http_scope(request: Request, context: Context, endpoints: Endpoints) -> Scope:
    """The scope of one request; the containers in it are the application's to change."""
    extensions: dict[str, Any] = {
        "http.response.pathsend": {},
        "http.response.zerocopysend": {},
        "http.response.early_hint": {},
        "tricorn.shutdown": context.shutdown,
    }
    if request.version == "1.0":
        del extensions["http.response.early_hint"]
    if request.accepts_trailers or request.version == "2":
        extensions["http.response.trailers"] = {}
    if (priority := request.priority) is not None:
        extensions["http.priority"] = {
            "urgency": priority.urgency,
            "incremental": priority.incremental,
        }
    if endpoints.extensions:
        for name, value in endpoints.extensions.items():
            extensions[name] = value.copy()
    if (known := request.scope) is not None:
        scope = known.copy()
        scope["asgi"] = {"version": "3.0", "spec_version": "2.5"}
        scope["scheme"] = endpoints.scheme
        scope["headers"] = [*request.headers]
        scope["client"] = endpoints.client
        scope["server"] = endpoints.server
        scope["state"] = context.state.copy()
        scope["extensions"] = extensions
        return scope
    root_path = context.config.root_path
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": request.version,
        "method": request.method,
        "scheme": endpoints.scheme,
        # ASGI's path includes the root path, which a proxy has taken off.
        "path": root_path + request.path if root_path else request.path,
        "raw_path": request.raw_path,
        "query_string": request.query,
        "root_path": root_path,
        "headers": [*request.headers],
        "client": endpoints.client,
        "server": endpoints.server,
        "state": context.state.copy(),
        "extensions": extensions,
    }
    if request.remembered:
        request.scope = scope.copy()
    return scope


def websocket_scope(
    request: Request, context: Context, endpoints: Endpoints, subprotocols: list[str]
) -> Scope:
    """The scope of one WebSocket (ASGI's websocket spec 2.5)."""
    scope = http_scope(request, context, endpoints)
    del scope["method"]
    extensions: dict[str, Any] = {
        "websocket.http.response": {},
        "tricorn.shutdown": context.shutdown,
    }
    if tls := scope["extensions"].get("tls"):
        extensions["tls"] = tls
    scope["type"] = "websocket"
    scope["scheme"] = "wss" if endpoints.scheme == "https" else "ws"
    scope["subprotocols"] = subprotocols
    scope["extensions"] = extensions
    return scope
