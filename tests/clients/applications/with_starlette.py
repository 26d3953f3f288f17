"""The application of the client tests, in Starlette."""

import asyncio
import contextlib
from pathlib import Path

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

finished = asyncio.Event()
started = []


def note_the_end():
    Path("stopped").touch()


@contextlib.asynccontextmanager
async def lifespan(app):
    started.append(True)
    yield {"greeting": "hello"}
    note_the_end()


async def json(request):
    greeting = request.state.greeting
    query = request.query_params.get("q")
    return JSONResponse({"started": bool(started), "greeting": greeting, "q": query})


async def form(request):
    async with request.form() as fields:
        content = await fields["file"].read()
        return JSONResponse({"name": fields["name"], "size": len(content)})


async def body(request):
    size = 0
    async for part in request.stream():
        size += len(part)
    return JSONResponse({"size": size})


async def stream(request):
    count = int(request.query_params.get("lines", 100))

    async def lines():
        for number in range(count):
            yield f"line {number}\n"

    return StreamingResponse(lines(), media_type="text/plain")


async def error(request):
    raise RuntimeError("wrong on purpose")


async def background(request):
    async def work():
        finished.set()

    return PlainTextResponse("accepted", 202, background=BackgroundTask(work))


async def done(request):
    await finished.wait()
    return PlainTextResponse("done")


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/json", json),
        Route("/form", form, methods=["POST"]),
        Route("/body", body, methods=["POST"]),
        Route("/stream", stream),
        Route("/error", error),
        Route("/background", background, methods=["POST"]),
        Route("/done", done),
    ],
)
