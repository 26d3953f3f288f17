"""The vocabulary of sd_notify."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tricorn_supervisor import notify
from tricorn_supervisor.notify import Systemd, decode, encode, shorten

WITHOUT_SURROGATES = st.text(st.characters(exclude_categories=["Cs"]))


@given(WITHOUT_SURROGATES)
def test_any_value_survives_in_one_line(value):
    line = encode(("STATUS", value))
    assert line.count(b"\n") == 1
    assert decode(line[:-1]) == ("STATUS", value)


def test_surrogates_of_undecodable_file_names_do_not_break_a_line():
    assert decode(encode(("STATUS", "caf\udce9"))[:-1]) == ("STATUS", "caf\\udce9")


def test_line_without_a_value_is_a_key():
    assert decode(b"READY") == ("READY", "")


def test_garbage_is_decoded_somehow():
    assert decode(b"\xff=\xfe") == ("\ufffd", "\ufffd")


@given(WITHOUT_SURROGATES, st.integers(20, 200))
def test_shortened_text_fits(text, limit):
    short = shorten(text, limit)
    assert len(short.encode()) <= limit
    assert short == text or len(text.encode()) > limit


README = Path(__file__).parents[2] / "supervisor" / "README.md"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(5)
        receiver.bind(str(tmp_path / "notify"))
        yield receiver


def test_address_is_taken_out_of_the_environment(service):
    environ = {"NOTIFY_SOCKET": service.getsockname(), "HOME": "/"}
    Systemd.take(environ).ready()
    assert service.recv(100) == b"READY=1\n"
    assert environ == {"HOME": "/"}


def test_reload_is_announced_with_its_time(service):
    Systemd(service.getsockname()).reloading()
    first, second, _ = service.recv(100).split(b"\n")
    assert first == b"RELOADING=1"
    assert second.removeprefix(b"MONOTONIC_USEC=").isdigit()


def test_status_is_said_once_and_in_one_line(service):
    systemd = Systemd(service.getsockname())
    systemd.status("1 of\n2")
    systemd.status("1 of\n2")
    systemd.stopping()
    assert service.recv(100) == b"STATUS=1 of 2\n"
    assert service.recv(100) == b"STOPPING=1\n"


def test_abstract_address_is_understood():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(5)
        receiver.bind("")  # the system chooses an abstract name
        Systemd("@" + receiver.getsockname()[1:].decode()).ready()
        assert receiver.recv(100) == b"READY=1\n"


def test_readme_has_the_vocabulary_of_the_code():
    assert notify.table() in README.read_text()


def test_watchdog_hears_of_life_twice_within_its_time(service):
    environ = {"NOTIFY_SOCKET": service.getsockname(), "WATCHDOG_USEC": "30000000"}
    environ["WATCHDOG_PID"] = str(os.getpid())
    systemd = Systemd.take(environ)
    assert environ == {}
    for now in (100.0, 110.0, 115.0):
        assert systemd.deadline <= now or now == 110
        systemd.live(now)
    assert systemd.deadline == 130.0
    service.setblocking(False)
    assert [service.recv(100) for _ in range(2)] == [b"WATCHDOG=1\n"] * 2
    with pytest.raises(BlockingIOError):
        service.recv(100)


@pytest.mark.parametrize(
    "environ",
    [
        {"WATCHDOG_USEC": "30000000"},
        {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "soon"},
        {"NOTIFY_SOCKET": "/run/x"},
    ],
    ids=["nobody to tell", "another process is meant", "no number", "not asked for"],
)
def test_watchdog_that_is_not_meant_is_no_deadline(environ):
    systemd = Systemd.take(dict(environ))
    systemd.live(100.0)
    assert systemd.deadline is None


def test_without_an_address_nothing_is_sent():
    Systemd.take({}).ready()


def test_service_that_has_gone_is_a_warning(tmp_path, caplog):
    Systemd(str(tmp_path / "gone")).send(notify.READY)
    assert "cannot notify systemd" in caplog.text
