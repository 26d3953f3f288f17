"""A gRPC service without its library: messages behind five octets, the status in trailers.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

import struct

INVALID_ARGUMENT, UNIMPLEMENTED, INTERNAL = 3, 12, 13


class Failure(Exception):
    """A call that ends with a status of its own."""

    def __init__(self, status, text):
        self.status = status
        self.text = text


class Call:
    """The messages of one call, both ways."""

    def __init__(self, receive, send):
        self._receive, self._send = receive, send
        self._buffer = b""
        self._more = True
        self._begun = False
        self.metadata = []

    async def messages(self):
        while True:
            while len(self._buffer) >= 5:
                size = struct.unpack(">xI", self._buffer[:5])[0]
                if len(self._buffer) < 5 + size:
                    break
                message, self._buffer = self._buffer[5 : 5 + size], self._buffer[5 + size :]
                yield message
            if not self._more:
                return
            event = await self._receive()
            if event["type"] == "http.disconnect":
                raise ConnectionError("the client has gone")
            self._buffer += event["body"]
            self._more = event["more_body"]

    async def gone(self):
        while (await self._receive())["type"] != "http.disconnect":
            pass
        raise ConnectionError("the client has gone")

    async def message(self):
        async for message in self.messages():
            return message
        raise Failure(INVALID_ARGUMENT, "a message is missing")

    async def answer(self, message):
        await self._begin()
        body = struct.pack(">xI", len(message)) + message
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self, status, text=""):
        fields = [(b"grpc-status", b"%d" % status), *self.metadata]
        if text:
            fields.append((b"grpc-message", text.encode()))
        if self._begun:
            await self._send({"type": "http.response.body"})
            await self._send({"type": "http.response.trailers", "headers": fields})
        else:  # "Trailers-Only": a head that ends the stream
            await self._begin(fields)
            await self._send({"type": "http.response.body"})

    async def _begin(self, fields=()):
        if not self._begun:
            self._begun = True
            headers = [(b"content-type", b"application/grpc"), *fields]
            start = {"type": "http.response.start", "status": 200, "headers": headers}
            await self._send({**start, "trailers": not fields})


async def unary(call):
    await call.answer((await call.message())[::-1])


async def count(call):
    """A stream of as many messages as the first one says."""
    for number in range(int(await call.message())):
        await call.answer(b"%d" % number)


async def total(call):
    """One message for a stream of them."""
    sizes = [len(message) async for message in call.messages()]
    await call.answer(b"%d in %d" % (sum(sizes), len(sizes)))


async def chat(call):
    """Both ways at once."""
    async for message in call.messages():
        await call.answer(b"heard " + message)


async def refuse(call):
    await call.message()
    call.metadata = [(b"x-reason", b"on purpose")]
    raise Failure(INVALID_ARGUMENT, "refused at once")


async def fail(call):
    """After two messages."""
    for number in range(2):
        await call.answer(b"%d" % number)
    raise Failure(INTERNAL, "failed late")


async def wait(call):
    """Until the client gives up."""
    await call.message()
    await call.gone()


METHODS = {f"/tests.Service/{each.__name__}": each for each in (unary, count, total, chat)}
METHODS |= {f"/tests.Service/{each.__name__}": each for each in (refuse, fail, wait)}


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    call = Call(receive, send)
    try:
        if (method := METHODS.get(scope["path"])) is None:
            raise Failure(UNIMPLEMENTED, "there is no such method")
        await method(call)
        await call.end(0)
    except Failure as failure:
        await call.end(failure.status, failure.text)
    except ConnectionError:
        pass
