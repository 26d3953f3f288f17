"""The application of the client tests, in FastAPI."""

import asyncio
import contextlib
from pathlib import Path
from typing import Annotated

from fastapi import BackgroundTasks, FastAPI, Form, Request, UploadFile
from fastapi.responses import StreamingResponse

finished = asyncio.Event()
started = []


def note_the_end():
    Path("stopped").touch()


@contextlib.asynccontextmanager
async def lifespan(app):
    started.append(True)
    yield {"greeting": "hello"}
    note_the_end()


app = FastAPI(lifespan=lifespan)


@app.get("/json")
async def json(request: Request, q: str | None = None):
    return {"started": bool(started), "greeting": request.state.greeting, "q": q}


@app.post("/form")
def form(name: Annotated[str, Form()], file: UploadFile):  # in a thread
    return {"name": name, "size": len(file.file.read())}


@app.post("/body")
async def body(request: Request):
    return {"size": len(await request.body())}


@app.get("/stream")
async def stream(lines: int = 100):
    async def parts():
        for number in range(lines):
            yield f"line {number}\n"

    return StreamingResponse(parts(), media_type="text/plain")


@app.get("/error")
async def error():
    raise RuntimeError("wrong on purpose")


@app.post("/background", status_code=202)
async def background(tasks: BackgroundTasks):
    async def work():
        finished.set()

    tasks.add_task(work)


@app.get("/done")
async def done():
    await finished.wait()
