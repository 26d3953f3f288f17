"""gRPC, with the client that everybody has: calls of every kind, and their status in trailers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.both import SCHEMES, serve_both
from tests.support.process import PATIENCE

pytestmark = pytest.mark.slow

APPLICATIONS = Path(__file__).with_name("applications")
CLIENT = Path(__file__).with_name("grpc_client.py")


@pytest.fixture(scope="module", params=SCHEMES)
def said(request, tmp_path_factory):
    """What the client has said of each of its calls."""
    pytest.importorskip("grpc")
    options = ("--app-dir", str(APPLICATIONS))
    directory = tmp_path_factory.mktemp("grpc")
    with serve_both(directory, *options, application="speaking_grpc:app") as both:
        address = both.base(request.param).partition("//")[2]
        secure = [both.certificate] if request.param == "https" else []
        ended = subprocess.run(
            [sys.executable, str(CLIENT), address, *secure], capture_output=True, timeout=PATIENCE
        )
        assert ended.returncode == 0, ended.stderr.decode()
        assert both.server.stop() == 0
    assert "[ERROR]" not in both.server.log
    return json.loads(ended.stdout)


def test_unary_calls(said):
    assert said["unary"] == ["olleh", "OK"] and said["large"]


def test_stream_of_answers(said):
    assert said["count"] == ["0", "1", "2", "3", "4"]
    assert said["count to many"] == sum(range(2000))


def test_stream_of_requests(said):
    assert said["total"] == "1400000 in 20"


def test_streams_both_ways(said):
    assert said["chat"] == ["heard a", "heard b", "heard c"]


def test_many_calls_at_once(said):
    assert said["many"] == [str(number) for number in range(300)]


def test_status_without_an_answer(said):
    refused = ["INVALID_ARGUMENT", "refused at once", {"x-reason": "on purpose"}, []]
    assert said["refuse"] == refused
    assert said["missing"] == ["UNIMPLEMENTED", "there is no such method", {}, []]


def test_status_behind_answers(said):
    assert said["fail"] == ["INTERNAL", "failed late", {}, ["0", "1"]]


def test_calls_that_the_client_gives_up(said):
    assert said["late"][0] == "DEADLINE_EXCEEDED" and said["cancelled"] == "CANCELLED"
    assert said["after all"] == "niaga"
