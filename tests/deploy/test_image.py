"""The image, built from the Dockerfile and run, where there is no Docker engine: buildah and podman
on a base of Debian's own packages."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients.programs import program
from tests.process.load import Load
from tests.support.process import PATIENCE, STANDING, Client, Gate, Server
from tricorn import __version__

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can unpack a base and run containers"),
]

ROOT = Path(__file__).parents[2]
BASE = "base-files,dash,coreutils,python3,python3-venv"
SUITE = "trixie"
"""Its Python is the 3.13 that the Dockerfile asks for."""
BUILDING = 300.0
ROOM = 4e9
BUILD = (
    *("buildah", "bud", "--isolation=chroot", "--format=docker", "--layers=false"),
    # The authorities that this machine trusts, for what is fetched with TLS.
    "--volume=/etc/ssl/certs:/etc/ssl/certs:ro",
)
RUN = ("podman", "--cgroup-manager=cgroupfs", "run", "--runtime=runc", "--rm", "--network=none")
LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
"""podman would raise them, which root of a machine that is itself confined may not."""
ANYBODY = "54321:0"
"""Nobody that the image knows; clusters such as OpenShift give out users like that."""


class Images:
    """A store of images of its own, and the containers that run from it."""

    def __init__(self, directory: Path) -> None:
        settings = {"CONTAINERS_STORAGE_CONF": str(directory / "storage"), "TMPDIR": str(directory)}
        self._environment = os.environ | settings
        (directory / "storage").write_text(
            f'[storage]\ndriver = "vfs"\nrunroot = "{directory}/run"\ngraphroot = "{directory}/all"'
        )

    def call(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=BUILDING
        )
        assert done.returncode == 0, f"{command}: {done.stderr[-4000:]}"
        return done.stdout

    def inspect(self, name: str) -> dict:
        return json.loads(self.call("podman", "image", "inspect", name))[0]

    @contextmanager
    def running(self, directory: Path, *options: str, command: tuple[str, ...] = (), workers=1):
        """A container without any network but its own; podman hands it the signals it gets."""
        identity = f"--cidfile={directory / 'container'}"
        closed = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--no-healthcheck")
        process = subprocess.Popen(
            [*RUN, *LIMITS, *closed, identity, *options, "tricorn", *command],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        server = Server(process, directory, workers)
        try:
            server.wait_until_ready()
            yield server
        except BaseException as error:
            error.add_note(f"its log:\n{server.log[-8000:]}")
            raise
        finally:
            if process.poll() is None:
                self.call("podman", "rm", "--force", "--time=0", container(directory))
            server.end()

    def executed(self, directory: Path, *command: str) -> tuple[int, str]:
        """A command inside the container: its status and what it has printed."""
        podman = ["podman", "--cgroup-manager=cgroupfs", "exec", container(directory), *command]
        done = subprocess.run(
            podman, env=self._environment, capture_output=True, text=True, timeout=PATIENCE
        )
        return done.returncode, done.stdout + done.stderr


def container(directory: Path) -> str:
    return (directory / "container").read_text()


def store() -> Path:
    """Where every layer is a copy of all below it: in memory, where there is enough."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > ROOM
    return Path(tempfile.mkdtemp(prefix="images-", dir=memory if roomy else None))


@pytest.fixture(scope="module")
def images():
    for each in ("mmdebstrap", "buildah", "podman", "runc"):
        program(each)
    directory = store()
    images = Images(directory)
    base = directory / "base.tar"
    try:
        # Unpacked, not configured: nothing of what its scripts would do is asked for here.
        bootstrap = ("mmdebstrap", "--quiet", "--variant=extract", f"--include={BASE}", SUITE)
        try:
            images.call(*bootstrap, str(base))
        except AssertionError as error:
            pytest.skip(f"Debian's packages cannot be had: {error}")
        images.call("podman", "import", "--quiet", str(base), "base")
        images.call(
            *BUILD,
            *("--build-arg=BASE=localhost/base", "--build-arg=REVISION=0123abc"),
            *("--tag=tricorn", str(ROOT)),
        )
        yield images
    finally:
        shutil.rmtree(directory)


def test_image_says_what_it_is(images):
    image, base = images.inspect("tricorn"), images.inspect("base")
    added = (image["Size"] - base["Size"]) / 1e6
    print(f"\nthe image adds {added:.0f} MB to its base of {base['Size'] / 1e6:.0f} MB")
    assert added < 80
    config = image["Config"]
    assert config["User"] == "10001:10001" and config["StopSignal"] == "SIGTERM"
    assert set(config["ExposedPorts"]) == {"8000/tcp", "8443/tcp", "8443/udp", "9090/tcp"}
    assert config["Entrypoint"] == ["server"] and config["Cmd"] == ["tricorn.demo:app"]
    labels = {k.removeprefix("org.opencontainers.image."): v for k, v in config["Labels"].items()}
    assert labels["version"] == __version__ and labels["revision"] == "0123abc"
    assert labels["licenses"] == "MIT" and labels["base.name"] == "localhost/base"


def test_image_as_it_is_serves_the_demo_and_is_healthy(images, tmp_path):
    check = images.inspect("tricorn")["Healthcheck"]["Test"]
    assert check[0] == "CMD"
    with images.running(tmp_path) as server:
        status, said = images.executed(tmp_path, *check[1:])
        assert status == 0 and json.loads(said)["ok"] is True
        assert server.addresses == ["http://0.0.0.0:8000"]
        status, said = images.executed(tmp_path, *check[1:], "127.0.0.1:1")
        assert status == 1 and "Connection refused" in said
        assert images.executed(tmp_path, "sh", "-c", "id -u; touch /app/x")[1].startswith("10001\n")
        assert server.stop() == 0


def test_image_of_an_application_as_the_readme_makes_it(images, tmp_path):
    (recipe,) = re.findall(r"```dockerfile\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "Dockerfile").write_text(recipe)
    (tmp_path / "requirements.txt").write_text("tricorn\n")  # what is there already
    shutil.copy(STANDING, tmp_path / "module.py")
    images.call(*BUILD, "--tag=application", str(tmp_path))
    config = images.inspect("application")["Config"]
    assert config["User"] == "10001:10001" and config["Cmd"] == ["module:app"]
    assert "/app/module.py" in images.call(
        *(*RUN, *LIMITS, "--entrypoint=python3", "application"),
        *("-c", "import tricorn, module; print(module.__file__)"),
    )


def test_anybody_serves_on_a_root_that_cannot_be_written_and_stops_without_loss(images, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    application = tmp_path / "application"
    application.mkdir(0o755)
    shutil.copy(STANDING, application / "main.py")
    volumes = (f"--volume={shared}:/shared", f"--volume={application}:/app:ro")
    command = ("-w", "2", "-b", "unix:/shared/front", "--drain-delay", "1", "main:app")
    with (
        images.running(
            tmp_path, f"--user={ANYBODY}", *volumes, command=command, workers=2
        ) as server,
        Gate(shared) as gate,
    ):
        os.chmod(gate.path, 0o777)
        front = shared / "front"
        uid, who = images.executed(tmp_path, "sh", "-c", "id -u; cat /proc/1/cmdline; touch /x")
        assert who.startswith("54321\n") and "server: master" in who and uid == 1, who
        assert re.search("touch: .*Read-only file system", who)
        with Client(str(front)) as waiting, Client(str(front)) as taking:
            waiting.request("/gate?path=/shared/gate")
            inside = gate.entered()
            taking.request("/download?parts=2000")
            with Load(front) as load:
                server.signal(signal.SIGTERM)
                told = time.monotonic()
                server.wait_for("SIGTERM")
                load.go_on(50)
            server.wait_for("is told to drain")
            inside.close()
            assert waiting.answer().text.startswith("let go by ")
            assert len(taking.answer().body) == 2000 * 16384
        assert server.wait() == 0
        assert time.monotonic() - told < 10, "no longer than Docker waits"
    assert load.failures == []
