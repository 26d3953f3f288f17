"""Rolling updates of the Deployment behind nginx and HAProxy, which may not try again.

ROLLS=20 makes it as long as a figure needs.
"""

import itertools
import os
import re
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.deploy.balancers import balancer, sample
from tests.deploy.kubelet import pod
from tests.deploy.kustomize import rendered
from tests.process.load import Load
from tests.support.process import PATIENCE

pytestmark = pytest.mark.slow

ROLLS = int(os.environ.get("ROLLS", "2"))
REMOVAL = 1.5
"""Seconds until the last balancer has heard that a pod is going."""
SLOTS = 8
KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"


class FreshLoad(Load):
    """Each request over a connection of its own: nginx cuts idle ones when it is reloaded."""

    async def _client(self, name, lasting):
        await super()._client(name, False)


class Nginx:
    """Is reloaded with the endpoints there are."""

    changes = (("proxy_next_upstream error timeout;", "proxy_next_upstream off;"),)

    def __init__(self, running):
        self._running = running

    def load(self):
        return FreshLoad(self._running.front)

    def use(self, pods):
        servers = "\n".join(f"    server 127.0.0.1:{each.port};" for each in pods)
        text = sample("nginx/upstream.conf", ("    server 127.0.0.1:8000;", servers))
        (self._running.directory / "upstream.conf").write_text(text)
        self._running.process.send_signal(signal.SIGHUP)


class HAProxy:
    """Is told of the endpoints through its socket; stays as it is."""

    changes = (
        (
            "    option redispatch\n    retries 2\n    retry-on conn-failure empty-response",
            "    retries 0",
        ),
        ("    http-request disable-l7-retry unless METH_GET\n", ""),
        ("    server one ", f"    server-template one 1-{SLOTS} "),
    )

    def __init__(self, running):
        self._running = running
        self._used = {}
        self._free = [f"tricorn/one{number}" for number in range(1, SLOTS + 1)]
        for each in self._free:
            self._say(f"set server {each} state maint")

    def load(self):
        return Load(self._running.front)

    def use(self, pods):
        for each in [known for known in self._used if known not in pods]:
            name = self._used.pop(each)
            self._say(f"set server {name} state maint")
            self._free.append(name)
        for each in [new for new in pods if new not in self._used]:
            name = self._used[each] = self._free.pop(0)
            self._say(f"set server {name} addr 127.0.0.1 port {each.port}")
            self._say(f"set server {name} check-port {each.health}")
            self._say(f"set server {name} state ready")
            deadline = time.monotonic() + PATIENCE
            while not re.search(f"^{name.replace('/', ',')},.*,UP,", self._say("show stat"), re.M):
                assert time.monotonic() < deadline, self._say("show stat")
                time.sleep(0.05)

    def _say(self, command):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(str(self._running.directory / "stats"))
            sock.sendall(command.encode() + b"\n")
            answer = b""
            while part := sock.recv(65536):
                answer += part
        return answer.decode()


class HAProxyOfVersion1(HAProxy):
    changes = (*HAProxy.changes, ("default-server proto h2", "default-server"))


BALANCERS = {"nginx": Nginx, "haproxy": HAProxy, "haproxy-h1": HAProxyOfVersion1}


def test_updates_lose_nothing(tmp_path):
    (deployment,) = [e for e in rendered(KUBERNETES / "base") if e["kind"] == "Deployment"]
    replicas = deployment["spec"]["replicas"]
    with ExitStack() as running_pods, ExitStack() as stack:
        numbers = itertools.count(1)

        def created():
            directory = tmp_path / f"pod-{next(numbers)}"
            return running_pods.enter_context(pod(deployment, directory))

        pods = [created() for _ in range(replicas)]
        for each in pods:
            each.start()
        balancers, loads = [], []
        for name, kind in BALANCERS.items():
            directory = tmp_path / name
            directory.mkdir()
            program = name.partition("-")[0]
            running = balancer(program, directory, pods[0].port, pods[0].health, *kind.changes)
            balancers.append(kind(stack.enter_context(running)))
            balancers[-1].use(pods)
            loads.append(stack.enter_context(balancers[-1].load()))
        ending = []
        new = created()
        for left in reversed(range(ROLLS * replicas)):
            new.start()
            old, *rest = pods
            for each in balancers:
                each.use([*pods, new])
            pods = [*rest, new]
            old.delete()
            deleted = time.monotonic()
            if left:  # what is ending counts no more, so the next one is created
                new = created()
            while old.passes("readinessProbe"):
                assert time.monotonic() < deleted + PATIENCE
            assert old.passes("livenessProbe"), "it is not to be killed for being told to end"
            time.sleep(max(0.0, deleted + REMOVAL - time.monotonic()))
            for each in balancers:
                each.use(pods)
            ending = [each for each in [*ending, old] if each.check()]
        for each in ending:
            each.wait()
        for each in loads:
            each.go_on(50)
    for each in loads:
        assert each.failures == [] and each.answered > 100 * ROLLS
    answered = [each.answered for each in loads]
    print(f"\n{ROLLS} updates of {replicas} pods, answers through {list(BALANCERS)}: {answered}")
