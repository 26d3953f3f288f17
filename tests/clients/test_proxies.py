"""Proxies that people put in front, with lasting connections to the server behind."""

import hashlib
import os
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients.programs import program
from tests.process.load import Load
from tests.support.nginx import configuration
from tests.support.process import PATIENCE, Client, serve

pytestmark = pytest.mark.slow

NGINX = """
    client_max_body_size 100m;
    upstream tricorn {{ server {upstream}; keepalive 16; }}
    server {{
        listen unix:{directory}/front;
        location / {{
            proxy_pass http://tricorn;
            proxy_http_version 1.1;
            proxy_set_header connection "";
            proxy_set_header host $host;
            proxy_set_header x-forwarded-for $proxy_add_x_forwarded_for;
            proxy_set_header x-forwarded-proto https;
            proxy_set_header forwarded "for=192.0.2.66";
            # What fails must be seen, not tried again.
            proxy_next_upstream off;
            proxy_buffering off;
            proxy_request_buffering {buffering};
        }}
    }}
"""
HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 20s
    timeout server 20s
    retries 0
    http-reuse always
frontend front
    bind unix@{directory}/front {accepts}
    default_backend tricorn
backend tricorn
    http-request set-header x-forwarded-for "%[hdr(x-forwarded-for)], 127.0.0.9"
    http-request set-header x-forwarded-proto https
    server one {upstream} {version} {sends}
"""


SENDS = {
    "v1": "send-proxy",
    "v2": "send-proxy-v2",
    "checked": "send-proxy-v2 proxy-v2-options crc32c",
}
"""The PROXY protocol in front of every connection."""


@contextmanager
def proxy(kind, directory, upstream, buffering="off"):
    """Runs a proxy in front of a port; yields the path of its own socket, as it can be told no port
    that is surely free."""
    name, _, version = kind.partition("-")
    command = program(name)
    file = directory / f"{name}.conf"
    template = {"nginx": NGINX, "haproxy": HAPROXY}[name]
    values = {"directory": directory, "upstream": f"127.0.0.1:{upstream}", "buffering": buffering}
    values["version"] = f"proto {version}" if version == "h2" else ""
    values["sends"] = SENDS.get(version, "")
    values["accepts"] = "accept-proxy" if values["sends"] else ""
    text = template.format(**values)
    file.write_text(configuration(directory, text) if name == "nginx" else text)
    options = ["-c", str(file), "-e", "stderr"] if name == "nginx" else ["-f", str(file), "-db"]
    with (
        open(directory / "proxy.log", "wb") as log,
        subprocess.Popen([command, *options], stdout=log, stderr=log) as process,
    ):
        front = directory / "front"
        try:
            wait_for_listener(front, process)
            yield front
        except BaseException as error:
            error.add_note((directory / "proxy.log").read_text())
            raise
        finally:
            process.terminate()
            process.wait(PATIENCE)


def wait_for_listener(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            Client(str(path)).socket.close()
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, "the proxy is not there"
            os.sched_yield()
        else:
            return


# The nginx of Debian 12 and 13 speaks nothing but HTTP/1.1 to what is behind it.
KINDS = pytest.mark.parametrize("kind", ["nginx", "haproxy", "haproxy-h2"])


def test_proxy_speaks_version_2_behind_itself(tmp_path):
    with (
        serve(tmp_path, application="tricorn.demo:app") as server,
        proxy("haproxy-h2", tmp_path, server.port) as front,
        Client(str(front)) as client,
    ):
        assert "HTTP/2" in client.fetch("/who").text


@KINDS
def test_connections_behind_the_proxy_last(tmp_path, kind):
    with serve(tmp_path) as server, proxy(kind, tmp_path, server.port) as front:
        ports = set()
        for _ in range(20):
            with Client(str(front)) as client:
                answer = client.fetch("/ends", "GET", "connection: close")
                ports.add(answer.text.split("]")[0])
        assert len(ports) <= 2, ports


@KINDS
@pytest.mark.parametrize("buffering", ["on", "off"])
def test_upload_through_the_proxy(tmp_path, kind, buffering):
    body = os.urandom(1024 * 1024) * 5
    expected = hashlib.sha256(body).hexdigest()
    with (
        serve(tmp_path) as server,
        proxy(kind, tmp_path, server.port, buffering) as front,
        Client(str(front)) as client,
    ):
        assert client.upload("/upload", body).text == expected
        client.request("/upload", "POST", "transfer-encoding: chunked")
        for start in range(0, len(body), 100_000):
            part = body[start : start + 100_000]
            client.send(b"%x\r\n%b\r\n" % (len(part), part))
        client.send(b"0\r\n\r\n")
        assert client.answer("POST").text == expected


@KINDS
def test_stream_through_the_proxy_comes_part_by_part(tmp_path, kind):
    with (
        serve(tmp_path) as server,
        proxy(kind, tmp_path, server.port) as front,
        Client(str(front)) as client,
    ):
        client.request("/echo", "POST", "transfer-encoding: chunked")
        client.send(b"5\r\nfirst\r\n")
        response = client.response("POST")
        assert response.read1() == b"first"
        client.send(b"6\r\nsecond\r\n0\r\n\r\n")
        assert response.read() == b"second"


@KINDS
def test_download_through_the_proxy(tmp_path, kind):
    with (
        serve(tmp_path) as server,
        proxy(kind, tmp_path, server.port) as front,
        Client(str(front)) as client,
    ):
        assert len(client.fetch("/download?parts=1000").body) == 1000 * 16384
        assert client.fetch("/wrong").status == 500
        assert client.fetch("/missing").status == 404


@KINDS
def test_reload_behind_the_proxy_is_not_noticed(tmp_path, kind):  # F35
    options = ("--reload-settle", "0.2")
    with (
        serve(tmp_path, *options, workers=2) as server,
        proxy(kind, tmp_path, server.port) as front,
    ):
        before = set(server.children())
        with Load(front) as load:
            server.signal(signal.SIGHUP)
            server.wait_for(r"reload complete$")
            server.wait_for(r"stopped$")
            load.go_on(200)
        assert load.failures == []
        assert not before & set(server.children())


WHO = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    text = f"{scope['client']} {scope['scheme']} {sorted(scope['extensions'])}"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": text.encode()})
"""


@KINDS
def test_the_proxy_says_who_the_client_is(tmp_path, kind):
    options = ("--proxy-headers", "--forwarded-allow-ips", "127.0.0.0/8,unix")
    sent = [f"x-forwarded-for: {spoof}192.0.2.7" for spoof in ("", "10.6.6.6, ")]
    with (
        serve(tmp_path, *options, "--access-logfile", "access", application=WHO) as server,
        proxy(kind, tmp_path, server.port) as front,
    ):
        for field in sent:
            with Client(str(front)) as client:
                text = client.fetch("/", "GET", field).text
            # nginx calls the other end of its own socket "unix:": nobody vouches beyond that.
            expected = "('127.0.0.1', " if kind == "nginx" else "('192.0.2.7', 0) "
            assert text.startswith(expected) and " https " in text, text
        server.stop()
        assert kind == "nginx" or (tmp_path / "access").read_text().startswith("192.0.2.7")


@pytest.mark.parametrize("version", ["v1", "v2", "checked"])
def test_the_balancer_announces_whom_it_speaks_for(tmp_path, version):
    options = ("--proxy-protocol", "v1" if version == "v1" else "v2")
    with (
        serve(tmp_path, *options, application=WHO) as server,
        proxy(f"haproxy-{version}", tmp_path, server.port) as front,
    ):
        for address in ("TCP4 192.0.2.7 192.0.2.1", "TCP6 2001:db8::7 2001:db8::1"):
            with Client(str(front)) as client:
                client.send(f"PROXY {address} 5123 443\r\n".encode())  # HAProxy is told by us
                text = client.fetch("/").text
                assert text.startswith(f"('{address.split()[1]}', 5123) http "), text
