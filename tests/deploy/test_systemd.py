"""The units, as systemd reads them, and as it acts by them."""

import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.clients.programs import program
from tests.support.process import COMMAND, PATIENCE, STANDING, Client, Server, clean_environment
from tests.support.systemd import Manager, activation
from tricorn.config import DEFAULTS

pytestmark = pytest.mark.slow

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
NAME = "shop"
KNOWS_RELOADS = 253
"""The first systemd with Type=notify-reload."""


def unit(suffix: str) -> dict[str, list[str]]:
    """The settings of a unit for the instance, whatever their section."""
    settings: dict[str, list[str]] = {}
    text = (UNITS / f"tricorn@.{suffix}").read_text().replace("%i", NAME)
    for key, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        settings.setdefault(key, []).append(value)
    return settings


def test_units_are_what_systemd_reads(tmp_path):
    analyze = program("systemd-analyze")
    version = subprocess.run([analyze, "--version"], capture_output=True, text=True).stdout
    service = (UNITS / "tricorn@.service").read_text()
    if int(version.split()[1]) < KNOWS_RELOADS:
        service = service.replace(
            "Type=notify-reload\n", "Type=notify\nExecReload=/bin/kill -HUP $MAINPID\n"
        )
    # What it looks for on this machine.
    service = service.replace("/opt/tricorn/bin/server", str(COMMAND))
    (tmp_path / f"tricorn@{NAME}.service").write_text(service)
    shutil.copy(UNITS / "tricorn@.socket", tmp_path / f"tricorn@{NAME}.socket")
    (tmp_path / "network-online.target").write_text("[Unit]\n")
    checked = subprocess.run(
        [analyze, "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
    )
    ours = [each for each in checked.stderr.splitlines() if "tricorn" in each]
    assert ours == [] and checked.returncode == 0, checked.stderr


def test_unit_starts_reloads_and_stops(tmp_path):
    service, (path,) = unit("service"), unit("socket")["ListenStream"]
    assert service["Type"] == ["notify-reload"] and service["KillMode"] == ["mixed"]
    for name in ("etc", "run", "srv"):
        (tmp_path / name).mkdir()
    here = {name: str(tmp_path / name) for name in ("etc", "run", "srv")}
    (tmp_path / "etc" / f"{NAME}.toml").write_text(
        'application = "main:app"\nworkers = 2\nreload_settle = 0\n'
    )
    (tmp_path / "srv" / NAME).mkdir()
    shutil.copy(STANDING, tmp_path / "srv" / NAME / "main.py")
    (tmp_path / "run" / service["RuntimeDirectory"][0]).mkdir()

    def moved(text: str) -> str:
        for old, new in (("/etc/tricorn", here["etc"]), ("/run", here["run"])):
            text = text.replace(old, new)
        return text.replace("/srv", here["srv"]).replace("/opt/tricorn/bin/server", str(COMMAND))

    web = Path(moved(path).replace("/tricorn/", "/"))
    with Manager(str(tmp_path / "notify")) as manager, socket.socket(socket.AF_UNIX) as passed:
        passed.bind(str(web))
        passed.listen()
        process = subprocess.Popen(
            [*activation(passed), *moved(service["ExecStart"][0]).split()],
            cwd=moved(service["WorkingDirectory"][0]),
            env=clean_environment()
            | {
                "NOTIFY_SOCKET": manager.name,
                "LISTEN_FDS": "1",
                "LISTEN_FDNAMES": unit("socket")["FileDescriptorName"][0],
                "WATCHDOG_USEC": "500000",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(passed.fileno(),),
            start_new_session=True,
        )
        server = Server(process, tmp_path, 2)
        try:
            manager.wait_for("READY=1")
            manager.wait_for("WATCHDOG=1")
            with Client(str(web)) as client:
                assert client.fetch("/pid").status == 200
            before = set(server.workers().values())
            process.send_signal(signal.SIGHUP)
            manager.wait_for("RELOADING=1")
            manager.wait_for("READY=1")
            asked = time.monotonic()
            # Who has just been told to drain may have a client in its hands.
            while answering(web) in before:
                assert time.monotonic() - asked < PATIENCE
            told = time.monotonic()
            process.send_signal(signal.SIGTERM)
            manager.wait_for("STOPPING=1")
            assert server.wait() == 0
            assert time.monotonic() - told < float(service["TimeoutStopSec"][0])
        except BaseException as error:
            error.add_note(server.log)
            raise
        finally:
            server.end()


def answering(web: Path) -> int:
    """The worker that a new connection gets."""
    with Client(str(web)) as client:
        return int(client.fetch("/pid").text)


def test_times_of_the_unit_leave_room_for_those_of_the_server():
    service = unit("service")
    stopping = DEFAULTS.graceful_timeout + DEFAULTS.shutdown_timeout
    assert float(service["TimeoutStopSec"][0]) > stopping + 10, "room for a drain delay"
    assert float(service["TimeoutStartSec"][0]) > DEFAULTS.startup_timeout
