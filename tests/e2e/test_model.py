"""The demo with a model in the analyst's chair: it proposes, and code disposes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commander.scenarios import Scenario
from incident.decision import Action, Decision
from incident.severity import PagerDutyPriority, Severity
from tests.e2e.conftest import commander
from tests.standins.aimock.server import MODEL, Aimock, running_aimock, why_not

pytestmark = [pytest.mark.slow, pytest.mark.needs_node, pytest.mark.skipif(bool(why_not()), reason=why_not())]


@pytest.fixture
def aimock() -> Iterator[Aimock]:
    with running_aimock() as running:
        yield running


def rollback(target: int, confidence: float) -> str:
    return Decision(
        severity=Severity.P0,
        confidence=confidence,
        summary="Payments fail since the last deployment.",
        root_cause_hypothesis="The new payment provider drops connections.",
        action=Action.ROLLBACK,
        rollback_to=target,
        pagerduty_priority=PagerDutyPriority.P1,
    ).model_dump_json()


async def demo(aimock: Aimock, scenario: Scenario, directory: Path) -> dict[str, Any]:
    environment = {
        "OPENAI__API_KEY": "sk-canary-0123456789abcdef",
        "OPENAI__BASE_URL": aimock.base_url,
        "OPENAI__MODEL": MODEL,
    }
    ended = await commander(directory, "demo", "--scenario", scenario, "--json", environment=environment)
    assert ended.status == 0, ended.err
    snapshot: dict[str, Any] = json.loads(ended.out)
    return snapshot


async def test_a_model_that_is_right_is_followed_and_the_record_says_it_decided(aimock: Aimock, tmp_path: Path) -> None:
    aimock.script({"content": rollback(100, 0.93)})
    snapshot = await demo(aimock, Scenario.BAD_DEPLOY, tmp_path)
    assert snapshot["outcome"] == "RECOVERED"
    assert (snapshot["analysis"]["analyst"], snapshot["confidence_score"]) == ("openai", 93)
    assert snapshot["analysis"]["model"] == MODEL


async def test_a_model_that_demands_a_rollback_nothing_explains_gets_a_page_instead(
    aimock: Aimock, tmp_path: Path
) -> None:
    aimock.script({"content": rollback(99, 1.0)})
    snapshot = await demo(aimock, Scenario.NO_CULPRIT, tmp_path)
    assert snapshot["analysis"]["decision"]["action"] == "rollback"
    assert (snapshot["action_taken"], snapshot["remediation"]) == ("escalate", None)
    refused = [finding["rule"] for finding in snapshot["verdict"]["findings"] if not finding["passed"]]
    assert refused == ["live_explains_onset", "live_not_innocent", "live_guilty", "live_prompt"]


async def test_where_the_model_stays_invalid_the_rules_decide_and_the_record_says_why(
    aimock: Aimock, tmp_path: Path
) -> None:
    aimock.script(*[{"content": '{"severity": "P9"}'}] * 3)
    snapshot = await demo(aimock, Scenario.BAD_DEPLOY, tmp_path)
    assert len(aimock.calls()) == 3
    assert snapshot["outcome"] == "RECOVERED"
    assert snapshot["analysis"]["analyst"] == "rules"
    assert "openai" in snapshot["analysis"]["because"]
