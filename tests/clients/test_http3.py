"""HTTP/3 with clients that share nothing with the server: qh3, and curl."""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass

import pytest

from tests.support.certificates import Authority
from tests.support.process import PATIENCE, serve
from tests.support.qh3client import visit

pytestmark = pytest.mark.slow

PARTS = 640
"""Of 16 KiB each: 10 MB."""
DOWNLOAD = b"0123456789abcdef" * 1024 * PARTS


@dataclass
class Site:
    """A running command that answers over UDP as well."""

    port: int
    authority: str


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    directory = tmp_path_factory.mktemp("http3")
    authority = Authority()
    files = authority.issue(directory, "localhost")
    # "::" is open to both families: one socket for 127.0.0.1 and ::1.
    quic = ("--quic-bind", "[::]:0")
    with serve(directory, *files.options, *quic, workers=2) as server:
        yield Site(server.quic_port, authority.write(directory))


# qh3


def talk(site, conversation, **options):
    async def whole():
        async with visit(site.port, site.authority, **options) as visitor:
            return await conversation(visitor)

    return asyncio.run(asyncio.wait_for(whole(), PATIENCE))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_qh3_page(site, host):
    answer = talk(site, lambda visitor: visitor.fetch("/hello"), host=host)
    assert answer.status == 200 and answer.body == b"hello\n"
    assert answer.headers[b"content-length"] == b"6" and b"server" in answer.headers


def test_qh3_post_that_is_echoed(site):
    body = os.urandom(1024 * 1024)
    answer = talk(site, lambda visitor: visitor.fetch("/echo", "POST", body))
    assert answer.status == 200 and answer.body == body


def test_qh3_download(site):
    answer = talk(site, lambda visitor: visitor.fetch(f"/download?parts={PARTS}"))
    assert answer.status == 200 and answer.body == DOWNLOAD


def test_qh3_pages_in_parallel(site):
    async def together(visitor):
        return await asyncio.gather(*(visitor.fetch(f"/number/{n}") for n in range(100)))

    answers = talk(site, together)
    assert [bytes(answer.body) for answer in answers] == [b"/number/%d" % n for n in range(100)]


def test_qh3_resumes_its_session_on_both_workers(site):
    tickets = []

    async def one(visitor):
        return visitor.resumed, bytes((await visitor.fetch("/pid")).body)

    answers = [talk(site, one, tickets=tickets) for _ in range(12)]
    assert [resumed for resumed, _ in answers] == [False] + [True] * 11
    assert len({pid for _, pid in answers}) == 2


# curl


def curl_with_http3() -> str:
    for name in ("curl-http3", "curl"):
        found = shutil.which(name)
        if found and b"HTTP3" in subprocess.run([found, "--version"], capture_output=True).stdout:
            return found
    pytest.skip("curl with HTTP/3 is not installed")


@pytest.fixture(params=["127.0.0.1", "[::1]"])
def curl(request, site):
    """Runs curl, which speaks nothing but HTTP/3. What begins with a slash is a target."""
    program = curl_with_http3()
    through = f"localhost:{site.port}:{request.param}"
    options = ("--http3-only", "--cacert", site.authority, "--resolve", through)
    base = f"https://localhost:{site.port}"

    def fetch(*arguments: str) -> bytes:
        whole = [base + each if each.startswith("/") else each for each in arguments]
        whole = [each.removeprefix("file:") for each in whole]
        ended = subprocess.run(
            [program, "-sS", "--max-time", "20", *options, *whole], capture_output=True
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return fetch


def test_curl_page(curl):
    assert curl("-w", "%{http_version}", "/hello") == b"hello\n3"


def test_curl_is_known_by_its_address(curl, site, request):
    client, server = json.loads(curl("/ends"))
    # A datagram of IPv4 comes to a socket of both families with its address mapped (::ffff:).
    assert client[0] == request.node.callspec.params["curl"].strip("[]")
    assert server[1] == site.port


def test_curl_pages_one_after_the_other_and_in_parallel(curl):
    targets = [f"/number/{number}" for number in range(40)]
    assert curl("-w", " %{num_connects}\n", "/hello", "/hello") == b"hello\n 1\nhello\n 0\n"
    answer = curl("--parallel", "--parallel-immediate", *targets)
    assert sorted(answer.split(b"/number/")[1:], key=int) == [b"%d" % n for n in range(40)]


def test_curl_download(curl):
    digest = hashlib.sha256(curl(f"/download?parts={PARTS}")).hexdigest()
    assert digest == hashlib.sha256(DOWNLOAD).hexdigest()


def test_curl_upload(curl, tmp_path):
    body = os.urandom(11_000_000)
    (tmp_path / "body").write_bytes(body)
    answer = curl("-T", f"file:{tmp_path / 'body'}", "/upload")
    assert answer.decode() == hashlib.sha256(body).hexdigest()
