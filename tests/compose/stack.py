"""docker-compose.yml as people start it, without Kestra, whose image is not to be had everywhere."""

import json
import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import httpx

from tests.compose.engine import Container, docker

SERVICES = ("payment-api", "gateway", "promote", "temporal-ui")
"""What is started by name; the rest comes along, since these depend on it."""
TAG = "test"
"""Of our images, which are others than those that people have."""
ONCALL = "ict_oncall-on-this-machine-only"
_CLOSED_WITHIN = timedelta(minutes=3)
_PORTS = ("PAYMENT_API_PORT", "GATEWAY_PORT", "TEMPORAL_UI_PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT")
T = TypeVar("T")


class ComposeStack:
    """A project of its own on free ports. `times` holds how long what took, in seconds."""

    def __init__(self, project: str) -> None:
        self._project = project
        ports = zip(_PORTS, _free_ports(len(_PORTS)), strict=True)
        self._environment = {"IMAGE_TAG": TAG, "BUILD_ID": "first", **{name: str(port) for name, port in ports}}
        self.times: dict[str, float] = {}
        self.mock = httpx.Client(base_url=self._url("PAYMENT_API_PORT"), timeout=30, trust_env=False)
        self.gateway = httpx.Client(
            base_url=self._url("GATEWAY_PORT"),
            headers={"Authorization": f"Bearer {ONCALL}"},
            timeout=60,
            trust_env=False,
        )

    @property
    def web_ui(self) -> str:
        """Where Temporal's Web UI is."""
        return self._url("TEMPORAL_UI_PORT")

    def close(self) -> None:
        """Takes everything away, volumes too."""
        self.mock.close()
        self.gateway.close()
        self.timed("down, with what was kept", lambda: self.compose("down", "--volumes", "--timeout=20"))

    def timed(self, what: str, act: Callable[[], T]) -> T:
        """What `act` returns; notes how long it took."""
        began = time.monotonic()
        try:
            return act()
        finally:
            self.times[what] = time.monotonic() - began

    def compose(self, *arguments: str) -> str:
        """What `docker compose` prints."""
        project = ("--env-file=/dev/null", f"--project-name={self._project}")
        return docker("compose", *project, *arguments, environment=self._environment)

    def release(self, build_id: str) -> None:
        """Makes a worker's image of another build, which the next `up` starts."""
        self._environment["BUILD_ID"] = build_id
        self.compose("build", "worker")

    def up(self) -> None:
        """Starts what there is, anew where its image is another one, and waits until it does its work."""
        self.compose("up", "--detach", *SERVICES)
        eventually(lambda: all(each.health in {"healthy", ""} for each in self.running()), "everything healthy")
        eventually(lambda: self.find("promote").state["Status"] == "exited", "a build promoted")
        assert self.find("promote").state["ExitCode"] == 0, self.compose("logs", "promote")

    def down(self) -> None:
        """Takes the containers away, and keeps the volumes."""
        self.compose("down", "--timeout=20")

    def running(self) -> Sequence[Container]:
        """Every container that runs."""
        return [Container.find(each) for each in self.compose("ps", "--quiet").split()]

    def find(self, service: str) -> Container:
        """The container of that service, running or not."""
        return Container.find(self.compose("ps", "--all", "--quiet", service).strip())

    def open_incident(self, **order: str) -> str:
        """Opens an incident of the mock payment-api; its id."""
        body = {"service": "payment-api", "environment": "production", "reason": "a test", **order}
        answer = self.gateway.post("/incidents", json=body)
        assert answer.status_code == httpx.codes.CREATED, answer.text
        return str(answer.json()["incident_id"])

    def ended(self, incident_id: str) -> Mapping[str, Any]:
        """The incident once it is closed."""
        stage = "detecting"
        deadline = time.monotonic() + _CLOSED_WITHIN.total_seconds()
        while time.monotonic() < deadline:
            answer = self.gateway.get(f"/incidents/{incident_id}", params={"wait": 20, "stage": stage})
            view: dict[str, Any] = answer.raise_for_status().json()
            if view["stage"] == "closed":
                return view
            stage = view["stage"]
        raise AssertionError(f"{incident_id} is still {stage}")

    def another_incident(self, known: Collection[str]) -> str:
        """The id of an incident that is none of `known`, once there is one."""
        found: set[str] = set()

        def _opened() -> bool:
            listed = self.gateway.get("/incidents").raise_for_status().json()["incidents"]
            found.update({each["incident_id"] for each in listed} - set(known))
            return bool(found)

        eventually(_opened, "another incident")
        return found.pop()

    def targets(self) -> set[str]:
        """How the targets of Prometheus are; empty: it does not answer."""
        try:
            answer = httpx.get(f"{self._url('PROMETHEUS_PORT')}/api/v1/targets", trust_env=False)
        except httpx.TransportError:
            return set()
        return {each["health"] for each in answer.raise_for_status().json()["data"]["activeTargets"]}

    def history(self, workflow_id: str) -> Sequence[Mapping[str, Any]]:
        """The events of the newest run of that workflow."""
        show = ("temporal", "temporal-namespace", "workflow", "show", "--workflow-id", workflow_id, "--output=json")
        told = self.compose("run", "--rm", "--no-deps", "--entrypoint", *show)
        events: list[Mapping[str, Any]] = json.loads(told)["events"]
        return events

    def _url(self, port: str) -> str:
        return f"http://127.0.0.1:{self._environment[port]}"


def eventually(holds: Callable[[], bool], what: str, within: timedelta = timedelta(minutes=3)) -> None:
    """Returns once `holds` does.

    Raises:
        AssertionError: it did not within that time; says what.
    """
    deadline = time.monotonic() + within.total_seconds()
    while not holds():
        assert time.monotonic() < deadline, f"not within {within}: {what}"
        time.sleep(0.5)


def _free_ports(count: int) -> Sequence[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
