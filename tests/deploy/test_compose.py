"""The Compose file, without an engine to run it: what it says fits what it refers to."""

import re
import subprocess

import pytest

from tests.clients.programs import program
from tests.deploy.balancers import DEPLOY, balancer, sample
from tests.deploy.kustomize import loaded
from tests.process.probes import HEALTH, admin_port
from tests.support.process import Client, serve
from tricorn import options

COMPOSE = DEPLOY / "compose"


@pytest.fixture(scope="module")
def services():
    (what,) = loaded(COMPOSE / "compose.yaml")
    return what["services"]


def test_files_that_are_mounted_are_there(services):
    sources = [each.split(":")[0] for each in services["nginx"]["volumes"]]
    assert [each for each in sources if not (COMPOSE / each).exists()] == ["./tls"]
    assert (COMPOSE / services["app"]["build"] / "Dockerfile").is_file()


def test_server_takes_what_it_is_told_and_is_given_the_time_it_needs(services):
    app = services["app"]
    config = options.load(app["command"], app["environment"]).config
    needed = config.drain_delay + config.graceful_timeout + config.shutdown_timeout
    assert float(app["stop_grace_period"].removesuffix("s")) > needed
    (what,) = loaded(COMPOSE / "compose.yaml")
    (network,) = what["networks"]["inside"]["ipam"]["config"]
    assert config.forwarded_allow_ips == (network["subnet"],)


def test_nginx_sends_to_the_service_as_the_sample_does_to_this_machine(services):
    service = re.search(r"server (\w+):8000;", (COMPOSE / "upstream.conf").read_text())
    assert service and service[1] in services
    expected = sample("nginx/upstream.conf", ("127.0.0.1:8000", f"{service[1]}:8000"))
    assert (COMPOSE / "upstream.conf").read_text() == expected


@pytest.mark.slow
def test_pair_of_the_comment_is_one_that_nginx_serves(tmp_path):
    program("openssl")
    comment = re.search(r"^# +(mkdir.*\n.*)$", (COMPOSE / "compose.yaml").read_text(), re.M)
    assert comment
    command = comment[1].replace("\\\n#", "")
    subprocess.run(["sh", "-ec", command], cwd=tmp_path, check=True, capture_output=True)
    pair = {name: str(tmp_path / "tls" / f"tls.{name}") for name in ("crt", "key")}
    with (
        serve(tmp_path, *HEALTH) as server,
        balancer(
            "nginx",
            tmp_path,
            server.port,
            admin_port(server),
            ("/etc/nginx/tls/tls.crt;", f"{pair['crt']}; # /etc/nginx/tls/tls.crt"),
            ("/etc/nginx/tls/tls.key;", f"{pair['key']}; # /etc/nginx/tls/tls.key"),
        ) as running,
        Client(str(running.front)) as client,
    ):
        assert client.fetch().status == 200
