"""The demo's scenarios: what is done to the patient, what the commander must make of it, and how that is told."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from incident.freeze import Freeze
from incident.policy import Mode, Policy
from incident.severity import Severity
from incident.snapshot import ActionTaken, Outcome, Snapshot


class Scenario(StrEnum):
    """The names that `commander demo --scenario` takes."""

    BAD_DEPLOY = "bad-deploy"
    REAL_SHAPES = "real-shapes"
    WORSE = "worse"
    FROZEN = "frozen"
    SHADOW = "shadow"
    P1 = "p1"
    P2 = "p2"
    CHAOS = "chaos"
    NO_CULPRIT = "no-culprit"
    HEALTHY = "healthy"


_DEMOS_AN_HOUR = 1_000
"""Each demo is a fleet of its own, but for the ledger, which they share."""


@dataclass(frozen=True)
class Injury:
    """One call to the mock service."""

    path: str
    body: Mapping[str, int | float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plot:
    """One scenario."""

    story: str
    injuries: tuple[Injury, ...]
    opens_as: Severity
    """What the numbers must say before the incident is opened."""
    outcome: Outcome
    action: ActionTaken
    paged: bool
    chatted: bool
    activations: int
    max_looks: int = 60
    mode: Mode = Mode.AUTO
    frozen: bool = False
    real_shapes: bool = False
    """Whether Prometheus and Alertmanager stand between the patient and the commander."""

    def policy(self, now: datetime) -> Policy:
        """The default policy in the scenario's mode, with waits that suit a demo."""
        hour = timedelta(hours=1)
        return Policy(
            mode=self.mode,
            freezes=(Freeze(name="year end", begins=now - hour, ends=now + hour),) if self.frozen else (),
            settle=timedelta(seconds=2),
            look_every=timedelta(seconds=1),
            max_looks=self.max_looks,
            fleet_rollbacks_per_hour=_DEMOS_AN_HOUR,
        )

    def differences(self, snapshot: Snapshot, activations: int) -> tuple[str, ...]:
        """What did not end as it should; empty: everything did."""
        seen = {
            "outcome": (snapshot.outcome, self.outcome),
            "severity": (snapshot.severity, self.opens_as),
            "action": (snapshot.action_taken, self.action),
            "paged": (snapshot.integrations.pagerduty, self.paged),
            "chat": (snapshot.integrations.slack, self.chatted),
            "activations in the journal": (activations, self.activations),
        }
        return tuple(f"{what}: {was}, expected {wanted}" for what, (was, wanted) in seen.items() if was != wanted)


def _chaos(kind: str, amount: str, value: float, seconds: float) -> Injury:
    return Injury(f"/chaos/{kind}", {amount: value, "duration_seconds": seconds, "reason": "commander demo"})


_HELD_BACK = Plot(
    story="Deployment 101 fails, and nothing is rolled back.",
    injuries=(Injury("/demo/trigger-incident"),),
    opens_as=Severity.P0,
    outcome=Outcome.ESCALATED,
    action=ActionTaken.ESCALATE,
    paged=True,
    chatted=True,
    activations=0,
    max_looks=5,
)

_BAD_DEPLOY = Plot(
    story="Deployment 101 goes live and fails. It explains the onset, so it is rolled back.",
    injuries=(Injury("/demo/trigger-incident"),),
    opens_as=Severity.P0,
    outcome=Outcome.RECOVERED,
    action=ActionTaken.ROLLBACK,
    paged=False,
    chatted=True,
    activations=1,
)

PLOTS: Mapping[Scenario, Plot] = {
    Scenario.BAD_DEPLOY: _BAD_DEPLOY,
    Scenario.REAL_SHAPES: replace(
        _BAD_DEPLOY,
        story="The same, seen by Prometheus and Alertmanager: deployment 101 fails, and is rolled back.",
        real_shapes=True,
    ),
    Scenario.WORSE: Plot(
        story="The rollback from 101 to 100 makes it worse: it is undone, once, and a person is paged.",
        injuries=(
            Injury("/demo/spoil", {"deployment_id": 100, "degradation": 1.5}),
            Injury("/demo/trigger-incident"),
        ),
        opens_as=Severity.P0,
        outcome=Outcome.ESCALATED,
        action=ActionTaken.ROLLBACK_UNDONE,
        paged=True,
        chatted=True,
        activations=2,
        max_looks=8,
    ),
    Scenario.FROZEN: replace(
        _HELD_BACK,
        story="Deployment 101 fails in a freeze window: nothing is rolled back, and a person is paged with the reason.",
        frozen=True,
    ),
    Scenario.SHADOW: replace(
        _HELD_BACK,
        story="Deployment 101 fails, and the mode is shadow: the commander says what it would do, and pages.",
        mode=Mode.SHADOW,
    ),
    Scenario.P1: Plot(
        story="Latency rises into the warning band: chat and pager at once, nothing is rolled back.",
        injuries=(_chaos("latency", "latency_ms", 450, 12),),
        opens_as=Severity.P1,
        outcome=Outcome.RECOVERED,
        action=ActionTaken.ESCALATE,
        paged=True,
        chatted=True,
        activations=0,
    ),
    Scenario.P2: Plot(
        story="Latency rises a little: recorded and watched, nobody is woken.",
        injuries=(_chaos("latency", "latency_ms", 200, 12),),
        opens_as=Severity.P2,
        outcome=Outcome.RECOVERED,
        action=ActionTaken.MONITOR,
        paged=False,
        chatted=False,
        activations=0,
    ),
    Scenario.CHAOS: Plot(
        story="600 ms and errors for 30 s on a good deployment: no deployment explains it, so a person is paged.",
        injuries=(_chaos("latency", "latency_ms", 600, 30), _chaos("errors", "error_rate_percent", 15, 30)),
        opens_as=Severity.P0,
        outcome=Outcome.RECOVERED,
        action=ActionTaken.ESCALATE,
        paged=True,
        chatted=True,
        activations=0,
    ),
    Scenario.NO_CULPRIT: replace(
        _HELD_BACK,
        story="A P0 without a recent deployment, which does not pass: a person is paged, nothing is rolled back.",
        injuries=(_chaos("errors", "error_rate_percent", 18, 600), _chaos("cpu", "cpu_percent", 95, 600)),
    ),
    Scenario.HEALTHY: Plot(
        story="Nothing is wrong: no model is asked, nobody is told, a NO_INCIDENT record is kept.",
        injuries=(),
        opens_as=Severity.P3,
        outcome=Outcome.NO_INCIDENT,
        action=ActionTaken.NONE,
        paged=False,
        chatted=False,
        activations=0,
    ),
}
