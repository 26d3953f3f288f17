"""httpx over HTTP/2: many requests at once, and connections that last."""

import asyncio
import hashlib
import os

import httpx
import pytest

from tests.clients.both import SCHEMES, serve_both
from tests.support.process import PATIENCE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    with serve_both(tmp_path_factory.mktemp("httpx"), workers=2) as both:
        yield both


@pytest.fixture(params=SCHEMES)
def options(both, request):
    """Of a client that speaks nothing but HTTP/2."""
    known = {"http1": False, "http2": True, "verify": both.context, "timeout": PATIENCE}
    return {"base_url": both.base(request.param), **known}


@pytest.fixture
def client(options):
    with httpx.Client(**options) as client:
        yield client


def together(options, work):
    """The result of `work`, which is given a client."""

    async def with_client():
        async with httpx.AsyncClient(**options) as client:
            return await work(client)

    return asyncio.run(with_client())


def test_page(client):
    answer = client.get("/hello")
    assert answer.http_version == "HTTP/2" and answer.text == "hello\n"


def test_version_is_negotiated(both):
    for http2, version in ((True, "HTTP/2"), (False, "HTTP/1.1")):
        with httpx.Client(http2=http2, verify=both.context) as client:
            assert client.get(both.base("https") + "/hello").http_version == version


def test_connection_lasts(client):
    assert len({client.get("/ends").text for _ in range(20)}) == 1


def test_upload(client):
    body = os.urandom(1_000_000)
    expected = hashlib.sha256(body).hexdigest()
    assert client.post("/upload", content=body).text == expected
    parts = (body[at : at + 5000] for at in range(0, len(body), 5000))
    assert client.post("/upload", content=parts).text == expected


def test_download_part_by_part(client):
    with client.stream("GET", "/download?parts=100") as answer:
        assert sum(len(part) for part in answer.iter_bytes()) == 100 * 16384


def test_head_and_errors(client):
    assert client.head("/hello").headers["content-length"] == "6"
    assert client.get("/missing").status_code == 404
    assert client.get("/wrong").status_code == 500
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/half")
    assert client.get("/hello").text == "hello\n"


def test_many_requests_at_once_over_one_connection(options):
    async def work(client):
        await client.get("/hello")  # until it is connected, each would open its own
        answers = [client.get(f"/number/{number}") for number in range(300)]
        return await asyncio.gather(*answers, client.get("/ends"), client.get("/ends"))

    *numbers, first, second = together(options, work)
    assert [each.text for each in numbers] == [f"/number/{number}" for number in range(300)]
    assert first.text == second.text


def test_uploads_at_once(options):
    bodies = [os.urandom(100_000) for _ in range(30)]

    async def work(client):
        return await asyncio.gather(*(client.post("/upload", content=each) for each in bodies))

    answers = [each.text for each in together(options, work)]
    assert answers == [hashlib.sha256(each).hexdigest() for each in bodies]


def test_large_head(client):
    fields = {f"x-{number}": "v" * 900 for number in range(25)}
    assert client.get("/hello", headers=fields).status_code == 200
    assert client.get("/hello", headers=fields | {"x-more": "v" * 15_000}).status_code == 431
    assert client.get("/hello").status_code == 200
