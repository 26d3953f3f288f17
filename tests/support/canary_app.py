"""What the standing canary asks for, and the faults that only an application can have.

Each answer begins with a line that names the process, the target, and the digest of what it has
got, or gives, so that a client knows whose answer it has, and that it is whole.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import time

PART = 16 * 1024
KEPT = []
"""What leaks."""


async def app(scope, receive, send):
    match scope["type"]:
        case "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
        case "websocket":
            await echo(receive, send)
        case _:
            await serve(scope, receive, send)


async def echo(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        text = message["text"]
        await send({"type": "websocket.send", "text": first_line(text, text.encode()) + text})


async def serve(scope, receive, send):
    target = scope["path"]
    _, kind, argument, *_ = [*target.split("/"), "", ""]
    digest = hashlib.sha256()
    while (message := await receive())["type"] == "http.request":
        digest.update(message["body"])
        if not message["more_body"]:
            break
    content = b""
    match kind:
        case "upload":
            line = f"{os.getpid()} {target} {digest.hexdigest()}\n"
        case "download":
            content = content_of(target, int(argument))
            line = first_line(target, content)
        case "slow":
            await asyncio.sleep(float(argument))
            line = first_line(target, b"")
        case "rights":
            line = (
                f"{os.getpid()} {target} - {tried(os.setuid, 0)} {tried(open, os.environ['KEY'])}"
            )
        case "fault":
            fault(argument)
            line = first_line(target, b"")
        case _:
            line = first_line(target, b"")
    headers = [(b"content-type", b"text/plain")]
    if not content:
        headers.append((b"content-length", b"%d" % len(line)))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": line.encode(), "more_body": bool(content)})
    for at in range(0, len(content), PART):
        part = content[at : at + PART]
        more = at + PART < len(content)
        await send({"type": "http.response.body", "body": part, "more_body": more})


def first_line(target, content):
    return f"{os.getpid()} {target} {hashlib.sha256(content).hexdigest()}\n"


def content_of(target, size):
    seed = hashlib.sha256(target.encode()).digest()
    return (seed * (size // len(seed) + 1))[:size]


def tried(call, argument):
    try:
        call(argument)
    except OSError as error:
        return type(error).__name__
    return "done"


def fault(kind):
    match kind:
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "leak":
            KEPT.append(bytearray(os.urandom(1024) * 64 * 1024))
        case "hang":
            time.sleep(100)
        case _:
            raise ValueError(kind)
