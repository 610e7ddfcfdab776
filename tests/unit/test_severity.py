import json
from pathlib import Path

import pytest

from incident.severity import PagerDutyPriority, Severity, priority_of, worst

CONTRACT = json.loads((Path(__file__).parents[1] / "contract/seed/contract.json").read_text())["flow"]


@pytest.mark.parametrize(("severity", "priority"), CONTRACT["pagerduty_priority_by_severity"].items())
def test_each_severity_has_the_seeds_priority(severity: str, priority: str) -> None:
    assert priority_of(Severity(severity)) is PagerDutyPriority(priority)


def test_the_lower_rank_is_the_worse() -> None:
    assert [severity.rank for severity in Severity] == [0, 1, 2, 3]
    assert worst(Severity.P2, Severity.P0, Severity.P3) is Severity.P0
    assert worst(Severity.P3, Severity.P1) is Severity.P1


def test_nothing_at_all_is_p3() -> None:
    assert worst() is Severity.P3
