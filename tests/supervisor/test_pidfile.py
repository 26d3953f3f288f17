"""One master has the file at a time, whatever an earlier one has left in it."""

import os
import subprocess
import sys

import pytest

from tricorn_supervisor.pidfile import PidFile
from tricorn_supervisor.plan import PlanError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "server.pid"


def opened(path) -> PidFile:
    file = PidFile()
    file.open(str(path))
    return file


def other(path) -> subprocess.CompletedProcess[str]:
    """Another process that wants the same file."""
    program = f"""if True:
        from tricorn_supervisor.pidfile import PidFile
        from tricorn_supervisor.plan import PlanError
        try:
            PidFile().open({str(path)!r})
        except PlanError as error:
            print(error)
        else:
            print("opened")
    """
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


def test_it_is_written_and_removed(path):
    file = opened(path)
    assert path.read_text() == f"{os.getpid()}\n"
    file.close()
    assert not path.exists()
    file.close()


@pytest.mark.parametrize(
    "left",
    [f"{os.getpid()}\n", "1", "", "99999999999999999999\n"],
    ids=["ours", "another's", "nothing", "no pid"],
)
def test_what_a_dead_master_has_left_is_in_nobodys_way(path, left):
    path.write_text(left)
    opened(path).close()


@pytest.mark.parametrize("content", ["root:x:0:0\n", "12 34"])
def test_somebody_elses_file_is_not_lost(path, content):
    path.write_text(content)
    with pytest.raises(PlanError, match="what is there is no process ID"):
        opened(path)
    assert path.read_text() == content


def test_link_is_not_followed(path, tmp_path):
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PlanError, match="--pid"):
        opened(path)
    assert not (tmp_path / "elsewhere").exists()


def test_file_that_somebody_has_replaced_stays(path):
    file = opened(path)
    path.unlink()
    path.write_text("7\n")
    file.close()
    assert path.read_text() == "7\n"


def test_file_in_no_directory_is_refused(tmp_path):
    with pytest.raises(PlanError, match="No such file"):
        opened(tmp_path / "none" / "server.pid")


@pytest.mark.slow
def test_second_master_hears_of_the_first(path):
    file = opened(path)
    assert other(path).stdout == (f"another server runs, pid {os.getpid()}: {path} is locked\n")
    file.close()
    assert other(path).stdout == "opened\n"
