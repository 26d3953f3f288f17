"""What the command does instead of serving."""

import subprocess
import sys
import tomllib

import pytest

from tests.support.certificates import Authority
from tests.support.process import clean_environment, run, serve

pytestmark = pytest.mark.slow


def test_version(tmp_path):
    ended = run("--version", directory=tmp_path)
    assert ended.returncode == 0 and ended.stdout.startswith("tricorn ")


def test_command_runs_as_a_module_too(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "tricorn", "--version"],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
    )
    assert ended.stdout.startswith("tricorn ")


def test_help_shows_every_kind_of_option(tmp_path):
    ended = run("--help", directory=tmp_path)
    assert ended.returncode == 0
    for option in ("--bind", "--workers", "--certfile", "--keep-alive", "--access-logfile"):
        assert option in ended.stdout
    assert ended.stderr == ""


def test_help_into_a_pipe_that_is_closed_is_no_traceback(tmp_path):
    ended = run("--help", directory=tmp_path, prefix=("sh", "-c", '"$@" | head -n 1', "sh"))
    assert "Traceback" not in ended.stderr


def test_checked_configuration_is_fine_and_nothing_is_opened(tmp_path):
    path = tmp_path / "socket"
    ended = run("--check-config", "-b", f"unix:{path}", "main:app", directory=tmp_path)
    assert (ended.returncode, ended.stdout) == (0, "the configuration is fine\n"), ended.stderr
    assert not path.exists()


def test_configuration_of_a_running_server_can_be_checked(tmp_path):
    with serve(tmp_path) as server:
        bind = f"127.0.0.1:{server.port}"
        assert run("--check-config", "-b", bind, "main:app", directory=tmp_path).returncode == 0


@pytest.mark.parametrize(
    "options",
    [("--certfile", "missing.pem"), ("--no-such-option",), ("-w", "x"), ("-w", "1024")],
)
def test_checked_configuration_that_is_wrong(tmp_path, options):
    ended = run("--check-config", *options, "main:app", directory=tmp_path)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1


def test_checking_leaves_the_logs_alone(tmp_path):
    options = ("--access-logfile", "access.log", "--error-logfile", "error.log")
    ended = run("--check-config", *options, "main:app", directory=tmp_path)
    assert ended.returncode == 0
    assert not [each for each in tmp_path.iterdir() if each.read_bytes()]


def test_printed_configuration_is_a_file_that_can_be_read_again(tmp_path):
    options = ("-w", "3", "--header", "X-A: b", "-b", "127.0.0.1:0", "--graceful-timeout", "90")
    first = run("--print-config", *options, "main:app", directory=tmp_path)
    assert first.returncode == 0
    assert tomllib.loads(first.stdout)["workers"] == 3
    file = tmp_path / "tricorn.toml"
    file.write_text(first.stdout)
    second = run("--print-config", "-c", str(file), directory=tmp_path)
    assert second.stdout == first.stdout


def test_printed_configuration_keeps_the_password(tmp_path):
    files = Authority().issue(tmp_path, "localhost", password="hush")
    options = (*files.options, "--keyfile-password", "hush")
    ended = run("--print-config", *options, "main:app", directory=tmp_path)
    assert "hush" not in ended.stdout + ended.stderr


def test_file_and_environment_and_arguments_in_their_order(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[tool.tricorn]\nworkers = 2\nbacklog = 10\napplication = "main:app"\nkeep_alive = 7\n'
    )
    environ = {"TRICORN_WORKERS": "3", "TRICORN_BACKLOG": "20"}
    ended = run("--print-config", "-w", "4", directory=tmp_path, environ=environ)
    found = tomllib.loads(ended.stdout)
    assert (found["workers"], found["backlog"], found["keep_alive"]) == (4, 20, 7)


def test_platform_port_is_served_on_all_addresses(tmp_path):
    with serve(tmp_path, bind=(), environ={"PORT": "0"}) as server:
        assert server.addresses[0].startswith("http://0.0.0.0:")
        assert server.fetch().status == 200
