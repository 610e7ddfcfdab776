"""Decides recorded incidents again, by the policy, the analyst and the gate of today, and says what would differ.

Assessment and cause are made anew of the recorded evidence, by the policy that is tried. What is normal was learned
from histories, which a record does not hold, and stays as it was learned. Nothing is done, and nobody is told.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

from pydantic import Field

from incident.analysis import Analysis, Case
from incident.anomalies import Assessment, assess
from incident.decision import Action
from incident.errors import AnalystUnusableError, BudgetSpentError, TransientError
from incident.evidence import Evidence, SourceState
from incident.gate import Verdict, judge
from incident.ledger import LedgerView
from incident.model import Fact
from incident.policy import Policy, PolicyBook
from incident.ports import Analyst
from incident.rules import RulesAnalyst
from incident.severity import Severity
from incident.snapshot import Snapshot

_RULES = "rules"
_KEPT = "its decision is kept, though the numbers now say another severity"
_LEARNED = "what is normal stays as it was learned: another sensitivity cannot be tried on a record"
_UNCOUNTED = "its requests were not counted: an objective cannot be tried on it"
_NO_LEDGER = "its ledger is not on record: judged as if nothing had been done before"
_UNHEARD = "nobody had decided it: the rules do"


class Decider(StrEnum):
    """Who decides a recorded incident again."""

    SAME = "same"
    """The rules where they decided; what a model or somebody outside decided is kept, and judged again."""
    RECORDED = "recorded"
    """Nobody: every decision is kept, and judged again."""
    RULES = "rules"
    MODEL = "model"


class Plan(StrEnum):
    """What an incident comes to: the gate's course, or what there is instead of one."""

    ACT = "act"
    ASK = "ask"
    PAGE = "page"
    WATCH = "watch"
    NOTHING = "nothing"
    """Nothing is anomalous, so that there is no incident."""
    UNDECIDED = "undecided"
    """It was cancelled before anybody decided, or nobody could."""


class Stand(Fact):
    """How an incident was decided, or would be."""

    plan: Plan
    severity: Severity
    target: int | None = Field(description="the deployment that may be made live; null: none")
    analyst: str = Field(description="who decided; empty: nobody")
    action: Action | None = Field(description="what that one proposed; null: nobody decided")
    confidence: float | None = Field(description="0..1; null: nobody decided")
    reasons: tuple[str, ...] = Field(description="what the gate's rules that did not pass saw; empty: all passed")

    @property
    def outcome(self) -> tuple[Plan, Severity, int | None]:
        """What people and the service would notice of it."""
        return self.plan, self.severity, self.target


class Redecided(Fact):
    """One incident, as it was decided and as it would be."""

    incident_id: str
    service: str
    environment: str
    then: Stand
    now: Stand
    notes: tuple[str, ...] = Field(description="what the new decision rests on that was not so then")

    @property
    def changed(self) -> bool:
        """Whether anybody would notice."""
        return self.then.outcome != self.now.outcome

    @property
    def acts_anew(self) -> bool:
        """Whether it would roll back by itself where it did not, or to another deployment."""
        return self.now.plan is Plan.ACT and (self.then.plan, self.then.target) != (Plan.ACT, self.now.target)


class Replay(Fact):
    """What would have changed."""

    decider: Decider
    decided: int = Field(description="incidents that were decided again")
    would_roll_back: int = Field(description="of them, those that would roll back by themselves and did not")
    would_stop: int = Field(description="those that rolled back by themselves and would not")
    elsewhere: int = Field(description="those that would name another deployment on the same course")
    new_actions: int = Field(description="those that would do by themselves what they did not, elsewhere included")
    same: int = Field(description="those that would come to the same course, severity and target")
    moves: dict[str, int] = Field(description="per change of course, such as `page → watch`, how many")
    severities: dict[str, int] = Field(description="per change of severity alone, such as `P1 → P0`, how many")
    notes: dict[str, int] = Field(description="per note on a decision, how many")
    unseen: int = Field(description="incidents without evidence, which cannot be decided again")
    unreadable: tuple[str, ...] = Field(description="what is no record of an incident, each with its problem")
    changes: tuple[Redecided, ...]

    @property
    def words(self) -> str:
        """All of it on one line."""
        return f"would now roll back {self.would_roll_back}, would stop {self.would_stop}, same {self.same}"


class Redeciding:
    """Decides recorded incidents again.

    Args:
        decider: who decides.
        policies: the policies that are tried; `None`: each incident's own, as it was recorded.
        model: asked where the decider is the model.
    """

    def __init__(self, decider: Decider, policies: PolicyBook | None = None, model: Analyst | None = None) -> None:
        if decider is Decider.MODEL and model is None:
            raise ValueError("model: expected an analyst, since it decides")
        self._decider, self._policies, self._model = decider, policies, model
        self._rules = RulesAnalyst()

    async def redecide(self, record: Snapshot) -> Redecided | None:
        """That incident as it would be decided; `None`: there is no evidence to decide on.

        Raises:
            PermanentError: the model's server refuses to be asked at all.
        """
        if record.evidence is None:
            return None
        policy = self._policies.of(record.service, record.environment) if self._policies else record.policy
        evidence = record.evidence.promised(policy.objective)
        found = assess(evidence, policy.thresholds)
        now, notes = await self._now(record, evidence, found, policy)
        return Redecided(
            incident_id=record.incident_id,
            service=record.service,
            environment=record.environment,
            then=_then(record, record.assessment or found),
            now=now,
            notes=(*notes, *_untried(record, policy)),
        )

    async def _now(
        self, record: Snapshot, evidence: Evidence, found: Assessment, policy: Policy
    ) -> tuple[Stand, tuple[str, ...]]:
        if found.healthy:
            return _without(Plan.NOTHING, found), ()
        case = Case(
            incident_id=record.incident_id,
            evidence=evidence,
            assessment=found,
            explains_within=policy.deployment_explains_within,
            budget=policy.budget,
        )
        analysis, notes = await self._decided(record, case)
        ledger = record.ledger
        if ledger is None:
            ledger = LedgerView(state=SourceState.EMPTY, at=evidence.collected_at)
            notes += (_NO_LEDGER,)
        return _stand(analysis, judge(analysis.decision, evidence, found, ledger, policy)), notes

    async def _decided(self, record: Snapshot, case: Case) -> tuple[Analysis, tuple[str, ...]]:
        known = record.analysis
        keeps = self._decider is Decider.RECORDED or (self._decider is Decider.SAME and not _by_the_rules(known))
        if known is not None and keeps:
            was = record.assessment
            moved = was is not None and was.severity is not case.assessment.severity
            return known, (_KEPT,) if moved else ()
        if self._decider is Decider.MODEL and self._model is not None:
            try:
                return await self._model.decide(case), ()
            except (AnalystUnusableError, BudgetSpentError, TransientError) as error:
                return await self._rules.decide(case), (f"the rules decide: {error}",)
        unheard = known is None and self._decider is not Decider.RULES
        return await self._rules.decide(case), (_UNHEARD,) if unheard else ()


def summed(decider: Decider, redecided: Sequence[Redecided], unseen: int = 0, unreadable: Sequence[str] = ()) -> Replay:
    """What would have changed in all of `redecided`.

    Args:
        decider: who decided again.
        redecided: each incident once.
        unseen: how many had no evidence.
        unreadable: what was no record, each with its problem.
    """
    return Replay(
        decider=decider,
        decided=len(redecided),
        would_roll_back=sum(each.then.plan is not Plan.ACT and each.now.plan is Plan.ACT for each in redecided),
        would_stop=sum(each.then.plan is Plan.ACT and each.now.plan is not Plan.ACT for each in redecided),
        elsewhere=sum(each.then.plan is each.now.plan and each.then.target != each.now.target for each in redecided),
        new_actions=sum(each.acts_anew for each in redecided),
        same=sum(not each.changed for each in redecided),
        moves=_counted(
            f"{each.then.plan} → {each.now.plan}" for each in redecided if each.then.plan is not each.now.plan
        ),
        severities=_counted(
            f"{each.then.severity} → {each.now.severity}"
            for each in redecided
            if each.then.plan is each.now.plan and each.then.severity is not each.now.severity
        ),
        notes=_counted(note for each in redecided for note in each.notes),
        unseen=unseen,
        unreadable=tuple(unreadable),
        changes=tuple(each for each in redecided if each.changed),
    )


def _counted(words: Iterable[str]) -> dict[str, int]:
    return dict(Counter(words).most_common())


def _by_the_rules(analysis: Analysis | None) -> bool:
    return analysis is not None and analysis.analyst == _RULES


def _untried(record: Snapshot, policy: Policy) -> Iterator[str]:
    """What of `policy` cannot be tried on `record`."""
    if policy.sensitivity != record.policy.sensitivity:
        yield _LEARNED
    uncounted = record.evidence is None or not record.evidence.burns
    if policy.objective and policy.objective != record.policy.objective and uncounted:
        yield _UNCOUNTED


def _then(record: Snapshot, found: Assessment) -> Stand:
    if record.analysis is None or record.verdict is None:
        return _without(Plan.NOTHING if found.healthy else Plan.UNDECIDED, found)
    return _stand(record.analysis, record.verdict)


def _without(plan: Plan, found: Assessment) -> Stand:
    return Stand(plan=plan, severity=found.severity, target=None, analyst="", action=None, confidence=None, reasons=())


def _stand(analysis: Analysis, verdict: Verdict) -> Stand:
    return Stand(
        plan=Plan(verdict.course),
        severity=verdict.severity,
        target=verdict.target,
        analyst=analysis.analyst,
        action=analysis.decision.action,
        confidence=analysis.decision.confidence,
        reasons=verdict.refusals,
    )
