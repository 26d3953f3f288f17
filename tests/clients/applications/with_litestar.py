"""The application of the client tests, in Litestar."""

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from litestar import Litestar, Request, Response, get, post
from litestar.background_tasks import BackgroundTask
from litestar.datastructures import UploadFile
from litestar.enums import RequestEncodingType
from litestar.params import Body
from litestar.response import Stream

finished = asyncio.Event()
started = []


def note_the_end():
    Path("stopped").touch()


@dataclass
class Upload:
    name: str
    file: UploadFile


@contextlib.asynccontextmanager
async def lifespan(app):
    started.append(True)
    yield
    note_the_end()


@get("/json")
async def json(q: str | None = None) -> dict[str, object]:
    return {"started": bool(started), "greeting": "hello", "q": q}


@post("/form", status_code=200)
async def form(
    data: Annotated[Upload, Body(media_type=RequestEncodingType.MULTI_PART)],
) -> dict[str, object]:
    return {"name": data.name, "size": len(await data.file.read())}


@post("/body", status_code=200, request_max_body_size=None)
async def body(request: Request) -> dict[str, int]:
    size = 0
    async for part in request.stream():
        size += len(part)
    return {"size": size}


@get("/stream")
async def stream(lines: int = 100) -> Stream:
    async def parts():
        for number in range(lines):
            yield f"line {number}\n"

    return Stream(parts(), media_type="text/plain")


@get("/error")
async def error() -> None:
    raise RuntimeError("wrong on purpose")


@post("/background")
async def background() -> Response[str]:
    async def work() -> None:
        finished.set()

    return Response("accepted", status_code=202, background=BackgroundTask(work))


@get("/done")
async def done() -> str:
    await finished.wait()
    return "done"


app = Litestar(
    [json, form, body, stream, error, background, done], lifespan=[lifespan], openapi_config=None
)
