"""The images by themselves."""

import json
from datetime import timedelta

import pytest

from tests.compose.conftest import BASE
from tests.compose.engine import Container, DockerError, bytes_above, docker

_LARGEST = 260_000_000
"""Bytes of our layers: the packages of requirements.lock, of which temporalio is a quarter, and our own code."""


def _python(image: str, code: str) -> str:
    return docker("run", "--rm", "--read-only", "--network=none", "--entrypoint=python", image, "-c", code).strip()


@pytest.mark.parametrize("name", ["worker", "gateway", "mock"])
def test_an_image_holds_what_it_runs_and_nothing_that_only_tests_need(images: dict[str, str], name: str) -> None:
    code = """
import importlib.util, json, pathlib, shutil
print(json.dumps({
    "code": sorted(each.name for each in pathlib.Path().iterdir()),
    "tests": [each for each in ("pytest", "mypy", "testcontainers", "pip") if importlib.util.find_spec(each)],
    "temporal": shutil.which("temporal"),
}))
"""
    incidents = ["activities", "incident", "integrations", "workflows"]
    code_of = {
        "worker": sorted([*incidents, "worker"]),
        "gateway": sorted([*incidents, "gateway"]),
        "mock": ["mock_service"],
    }
    assert json.loads(_python(images[name], code)) == {"code": code_of[name], "tests": [], "temporal": None}


@pytest.mark.parametrize("name", ["worker", "gateway", "mock"])
def test_an_image_runs_as_nobody_in_particular_and_stays_small(images: dict[str, str], name: str) -> None:
    described = json.loads(docker("image", "inspect", images[name]))[0]["Config"]
    assert described["User"] == "10001:10001"
    assert described["Entrypoint"][0] == "python"
    assert 0 < bytes_above(BASE, images[name]) < _LARGEST


def test_the_code_cannot_be_changed_by_who_runs_it(images: dict[str, str]) -> None:
    code = "import os; print([each for each in ('/app', '/app/worker', '/opt/venv') if os.access(each, os.W_OK)])"
    image = images["worker"]
    assert docker("run", "--rm", "--network=none", "--entrypoint=python", image, "-c", code).strip() == "[]"


@pytest.mark.parametrize("name", ["worker", "gateway"])
def test_what_cannot_reach_temporal_says_so_and_ends(images: dict[str, str], name: str) -> None:
    run = ("run", "--rm", "--read-only", "--tmpfs=/tmp", "--network=none")
    variables = {
        "TEMPORAL__ADDRESS": "127.0.0.1:1",
        "STORE__URL": "sqlite:////tmp/incidents.db",
        "SERVICES_FILE": "/registry/services.toml",
    }
    environment = [f"--env={key}={value}" for key, value in variables.items()]
    mount = "--volume=./compose:/registry:ro"
    with pytest.raises(DockerError, match=r"ended with 2:[\s\S]*TEMPORAL__ADDRESS"):
        docker(*run, mount, *environment, images[name], within=timedelta(minutes=2))


def test_the_mock_ends_at_once_when_it_is_told_to_while_a_request_waits(images: dict[str, str]) -> None:
    name = docker("run", "--detach", "--read-only", "--network=none", images["mock"]).strip()
    try:
        ask = "import urllib.request as r; r.urlopen('http://127.0.0.1:3000' + {!r}, data={!r}, timeout=20)"
        chaos = ask.format("/chaos/latency", b'{"latency_ms": 10000, "duration_seconds": 60}')
        ready = "import socket, time\nwhile socket.socket().connect_ex(('127.0.0.1', 3000)): time.sleep(0.1)"
        docker("exec", name, "python", "-c", ready)
        docker("exec", name, "python", "-c", chaos)
        docker("exec", "--detach", name, "python", "-c", ask.format("/dashboard", None))
        docker("stop", "--time=8", name)
        assert Container.find(name).state["ExitCode"] == 0
    finally:
        docker("rm", "--force", name)
