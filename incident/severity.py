"""Severity, and the PagerDuty priority that goes with it."""

from enum import StrEnum


class Severity(StrEnum):
    """P0 is the worst. P3 is what a healthy service has."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"

    @property
    def rank(self) -> int:
        """0 for P0 to 3 for P3: the lower, the worse."""
        return int(self.value[1])


class PagerDutyPriority(StrEnum):
    """PagerDuty's five priorities."""

    P1 = "P1"
    P2 = "P2"
    P3 = "P3"
    P4 = "P4"
    P5 = "P5"


def worst(*severities: Severity) -> Severity:
    """The worst of `severities`; P3 where there are none."""
    return min(severities, key=lambda severity: severity.rank, default=Severity.P3)


def priority_of(severity: Severity) -> PagerDutyPriority:
    """P0→P1, P1→P2, P2→P3, P3→P4, as the seed maps them (contract.json, pagerduty_priority_by_severity)."""
    return PagerDutyPriority(f"P{severity.rank + 1}")
