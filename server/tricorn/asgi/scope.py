"""Request and Context → ASGI scope (https://asgi.readthedocs.io, HTTP spec 2.5)."""

from __future__ import annotations

import copy
from typing import Any

from tricorn.connection import Context, Endpoints, Request, Scope

ASGI = {"version": "3.0", "spec_version": "2.5"}


def http_scope(request: Request, context: Context, endpoints: Endpoints) -> Scope:
    """The scope of one request; the containers in it are the application's to change."""
    if (scope := request.scope) is None:
        scope = _of_request(request, context.config.root_path)
        if request.remembered:
            request.scope = scope.copy()
    else:
        scope = scope.copy()
    scope["asgi"] = ASGI.copy()
    scope["scheme"] = endpoints.scheme
    scope["headers"] = [*request.headers]
    scope["client"] = endpoints.client
    scope["server"] = endpoints.server
    scope["state"] = context.state.copy()
    extensions: dict[str, Any] = {
        "http.response.pathsend": {},
        "http.response.zerocopysend": {},
    }
    if request.version != "1.0":
        extensions["http.response.early_hint"] = {}
    if request.accepts_trailers:
        extensions["http.response.trailers"] = {}
    if endpoints.extensions:
        extensions.update(copy.deepcopy(endpoints.extensions))
    scope["extensions"] = extensions
    return scope


def _of_request(request: Request, root_path: str) -> Scope:
    """What the request alone says, with a place for everything else."""
    return {
        "type": "http",
        "asgi": None,
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
