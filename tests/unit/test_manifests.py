"""The manifests: what Kubernetes would say to them, and that they agree with the programs that they run."""

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi import FastAPI
from pydantic import TypeAdapter

from gateway.metrics import Metrics
from gateway.probes import PROBE_WITHIN, build_probes
from gateway.settings import Settings as GatewayProcess
from incident.model import Duration
from integrations.files import read_policies, read_registry
from integrations.variables import variables
from tests.standins.kubernetes.schemas import closed, file_name
from worker.health import build_app
from worker.settings import Settings as WorkerProcess
from workflows.names import DEPLOYMENT, TASK_QUEUE

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "deploy" / "kubernetes"
PROGRAMS, SCHEMAS = ROOT / ".tools" / "bin", ROOT / ".tools" / "kubernetes-schemas"
COMPONENTS = ("ingress", "temporal-cloud")
"""The second takes `connection` in."""
OVERLAYS = ("keda", "worker-controller")
UNCHECKED = {"keda": [], "worker-controller": ["Connection", "WorkerDeployment"]}
"""Kinds that no schema is at hand for: the worker controller's definitions stand in no package that can be had here."""
PODS = {
    "keda": {"gateway": "gateway", "worker": "worker", "promote": "worker.promote"},
    "worker-controller": {"gateway": "gateway", "worker": "worker"},
}
"""The containers of each overlay, and what `python -m` runs in them."""

pytestmark = pytest.mark.skipif(
    not (PROGRAMS / "kubeconform").exists() or not SCHEMAS.exists(),
    reason="needs kustomize and kubeconform, which tests/standins/kubernetes/install installs",
)

Resource = dict[str, Any]
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _built(folder: Path) -> list[Resource]:
    built = subprocess.run(  # noqa: S603 - our own programs and files
        [str(PROGRAMS / "kustomize"), "build", str(folder)], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    assert not built.stderr
    return list(yaml.load_all(built.stdout, _Loader))


CLOUD = {"TEMPORAL__ADDRESS": "eu-central-1.aws.api.temporal.io:7233", "TEMPORAL__NAMESPACE": "incidents.a1b2c"}


def _above(directory: Path, overlay: str, *components: str) -> list[Resource]:
    """An overlay of somebody else's, on top of ours; with components, one that sets where Temporal is."""
    here = os.path.relpath(MANIFESTS, directory)
    literals = [f"{name}={value}" for name, value in CLOUD.items()]
    text = {
        "namespace": "incident-commander",
        "resources": [f"{here}/overlays/{overlay}"],
        "components": [f"{here}/components/{each}" for each in components],
        "configMapGenerator": [{"name": "settings", "behavior": "merge", "literals": literals if components else []}],
    }
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(text), encoding="utf-8")
    return _built(directory)


def _judged(resources: list[Resource], directory: Path) -> dict[str, list[Resource]]:
    """What kubeconform says, by status."""
    for file in (SCHEMAS / "keda").iterdir():
        definition = yaml.load(file.read_bytes(), _Loader)["spec"]  # noqa: S506 - it is a safe one
        for version in definition["versions"]:
            name = file_name(definition["names"]["kind"], definition["group"], version["name"])
            (directory / name).write_text(json.dumps(closed(version["schema"]["openAPIV3Schema"])), encoding="utf-8")
    places = [f"{folder}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json" for folder in (SCHEMAS, directory)]
    judged = subprocess.run(  # noqa: S603 - our own program
        [
            *(str(PROGRAMS / "kubeconform"), "-strict", "-verbose", "-ignore-missing-schemas", "-output", "json"),
            *(part for place in places for part in ("-schema-location", place)),
        ],
        input=yaml.safe_dump_all(resources),
        capture_output=True,
        text=True,
        check=False,
    )
    said: dict[str, list[Resource]] = {}
    for each in json.loads(judged.stdout)["resources"]:
        said.setdefault(each["status"], []).append(each)
    return said


@pytest.fixture(scope="module")
def rendered() -> dict[str, list[Resource]]:
    return {overlay: _built(MANIFESTS / "overlays" / overlay) for overlay in OVERLAYS}


def _one(resources: list[Resource], kind: str, name: str) -> Resource:
    (found,) = (each for each in resources if each["kind"] == kind and each["metadata"]["name"].startswith(name))
    return found


def _pods(resources: list[Resource]) -> Iterator[tuple[Resource, Resource]]:
    """Each pod's spec, and its only container."""
    for each in resources:
        if template := each.get("spec", {}).get("template"):
            (container,) = template["spec"]["containers"]
            yield template["spec"], container


def _settings(resources: list[Resource]) -> dict[str, str]:
    settings: dict[str, str] = _one(resources, "ConfigMap", "settings")["data"]
    return settings


def _seconds(duration: str) -> float:
    return TypeAdapter[timedelta](Duration).validate_python(duration).total_seconds()


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("components", [(), COMPONENTS])
def test_kubernetes_takes_every_resource_and_those_without_a_schema_are_known(
    overlay: str, components: tuple[str, ...], tmp_path: Path
) -> None:
    resources = _above(tmp_path, overlay, *components)
    said = _judged(resources, tmp_path)
    assert not said.get("statusInvalid"), said["statusInvalid"]
    assert not said.get("statusError"), said["statusError"]
    unchecked = sorted(each["kind"] for each in said.get("statusSkipped", []))
    assert unchecked == UNCHECKED[overlay]
    assert len(said["statusValid"]) == len(resources) - len(unchecked)


def test_a_field_that_kubernetes_does_not_know_is_refused(rendered: dict[str, list[Resource]], tmp_path: Path) -> None:
    wrong: dict[str, Resource] = {
        "Deployment": {"replica": 2},
        "NetworkPolicy": {"podSelector": {}, "policyType": ["Ingress"]},
        "PodDisruptionBudget": {"maxUnavailable": [1]},
        "ScaledObject": {"scaleTargetRef": {"name": "worker"}, "triggers": [], "minReplicas": 2},
    }
    right = {each["kind"]: each for each in rendered["keda"]}
    said = _judged([right[kind] | {"spec": spec} for kind, spec in wrong.items()], tmp_path)
    assert {status: sorted(each["kind"] for each in found) for status, found in said.items()} == {
        "statusInvalid": sorted(wrong)
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_variable_that_is_set_is_one_that_the_programs_read(
    rendered: dict[str, list[Resource]], overlay: str
) -> None:
    resources = rendered[overlay]
    given = set(_settings(resources))
    for _, container in _pods(resources):
        given |= {each["name"] for each in container.get("env", ())}
        given |= {part.partition("=")[0] for part in container["command"] if "=" in part}
    known = {each.name for each in variables(WorkerProcess, GatewayProcess)}
    assert given <= known, given - known


def test_the_examples_of_a_registry_and_a_policy_can_be_read() -> None:
    registry = read_registry(MANIFESTS / "base" / "services.toml")
    policies = read_policies(MANIFESTS / "base" / "policy.toml", registry, MANIFESTS / "base" / "services.toml")
    assert policies.default.approvers == ("oncall",)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_pod_is_root_writes_its_image_or_may_speak_to_kubernetes(
    rendered: dict[str, list[Resource]], overlay: str
) -> None:
    pods = {container["name"]: (spec, container) for spec, container in _pods(rendered[overlay])}
    assert set(pods) == set(PODS[overlay])
    for name, (spec, container) in pods.items():
        assert container["command"][-3:] == ["python", "-m", PODS[overlay][name]] or name == "promote"
        assert spec["automountServiceAccountToken"] is False
        whole, own = spec["securityContext"], container["securityContext"]
        assert whole["runAsNonRoot"]
        assert whole["runAsUser"] > 0
        assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
        assert own["readOnlyRootFilesystem"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]
    accounts = [each for each in rendered[overlay] if each["kind"] == "ServiceAccount"]
    assert {each["metadata"]["name"] for each in accounts} == {spec["serviceAccountName"] for spec, _ in pods.values()}
    assert not any(each["automountServiceAccountToken"] for each in accounts)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_secrets_are_named_and_never_given(rendered: dict[str, list[Resource]], overlay: str) -> None:
    resources = rendered[overlay]
    assert "Secret" not in {each["kind"] for each in resources}
    secret = {
        each.name
        for each in variables(WorkerProcess, GatewayProcess)
        if each.name.endswith(("KEY", "TOKEN", "SECRET", "WEBHOOK_URL")) or each.name == "STORE__URL"
    }
    assert not secret & set(_settings(resources))
    for _, container in _pods(resources):
        assert not secret & {each["name"] for each in container.get("env", ())}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_probes_ask_what_the_programs_answer_and_wait_as_long_as_they_may_take(
    rendered: dict[str, list[Resource]], overlay: str
) -> None:
    async def ready() -> bool:
        return True

    gateway = FastAPI()
    gateway.include_router(build_probes(Metrics(), {}))
    answered = {"gateway": gateway, "worker": build_app(ready)}
    bound = {"gateway": "GATEWAY__BIND", "worker": "WORKER__HEALTH_BIND"}
    settings = _settings(rendered[overlay])
    for _, container in _pods(rendered[overlay]):
        if (name := container["name"]) not in answered:
            continue
        paths = set(answered[name].openapi()["paths"]) if name == "gateway" else {"/healthz", "/readyz"}
        probes = {each: container[each]["httpGet"] for each in ("startupProbe", "livenessProbe", "readinessProbe")}
        assert {each["path"] for each in probes.values()} <= paths
        assert probes["livenessProbe"]["path"] == probes["startupProbe"]["path"] == "/healthz"
        assert probes["readinessProbe"]["path"] == "/readyz"
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        assert {str(ports[each["port"]]) for each in probes.values()} == {settings[bound[name]].rpartition(":")[2]}
        assert container["readinessProbe"]["timeoutSeconds"] > PROBE_WITHIN.total_seconds()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pod_is_given_longer_to_end_than_it_drains(rendered: dict[str, list[Resource]], overlay: str) -> None:
    settings = _settings(rendered[overlay])
    pods = {container["name"]: (spec, container) for spec, container in _pods(rendered[overlay])}
    for name in ("worker", "gateway"):
        spec, container = pods[name]
        pause: float = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        drain = _seconds(settings[f"{name.upper()}__DRAIN"])
        assert spec["terminationGracePeriodSeconds"] >= pause + drain + 5


def _ways_in(resources: list[Resource]) -> dict[str, list[int]]:
    """The ports that a policy opens on whom."""
    ways: dict[str, list[int]] = {}
    for each in resources:
        if each["kind"] == "NetworkPolicy":
            for rule in each["spec"].get("ingress", ()):
                assert all(rule["from"]), "anybody may come in"
                name = each["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
                ways.setdefault(name, []).extend(port["port"] for port in rule["ports"])
    return ways


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_comes_in_but_requests_to_the_gateway_and_questions_for_metrics(
    rendered: dict[str, list[Resource]], overlay: str
) -> None:
    denied = _one(rendered[overlay], "NetworkPolicy", "default-deny")["spec"]
    assert denied == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    settings = _settings(rendered[overlay])
    ports = {name: [int(settings[f"{name.upper()}__{what}"].rpartition(":")[2])] for name, what in _OPEN.items()}
    assert _ways_in(rendered[overlay]) == ports


_OPEN = {"gateway": "BIND", "worker": "METRICS_BIND"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_https_leaves_for_the_world_but_neither_for_this_cluster_nor_for_a_clouds_metadata(
    rendered: dict[str, list[Resource]], overlay: str
) -> None:
    (way,) = _one(rendered[overlay], "NetworkPolicy", "vendors")["spec"]["egress"]
    assert way["ports"] == [{"protocol": "TCP", "port": 443}]
    (block,) = way["to"]
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= set(block["ipBlock"]["except"])


def test_a_new_tag_is_a_new_build_and_is_what_is_promoted_and_scaled(tmp_path: Path) -> None:
    ours = yaml.safe_load((MANIFESTS / "overlays" / "keda" / "kustomization.yaml").read_text(encoding="utf-8"))
    for each in ours["images"]:
        each["newTag"] = "7f3c2ab"
    ours["resources"] = [os.path.relpath(MANIFESTS / "base", tmp_path), "scaled-object.yaml", "promote.yaml"]
    for file in ("scaled-object.yaml", "promote.yaml"):
        (tmp_path / file).write_bytes((MANIFESTS / "overlays" / "keda" / file).read_bytes())
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(ours), encoding="utf-8")
    resources = _built(tmp_path)
    builds = {
        container["name"]: each["value"]
        for _, container in _pods(resources)
        for each in container.get("env", ())
        if each["name"] == "WORKER__BUILD_ID"
    }
    assert builds == {"worker": "7f3c2ab", "promote": "7f3c2ab"}
    (trigger,) = _one(resources, "ScaledObject", "worker")["spec"]["triggers"]
    scaled = trigger["metadata"]
    assert scaled["workerDeploymentBuildIdFromEnv"] == "WORKER__BUILD_ID"
    assert (scaled["workerDeploymentName"], scaled["taskQueue"]) == (DEPLOYMENT, TASK_QUEUE)


@pytest.mark.parametrize("components", [(), ("connection",), ("temporal-cloud",)])
def test_the_controller_and_its_workers_reach_the_same_temporal(components: tuple[str, ...], tmp_path: Path) -> None:
    resources = _above(tmp_path, "worker-controller", *components)
    settings = _settings(resources)
    assert not components or settings.items() >= CLOUD.items()
    connection = _one(resources, "Connection", "temporal")["spec"]
    worker = _one(resources, "WorkerDeployment", "worker")["spec"]
    assert connection["hostPort"] == settings["TEMPORAL__ADDRESS"]
    assert worker["workerOptions"] == {
        "connectionRef": {"name": "temporal"},
        "temporalNamespace": settings["TEMPORAL__NAMESPACE"],
    }
    secret = connection.get("apiKeySecretRef")
    assert secret == ({"name": "temporal", "key": "TEMPORAL__API_KEY"} if "temporal-cloud" in components else None)
    (container,) = worker["template"]["spec"]["containers"]
    assert {"name": "WORKER__VERSIONING", "value": "pinned"} in container["env"]
    assert container["command"][:5] == [
        "env",
        "TEMPORAL__ADDRESS=$(TEMPORAL_ADDRESS)",
        "TEMPORAL__NAMESPACE=$(TEMPORAL_NAMESPACE)",
        "WORKER__DEPLOYMENT=$(TEMPORAL_DEPLOYMENT_NAME)",
        "WORKER__BUILD_ID=$(TEMPORAL_WORKER_BUILD_ID)",
    ]
