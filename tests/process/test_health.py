"""The admin child: health while workers come and go, and the drain that readiness announces."""

import os
import signal
import time

import pytest

from tests.process.probes import probe, served, wait_for_probe
from tests.support.process import Gate, Server, wait_for_death

pytestmark = pytest.mark.slow


def admin_pid(server: Server) -> int:
    return int(server.said(r"admin gen=\d+ pid=(\d+) started")[-1])


def test_admin_child_is_no_worker_and_is_started_again(tmp_path):
    with served(tmp_path) as (server, port):
        first = admin_pid(server)
        assert len(server.workers()) == 2 and first not in server.workers().values()
        wait_for_probe(port, "/startupz", 200)
        assert wait_for_probe(port, "/readyz", 200) == {
            "ok": True,
            "why": "all is well",
            "wanted": 2,
            "ready": 2,
            "silent": 0,
            "generation": 1,
            "started": True,
            "draining": False,
        }
        os.kill(first, signal.SIGKILL)
        server.wait_for(r"admin gen=1 pid=\d+ started")
        assert wait_for_probe(port, "/livez", 200)["ready"] == 2
        assert server.stop() == 0


def test_admin_child_ends_with_a_master_that_was_killed(tmp_path):
    with served(tmp_path, workers=1) as (server, port):
        assert probe(port, "/livez")[0] == 200
        server.signal(signal.SIGKILL)
        wait_for_death(admin_pid(server))


def test_reload_starts_another_admin_child_on_the_same_address(tmp_path):
    with served(tmp_path, "--reload-settle", "0", workers=1) as (server, port):
        first = admin_pid(server)
        server.signal(signal.SIGHUP)
        server.wait_for("reload complete")
        wait_for_death(first)
        assert probe(port, "/readyz")[1]["generation"] == 2
        assert admin_pid(server) != first
        assert server.stop() == 0
    assert "address" not in server.log


def test_drain_delay_serves_on_while_readiness_says_that_it_ends(tmp_path):
    with served(tmp_path, "--drain-delay", "1.5") as (server, port):
        assert wait_for_probe(port, "/readyz", 200)["ready"] == 2
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        server.wait_for("SIGTERM: stop")
        said = wait_for_probe(port, "/readyz", 503)
        assert time.monotonic() - began < 1.0, "readiness turns at once"
        assert (said["why"], said["draining"]) == ("the server was told to stop", True)
        assert probe(port, "/livez")[0] == 200
        assert server.fetch().status == 200
        assert server.wait() == 0
        assert time.monotonic() - began >= 1.5


def test_second_term_skips_the_delay_but_not_the_drain(tmp_path):
    with Gate(tmp_path) as gate, served(tmp_path, "--drain-delay", "60") as (server, port):
        with server.connect() as waiting:
            waiting.request(f"/gate?path={gate.path}")
            inside = gate.entered()
            server.signal(signal.SIGTERM)
            wait_for_probe(port, "/readyz", 503)
            server.signal(signal.SIGTERM)
            server.wait_for(r"is told to drain", 2)
            inside.close()
            assert waiting.answer().text.startswith("let go")
        assert server.wait() == 0


def test_worker_that_dies_during_the_delay_is_replaced(tmp_path):
    with served(tmp_path, "--drain-delay", "60", workers=1) as (server, port):
        server.signal(signal.SIGTERM)
        wait_for_probe(port, "/readyz", 503)
        os.kill(server.workers()[1], signal.SIGKILL)
        server.wait_for(r"ready$")
        assert server.fetch().status == 200
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


def test_interrupt_of_a_terminal_does_not_wait(tmp_path):
    with served(tmp_path, "--drain-delay", "60") as (server, _):
        server.signal(signal.SIGINT)
        assert server.wait() == 0


def test_budget_beyond_what_platforms_wait_is_one_warning(tmp_path):
    with served(tmp_path, "--drain-delay", "10", workers=1) as (server, _):
        warned = server.said(r"\[WARNING\] (.*)")
        assert warned == [
            "a stop may take drain_delay 10 + graceful_timeout 20 + shutdown_timeout 8 = 38 s, and "
            "Kubernetes kills after 30 s: set terminationGracePeriodSeconds (or systemd's "
            "TimeoutStopSec) to 40 or more, or lower one of these"
        ]
