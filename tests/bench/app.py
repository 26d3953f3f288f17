"""The application that every server serves."""

TEXT = b"Hello, world!"
PART = b"x" * 65536
PARTS = 16

SMALL = [(b"content-type", b"text/plain"), (b"content-length", b"13")]
BIG = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % (PARTS * len(PART)))]


async def app(scope, receive, send):
    """Every path but /big and /post answers 13 octets; WebSockets echo."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "bytes": message["bytes"]})
        return
    if scope["path"] == "/big":
        await send({"type": "http.response.start", "status": 200, "headers": BIG})
        for number in range(PARTS):
            more = number < PARTS - 1
            await send({"type": "http.response.body", "body": PART, "more_body": more})
        return
    if scope["path"] == "/post":
        more = True
        while more:
            more = (await receive()).get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": SMALL})
    await send({"type": "http.response.body", "body": TEXT})
