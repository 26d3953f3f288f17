"""SIGHUP: new code and new configuration without losing a request."""

import contextlib
import signal
from pathlib import Path

import pytest

from tests.process.load import Load
from tests.support.certificates import Authority
from tests.support.process import STANDING, Gate, serve, wait_for_death

pytestmark = pytest.mark.slow

QUICK = ("--reload-settle", "0.2")
FAILING_LIFESPAN = """
async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})
"""
HANGING_LIFESPAN = """
import asyncio
async def app(scope, receive, send):
    await receive()
    await asyncio.Event().wait()
"""
SAYING = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({{"type": "http.response.start", "status": 200, "headers": []}})
        await send({{"type": "http.response.body", "body": {text!r}.encode()}})
"""


def reload(server) -> None:
    """Until the old workers are gone."""
    before = server.children()
    server.signal(signal.SIGHUP)
    server.wait_for(r"reload complete$")
    wait_for_death(*before)


@pytest.mark.parametrize("workers", [1, 3])
def test_reload_under_load_loses_nothing(tmp_path, workers):  # F06, F07
    with serve(tmp_path, *QUICK, workers=workers) as server:
        before = server.children()
        with Load(server.port) as load:
            for _ in range(2):
                reload(server)
                load.go_on(20)
        assert load.failures == []
        assert not set(before) & set(server.children())
        assert server.stop() == 0


def test_reload_serves_the_new_code(tmp_path):
    with serve(tmp_path, *QUICK, application=SAYING.format(text="old"), workers=2) as server:
        assert server.fetch().text == "old"
        (tmp_path / "main.py").write_text(SAYING.format(text="new"))
        reload(server)
        assert {server.fetch().text for _ in range(8)} == {"new"}


def test_hangups_in_a_row_become_one_reload_and_one_more(tmp_path):
    with serve(tmp_path, *QUICK) as server:
        for _ in range(20):
            server.signal(signal.SIGHUP)
        server.wait_for(r"reload complete$")
        assert server.fetch().status == 200
        assert server.stop() == 0
    assert len(server.said(r"started: canary")) <= 2


@pytest.mark.parametrize(
    "broken, said",
    [
        ("async def app(:\n", "main.py, line 1, is not valid Python"),
        ("import no_such_module\n", "main imports no_such_module"),
        ("raise RuntimeError('no settings')\n", "main fails when it is imported"),
        (FAILING_LIFESPAN, "lifespan startup failed: no database"),
        (HANGING_LIFESPAN, "startup"),
        ("import os\nos._exit(7)\n", "exited with status 7"),
    ],
    ids=["syntax", "import", "raising", "lifespan", "hanging", "exiting"],
)
def test_reload_of_a_broken_application_leaves_the_old_one_serving(tmp_path, broken, said):  # F05
    good = STANDING.read_text()
    with serve(tmp_path, *QUICK, "--startup-timeout", "1", workers=2) as server:
        before = server.workers()
        with Load(server.port) as load:
            (tmp_path / "main.py").write_text(broken)
            server.signal(signal.SIGHUP)
            server.wait_for(r"gen=2 given up: .*gen=1 stays")
            load.go_on(10)
            assert server.workers() == before
            (tmp_path / "main.py").write_text(good)
            reload(server)
            load.go_on(10)
        assert load.failures == []
        assert said in server.log


def test_reload_reads_the_configuration_again(tmp_path):
    config = tmp_path / "tricorn.toml"
    config.write_text('header = ["X-Version: 1"]\n')
    with serve(tmp_path, *QUICK, "-c", str(config)) as server:
        assert server.fetch().headers["x-version"] == "1"
        config.write_text('header = ["X-Version: 2"]\n')
        reload(server)
        assert server.fetch().headers["x-version"] == "2"


def test_reload_reads_the_variables_again(tmp_path):
    show = SAYING.replace("{text!r}", "(os.environ['WHO'] + os.environ.get('MORE', ''))")
    variables = tmp_path / "app.env"
    variables.write_text("WHO=first\nMORE=more\n")
    with serve(
        tmp_path, *QUICK, "--env-file", "app.env", application="import os" + show.format()
    ) as server:
        assert server.fetch().text == "firstmore"
        variables.write_text("WHO=second\n")
        reload(server)
        assert server.fetch().text == "second"
        variables.write_text("WHO\n")
        server.signal(signal.SIGHUP)
        server.wait_for(r"reload refused: --env-file app.env: line 1 is not NAME=VALUE$")


def test_reload_of_a_broken_configuration_says_so_and_changes_nothing(tmp_path):
    config = tmp_path / "tricorn.toml"
    config.write_text("backlog = 100\n")
    with serve(tmp_path, *QUICK, "-c", str(config)) as server:
        before = server.workers()
        config.write_text("no_such_option = 1\n")
        server.signal(signal.SIGHUP)
        assert "no_such_option" in server.wait_for(r"reload refused: .*$")[0]
        assert server.workers() == before and server.fetch().status == 200
        config.write_text("backlog = 200\n")
        reload(server)


def test_reload_opens_and_closes_listeners(tmp_path):
    config = tmp_path / "tricorn.toml"
    path = tmp_path / "more.sock"
    config.write_text(f'bind = ["127.0.0.1:0", "unix:{path}"]\n')
    with serve(tmp_path, *QUICK, "-c", str(config), bind=()) as server:
        port = server.port
        assert path.is_socket()
        config.write_text('bind = ["127.0.0.1:0"]\n')
        reload(server)
        assert server.port == port and server.fetch().status == 200
        assert not path.exists()


def test_reload_changes_the_number_of_workers(tmp_path):
    config = tmp_path / "tricorn.toml"
    config.write_text("workers = 1\n")
    environ = {"TRICORN_CONFIG": str(config)}
    with serve(tmp_path, *QUICK, environ=environ, workers=None) as server:
        config.write_text("workers = 3\n")
        server.signal(signal.SIGHUP)
        server.wait_for(r"gen=2 pid=\d+ ready$", 3)
        assert list(server.workers()) == [1, 2, 3]


def test_what_is_in_flight_outlives_a_reload(tmp_path):  # F07
    with serve(tmp_path, *QUICK) as server, Gate(tmp_path) as gate, contextlib.ExitStack() as held:
        old = server.workers()[1]
        waiting, uploading, downloading = (held.enter_context(server.connect()) for _ in range(3))
        waiting.request(f"/gate?path={gate.path}")
        inside = gate.entered()
        uploading.request("/echo", "POST", "content-length: 8")
        uploading.send(b"half")
        echoed = uploading.response("POST")
        assert echoed.read1() == b"half"
        downloading.request("/download?parts=4000")  # 64 MB: more than the buffers between us hold
        downloaded = downloading.response()
        server.signal(signal.SIGHUP)
        server.wait_for(r"reload complete$")
        assert server.workers()[1] != old

        inside.close()
        assert waiting.answer().text == f"let go by {old}"
        uploading.send(b"done")
        assert echoed.read() == b"done"
        assert len(downloaded.read()) == 4000 * 16384
        server.wait_for(rf"pid={old} cause=clean stopped$")


def test_idle_lasting_connection_is_closed_by_a_reload_and_not_reset(tmp_path):
    with serve(tmp_path, *QUICK) as server, server.connect() as client:
        client.fetch()
        reload(server)
        assert client.wait_for_end() == b""


def test_certificate_is_read_again(tmp_path):
    first, second = Authority("first"), Authority("second")
    files = first.issue(tmp_path, "localhost")
    with serve(tmp_path, *QUICK, *files.options) as server:
        assert server.fetch("/", first.client_context()).status == 200
        second.issue(tmp_path, "localhost")
        reload(server)
        assert server.fetch("/", second.client_context()).status == 200


def test_reload_with_a_broken_certificate_keeps_the_old_one(tmp_path):  # F22
    authority = Authority("first")
    files = authority.issue(tmp_path, "localhost")
    with serve(tmp_path, *QUICK, *files.options) as server:
        Path(files.certificate).write_text("garbage")
        server.signal(signal.SIGHUP)
        server.wait_for(r"reload refused: --certfile")
        assert server.fetch("/", authority.client_context()).status == 200
        authority.issue(tmp_path, "localhost")
        reload(server)
        assert server.fetch("/", authority.client_context()).status == 200
