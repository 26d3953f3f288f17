"""The application that the process tests serve: each route shows one thing."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from urllib.parse import parse_qs

PART = b"0123456789abcdef" * 1024
INTERNAL = {}
"""What requests leave for others on the same worker."""


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    name = scope["path"].strip("/").partition("/")[0] or "hello"
    query = {k: v[0] for k, v in parse_qs(scope["query_string"].decode()).items()}
    await ROUTES.get(name, missing)(scope, receive, send, query)


async def lifespan(receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    if path := os.environ.get("SHUT_DOWN"):
        with open(path, "a") as file:  # noqa: ASYNC230
            file.write(f"{os.getpid()}\n")
    await send({"type": "lifespan.shutdown.complete"})


async def answer(send, body, status=200, kind=b"text/plain"):
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def missing(scope, receive, send, query):
    await answer(send, b"nothing here\n", 404)


async def hello(scope, receive, send, query):
    await answer(send, b"hello\n")


async def number(scope, receive, send, query):
    """Says again what was asked for, so that a load client can tell answers apart."""
    await answer(send, scope["path"].encode())


async def pid(scope, receive, send, query):
    await answer(send, b"%d" % os.getpid())


async def health(scope, receive, send, query):
    """What a leak would show in; the request itself is one task."""
    facts = {
        "pid": os.getpid(),
        "tasks": len(asyncio.all_tasks()),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "disconnects": INTERNAL.get("disconnects", 0),
    }
    await answer(send, json.dumps(facts).encode(), kind=b"application/json")


async def tls(scope, receive, send, query):
    facts = scope.get("extensions", {}).get("tls")
    await answer(send, json.dumps([scope["scheme"], facts]).encode(), kind=b"application/json")


async def ends(scope, receive, send, query):
    """Who speaks with whom."""
    await answer(send, json.dumps([scope["client"], scope["server"]]).encode())


async def gate(scope, receive, send, query):
    """Waits for the test that listens there."""
    reader, writer = await asyncio.open_unix_connection(query["path"])
    try:
        await reader.read(1)
        await answer(send, b"let go by %d" % os.getpid())
    finally:
        writer.close()


async def block(scope, receive, send, query):
    """Stops the event loop, as an application does that forgets an await."""
    time.sleep(float(query["seconds"]))  # noqa: ASYNC251
    await answer(send, b"late\n")


async def download(scope, receive, send, query):
    """Chunked, as many parts as wanted, at the speed of the client."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    try:
        for _ in range(int(query["parts"])):
            await send({"type": "http.response.body", "body": PART, "more_body": True})
        await send({"type": "http.response.body"})
    except OSError:
        INTERNAL["disconnects"] = INTERNAL.get("disconnects", 0) + 1


async def upload(scope, receive, send, query):
    digest = hashlib.sha256()
    while (message := await receive())["type"] == "http.request":
        digest.update(message["body"])
        if not message["more_body"]:
            await answer(send, digest.hexdigest().encode())
            return
    INTERNAL["disconnects"] = INTERNAL.get("disconnects", 0) + 1


async def echo(scope, receive, send, query):
    """Says every part again as it comes."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while (message := await receive())["type"] == "http.request":
        more = message["more_body"]
        await send({"type": "http.response.body", "body": message["body"], "more_body": more})
        if not more:
            return
    INTERNAL["disconnects"] = INTERNAL.get("disconnects", 0) + 1


async def file(scope, receive, send, query):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.pathsend", "path": query["path"]})


async def trailers(scope, receive, send, query):
    """The digest of the request behind the response."""
    digest = hashlib.sha256()
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        digest.update(message.get("body", b""))
    start = {"type": "http.response.start", "status": 200, "headers": [], "trailers": True}
    await send(start)
    await send({"type": "http.response.body", "body": b"content\n"})
    fields = [(b"x-digest", digest.hexdigest().encode())]
    await send({"type": "http.response.trailers", "headers": fields, "more_trailers": False})


async def push(scope, receive, send, query):
    """A page, and what it needs."""
    if "http.response.push" in scope["extensions"]:
        await send({"type": "http.response.push", "path": "/number/pushed", "headers": []})
    await answer(send, b"page\n")


async def wrong(scope, receive, send, query):
    raise RuntimeError("wrong on purpose")


async def half(scope, receive, send, query):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": PART, "more_body": True})
    raise RuntimeError("wrong on purpose, and late")


ROUTES = {
    each.__name__: each
    for each in (
        hello,
        number,
        pid,
        health,
        tls,
        ends,
        gate,
        block,
        download,
        upload,
        echo,
        file,
        trailers,
        push,
        wrong,
        half,
    )
}
