"""Frameworks that people use, over real sockets."""

import asyncio
import http.client
import json
from pathlib import Path

import aiohttp
import httpx
import pytest

from tests.support.process import PATIENCE, serve

pytestmark = pytest.mark.slow

APPLICATIONS = Path(__file__).with_name("applications")
FRAMEWORKS = ("starlette", "fastapi", "quart", "django", "litestar")
WITH_LIFESPAN = tuple(each for each in FRAMEWORKS if each != "django")
LINES = "".join(f"line {number}\n" for number in range(100))
CONTENT = bytes(range(256)) * 2000


@pytest.fixture(scope="module", params=FRAMEWORKS)
def server(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param)
    options = ("--app-dir", str(APPLICATIONS), "--startup-timeout", "20")
    with serve(directory, *options, application=f"with_{request.param}:app") as server:
        yield server


@pytest.fixture(scope="module", params=["HTTP/1.1", "HTTP/2"])
def client(server, request):
    base = f"http://127.0.0.1:{server.port}"
    versions = {"http1": request.param == "HTTP/1.1", "http2": request.param == "HTTP/2"}
    with httpx.Client(base_url=base, timeout=PATIENCE, **versions) as client:
        assert client.get("/json").http_version == request.param
        yield client


def test_json(client):
    answer = client.get("/json", params={"q": "a b&ü"})
    assert answer.status_code == 200
    assert answer.json() == {"started": True, "greeting": "hello", "q": "a b&ü"}


def test_connection_lasts(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.connect()
    sock = connection.sock
    for _ in range(20):
        connection.request("GET", "/json")
        assert connection.getresponse().read()
        assert connection.sock is sock
    connection.close()


def test_head_and_options(client):
    answer = client.head("/json")
    assert answer.content == b"" and answer.status_code in (200, 405)
    assert client.options("/json").status_code in (200, 204, 405)
    assert client.get("/json").status_code == 200


def test_form_with_a_file(client):
    answer = client.post("/form", data={"name": "ü"}, files={"file": ("name.bin", CONTENT)})
    assert answer.json() == {"name": "ü", "size": len(CONTENT)}


def test_chunked_upload(client):
    parts = (CONTENT[start : start + 5000] for start in range(0, len(CONTENT), 5000))
    assert client.post("/body", content=parts).json() == {"size": len(CONTENT)}


def test_stream(client):
    with client.stream("GET", "/stream") as answer:
        assert "".join(answer.iter_text()) == LINES
        chunked = answer.headers.get("transfer-encoding") == "chunked"
        assert chunked == (answer.http_version == "HTTP/1.1")


def test_stream_that_is_given_up_leaves_the_others(server):
    known = {"http1": False, "http2": True, "timeout": PATIENCE}
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", **known) as client:
        with client.stream("GET", "/stream?lines=1000000000") as answer:
            next(answer.iter_bytes())
            assert client.get("/json").status_code == 200
        assert client.get("/json").status_code == 200


def test_missing_page(client):
    assert client.get("/no-such-page").status_code == 404


def test_error(client):
    answer = client.get("/error")
    assert answer.status_code == 500
    assert "wrong on purpose" not in answer.text
    assert client.get("/json").status_code == 200


def test_expectation_is_met_before_the_upload(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.putrequest("POST", "/body")
    connection.putheader("content-length", str(len(CONTENT)))
    connection.putheader("expect", "100-continue")
    connection.endheaders()
    assert connection.sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.send(CONTENT)
    assert json.loads(connection.getresponse().read()) == {"size": len(CONTENT)}
    connection.close()


def test_many_requests_at_once_with_aiohttp(server):
    async def all_of_them():
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:

            async def one(number):
                async with session.get("/json", params={"q": number}) as answer:
                    return (await answer.json())["q"]

            return await asyncio.gather(*(one(number) for number in range(200)))

    assert asyncio.run(all_of_them()) == [str(number) for number in range(200)]


def test_streams_both_ways_with_aiohttp(server):
    async def parts():
        for start in range(0, len(CONTENT), 7000):
            yield CONTENT[start : start + 7000]

    async def both():
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
            async with session.post("/body", data=parts()) as answer:
                assert await answer.json() == {"size": len(CONTENT)}
            async with session.get("/stream") as answer:
                return await answer.text()

    assert asyncio.run(both()) == LINES


@pytest.mark.parametrize("framework", WITH_LIFESPAN)
def test_background_task_runs_after_the_answer(tmp_path, framework):
    options = ("--app-dir", str(APPLICATIONS))
    with (
        serve(tmp_path, *options, application=f"with_{framework}:app") as server,
        server.connect() as client,
    ):
        assert client.upload("/background", b"").status == 202
        assert client.fetch("/done").status == 200


@pytest.mark.parametrize("framework", WITH_LIFESPAN)
def test_lifespan_is_shut_down(tmp_path, framework):
    options = ("--app-dir", str(APPLICATIONS))
    with serve(tmp_path, *options, application=f"with_{framework}:app") as server:
        assert server.fetch("/json").status == 200
        assert server.stop() == 0
    assert (tmp_path / "stopped").exists()
    assert "[ERROR]" not in server.log


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_client_that_leaves_a_stream_is_no_error(tmp_path, framework):
    options = ("--app-dir", str(APPLICATIONS))
    with serve(tmp_path, *options, application=f"with_{framework}:app") as server:
        for _ in range(20):
            with server.connect() as client:
                client.request("/stream?lines=1000000000")
                client.response().read(1000)
                client.reset()
        assert server.fetch("/json").status == 200
        assert server.stop() == 0
    assert "[ERROR]" not in server.log
