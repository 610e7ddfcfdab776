"""Analyze: an analyst proposes, the gate disposes."""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum

import structlog
from pydantic import Field
from temporalio import activity

from activities.memory import Memory
from incident.analysis import Analysis, Case
from incident.anomalies import Assessment
from incident.decision import Decision
from incident.evidence import Evidence
from incident.gate import Verdict, judge
from incident.ledger import LedgerView
from incident.model import Fact
from incident.policy import Policy
from incident.ports import Analyst

_log = structlog.get_logger()


class AnalystChoice(StrEnum):
    """Which of the worker's analysts decides."""

    CONFIGURED = "configured"
    RULES = "rules"


class AnalyzeInput(Fact):
    """The case, and who decides it."""

    incident_id: str
    evidence: Evidence
    assessment: Assessment
    policy: Policy
    analyst: AnalystChoice = AnalystChoice.CONFIGURED
    because: str = ""


class JudgeInput(Fact):
    """A decision that was made elsewhere, to be judged."""

    incident_id: str
    evidence: Evidence
    assessment: Assessment
    policy: Policy
    decision: Decision


class Analyzed(Fact):
    """The decision with its origin, and the gate's verdict on it."""

    analysis: Analysis
    verdict: Verdict
    ledger: LedgerView | None = Field(default=None, description="since 1.3: what the gate knew of the past")


class Judged(Verdict):
    """The gate's verdict, and what it knew of the past."""

    ledger: LedgerView | None = Field(default=None, description="since 1.3")

    @property
    def verdict(self) -> Verdict:
        """The verdict alone."""
        return Verdict.model_validate(self.model_dump(exclude={"ledger"}))


class Analyze:
    """Asks an analyst, then the gate."""

    def __init__(self, configured: Analyst, rules: Analyst, memory: Memory, clock: Callable[[], datetime]) -> None:
        self._analysts = {AnalystChoice.CONFIGURED: configured, AnalystChoice.RULES: rules}
        self._memory = memory
        self._clock = clock

    @activity.defn(name="analyze.decide")
    async def decide(self, order: AnalyzeInput) -> Analyzed:
        """The analyst's decision and the verdict on it.

        Raises:
            AnalystUnusableError: no decision can be made of what the analyst answered.
            BudgetSpentError: the analyst may not be asked for its cost.
            TransientError: the analyst could not be reached.
        """
        case = Case(
            incident_id=order.incident_id,
            evidence=order.evidence,
            assessment=order.assessment,
            explains_within=order.policy.deployment_explains_within,
            budget=order.policy.budget,
        )
        analysis = (await self._analysts[order.analyst].decide(case)).held_to(order.evidence.ids)
        if order.because:
            analysis = analysis.model_copy(update={"because": order.because})
        verdict, ledger = await self._judge(analysis.decision, order)
        _log.info(
            "decision",
            analyst=analysis.analyst,
            action=analysis.decision.action,
            confidence=analysis.decision.confidence,
            invented=len(analysis.invented),
            course=verdict.course,
            severity=verdict.severity,
            refusals=verdict.refusals,
        )
        return Analyzed(analysis=analysis, verdict=verdict, ledger=ledger)

    @activity.defn(name="analyze.judge")
    async def judge(self, order: JudgeInput) -> Judged:
        """The verdict on a decision that was made elsewhere."""
        verdict, ledger = await self._judge(order.decision, order)
        _log.info("verdict", course=verdict.course, severity=verdict.severity, refusals=verdict.refusals)
        return Judged(**dict(verdict), ledger=ledger)

    async def _judge(self, decision: Decision, order: AnalyzeInput | JudgeInput) -> tuple[Verdict, LedgerView]:
        where, who = order.evidence.environment, order.evidence.service
        ledger = await self._memory.view_but(where, who, order.incident_id, self._clock())
        return judge(decision, order.evidence, order.assessment, ledger, order.policy), ledger
