"""The manifests say what Kubernetes takes, and what the server can keep."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.deploy.kustomize import rendered
from tricorn import options

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
TARGETS = ("base", "overlays/http3", "overlays/autoscaling")
VERSIONS = ("1.27", "1.30", "1.33", kubernetes_validate.latest_version())
"""From the first that knows everything that is used, to the last that has been published."""
RECENT = 27
"""Versions of kubectl that have a kustomize with components and targets of patches."""

each_target = pytest.mark.parametrize("target", TARGETS)


def found(target, kind):
    (one,) = [each for each in rendered(KUBERNETES / target) if each["kind"] == kind]
    return one


def pod(target):
    return found(target, "Deployment")["spec"]["template"]["spec"]


def environment(target):
    (container,) = pod(target)["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


@each_target
@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_are_valid(target, version):
    for each in rendered(KUBERNETES / target):
        kubernetes_validate.validate(each, version, strict=True)


def test_schema_refuses_what_it_does_not_know():
    manifest = found("base", "Deployment")
    manifest["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)


@each_target
def test_kustomize_renders_the_same(target):
    kubectl = recent_kubectl()
    theirs = subprocess.run(
        [kubectl, "kustomize", KUBERNETES / target], capture_output=True, check=True
    )
    assert by_name(yaml.safe_load_all(theirs.stdout)) == by_name(rendered(KUBERNETES / target))


def recent_kubectl():
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    version = subprocess.run([kubectl, "version", "--client", "-o", "json"], capture_output=True)
    minor = json.loads(version.stdout)["clientVersion"]["minor"].rstrip("+")
    if int(minor) < RECENT:
        pytest.skip(f"kubectl 1.{minor} has too old a kustomize")
    return kubectl


def by_name(manifests):
    return {(each["kind"], each["metadata"]["name"]): each for each in manifests}


@each_target
def test_what_stopping_may_take_fits_into_what_kubernetes_waits(target):
    config = options.load(pod(target)["containers"][0]["args"], environment(target)).config
    needed = config.drain_delay + config.graceful_timeout + config.shutdown_timeout
    assert needed < pod(target)["terminationGracePeriodSeconds"] <= 30
    assert "lifecycle" not in pod(target)["containers"][0], "the delay is the server's own"
    probe = pod(target)["containers"][0]["readinessProbe"]
    assert config.drain_delay > probe["periodSeconds"] * probe["failureThreshold"]
    startup = pod(target)["containers"][0]["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= config.startup_timeout


@each_target
def test_ports_are_bound_and_named(target):
    (container,) = pod(target)["containers"]
    env = environment(target)
    bound = {
        (env[name].removeprefix(":"), protocol)
        for name, protocol in (
            ("TRICORN_BIND", "TCP"),
            ("TRICORN_INSECURE_BIND", "TCP"),
            ("TRICORN_HEALTH_BIND", "TCP"),
            ("TRICORN_QUIC_BIND", "UDP"),
        )
        if name in env
    }
    named = {each["name"]: each for each in container["ports"]}
    assert {(str(each["containerPort"]), each["protocol"]) for each in named.values()} == bound
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[name]["httpGet"]["port"] == "health"
    for each in found(target, "Service")["spec"]["ports"]:
        assert named[each["targetPort"]]["protocol"] == each["protocol"]
    let_in = [
        (each["port"], each["protocol"])
        for rule in found(target, "NetworkPolicy")["spec"]["ingress"]
        for each in rule["ports"]
    ]
    assert sorted(let_in) == sorted((k, v["protocol"]) for k, v in named.items())


@each_target
def test_nothing_is_allowed_that_is_not_needed(target):
    spec = pod(target)
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not spec["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounts = {each["name"] for each in container["volumeMounts"]}
    assert mounts == {each["name"] for each in spec["volumes"]}


@each_target
def test_selectors_find_the_pods(target):
    deployment = found(target, "Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    selectors = [
        deployment["selector"]["matchLabels"],
        found(target, "Service")["spec"]["selector"],
        found(target, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        found(target, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(each.items() <= labels.items() for each in selectors)


def test_scaled_deployment_has_no_number_of_its_own():
    assert "replicas" not in found("overlays/autoscaling", "Deployment")["spec"]
    scaled = found("overlays/autoscaling", "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert scaled == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "tricorn"}


def test_http3_is_announced_at_the_port_of_the_service():
    (quic,) = [
        each
        for each in found("overlays/http3", "Service")["spec"]["ports"]
        if each["protocol"] == "UDP"
    ]
    assert f'h3=":{quic["port"]}"' in environment("overlays/http3")["TRICORN_ALT_SVC"]


def test_overlay_of_the_readme_is_one(tmp_path):
    (example,) = re.findall(
        r"```yaml\n(.*?)```", (ROOT / "deploy" / "README.md").read_text(), re.DOTALL
    )
    kubectl = recent_kubectl()
    shutil.copytree(KUBERNETES, tmp_path / "deploy" / "kubernetes")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "kustomization.yaml").write_text(example)
    done = subprocess.run([kubectl, "kustomize", tmp_path / "shop"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    manifests = list(yaml.safe_load_all(done.stdout))
    for each in manifests:
        kubernetes_validate.validate(each, VERSIONS[-1], strict=True)
        assert each["metadata"]["namespace"] == "shop"
    (deployment,) = [each for each in manifests if each["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.com/shop:7"
    assert container["args"] == ["shop:app"] and "replicas" not in deployment["spec"]
    environ = {each["name"]: each["value"] for each in container["env"]}
    assert "TRICORN_QUIC_BIND" in environ and environ["TRICORN_PROXY_HEADERS"] == "x-forwarded"
    config = options.load(["shop:app"], environ).config
    assert config.forwarded_allow_ips == ("10.0.0.0/8",)
