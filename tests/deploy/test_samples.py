"""The samples for proxies, each in front of the server, as they stand in deploy/."""

import http.client
import json
import re
import socket
import ssl
import time
from contextlib import contextmanager

import pytest
from websockets.sync.client import connect

from tests.deploy.balancers import balancer, sample
from tests.process.probes import HEALTH, admin_port
from tests.support.process import PATIENCE, serve
from tricorn.config import DEFAULTS

pytestmark = pytest.mark.slow

WHO = """
import json

async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            facts = [scope["http_version"], scope["client"][0], scope["scheme"], message["text"]]
            await send({"type": "websocket.send", "text": json.dumps(facts)})
    elif scope["type"] == "http":
        facts = [scope["http_version"], scope["client"][0], scope["scheme"]]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(facts).encode()})
"""
CLIENT = "127.5.5.5"
LIES = {"x-forwarded-for": "192.0.2.6", "x-forwarded-proto": "gopher", "forwarded": "for=192.0.2.6"}
VERSIONS = {
    "nginx": ("1.1", "1.1"),
    "haproxy": ("2", "2"),
    "envoy": ("2", "1.1"),
    "caddy": ("2", "1.1"),
}
"""What the server is spoken to with: for requests, and for WebSockets."""


@contextmanager
def served(tmp_path, kind):
    options = (*HEALTH, "--proxy-headers", "x-forwarded")
    with (
        serve(tmp_path, *options, application=WHO) as server,
        balancer(kind, tmp_path, server.port, admin_port(server)) as running,
    ):
        yield running


def insecure():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def fetch(running, fields):
    options = {"source_address": (CLIENT, 0), "timeout": PATIENCE}
    if running.secure:
        client = http.client.HTTPSConnection(*running.address, context=insecure(), **options)
    else:
        client = http.client.HTTPConnection(*running.address, **options)
    try:
        client.request("GET", "/", headers=fields)
        response = client.getresponse()
        return response.status, response.read()
    finally:
        client.close()


@pytest.mark.parametrize("kind", VERSIONS)
def test_sample_hands_on_who_asks_and_how(tmp_path, kind):
    with served(tmp_path, kind) as running:
        deadline = time.monotonic() + PATIENCE
        while (answer := fetch(running, LIES))[0] != 200:  # its health checks come first
            assert answer[0] == 503 and time.monotonic() < deadline, answer
            time.sleep(0.05)
        version, in_websocket = VERSIONS[kind]
        secure = "s" if running.secure else ""
        assert json.loads(answer[1]) == [version, CLIENT, f"http{secure}"]
        with (
            socket.create_connection(running.address, source_address=(CLIENT, 0)) as sock,
            connect(
                f"ws{secure}://localhost/",
                sock=sock,
                ssl=insecure() if running.secure else None,
                additional_headers=LIES,
                proxy=None,
            ) as client,
        ):
            client.send("hello")
            assert json.loads(client.recv()) == [in_websocket, CLIENT, f"ws{secure}", "hello"]
        assert fetch(running, LIES)[0] == 200, "its health checks have been answered"


@pytest.mark.parametrize(
    ("path", "times"),
    [
        ("nginx/upstream.conf", r"keepalive_timeout (\d+)s"),
        ("haproxy/haproxy.cfg", r"pool-purge-delay (\d+)s"),
        ("envoy/envoy.yaml", r"HttpProtocolOptions\n.*\n.*idle_timeout: (\d+)s"),
        ("caddy/Caddyfile", r"keepalive (\d+)s"),
    ],
)
def test_proxy_gives_up_an_idle_connection_before_the_server_does(path, times):
    found = [float(each) for each in re.findall(times, sample(path))]
    assert found and max(found) + 10 <= DEFAULTS.keep_alive
