"""Request and Context → ASGI scope (https://asgi.readthedocs.io, HTTP spec 2.5)."""

from __future__ import annotations

from typing import Any

from tricorn.connection import Context, Endpoints, Request, Scope

ASGI = {"version": "3.0", "spec_version": "2.5"}
FILES: dict[str, Any] = {"http.response.pathsend": {}, "http.response.zerocopysend": {}}
HINTS: dict[str, Any] = FILES | {"http.response.early_hint": {}}
TRAILERS: dict[str, Any] = {"http.response.trailers": {}}


def http_scope(request: Request, context: Context, endpoints: Endpoints) -> Scope:
    """The scope of one request; the containers in it are the application's to change."""
    if (scope := request.scope) is None:
        scope = _of_request(request, context.config.root_path)
        if request.remembered:
            request.scope = scope.copy()
    else:
        scope = scope.copy()
    scope["scheme"] = endpoints.scheme
    scope["headers"] = [*request.headers]
    scope["client"] = endpoints.client
    scope["server"] = endpoints.server
    scope["state"] = context.state.copy()
    if request.version == "1.1" and not (request.accepts_trailers or endpoints.extensions):
        scope["extensions"] = HINTS.copy()
    else:
        scope["extensions"] = _extensions(request, endpoints)
    return scope


def _of_request(request: Request, root_path: str) -> Scope:
    """What the request alone says, with a place for everything else."""
    return {
        "type": "http",
        "asgi": ASGI,
        "http_version": request.version,
        "method": request.method,
        "scheme": "",
        # ASGI's path includes the root path, which a proxy has taken off.
        "path": root_path + request.path if root_path else request.path,
        "raw_path": request.raw_path,
        "query_string": request.query,
        "root_path": root_path,
        "headers": (),
        "client": None,
        "server": None,
        "state": None,
        "extensions": None,
    }


def _extensions(request: Request, endpoints: Endpoints) -> dict[str, Any]:
    extensions = FILES | endpoints.extensions
    if request.version != "1.0":
        extensions |= HINTS
    if request.accepts_trailers:
        extensions |= TRAILERS
    return extensions
