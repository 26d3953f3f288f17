"""asgi/scope.py: Request and Context → ASGI scope."""

from __future__ import annotations

import pytest

from tests.support import apps
from tests.support.h2peer import H2Peer
from tests.support.peers import H1Peer, request
from tricorn.config import Config
from tricorn.connection import Endpoints


def scope_of(data: bytes, config: Config | None = None, **shared):
    app = apps.Recorder()
    H1Peer(app, config, **shared).send(data)
    return app.call.scope


def test_every_key_of_the_specification_is_there():
    scope = scope_of(request("/a%20b?c=%20", headers=[(b"x-a", b"1")]), state={"key": "value"})
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"c=%20",
        "root_path": "",
        "headers": [(b"host", b"x"), (b"x-a", b"1")],
        "client": ("192.0.2.1", 50000),
        "server": ("192.0.2.2", 80),
        "state": {"key": "value"},
        "extensions": {
            "http.response.pathsend": {},
            "http.response.zerocopysend": {},
            "http.response.early_hint": {},
            "tricorn.shutdown": scope["extensions"]["tricorn.shutdown"],
        },
    }


def test_the_types_are_those_of_the_specification():
    scope = scope_of(request())
    assert type(scope["path"]) is str and type(scope["raw_path"]) is bytes
    assert type(scope["query_string"]) is bytes and type(scope["method"]) is str
    assert all(type(part) is bytes for pair in scope["headers"] for part in pair)


@pytest.mark.parametrize(
    "raw, path",
    [
        (b"/%E4%BD%A0", "/你"),
        (b"/%ff", "/\ufffd"),
        (b"/%2Fa%2f", "//a/"),
        (b"/%00", "/\0"),
        (b"/%zz%", "/%zz%"),
        (b"/a+b", "/a+b"),
        (b"/a;b=c", "/a;b=c"),
    ],
)
def test_the_path_is_decoded_and_raw_path_is_not(raw, path):
    scope = scope_of(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % raw)
    assert scope["path"] == path and scope["raw_path"] == raw


def test_the_root_path_is_in_the_path_too():
    scope = scope_of(request("/a?b"), Config(root_path="/mounted"))
    assert scope["root_path"] == "/mounted" and scope["path"] == "/mounted/a"
    assert scope["raw_path"].endswith(b"/a")


def test_http_1_0_has_no_early_hints():
    scope = scope_of(b"GET / HTTP/1.0\r\n\r\n")
    assert scope["http_version"] == "1.0"
    assert "http.response.early_hint" not in scope["extensions"]


def test_trailers_are_offered_to_who_accepts_them():
    fields = [(b"te", b"trailers"), (b"connection", b"te")]
    assert "http.response.trailers" in scope_of(request(headers=fields))["extensions"]
    assert "http.response.trailers" not in scope_of(request())["extensions"]


def test_the_priority_of_a_request_is_shown_where_it_has_one():  # RFC9218§4
    app = apps.Recorder()
    peer = H2Peer(app, engine="h2")
    peer.fetch(headers=[(b"priority", b"u=3")])
    peer.fetch()
    seen = [call.scope["extensions"].get("http.priority") for call in app.calls]
    assert seen == [{"urgency": 3, "incremental": False}, None]


def test_a_unix_socket_has_no_client():
    app = apps.Recorder()
    H1Peer(app, endpoints=Endpoints(None, ("/run/x.sock", None), "http")).fetch()
    assert app.call.scope["client"] is None and app.call.scope["server"] == ("/run/x.sock", None)


def test_the_endpoints_are_those_of_the_connection_even_for_a_remembered_request():
    app = apps.Recorder()
    first = H1Peer(app, endpoints=Endpoints(("a", 1), ("b", 2), "http"))
    second = H1Peer(
        beside=first, endpoints=Endpoints(("c", 3), ("d", 4), "https", {"tls": {"x": 1}})
    )
    for peer in (first, second, first, second):
        assert peer.fetch().status == 200
    seen = [
        (call.scope["client"], call.scope["server"], call.scope["scheme"]) for call in app.calls
    ]
    assert seen == [(("a", 1), ("b", 2), "http"), (("c", 3), ("d", 4), "https")] * 2
    assert ["tls" in call.scope["extensions"] for call in app.calls] == [False, True] * 2


def spoil(value):
    """Changes every container in a scope."""
    if isinstance(value, dict):
        for each in list(value.values()):
            spoil(each)
        value["spoiled"] = True
    elif isinstance(value, list):
        value.append((b"spoiled", b"1"))


def test_nothing_that_an_application_changes_is_seen_by_another_request():
    async def application(scope, receive, send):
        seen.append("spoiled" in repr(scope))
        spoil(scope)
        scope["path"] = "/spoiled"
        await apps.hello(scope, receive, send)

    seen: list[bool] = []
    endpoints = Endpoints(("a", 1), ("b", 2), "https", {"tls": {"x": 1}})
    peer = H1Peer(application, endpoints=endpoints)
    for _ in range(4):
        peer.fetch()
        peer.fetch(method="POST", body=b"x")
    assert seen == [False] * 8


def test_what_the_lifespan_left_in_the_state_is_shared_and_the_dictionary_is_not():
    shared: list[int] = []
    app = apps.Recorder()
    peer = H1Peer(app, state={"shared": shared})
    peer.fetch()
    peer.fetch()
    states = [call.scope["state"] for call in app.calls]
    assert states[0] is not states[1] and states[0]["shared"] is states[1]["shared"] is shared
