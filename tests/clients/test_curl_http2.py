"""curl over HTTP/2: in the clear by prior knowledge, and as TLS has found out."""

import hashlib
import os
import re

import pytest

from tests.clients.both import SCHEMES, run, serve_both

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    with serve_both(tmp_path_factory.mktemp("curl"), "--h2c-upgrade") as both:
        yield both


WAYS = {
    "clear": ("http", "--http2-prior-knowledge"),
    "upgraded": ("http", "--http2"),
    "tls": ("https", "--http2"),
}
# curl 7.88 fails with 16 before it says a word when it asks again on a connection that it has
# opened by prior knowledge, of whatever server.
LASTING = pytest.mark.parametrize("curl", ["upgraded", "tls"], indirect=True)


@pytest.fixture(params=["clear", "tls"])
def curl(both, request):
    """Runs curl, as `run` does."""
    scheme, version = WAYS[request.param]

    def fetch(*arguments, status=0, input=b""):
        certificate = f"file:{both.certificate}"
        always = ("-sS", "--max-time", "10", "--cacert", certificate, version)
        ended = run("curl", *always, *arguments, base=both.base(scheme), input=input)
        assert ended.returncode == status, ended.stderr
        return ended.stdout

    return fetch


@pytest.fixture
def body(tmp_path):
    """The path of a file, and its digest."""
    content = os.urandom(1_000_000) * 3
    (tmp_path / "body").write_bytes(content)
    return str(tmp_path / "body"), hashlib.sha256(content).hexdigest().encode()


def test_page(curl):
    assert curl("-w", "%{http_version}", "/hello") == b"hello\n2"


def test_upgrade_from_version_11(both):
    options = ("-sS", "--http2", "-w", "%{http_version} %{num_connects}\n")
    ended = run("curl", *options, "/hello", "/hello", base=both.base("http"))
    assert ended.stdout == b"hello\n2 1\nhello\n2 0\n", ended.stderr


def test_request_with_a_body_is_not_upgraded(both):
    options = ("-sS", "--http2", "-w", " %{http_version}", "-d", "body")
    ended = run("curl", *options, "/upload", base=both.base("http"))
    assert ended.stdout == hashlib.sha256(b"body").hexdigest().encode() + b" 1.1", ended.stderr


def test_version_11_is_still_spoken(both):
    options = ("--http1.1", "--cacert", f"file:{both.certificate}", "-w", "%{http_version}")
    for scheme in SCHEMES:
        ended = run("curl", "-sS", *options, "/hello", base=both.base(scheme))
        assert ended.stdout == b"hello\n1.1", ended.stderr


@LASTING
def test_one_connection_for_several_pages(curl):
    said = curl("-w", "%{num_connects}", "/hello", "/hello", "/hello")
    assert said == b"hello\n1hello\n0hello\n0"


@LASTING
def test_head(curl):
    answer = curl("-I", "-w", "%{num_connects}", "/hello", "/hello")
    assert answer.count(b"HTTP/2 200") == 2 and b"content-length: 6" in answer
    assert answer.endswith(b"0") and b"hello" not in answer


def test_upload(curl, body):
    path, expected = body
    assert curl("--data-binary", f"@{path}", "/upload") == expected
    assert curl("-T", f"file:{path}", "/upload") == expected
    assert curl("-T", f"file:{path}", "-H", "expect: 100-continue", "/upload") == expected


def test_upload_of_unknown_length(curl):
    content = os.urandom(500_000)
    assert curl("-T", "-", "/upload", input=content) == hashlib.sha256(content).hexdigest().encode()


def test_upload_of_nothing(curl):
    assert curl("-X", "POST", "/upload") == hashlib.sha256().hexdigest().encode()


def test_download(curl):
    assert len(curl("/download?parts=1000")) == 1000 * 16384
    assert len(curl("--limit-rate", "5M", "/download?parts=100")) == 100 * 16384


def test_large_file(curl, body):
    path, expected = body
    assert hashlib.sha256(curl(f"/file?path={path}")).hexdigest().encode() == expected


def test_trailers(curl):
    answer = curl("-D", "-", "-H", "te: trailers", "-d", "body", "/trailers")
    expected = hashlib.sha256(b"body").hexdigest().encode()
    assert b"content\n" in answer and b"x-digest: " + expected in answer


def test_large_head(curl):
    cookie = "cookie: " + "; ".join(f"name-{number}={'v' * 500}" for number in range(14))
    assert curl("-H", cookie, "-H", "x-large: " + "v" * 7000, "/hello") == b"hello\n"


def test_errors(curl):
    assert curl("-w", "%{http_code}", "/wrong").endswith(b"500")
    assert curl("-w", "%{http_code}", "/missing") == b"nothing here\n404"


def test_answer_that_fails_late_is_seen_as_a_cut(curl):
    curl("/half", status=92)  # a stream was not closed as it should be


@LASTING
def test_pages_in_parallel_over_one_connection(curl):
    targets = [f"/number/{number}" for number in range(100)]
    answer = curl("--parallel", "--parallel-max", "100", "-w", "[%{num_connects}]", *targets)
    assert sorted(re.findall(rb"/number/\d+", answer)) == sorted(each.encode() for each in targets)
    assert sorted(re.findall(rb"\[(\d+)\]", answer)) == [b"0"] * 99 + [b"1"]


@LASTING
def test_uploads_in_parallel(curl, body):
    path, expected = body
    uploads = [part for _ in range(10) for part in ("-T", f"file:{path}", "/upload")]
    assert curl("--parallel", *uploads) == expected * 10
