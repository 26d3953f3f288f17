"""asgi/exchange.py: files that an application has sent (pathsend and zerocopysend)."""

from __future__ import annotations

import os

import pytest

from tests.support import apps
from tests.support.apps import body, start
from tests.support.peers import H1Peer, errors, request

GET = request()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 1000)
    return path


@pytest.mark.parametrize("kernel", [True, False], ids=["sendfile", "by-reading"])
def test_pathsend_sends_a_file_with_its_length(file, kernel):
    message = {"type": "http.response.pathsend", "path": str(file)}
    peer = H1Peer(apps.sends(start(), message), half_closable=kernel)
    answer = peer.fetch()
    assert answer.body == file.read_bytes() and answer[b"content-length"] == b"256000"
    assert peer.fetch().complete and not peer.closed


def test_pathsend_answers_head_without_content(file):
    message = {"type": "http.response.pathsend", "path": str(file)}
    peer = H1Peer(apps.sends(start(), message))
    answer = peer.fetch(method="HEAD")
    assert answer[b"content-length"] == b"256000" and peer.sent.endswith(b"\r\n\r\n")


def test_pathsend_of_an_empty_file_is_an_empty_answer(tmp_path):
    (tmp_path / "empty").touch()
    message = {"type": "http.response.pathsend", "path": str(tmp_path / "empty")}
    peer = H1Peer(apps.sends(start(), message))
    assert peer.fetch().body == b"" and not peer.closed


def test_pathsend_keeps_a_content_length_that_is_true(file):
    message = {"type": "http.response.pathsend", "path": str(file)}
    peer = H1Peer(apps.sends(start(200, (b"Content-Length", b"256000")), message))
    assert peer.fetch().complete


@pytest.mark.parametrize(
    "make", [os.mkfifo, os.mkdir, lambda path: None], ids=["fifo", "dir", "none"]
)
def test_pathsend_of_what_is_no_file_is_a_500(tmp_path, make):
    path = str(tmp_path / "it")
    make(path)
    peer = H1Peer(apps.sends(start(), {"type": "http.response.pathsend", "path": path}))
    assert peer.fetch().status == 500 and not peer.closed
    errors.expect("the application raised")


def test_pathsend_leaves_no_descriptor_open(file):
    before = len(os.listdir("/proc/self/fd"))
    peer = H1Peer(apps.sends(start(), {"type": "http.response.pathsend", "path": str(file)}))
    with_loop = len(os.listdir("/proc/self/fd"))
    peer.fetch()
    peer.stop_reading()
    peer.send(GET)
    peer.lose()
    assert len(os.listdir("/proc/self/fd")) == with_loop >= before


@pytest.mark.parametrize("kernel", [True, False], ids=["sendfile", "by-reading"])
def test_zerocopysend_sends_parts_of_a_file(file, kernel):
    async def application(scope, receive, send):
        with file.open("rb") as opened:
            message = {"type": "http.response.zerocopysend", "file": opened}
            await send(start())
            await send(body(b"<", more=True))
            await send(message | {"offset": 10, "count": 5, "more_body": True})
            await send(message | {"count": 3, "more_body": True})
            await send(message | {"count": 2, "more_body": True})
            await send(message | {"offset": 255_998})

    peer = H1Peer(application, half_closable=kernel)
    expected = b"<" + bytes([10, 11, 12, 13, 14, 0, 1, 2, 3, 4, 254, 255])
    assert peer.fetch().body == expected and not peer.closed


def test_zerocopysend_of_more_than_there_is_cannot_be_taken_for_all(file):
    async def application(scope, receive, send):
        with file.open("rb") as opened:
            await send(start(200, (b"content-length", b"300000")))
            await send({"type": "http.response.zerocopysend", "file": opened, "count": 300_000})

    peer = H1Peer(application)
    peer.send(GET)
    assert not peer.answer().complete and peer.reset
    errors.expect("the application raised")


def test_a_file_is_held_to_the_declared_length(file):
    message = {"type": "http.response.pathsend", "path": str(file)}
    peer = H1Peer(apps.sends(start(200, (b"content-length", b"100")), message))
    answer = peer.fetch()
    assert len(answer.body) == 100 and answer.complete
    errors.records.clear()
    assert peer.closed or peer.fetch().status == 200
    errors.records.clear()


def test_a_large_file_waits_for_the_client(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(b"x" * 3_000_000)
    peer = H1Peer(apps.sends(start(), {"type": "http.response.pathsend", "path": str(path)}))
    peer.stop_reading()
    peer.send(GET)
    assert peer.wire.most < 512 * 1024
    for _ in range(100):
        peer.read(50_000)
        peer.advance(1)
    assert len(peer.answer().body) == 3_000_000
