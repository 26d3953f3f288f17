"""The bundled application: a page that shows how it was served, and routes to try the rest.

    server -w 8 tricorn.demo:app

It uses nothing but ASGI, so it runs on any ASGI server, and reads as an example of the protocol.
"""

from __future__ import annotations

import asyncio
import hashlib
import html
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Route = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

STREAM_PARTS = 10
EVENTS = 60

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Tricorn</title>
<style>
 body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 42rem; margin: 3rem auto; padding: 0 1rem;
        color: #1d2430; background: #fbfaf7 }}
 h1 {{ font-size: 1.6rem }} h2 {{ font-size: 1.1rem; margin-top: 2rem }}
 table {{ border-collapse: collapse; width: 100% }}
 th, td {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #e2ded3 }}
 th {{ font-weight: 600; width: 9rem }}
 button, input {{ font: inherit; padding: .3rem .8rem }}
 pre {{ background: #f1ede3; padding: .8rem; min-height: 1.5rem; white-space: pre-wrap }}
</style>
<h1>Tricorn serves this page</h1>
<table>{rows}</table>
<h2>Streaming</h2>
<p><button id="stream">Read {parts} parts</button> from <code>/stream</code></p>
<pre id="streamed"></pre>
<h2>Upload</h2>
<p><input type="file" id="file"> to <code>/upload</code></p><pre id="uploaded"></pre>
<h2>Server-sent events</h2>
<p><button id="listen">Listen</button> to <code>/events</code></p><pre id="heard"></pre>
<h2>WebSocket</h2>
<p><button id="echo">Echo</button> from <code>/echo</code></p><pre id="echoed"></pre>
<script>
 const $ = id => document.getElementById(id);
 $("stream").onclick = async () => {{
   const reader = (await fetch("/stream")).body.pipeThrough(new TextDecoderStream()).getReader();
   $("streamed").textContent = "";
   for (;;) {{
     const {{ done, value }} = await reader.read();
     if (done) break;
     $("streamed").textContent += value;
   }}
 }};
 $("file").onchange = async () => {{
   const answer = await fetch("/upload", {{ method: "POST", body: $("file").files[0] }});
   $("uploaded").textContent = await answer.text();
 }};
 $("listen").onclick = () => {{
   const events = new EventSource("/events");
   events.onmessage = event => $("heard").textContent = event.data;
   events.onerror = () => events.close();
 }};
 $("echo").onclick = () => {{
   const socket = new WebSocket(location.href.replace(/^http/, "ws").replace(/[^/]*$/, "echo"));
   socket.onopen = () => socket.send("Hello, WebSocket");
   socket.onmessage = event => {{ $("echoed").textContent = event.data; socket.close(); }};
   socket.onerror = () => $("echoed").textContent = "This server does not speak WebSocket here.";
 }};
</script>
</html>
"""


async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """The ASGI application."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "websocket":
        await _echo(receive, send)
    elif (route := ROUTES.get(scope["path"])) is not None:
        await route(scope, receive, send)
    else:
        await _answer(send, 404, b"text/plain", b"There is nothing here.\n")


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _facts(scope: MutableMapping[str, Any]) -> dict[str, str]:
    client = scope.get("client")
    tls = scope.get("extensions", {}).get("tls")
    return {
        "Protocol": f"HTTP/{scope['http_version']}" + (" over TLS" if tls else ""),
        "Worker": f"{os.environ.get('SERVER_WORKER_ID', '-')} (process {os.getpid()})",
        "Connection": f"from {client[0]} port {client[1]}" if client else "from a unix socket",
        "Request": f"{scope['method']} {scope['path']}",
    }


async def _page(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    rows = "".join(
        f"<tr><th>{html.escape(name)}<td>{html.escape(value)}"
        for name, value in _facts(scope).items()
    )
    page = PAGE.format(rows=rows, parts=STREAM_PARTS)
    await _answer(send, 200, b"text/html; charset=utf-8", page.encode())


async def _who(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    await _answer(send, 200, b"application/json", json.dumps(_facts(scope)).encode() + b"\n")


async def _stream(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    await _begin(send, 200, b"text/plain")
    for number in range(1, STREAM_PARTS + 1):
        line = f"part {number} of {STREAM_PARTS}\n".encode()
        await send({"type": "http.response.body", "body": line, "more_body": True})
        await asyncio.sleep(0.2)
    await send({"type": "http.response.body"})


async def _upload(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    digest = hashlib.sha256()
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        digest.update(message["body"])
        more = message["more_body"]
    answer = f"{size} octets, SHA-256 {digest.hexdigest()}\n"
    await _answer(send, 200, b"text/plain", answer.encode())


async def _events(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """Ends when the client leaves, and when the server does: it is asked for again elsewhere."""
    await _begin(send, 200, b"text/event-stream", (b"cache-control", b"no-store"))
    ends = {asyncio.ensure_future(_disconnected(receive))}
    if shutdown := scope.get("extensions", {}).get("tricorn.shutdown"):
        ends.add(asyncio.ensure_future(shutdown["event"].wait()))
    try:
        for number in range(1, EVENTS + 1):
            event = f"data: event {number} of {EVENTS}\n\n".encode()
            await send({"type": "http.response.body", "body": event, "more_body": True})
            done, _ = await asyncio.wait(ends, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            if done:
                break
        await send({"type": "http.response.body"})
    except OSError:
        pass  # the client has gone
    finally:
        for end in ends:
            end.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _echo(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send"} | {k: message.get(k) for k in ("text", "bytes")})


async def _begin(send: Send, status: int, kind: bytes, *fields: tuple[bytes, bytes]) -> None:
    headers = [(b"content-type", kind), *fields]
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _answer(send: Send, status: int, kind: bytes, body: bytes) -> None:
    await _begin(send, status, kind, (b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.body", "body": body})


ROUTES: dict[str, Route] = {
    "/": _page,
    "/who": _who,
    "/stream": _stream,
    "/upload": _upload,
    "/events": _events,
}
