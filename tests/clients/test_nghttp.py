"""nghttp and h2load: what other clients of HTTP/2 do not say, and more at once than they do."""

import hashlib
import os
import re

import pytest

from tests.clients.both import SCHEMES, run, serve_both

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    options = ("--h2c-upgrade", "--server-push")
    with serve_both(tmp_path_factory.mktemp("nghttp"), *options, workers=2) as both:
        yield both


@pytest.fixture(params=SCHEMES)
def nghttp(both, request):
    """Runs nghttp, for targets; what it says."""
    return asking(both, request.param)


def asking(both, scheme):
    def ask(*arguments):
        always = ("--timeout=10", "--no-verify-peer")
        ended = run("nghttp", *always, *arguments, base=both.base(scheme))
        assert ended.returncode == 0 and not ended.stderr, ended.stderr
        return ended.stdout

    return ask


@pytest.fixture(params=SCHEMES)
def h2load(both, request):
    """Runs h2load on 10 connections, for a target; how many requests have ended how."""

    def load(target, count, *options):
        base = both.base(request.param)
        ended = run("h2load", "-c10", f"-n{count}", *options, target, base=base)
        text = ended.stdout.decode()
        assert ended.returncode == 0, ended.stderr
        found = re.search(r"^requests: .*$", text, re.MULTILINE)
        assert found is not None, text
        numbers = re.findall(r"(\d+) (\w+)", found[0])
        return {name: int(number) for number, name in numbers}

    return load


def test_page(nghttp):
    assert nghttp("/hello") == b"hello\n"


def test_upgrade(both):
    assert asking(both, "http")("-u", "/hello") == b"hello\n"
    said = asking(both, "http")("-u", "-v", "/hello")
    assert b"101 Switching Protocols" in said and b":status: 200" in said


def test_settings_of_an_upgrade_hold(both):
    said = asking(both, "http")("-u", "-n", "-v", "--window-bits=14", "/download?parts=2")
    lengths = re.findall(rb"recv DATA frame <length=(\d+)", said)
    assert sum(map(int, lengths)) == 2 * 16384 and int(lengths[0]) <= 16383


def test_what_is_pushed_comes_with_the_page(nghttp):
    said = nghttp("-v", "/push")
    assert b"recv PUSH_PROMISE frame" in said and b":path: /number/pushed" in said
    assert b"page\n" in said and b"/number/pushed" in said
    assert said.count(b":status: 200") == 2


def test_nothing_is_pushed_to_who_takes_nothing(nghttp):
    assert nghttp("--no-push", "/push") == b"page\n"


def test_priorities_of_a_tree(nghttp):  # RFC7540§5.3
    weights = ("-p1", "-p256", "-p16")
    targets = ("/number/light", "/number/heavy", "/number/middle")
    said = nghttp(*weights, *targets)
    assert sorted(re.findall(rb"/number/[a-z]+?(?=/|$)", said)) == sorted(map(str.encode, targets))


def test_priorities_as_fields(nghttp):  # RFC9218§5
    said = nghttp("-n", "-v", "--no-dep", "-H", "priority: u=1, i", "-m", "20", "/download?parts=9")
    assert said.count(b":status: 200") == 20
    lengths = re.findall(rb"recv DATA frame <length=(\d+)", said)
    assert sum(map(int, lengths)) == 20 * 9 * 16384


def test_trailers_both_ways(nghttp, tmp_path):
    (tmp_path / "body").write_bytes(b"body")
    upload = ("-d", f"file:{tmp_path}/body", "--trailer", "x-sum: 1")
    said = nghttp("-v", *upload, "/trailers")
    assert f"x-digest: {hashlib.sha256(b'body').hexdigest()}".encode() in said


def test_upload_with_padding_and_an_expectation(nghttp, tmp_path):
    content = os.urandom(300_000)
    (tmp_path / "body").write_bytes(content)
    options = ("-b", "200", "--expect-continue", "-d", f"file:{tmp_path}/body")
    said = nghttp("-v", *options, "/upload")
    assert b":status: 100" in said and hashlib.sha256(content).hexdigest().encode() in said


def test_upload_that_nobody_reads_is_answered(nghttp, tmp_path):  # RFC9113§8.1
    (tmp_path / "body").write_bytes(bytes(1_000_000))
    said = nghttp("-v", "-d", f"file:{tmp_path}/body", "/hello")
    assert b"hello\n" in said and b"error_code=NO_ERROR(0x00)" in said


def test_large_head_in_continuations(nghttp):  # it does not show the frames themselves
    said = nghttp("-v", "--continuation", "/hello")
    assert b"continuation-test-6: " in said and b"hello\n" in said


def test_head_that_is_too_large_is_refused(nghttp):
    said = nghttp("-v", "--continuation", "-H", "x-large: " + "v" * 20_000, "/hello")
    assert said.count(b":status: 431") == 1, said


def test_small_windows_and_frames(nghttp):
    said = nghttp("--window-bits=10", "--connection-window-bits=16", "/download?parts=20")
    assert said == b"0123456789abcdef" * 1024 * 20


def test_no_table_of_fields(nghttp):
    assert nghttp("-c", "0", "-m", "3", "/hello", "/hello") == b"hello\n" * 6


def test_thousands_of_requests(h2load):
    ended = h2load("/hello", 10_000, "-m100")
    assert ended["succeeded"] == 10_000, ended
    assert not (ended["failed"] or ended["errored"] or ended["timeout"])


def test_thousands_of_uploads(h2load, tmp_path):
    (tmp_path / "body").write_bytes(bytes(5000))
    ended = h2load("/upload", 2000, "-m100", "-d", f"file:{tmp_path}/body")
    assert ended["succeeded"] == 2000, ended


def test_hundreds_of_downloads_through_small_windows(h2load):
    ended = h2load("/download?parts=4", 500, "-m50", "-w14", "-W16")
    assert ended["succeeded"] == 500, ended
