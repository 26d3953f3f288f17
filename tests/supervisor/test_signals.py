"""Signals are noted, and the documentation says what they mean."""

import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import Signals

import pytest

from tricorn_supervisor.signals import SIGNALS, Inbox, describe, table

README = Path(__file__).parents[2] / "supervisor" / "README.md"


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    before = {meaning.signal: signal.getsignal(meaning.signal) for meaning in SIGNALS}
    inbox = Inbox()
    inbox.open()
    yield inbox
    inbox.close()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_readme_has_the_table_of_the_code():
    assert table() in README.read_text()


def test_no_signal_has_two_meanings():
    assert len({meaning.signal for meaning in SIGNALS}) == len(SIGNALS)


def test_signals_are_noted_in_order(inbox):
    for number in (Signals.SIGHUP, Signals.SIGTERM, Signals.SIGTERM):
        signal.raise_signal(number)
    assert inbox.take() == [Signals.SIGHUP, Signals.SIGTERM, Signals.SIGTERM]
    assert inbox.take() == []


def test_noted_signal_wakes_a_poll(inbox):
    poll = select.poll()
    poll.register(inbox, select.POLLIN)
    assert poll.poll(0) == []
    signal.raise_signal(Signals.SIGTTIN)
    assert poll.poll(0)


def test_thousand_signals_leave_room_for_one_more(inbox):
    for _ in range(1000):
        signal.raise_signal(Signals.SIGCHLD)
    signal.raise_signal(Signals.SIGTERM)
    assert inbox.take()[-1] == Signals.SIGTERM


def test_held_signals_come_afterwards(inbox):
    with inbox.held():
        signal.raise_signal(Signals.SIGHUP)
        assert inbox.take() == []
    assert inbox.take() == [Signals.SIGHUP]


def test_signals_that_a_launcher_blocked_are_heard(inbox):
    signal.pthread_sigmask(signal.SIG_BLOCK, [Signals.SIGTERM])
    inbox.open()
    assert Signals.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.slow
def test_child_that_left_ignores_or_obeys_by_itself():
    script = """if True:
        import os, signal, subprocess, sys
        from tricorn_supervisor.signals import Inbox
        inbox = Inbox()
        inbox.open()
        with inbox.held():
            os.kill(os.getpid(), signal.SIGHUP)  # comes while it is nobody's
            inbox.leave()
        for number in (signal.SIGINT, signal.SIGTTOU, signal.SIGUSR1, signal.SIGUSR2):
            signal.raise_signal(number)
        print(subprocess.run(["sh", "-c", "kill -INT $$"]).returncode, flush=True)
        signal.raise_signal(signal.SIGTERM)
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == -Signals.SIGTERM
    assert done.stdout.strip() == str(-Signals.SIGINT)
    assert "most recent call first" in done.stderr


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exited with status 0"),
        (3, "exited with status 3"),
        (-11, "ended by SIGSEGV"),
        (-9, "ended by SIGKILL"),
        (-64, "ended by SIGRTMAX"),
        (-50, "ended by signal 50"),
    ],
)
def test_exit_status_in_words(status, words):
    assert describe(status) == words


ENDING = """
import os, signal, sys
from tricorn_supervisor.signals import Inbox

class Last:
    # When the interpreter has taken handlers away, and the process has not ended.
    def __del__(self, kill=os.kill, pid=os.getpid(), number=signal.SIGTERM):
        kill(pid, number)

inbox = Inbox()
inbox.open()
last = Last()
inbox.close()
sys.exit(7)
"""


def test_a_late_signal_does_not_change_the_exit_status():
    assert subprocess.run([sys.executable, "-c", ENDING], check=False).returncode == 7
