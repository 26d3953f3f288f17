"""cli.py: what the command answers without serving; the rest is in tests/process."""

import logging
import subprocess
import sys

import pytest

from tests.support.certificates import Authority
from tricorn import cli, options
from tricorn.config import ConfigError
from tricorn_supervisor.listeners import Bind
from tricorn_supervisor.master import Plan


@pytest.fixture(autouse=True)
def undisturbed(monkeypatch, tmp_path):
    """In a directory of its own, and with the logging of before afterwards."""
    monkeypatch.chdir(tmp_path)
    for name in ("PORT", "WEB_CONCURRENCY", "TRICORN_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    loggers = [logging.getLogger(name) for name in ("tricorn", "tricorn_supervisor")]
    before = [(each, list(each.handlers), each.level, each.propagate) for each in loggers]
    yield
    for each, handlers, level, propagate in before:
        each.handlers[:] = handlers
        each.setLevel(level)
        each.propagate = propagate


def ended(*argv) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main(argv)
    return end.value.code


def test_version(capsys):
    assert ended("--version") == 0
    assert capsys.readouterr().out.startswith("tricorn ")


def test_help(capsys):
    assert ended("--help") == 0
    assert "--bind" in capsys.readouterr().out


def test_printed_configuration(capsys):
    assert ended("--print-config", "-w", "3", "main:app") == 0
    assert "workers = 3" in capsys.readouterr().out


def test_checked_configuration(capsys):
    assert ended("--check-config", "main:app") == 0
    assert capsys.readouterr().out == "the configuration is fine\n"


@pytest.mark.parametrize(
    "argv, said",
    [
        (["--no-such-option"], "--no-such-option"),
        ([], ""),
        (["--check-config", "--certfile", "missing", "main:app"], "missing"),
        (["--check-config", "--access-logfile", "/no/such/x", "main:app"], "--access-logfile"),
        (["--check-config", "--error-logfile", "/no/such/x", "main:app"], "--error-logfile"),
        (
            ["--check-config", "--access-log", "--access-logformat", "%(zz)s", "main:app"],
            "%(zz)s",
        ),
        (["-b", "127.0.0.1:99999", "main:app"], "99999"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(capsys, argv, said):
    assert ended(*argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("server: ") and said in captured.err
    assert len(captured.err.splitlines()) == 1


def test_run_leaves_the_end_of_the_process_to_main():
    with pytest.raises(ConfigError):
        cli.run(["--no-such-option"])


def quic_plan(*argv: str) -> Plan:
    loaded = options.load([*argv, "main:app"], {})
    return cli._plan(loaded, cli.Logs(loaded.config))


def test_plan_has_what_is_said_of_quic(tmp_path):
    (tmp_path / "secret").write_bytes(b"x" * 40)
    plan = quic_plan(
        *("--quic-bind", ":4433", "--quic-steering", "dispatcher", "--quic-secret", "secret"),
        *("--quic-server-id", "0x0123456789abcdef"),
        *Authority().issue(tmp_path, "localhost").options,
    )
    assert plan.quic_binds == (Bind(":4433", True, ("HTTP/3",)),)
    assert (plan.steering, plan.quic_secret) == ("dispatcher", b"x" * 40)
    assert plan.quic_server_id == b"\x01\x23\x45\x67\x89\xab\xcd\xef"


def test_plan_without_quic():
    plan = quic_plan()
    assert (plan.quic_binds, plan.steering, plan.quic_secret) == ((), "auto", b"")
    assert plan.quic_server_id == b""


@pytest.mark.parametrize(
    "content, said",
    [(None, "No such file or directory"), (b"x" * 31, "it has 31 bytes, and needs 32")],
)
def test_unusable_secret_of_quic(tmp_path, capsys, content, said):
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    assert ended("--check-config", "--quic-secret", "secret", "main:app") == 2
    assert capsys.readouterr().err == f"server: --quic-secret secret: {said}\n"


def test_what_reads_certificates_is_imported_only_where_there_is_one():
    program = "import sys, tricorn.cli; print('cryptography' in sys.modules)"
    imported = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (imported.stdout, imported.stderr) == ("False\n", "")
