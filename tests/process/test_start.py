"""A server that cannot start says why in one sentence, and which status it ends with."""

import os
import socket
import ssl
from pathlib import Path

import pytest

from tests.clients.programs import program
from tests.support.certificates import Authority
from tests.support.process import run, serve

pytestmark = pytest.mark.slow

OPERATOR, APPLICATION = 2, 3


def failure(tmp_path, application, *options, workers=2):
    """The status and the log of a server whose application cannot start."""
    with serve(tmp_path, *options, application=application, workers=workers, ready=False) as server:
        return server.wait(), server.log


def sentences(log: str) -> list[str]:
    return [line for line in log.splitlines() if "cannot serve" in line]


# The application: exit status 3, and a traceback only where it is in the application's code


@pytest.mark.parametrize("workers", [0, 1, 4])
@pytest.mark.parametrize(
    "application, said",
    [
        ("no_such_module:app", "there is no module no_such_module in "),
        ("app = 1\n", "main:app is of type int, not an application"),
        ("other = 1\n", "has no attribute app"),
    ],
    ids=["no module", "not callable", "no attribute"],
)
def test_no_application(tmp_path, application, said, workers):  # F04
    status, log = failure(tmp_path, application, workers=workers)
    assert status == APPLICATION
    (sentence,) = sentences(log)
    assert said in sentence
    assert "Traceback" not in log


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize(
    "application, said, traced",
    [
        ("def app(:\n", "main.py, line 1, is not valid Python", "SyntaxError"),
        ("import no_such_module\n", "main imports no_such_module", "ModuleNotFoundError"),
        ("1 / 0\n", "main fails when it is imported: ZeroDivisionError", "line 1, in <module>"),
        (
            "async def app(scope, receive, send):\n    await receive()\n    1 / 0\n",
            "lifespan startup raised ZeroDivisionError",
            "line 3, in app",
        ),
    ],
    ids=["syntax", "import", "raising", "lifespan"],
)
def test_application_that_fails_is_shown_where(tmp_path, application, said, traced, workers):
    status, log = failure(tmp_path, application, workers=workers)
    assert status == APPLICATION
    (sentence,) = sentences(log)  # once, however many workers there are
    assert said in sentence
    assert log.count(traced) == 1
    ours = [
        each for each in log.splitlines() if "tricorn_supervisor" in each or "importlib" in each
    ]
    assert ours == [], "the traceback shows our code, where there is nothing to mend"


def test_traceback_of_a_failed_lifespan_is_the_applications_alone(tmp_path):
    application = "async def app(scope, receive, send):\n    await receive()\n    1 / 0\n"
    _, log = failure(tmp_path, application)
    files = [line for line in log.splitlines() if line.lstrip().startswith("File ")]
    assert len(files) == 1 and "main.py" in files[0], files


def test_failed_lifespan_says_the_applications_message(tmp_path):
    application = (
        "async def app(scope, receive, send):\n    await receive()\n"
        "    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})\n"
    )
    status, log = failure(tmp_path, application)
    assert status == APPLICATION
    (sentence,) = sentences(log)
    assert sentence.endswith("the application's lifespan startup failed: no database")
    assert "Traceback" not in log


@pytest.mark.parametrize("workers", [0, 2])
def test_lifespan_that_takes_too_long(tmp_path, workers):
    application = (
        "import asyncio\nasync def app(scope, receive, send):\n    await receive()\n"
        "    await asyncio.Event().wait()\n"
    )
    status, log = failure(tmp_path, application, "--startup-timeout", "0.5", workers=workers)
    assert status == APPLICATION
    assert "0.5 seconds" in log and "startup" in log
    assert "Traceback" not in log


def test_import_that_takes_too_long(tmp_path):
    status, log = failure(tmp_path, "import time\ntime.sleep(1000)\n", "--startup-timeout", "0.3")
    assert status == APPLICATION
    assert "startup" in log


def test_application_that_ends_its_process_does_not_start_for_ever(tmp_path):  # S-05
    options = ("--respawn-backoff-max", "0.1")
    status, log = failure(tmp_path, "import os\nos._exit(9)\n", *options)
    assert status == APPLICATION
    assert "exited with status 9" in log


def test_application_named_without_its_directory(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "website.py").write_text("async def app(scope, receive, send): ...\n")
    status, log = failure(tmp_path, "website:app")
    assert status == APPLICATION and "add --app-dir src" in log


# The configuration: exit status 2, one line, nothing else


def refusal(tmp_path, *arguments, application="tricorn.demo:app"):
    """What the command says when its configuration is wrong."""
    ended = run(*arguments, application, directory=tmp_path)
    assert ended.returncode == OPERATOR, ended.stderr
    assert ended.stdout == ""
    lines = ended.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("server: "), ended.stderr
    return lines[0]


def test_port_that_is_taken(tmp_path):  # F21
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = refusal(tmp_path, "-b", f"127.0.0.1:{port}")
    assert said == f"server: cannot listen on 127.0.0.1:{port}: another program listens there"


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize(
    "address, said",
    [
        ("no-such-host.invalid:0", "no-such-host.invalid"),
        ("203.0.113.1:0", "this machine has no such address"),
        ("127.0.0.1:65536", "65536"),
        ("127.0.0.1:http", "http"),
        ("unix:/no/such/directory/socket", "No such file or directory"),
        ("unix:" + "long" * 30, "long"),
        ("fd://99", "99"),
        ("fd://x", "fd://"),
        ("systemd:", "systemd has passed no socket"),
    ],
)
def test_address_that_cannot_be(tmp_path, address, said, workers):  # F21
    assert said in refusal(tmp_path, "-w", workers, "-b", address)


def test_address_that_is_given_twice(tmp_path):
    assert "twice" in refusal(tmp_path, "-b", "127.0.0.1:0", "-b", "127.0.0.1:0")


def test_low_port_without_the_right_to_it(tmp_path):  # F21
    prefix = [] if os.getuid() else [program("setpriv"), "--bounding-set=-net_bind_service"]
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 1:
        pytest.skip("every user may use every port here")
    ended = run("-b", "127.0.0.1:1", "tricorn.demo:app", directory=Path("/"), prefix=prefix)
    assert ended.returncode == OPERATOR
    assert ended.stderr == (
        "server: cannot listen on 127.0.0.1:1: a port below 1024 needs CAP_NET_BIND_SERVICE\n"
    )


def test_path_that_is_no_socket_is_left_alone(tmp_path):  # F21
    path = tmp_path / "notes.txt"
    path.write_text("precious")
    assert "what is there is no socket" in refusal(tmp_path, "-b", f"unix:{path}")
    assert path.read_text() == "precious"


def test_path_that_another_server_uses(tmp_path):
    path = tmp_path / "socket"
    with serve(tmp_path, bind=[f"unix:{path}"]):
        assert "another program listens there" in refusal(tmp_path, "-b", f"unix:{path}")
        assert path.is_socket()


@pytest.fixture(scope="module")
def authority():
    return Authority()


def test_certificate_that_is_missing(tmp_path):
    assert "No such file" in refusal(tmp_path, "--certfile", "missing.pem")


def test_key_of_another_certificate(tmp_path, authority):
    one, two = authority.issue(tmp_path, "one"), authority.issue(tmp_path, "two")
    said = refusal(tmp_path, "--certfile", one.certificate, "--keyfile", two.key)
    assert f"--keyfile {two.key} is not the key of --certfile {one.certificate}" in said


def test_certificate_that_is_garbage(tmp_path, authority):
    files = authority.issue(tmp_path, "localhost")
    Path(files.certificate).write_bytes(os.urandom(1000))
    assert "--certfile" in refusal(tmp_path, *files.options)


def test_certificate_that_has_expired_is_said_so_and_served(tmp_path, authority):
    files = authority.issue(tmp_path, "localhost", days=(-2, -1))
    with serve(tmp_path, *files.options) as server:
        assert server.said(r"\[ERROR\] --certfile .* has expired on")
        context = authority.client_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        assert server.fetch("/", context).status == 200
    assert "has expired" in refusal(tmp_path, *files.options, "--check-config")


def test_key_that_is_garbage(tmp_path, authority):
    files = authority.issue(tmp_path, "localhost")
    Path(files.key).write_text("garbage")
    assert "--keyfile" in refusal(tmp_path, *files.options)


@pytest.mark.parametrize("password", [(), ("--keyfile-password", "wrong")])
def test_encrypted_key_without_its_password_does_not_ask(tmp_path, authority, password):
    files = authority.issue(tmp_path, "localhost", password="right")
    assert "is encrypted" in refusal(tmp_path, *files.options, *password)


def test_encrypted_key_with_its_password(tmp_path, authority):
    files = authority.issue(tmp_path, "localhost", password="right")
    options = (*files.options, "--keyfile-password", "right")
    with serve(tmp_path, *options) as server:
        assert server.fetch("/", authority.client_context()).status == 200


def test_authorities_that_are_garbage(tmp_path, authority):
    files = authority.issue(tmp_path, "localhost")
    garbage = tmp_path / "ca.pem"
    garbage.write_text("garbage")
    said = refusal(
        tmp_path, *files.options, "--verify-mode", "CERT_REQUIRED", "--ca-certs", str(garbage)
    )
    assert "--ca-certs" in said


def test_ciphers_that_do_not_exist(tmp_path, authority):
    files = authority.issue(tmp_path, "localhost")
    assert "--ciphers" in refusal(tmp_path, *files.options, "--ciphers", "ROT13")


def test_required_client_certificates_without_an_authority_cannot_work(tmp_path, authority):
    files = authority.issue(tmp_path, "localhost")
    assert "ca" in refusal(tmp_path, *files.options, "--verify-mode", "CERT_REQUIRED")


@pytest.mark.parametrize("option", ["--access-logfile", "--error-logfile"])
@pytest.mark.parametrize("workers", ["0", "1"])
def test_log_that_cannot_be_opened(tmp_path, option, workers):
    assert option in refusal(tmp_path, option, "/no/such/directory/log", "-w", workers)


def test_access_log_format_with_an_unknown_atom(tmp_path):
    said = refusal(tmp_path, "--access-logfile", "-", "--access-logformat", "%(zz)s")
    assert "%(zz)s" in said


def test_option_that_does_not_exist(tmp_path):
    assert "--no-such-option" in refusal(tmp_path, "--no-such-option")


@pytest.mark.parametrize("count", ["1024", "100000", "-1", "many"])
def test_number_of_workers_that_cannot_be(tmp_path, count):
    refusal(tmp_path, "-b", "127.0.0.1:0", "-w", count)


def test_no_application_at_all(tmp_path):
    ended = run(directory=tmp_path)
    assert ended.returncode == OPERATOR
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
