"""The documented path, on a stack that runs: trigger an incident, run the flow in Kestra, watch the service recover.

`python -m tests.e2e.documented_path` tries docker-compose.yml's own addresses and credentials; every one can be given,
for any other Kestra. Prints a line for each step, and exits with 1 and the reason where one does not hold.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx

from incident.decision import Action, Decision
from incident.severity import PagerDutyPriority, Severity
from tests.standins.aimock.server import MODEL, running_aimock

_WITHIN = timedelta(minutes=10)
_ILL_WITHIN = timedelta(minutes=1)
_LOOKS_EVERY = timedelta(milliseconds=500)
_CALL_WITHIN = 30.0
_ENDED = frozenset({"SUCCESS", "WARNING", "FAILED", "KILLED", "CANCELLED"})
_BAD = 101
"""The deployment that /demo/trigger-incident makes live."""
_GOOD = 100
_Answer = dict[str, Any]


class NotAsDocumentedError(Exception):
    """A step did not come out as the documentation says."""


@dataclass(frozen=True)
class Place:
    """One part of the stack, and how it is spoken to."""

    url: str
    auth: tuple[str, str] | None = None
    token: str = ""

    def client(self) -> httpx.Client:
        """A client of it, open until it is closed."""
        bearer = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return httpx.Client(base_url=self.url, auth=self.auth, headers=bearer, timeout=_CALL_WITHIN)


@dataclass(frozen=True)
class DocumentedPath:
    """The stack, and what of it the flow is told.

    Args:
        mock: the payment-api.
        gateway: the commander's gateway, with a token that may read.
        kestra: Kestra, with whom it lets in.
        flow: <tenant>/<namespace>/<id>.
        inputs: of the flow, beside its defaults.
        analyst: who must have decided; empty: anybody.
    """

    mock: Place
    gateway: Place
    kestra: Place
    flow: str = "main/sre/incident-commander"
    inputs: Mapping[str, str] = field(default_factory=dict)
    analyst: str = ""

    def walk(self, tell: Callable[[str], None] = print) -> _Answer:
        """The incident's snapshot, after every step came out as documented.

        Raises:
            NotAsDocumentedError: one did not; says which.
            httpx.HTTPError: a part of the stack does not answer, or refuses.
        """
        with self.mock.client() as mock, self.gateway.client() as gateway, self.kestra.client() as kestra:
            _asked(mock, "POST", "/demo/trigger-incident")
            _until(lambda: _asked(mock, "GET", "/metrics/json")["health_status"] == "degraded", "the outage shows")
            tell(f"POST /demo/trigger-incident: deployment {_live(mock)} is live, and the service is ill")
            execution = self._run(kestra)
            tell(f"Kestra runs {self.flow}, execution {execution}")
            ended = self._ended(kestra, execution)
            state, outputs = ended["state"]["current"], ended.get("outputs") or {}
            tell(f"the execution is {state}: {outputs.get('outcome')}, {outputs.get('classification')}")
            _hold("the execution succeeds", state, "SUCCESS")
            snapshot = _asked(gateway, "GET", f"/incidents/{quote(outputs['incident_id'])}/snapshot")
            self._judge(snapshot, execution, mock)
            tell(f"deployment {_live(mock)} is live again, by one rollback; decided by {_analyst(snapshot)}")
            return snapshot

    def _run(self, kestra: httpx.Client) -> str:
        tenant, namespace, flow = self.flow.split("/")
        # Kestra takes inputs as a form of parts, and wants such a form.
        inputs = {"service_name": "payment-api", **self.inputs}
        parts = {name: (None, value) for name, value in inputs.items()}
        started = _asked(kestra, "POST", f"/api/v1/{tenant}/executions/{namespace}/{flow}", files=parts)
        return str(started["id"])

    def _ended(self, kestra: httpx.Client, execution: str) -> _Answer:
        tenant = self.flow.split("/")[0]
        seen: list[_Answer] = []

        def _over() -> bool:
            seen[:] = [_asked(kestra, "GET", f"/api/v1/{tenant}/executions/{execution}")]
            return seen[0]["state"]["current"] in _ENDED

        _until(_over, "the execution ends", _WITHIN)
        return seen[0]

    def _judge(self, snapshot: _Answer, execution: str, mock: httpx.Client) -> None:
        _hold("the incident recovers", snapshot["outcome"], "RECOVERED")
        _hold("before and after are compared", snapshot["health_status"], "FULLY_RECOVERED")
        _hold("what is done is a rollback", snapshot["action_taken"], "rollback")
        _hold("the record names the execution", snapshot["execution_id"], execution)
        _hold("the good deployment is live", _live(mock), _GOOD)
        order = snapshot["remediation"]["order"]
        journal = _asked(mock, "GET", "/demo/journal")["entries"]
        _hold("the rollback is done once", _done(journal, order["correlation_id"]), 1)
        if self.analyst:
            _hold("the analyst is the one that was to decide", _analyst(snapshot), self.analyst)


def _done(journal: Sequence[_Answer], correlation_id: str) -> int:
    return sum(each.get("correlation_id") == correlation_id and each.get("applied", False) for each in journal)


def _analyst(snapshot: _Answer) -> str:
    return str(snapshot["analysis"]["analyst"])


def _live(mock: httpx.Client) -> int:
    return int(_asked(mock, "GET", "/deployment/status")["currentDeployment"])


def _asked(client: httpx.Client, method: str, path: str, **what: Any) -> _Answer:  # noqa: ANN401 - httpx's own
    answer = client.request(method, path, **what)
    if not answer.is_success:
        raise NotAsDocumentedError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
    found: _Answer = answer.json()
    return found


def _until(holds: Callable[[], bool], what: str, within: timedelta = _ILL_WITHIN) -> None:
    deadline = time.monotonic() + within.total_seconds()
    while not holds():
        if time.monotonic() > deadline:
            raise NotAsDocumentedError(f"not within {within}: {what}")
        time.sleep(_LOOKS_EVERY.total_seconds())


def _hold(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise NotAsDocumentedError(f"{what}: expected {expected}, got {found}")


def rollback_decision() -> Decision:
    """What a model says that has understood the bad deployment."""
    return Decision(
        severity=Severity.P0,
        confidence=0.95,
        summary=f"Payments fail since deployment {_BAD}.",
        root_cause_hypothesis=f"Deployment {_BAD} moved payments to a provider that drops connections.",
        action=Action.ROLLBACK,
        rollback_to=_GOOD,
        pagerduty_priority=PagerDutyPriority.P1,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where the path holds, 1 with the reason where it does not."""
    asked = _parser().parse_args(arguments)
    inputs = dict(each.partition("=")[::2] for each in asked.input)
    with ExitStack() as running:
        if asked.model_port:
            aimock = running.enter_context(running_aimock("0.0.0.0", asked.model_port))  # noqa: S104 - containers call it
            aimock.script({"content": rollback_decision().model_dump_json()})
            inputs = {"model": MODEL, **inputs}
        path = DocumentedPath(
            mock=Place(asked.mock),
            gateway=Place(asked.gateway, token=asked.token),
            kestra=Place(asked.kestra, auth=(asked.user, asked.password)),
            flow=asked.flow,
            inputs=inputs,
            analyst=asked.analyst,
        )
        try:
            path.walk()
        except (NotAsDocumentedError, httpx.HTTPError) as error:
            sys.stderr.write(f"not as documented: {error}\n")
            return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--mock", default="http://localhost:3000", help="base URL of the payment-api")
    parser.add_argument("--gateway", default="http://localhost:8090", help="base URL of the gateway")
    parser.add_argument("--token", default="ict_oncall-on-this-machine-only", help="a token that may read there")
    parser.add_argument("--kestra", default="http://localhost:8080", help="base URL of Kestra")
    parser.add_argument("--user", default="admin@example.com", help="whom Kestra lets in")
    parser.add_argument("--password", default="Commander1", help="by which password")
    parser.add_argument("--flow", default="main/sre/incident-commander", help="<tenant>/<namespace>/<id>")
    parser.add_argument("--input", action="append", default=[], metavar="NAME=VALUE", help="an input of the flow")
    parser.add_argument("--analyst", default="", help="who must have decided, such as kestra or rules")
    parser.add_argument(
        "--model-port", type=int, default=0, help="run aimock there, which proposes the rollback; 0: no"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
