"""/metrics and statsd of a real server: right while workers die and are replaced."""

import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest
from cryptography import x509

from tests.process.load import Load
from tests.process.probes import scrape, served
from tests.support.certificates import Authority
from tests.support.process import PATIENCE, Client, serve

pytestmark = pytest.mark.slow

ANSWERED = 'tricorn_requests_total{protocol="http/1.1",status="2xx"}'


def counters(found: dict[str, float]) -> dict[str, float]:
    return {
        name: value
        for name, value in found.items()
        if "_total" in name or "_bucket" in name or "_count" in name
    }


def test_counters_are_whole_and_never_go_back(tmp_path):
    with (
        served(tmp_path, "--reload-settle", "0", workers=2) as (server, port),
        Load(server.port) as load,
    ):
        last: dict[str, float] = {}

        def scrape_for(seconds: float) -> None:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                found = counters(scrape(port))
                assert all(found[name] >= value for name, value in last.items())
                last.update(found)
                load.go_on(1)

        scrape_for(1.5)
        os.kill(server.workers()[1], signal.SIGKILL)
        server.wait_for(r"worker=1 .* ready$")
        scrape_for(0.5)
        server.signal(signal.SIGHUP)
        server.wait_for("reload complete")
        scrape_for(1.5)
        assert last['tricorn_worker_endings_total{cause="signal"}'] == 1
        assert last['tricorn_worker_endings_total{cause="clean"}'] == 2
        generation = scrape(port)["tricorn_generation"]
        answered = load.answered
        # What the killed worker did in its last second nobody knows; all else is published.
        assert scrape(port)[ANSWERED] <= load.answered + 50
        deadline = time.monotonic() + PATIENCE
        while (found := scrape(port))[ANSWERED] <= answered * 0.5:
            assert time.monotonic() < deadline, "nobody publishes"
        assert generation == 2
        name = 'tricorn_request_duration_seconds_count{protocol="http/1.1"}'
        assert found[name] == found[ANSWERED]
        assert found['tricorn_connections{protocol="http/1.1"}'] > 0
        assert found["tricorn_event_loop_lag_seconds_count"] >= 3


def test_certificate_and_handshakes_are_known(tmp_path):
    authority = Authority()
    files = authority.issue(tmp_path, "localhost")
    with served(tmp_path, *files.options, workers=1) as (server, port):
        with server.connect(authority.client_context()) as client:
            assert client.fetch("/").status == 200
        with Client("127.0.0.1", server.port) as stranger:
            stranger.send(b"this is no handshake")
            stranger.wait_for_end()
        found = scrape_until(port, 'tricorn_tls_handshakes_total{result="failed"}', 1)
        assert found['tricorn_tls_handshakes_total{result="completed"}'] == 1
        expiry = x509.load_pem_x509_certificate(Path(files.certificate).read_bytes())
        assert (
            found["tricorn_certificate_expiry_timestamp_seconds"]
            == expiry.not_valid_after_utc.timestamp()
        )


def scrape_until(port: int, name: str, value: float) -> dict[str, float]:
    """Workers publish once a second."""
    deadline = time.monotonic() + 10
    while (found := scrape(port))[name] < value:
        assert time.monotonic() < deadline, found
    return found


def test_statsd_is_told_without_a_listener(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
        statsd.bind(("127.0.0.1", 0))
        statsd.settimeout(10)
        host = f"127.0.0.1:{statsd.getsockname()[1]}"
        options = ("--statsd-host", host, "--statsd-prefix", "web", "--dogstatsd-tags", "env:test")
        with serve(tmp_path, *options) as server:
            assert [server.fetch().status for _ in range(3)] == [200] * 3
            line = re.compile(
                rb"^web\.tricorn\.requests:(\d+)\|c\|#protocol:http/1\.1,status:2xx,env:test$",
                re.MULTILINE,
            )
            told = 0
            while told < 3:
                told += sum(map(int, line.findall(statsd.recv(65536))))
            assert told == 3
            assert server.stop() == 0
