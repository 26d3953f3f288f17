"""observe/logfile.py: a log that never waits. Real pipes, and a loop's call_later of our own."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable, Iterator

import pytest

from tricorn.observe.logfile import BUFFER, LogFile

LINE = b"x" * 99 + b"\n"
PIPE = 64 * 1024


class Pipe:
    """A pipe as the standard output of a LogFile."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)

    def read(self) -> bytes:
        data = b""
        try:
            while part := os.read(self.reader, 1 << 20):
                data += part
        except BlockingIOError:
            pass
        return data

    def close_reader(self) -> None:
        os.close(self.reader)
        self.reader = -1

    def close(self) -> None:
        for file in (self.reader, self.writer):
            if file >= 0:
                os.close(file)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


class Later:
    """call_later, called when the test says so."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def __call__(self, delay: float, callback: Callable[[], None]) -> None:
        self.due.append(callback)

    def pass_by(self) -> None:
        due, self.due = self.due, []
        for callback in due:
            callback()


def test_a_line_is_written_at_once_without_a_loop(tmp_path):
    log = LogFile(str(tmp_path / "log"), 1)
    log.write(b"one\n")
    assert (tmp_path / "log").read_bytes() == b"one\n"


def test_lines_are_appended_to_what_is_there(tmp_path):
    (tmp_path / "log").write_bytes(b"old\n")
    LogFile(str(tmp_path / "log"), 1).write(b"new\n")
    assert (tmp_path / "log").read_bytes() == b"old\nnew\n"


def test_a_file_that_cannot_be_opened_is_an_oserror(tmp_path):
    with pytest.raises(OSError):
        LogFile(str(tmp_path / "none" / "log"), 1)


def test_the_lines_of_a_loop_turn_are_written_together(tmp_path):
    later = Later()
    log = LogFile(str(tmp_path / "log"), 1)
    log.attach(later)
    for _ in range(3):
        log.write(b"x\n")
    assert (tmp_path / "log").read_bytes() == b"" and len(later.due) == 1
    later.pass_by()
    assert (tmp_path / "log").read_bytes() == b"x\nx\nx\n" and not later.due


def test_a_stalled_pipe_never_blocks_and_what_is_dropped_is_counted(pipe):
    log = LogFile("-", pipe.writer)
    count = 2 * (BUFFER + PIPE) // len(LINE)
    for _ in range(count):
        log.write(LINE)
    assert log.dropped > 0
    kept = count - log.dropped
    assert BUFFER <= kept * len(LINE) <= BUFFER + 2 * PIPE


def test_a_stalled_pipe_with_a_loop_is_tried_again_without_spinning(pipe):
    later = Later()
    log = LogFile("-", pipe.writer)
    log.attach(later)
    for _ in range(5000):
        log.write(LINE)
    for _ in range(5):
        later.pass_by()
        assert len(later.due) == 1, "one retry at a time"
    data = b""
    while len(data) < 5000 * len(LINE):
        data += pipe.read()
        later.pass_by()
    assert data == LINE * 5000 and not later.due and log.dropped == 0


def test_after_a_stall_no_line_is_torn(pipe):
    later = Later()
    log = LogFile("-", pipe.writer)
    log.attach(later)
    for number in range(30_000):
        log.write(b"%099d\n" % number)
    data = b""
    for _ in range(100):
        later.pass_by()
        data += pipe.read()
    for number in range(10):
        log.write(b"%099d\n" % number)
    later.pass_by()
    data += pipe.read()
    lines = data.split(b"\n")
    assert lines.pop() == b"" and all(len(line) == 99 for line in lines)
    assert len(lines) + log.dropped == 30_010


def test_forked_process_neither_repeats_lines_nor_counts_those_that_were_dropped(pipe):
    log = LogFile("-", pipe.writer)
    while not log.dropped:
        log.write(LINE)
    pipe.read()
    if not (pid := os.fork()):
        log.write(b"mine\n")
        os._exit(log.dropped)
    assert os.waitpid(pid, 0)[1] == 0
    assert pipe.read() == b"mine\n"
    log.flush()
    assert log.dropped == 1 and len(pipe.read()) == PIPE


def test_a_stall_without_a_loop_ends_when_somebody_reads_again(pipe):
    log = LogFile("-", pipe.writer)
    while not log.dropped:
        log.write(LINE)
    data = b""
    for _ in range(2 * BUFFER // PIPE):
        data += pipe.read()
        log.write(b"late\n")
    assert data.endswith(b"late\n") and log.dropped == 1


def test_nobody_reads_any_more(pipe):
    log = LogFile("-", pipe.writer)
    log.write(LINE)
    pipe.close_reader()
    for _ in range(10):
        log.write(LINE)
    assert log.dropped == 10
    log.finish()


@pytest.mark.parametrize("attached", [False, True])
def test_a_full_disk_drops_lines_and_counts_them(attached):
    later = Later()
    log = LogFile("/dev/full", 1)
    if attached:
        log.attach(later)
    for _ in range(10):
        log.write(LINE)
        later.pass_by()
    log.finish()
    assert log.dropped == 10


def test_after_a_rotation_lines_go_to_the_new_file(tmp_path):
    path = tmp_path / "log"
    log = LogFile(str(path), 1)
    log.attach(Later())
    log.write(b"before\n")
    os.rename(path, tmp_path / "log.1")
    log.write(b"still before\n")
    log.reopen()
    log.write(b"after\n")
    log.finish()
    assert (tmp_path / "log.1").read_bytes() == b"before\nstill before\n"
    assert path.read_bytes() == b"after\n"


def test_a_rotation_that_cannot_be_opened_keeps_the_old_file(tmp_path):
    (tmp_path / "logs").mkdir()
    log = LogFile(str(tmp_path / "logs" / "log"), 1)
    os.rename(tmp_path / "logs", tmp_path / "moved")
    log.reopen()
    log.write(b"kept\n")
    assert (tmp_path / "moved" / "log").read_bytes() == b"kept\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_log_is_given_to_its_owner_and_nothing_else_is(tmp_path):
    plain, pipe, others = tmp_path / "log", tmp_path / "pipe", tmp_path / "others"
    link, second = tmp_path / "link", tmp_path / "second"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    others.touch()
    link.symlink_to(others)
    LogFile(str(plain), 1, (54321, 54322))
    LogFile(str(pipe), 1, (54321, 54322))
    LogFile(str(link), 1, (54321, 54322))  # CVE-2016-1247: whoever has the directory makes them
    os.link(others, second)
    LogFile(str(second), 1, (54321, 54322))
    os.close(reader)
    assert (plain.stat().st_uid, plain.stat().st_gid) == (54321, 54322)
    assert pipe.stat().st_uid == others.stat().st_uid == 0


def test_a_rotation_leaves_no_descriptor_open(tmp_path):
    log = LogFile(str(tmp_path / "log"), 1)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        log.reopen()
    assert len(os.listdir("/proc/self/fd")) == before


def test_reopening_the_standard_output_changes_nothing(pipe):
    log = LogFile("-", pipe.writer)
    log.reopen()
    log.write(b"x\n")
    assert pipe.read() == b"x\n"


def test_the_last_words_are_taken_if_somebody_reads(pipe):
    log = LogFile("-", pipe.writer)
    log.attach(Later())
    log.write(b"last\n")
    log.finish()
    assert pipe.read() == b"last\n"


def test_a_pipe_of_others_stays_as_they_have_made_it(pipe):
    # O_NONBLOCK is a property of the open file: the shell's other programs would see it too.
    LogFile("-", pipe.writer).write(b"x\n")
    assert not fcntl.fcntl(pipe.writer, fcntl.F_GETFL) & os.O_NONBLOCK


def test_a_socket_may_be_the_standard_output():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        log = LogFile("-", ours.fileno())
        for _ in range(20_000):
            log.write(LINE)
        assert log.dropped > 0 and ours.getblocking()
        assert theirs.recv(100) == LINE
        log._socket.close()  # type: ignore[union-attr]


def test_a_regular_file_may_be_the_standard_output(tmp_path):
    with open(tmp_path / "out", "wb") as out:
        log = LogFile("-", out.fileno())
        log.write(b"x\n")
    assert (tmp_path / "out").read_bytes() == b"x\n"
