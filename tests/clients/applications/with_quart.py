"""The application of the client tests, in Quart."""

import asyncio
from pathlib import Path

from quart import Quart, request

app = Quart(__name__)
finished = asyncio.Event()
started = []


def note_the_end():
    Path("stopped").touch()


@app.before_serving
async def start():
    started.append(True)


@app.after_serving
async def stop():
    note_the_end()


@app.get("/json")
async def json():
    return {"started": bool(started), "greeting": "hello", "q": request.args.get("q")}


@app.post("/form")
async def form():
    fields, files = await request.form, await request.files
    return {"name": fields["name"], "size": len(files["file"].read())}


@app.post("/body")
async def body():
    size = 0
    async for part in request.body:
        size += len(part)
    return {"size": size}


@app.get("/stream")
async def stream():
    count = int(request.args.get("lines", 100))

    async def lines():
        for number in range(count):
            yield f"line {number}\n"

    return lines(), {"content-type": "text/plain"}


@app.get("/error")
async def error():
    raise RuntimeError("wrong on purpose")


@app.post("/background")
async def background():
    async def work():
        finished.set()

    app.add_background_task(work)
    return "accepted", 202


@app.get("/done")
async def done():
    await finished.wait()
    return "done"
