"""curl: what it does differently from Python's clients."""

import hashlib
import os
import subprocess

import pytest

from tests.clients.programs import program
from tests.support.process import PATIENCE, serve

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("curl")) as server:
        yield server


@pytest.fixture
def curl(server):
    """Runs curl. What begins with a slash is a target, what begins with file: a path."""

    def fetch(*arguments: str) -> bytes:
        base = f"http://127.0.0.1:{server.port}"
        command = [base + each if each.startswith("/") else each for each in arguments]
        command = [each.removeprefix("file:") for each in command]
        ended = subprocess.run(
            [program("curl"), "-sS", "--max-time", "10", *command],
            capture_output=True,
            timeout=PATIENCE,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return fetch


def test_page(curl):
    assert curl("/hello") == b"hello\n"


def test_one_connection_for_several_pages(curl):
    assert (
        curl("-w", "%{num_connects}", "/hello", "/hello", "/hello") == b"hello\n1hello\n0hello\n0"
    )


def test_head(curl):
    answer = curl("-I", "/hello")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and b"hello" not in answer
    assert curl("-I", "-w", "%{num_connects}", "/hello", "/hello").count(b" 200 ") == 2


def test_version_10(curl):
    assert curl("--http1.0", "/hello") == b"hello\n"
    assert len(curl("--http1.0", "/download?parts=100")) == 100 * 16384


def test_upload_with_expectation(curl, tmp_path):
    body = os.urandom(3_000_000)
    (tmp_path / "body").write_bytes(body)
    expected = hashlib.sha256(body).hexdigest().encode()
    data = f"@{tmp_path / 'body'}"
    assert curl("--data-binary", data, "-H", "expect: 100-continue", "/upload") == expected
    assert curl("-T", f"file:{tmp_path / 'body'}", "/upload") == expected


def test_chunked_upload(curl, tmp_path):
    body = os.urandom(1_000_000)
    (tmp_path / "body").write_bytes(body)
    chunked = ("-H", "transfer-encoding: chunked")
    answer = curl("--data-binary", f"@{tmp_path / 'body'}", *chunked, "/upload")
    assert answer == hashlib.sha256(body).hexdigest().encode()


def test_upload_of_nothing(curl):
    assert curl("-X", "POST", "/upload") == hashlib.sha256().hexdigest().encode()


def test_offer_of_version_2_in_clear_is_not_taken_up(curl):
    assert curl("--http2", "-w", "%{http_version}", "/hello") == b"hello\n1.1"


def test_download_at_a_limited_rate(curl):
    assert len(curl("--limit-rate", "10M", "/download?parts=200")) == 200 * 16384


def test_dots_in_a_path_are_the_applications(curl):
    assert curl("--path-as-is", "/number/../x") == b"/number/../x"


def test_pages_in_parallel(curl):
    targets = [f"/number/{number}" for number in range(40)]
    answer = curl("--parallel", "--parallel-immediate", *targets)
    assert sorted(answer.split(b"/number/")[1:], key=int) == [b"%d" % n for n in range(40)]
