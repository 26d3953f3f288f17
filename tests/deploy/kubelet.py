"""Does with a manifest what a node does: starts the container's command with its environment and
mounts, probes it as declared, and stops it within its time."""

import contextlib
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.deploy.kustomize import Manifest
from tests.support.process import (
    COMMAND,
    STANDING,
    Client,
    Server,
    clean_environment,
)

IMAGE = Path(__file__).parents[2] / "Dockerfile"
ADDRESSES = ("TRICORN_BIND", "TRICORN_INSECURE_BIND", "TRICORN_HEALTH_BIND")


class Pod:
    """One container that runs."""

    def __init__(self, server: Server, spec: dict[str, Any]) -> None:
        self.server = server
        self._spec = spec
        (self._container,) = spec["containers"]
        self._deadline = 0.0
        self.health = 0

    @property
    def port(self) -> int:
        return self.server.port

    def start(self) -> None:
        """Until the start-up probe has succeeded, and then the readiness probe."""
        found = self.server.wait_for(r"health and metrics on http://127\.0\.0\.1:(\d+)")
        self.health = int(found[1])
        for name in ("startupProbe", "readinessProbe"):
            probe = self._container[name]
            for _ in range(probe["failureThreshold"]):
                if self.passes(name):
                    break
                time.sleep(probe["periodSeconds"])
            else:
                raise AssertionError(f"{name} has failed too often")

    def passes(self, name: str) -> bool:
        """Asks once."""
        probe = self._container[name]
        with contextlib.suppress(OSError), Client("127.0.0.1", self.health) as client:
            client.socket.settimeout(probe["timeoutSeconds"])
            return 200 <= client.fetch(probe["httpGet"]["path"]).status < 400
        return False

    def delete(self) -> None:
        """Tells it to end."""
        self.server.signal(signal.SIGTERM)
        self._deadline = time.monotonic() + self._spec["terminationGracePeriodSeconds"]

    def check(self) -> bool:
        """Whether it is still there; it must not be later than it would be killed."""
        there = self.server.process.poll() is None
        assert not there or time.monotonic() < self._deadline, "it would have been killed"
        return there

    def wait(self) -> None:
        """Until it has ended, which must be before it would be killed."""
        assert self.server.process.wait(max(0.0, self._deadline - time.monotonic())) == 0


@contextmanager
def pod(deployment: Manifest, directory: Path) -> Iterator[Pod]:
    """Runs the pod of a Deployment with the standing application, on ports that are free."""
    directory.mkdir()
    shutil.copy(STANDING, directory / "main.py")
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    environ = image_environment() | {each["name"]: each["value"] for each in container["env"]}
    for name in ADDRESSES:
        if name in environ:
            environ[name] = "127.0.0.1:0"
    for mount in container["volumeMounts"]:
        volume = directory / mount["name"]
        volume.mkdir()
        for name, value in environ.items():
            environ[name] = value.replace(mount["mountPath"], str(volume))
    assert container["args"] == ["tricorn.demo:app"]
    process = subprocess.Popen(
        [COMMAND, "main:app"],
        cwd=directory,
        env=clean_environment() | environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    server = Server(process, directory, 0)
    try:
        yield Pod(server, spec)
    except BaseException as error:
        server.end()
        error.add_note(f"the log of the pod:\n{server.log[-4000:]}")
        raise
    finally:
        server.end()


def image_environment() -> dict[str, str]:
    """What the image sets, but for where its own Python is."""
    lines = re.findall(r"^ENV (.*)$", IMAGE.read_text(), re.MULTILINE)
    pairs = [each.partition("=") for line in lines for each in line.split()]
    return {name: value for name, _, value in pairs if name != "PATH"}
