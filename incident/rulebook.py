"""The gate's rules, one function each: what it looks at, whether it passes, and what it saw, in words.

README's table of rules is made of this (`commander rules`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from pydantic import Field

from incident.anomalies import Assessment, Signal
from incident.cause import Cause, Guilt
from incident.causes import guilt_of_live
from incident.decision import Action, Decision
from incident.evidence import Deployment, Evidence, SourceState
from incident.ledger import HOUR, NOTHING_DONE, LedgerView, RemediationKind
from incident.model import Fact
from incident.policy import Mode, Policy
from incident.severity import Severity

_RIVAL = timedelta(minutes=15)
"""How shortly before the onset another change explains it as well as the live deployment: most show within minutes."""


class Course(StrEnum):
    """What happens now."""

    ACT = "act"
    ASK = "ask"
    PAGE = "page"
    WATCH = "watch"


class Finding(Fact):
    """What one rule found."""

    rule: str
    passed: bool
    saw: str = Field(description="what the rule looked at, in words")
    otherwise: Course = Field(description="what happens where the rule does not pass")


@dataclass(frozen=True)
class Matter:
    """Everything that a rule may look at."""

    decision: Decision
    evidence: Evidence
    assessment: Assessment
    ledger: LedgerView
    policy: Policy
    cause: Cause
    """What code makes of the evidence."""

    @property
    def live(self) -> Deployment | None:
        """The one live deployment."""
        return self.evidence.deployments.live

    @property
    def target(self) -> Deployment | None:
        """The deployment that the decision names, if the history knows it."""
        return self.evidence.deployments.find(self.decision.rollback_to)


Answer = tuple[bool, str]
"""Whether the rule passes, and what it saw."""


@dataclass(frozen=True)
class Rule:
    """One rule of the gate."""

    name: str
    holds: str
    """What must hold, for README."""
    otherwise: Course
    ask: Callable[[Matter], Answer | None]
    """`None`: the rule has nothing to look at, and another one says so."""

    def finding(self, matter: Matter) -> Finding | None:
        """What the rule finds, if it has anything to look at."""
        answer = self.ask(matter)
        if answer is None:
            return None
        return Finding(rule=self.name, passed=answer[0], saw=answer[1], otherwise=self.otherwise)


def _proposal(matter: Matter) -> Answer:
    return matter.decision.action is Action.ROLLBACK, f"the analyst proposes {matter.decision.action}"


def _allowed(matter: Matter) -> Answer:
    service, environment = matter.evidence.service, matter.evidence.environment
    allowed = matter.policy.allows(environment, service)
    return allowed, f"{environment}/{service} is {'on' if allowed else 'not on'} the policy's list"


def _not_stopped(matter: Matter) -> Answer:
    stops = matter.ledger.stops
    return not stops, "; ".join(stop.words for stop in stops) or "no kill switch is pulled"


def _ledger_known(matter: Matter) -> Answer:
    known = matter.ledger.state is not SourceState.FAILED
    count = len(matter.ledger.remediations)
    return known, f"the ledger holds {count} of it" if known else f"the ledger: {matter.ledger.problem}"


def _live_known(matter: Matter) -> Answer:
    history = matter.evidence.deployments
    if history.state is not SourceState.OK:
        return False, f"the deployment history is {history.state} {history.problem}".rstrip()
    if history.live is None:
        return False, "the deployment history does not say which one deployment is live"
    return True, f"deployment {history.live.deployment_id} is live"


def _live_explains_onset(matter: Matter) -> Answer | None:
    live, within = matter.live, matter.policy.deployment_explains_within
    if live is None:
        return None
    if live.activated_at is None:
        return False, f"when deployment {live.deployment_id} went live is not known"
    lead = matter.evidence.onset - live.activated_at
    side = "before" if lead >= timedelta(0) else "after"
    return timedelta(0) <= lead <= within, (
        f"deployment {live.deployment_id} went live {timedelta(seconds=round(abs(lead).total_seconds()))} {side} "
        f"the onset; it explains an onset within {within}"
    )


def _live_not_innocent(matter: Matter) -> Answer | None:
    if matter.live is None or matter.live.activated_at is None:
        return None
    guilt, words = guilt_of_live(matter.cause, matter.evidence)
    return guilt is not Guilt.INNOCENT, words


def _live_guilty(matter: Matter) -> Answer | None:
    if matter.live is None or matter.live.activated_at is None:
        return None
    guilt, words = guilt_of_live(matter.cause, matter.evidence)
    return guilt is Guilt.GUILTY, words


def _live_prompt(matter: Matter) -> Answer | None:
    live, within = matter.live, matter.policy.acts_within
    if live is None or live.activated_at is None:
        return None
    lead = matter.evidence.onset - live.activated_at
    alive = timedelta(seconds=round(max(lead.total_seconds(), 0)))
    return lead <= within, f"it was live for {alive} before the onset; the policy acts by itself within {within}"


def _only_change(matter: Matter) -> Answer:
    onset, service = matter.evidence.onset, matter.evidence.service
    own = [each for each in matter.evidence.changes if each.service == service]
    others = [each for each in own if onset - _RIVAL <= each.at <= onset]
    if not others:
        return True, f"nobody told of another change of {service} within {_RIVAL} before the onset"
    newest = max(others, key=lambda each: each.at)
    return False, f"{newest.id} explains it as well, a {newest.words}"


def _target_known(matter: Matter) -> Answer:
    known = matter.target is not None
    return known, f"deployment {matter.decision.rollback_to} is {'in' if known else 'not in'} the service's history"


def _target_earlier(matter: Matter) -> Answer | None:
    live, target = matter.live, matter.target
    if target is None:
        return None
    name = f"deployment {target.deployment_id}"
    if live is None or live.activated_at is None or target.activated_at is None:
        return False, f"whether {name} was live before cannot be told"
    earlier = target.deployment_id != live.deployment_id and target.activated_at < live.activated_at
    return earlier, f"{name} went live {'before' if earlier else 'not before'} deployment {live.deployment_id}"


def _target_recent(matter: Matter) -> Answer | None:
    target, most = matter.target, matter.policy.max_deployments_back
    if target is None or target.activated_at is None:
        return None
    back = sum(
        each.activated_at is not None and each.activated_at > target.activated_at
        for each in matter.evidence.deployments.deployments
    )
    return back <= most, f"deployment {target.deployment_id} is {back} back, the policy allows {most}"


def _target_once_healthy(matter: Matter) -> Answer | None:
    target = matter.target
    if target is None:
        return None
    words = {
        True: "once served in good health",
        False: "never served in good health",
        None: "is not known ever to have been healthy",
    }
    return target.once_healthy is True, f"deployment {target.deployment_id} {words[target.once_healthy]}"


def _target_not_rolled_back(matter: Matter) -> Answer | None:
    target = matter.target
    if target is None:
        return None
    name = f"deployment {target.deployment_id}"
    past = matter.ledger.rolled_back_from(target.deployment_id)
    if past is not None:
        return False, f"{name} was rolled back from by {past.incident_id}"
    if target.rolled_back_from_at is not None:
        return False, f"{name} was rolled back from at {target.rolled_back_from_at:%Y-%m-%d %H:%M:%SZ}"
    return True, f"{name} was not itself rolled back"


def _not_shadow(matter: Matter) -> Answer:
    if matter.policy.mode is not Mode.SHADOW:
        return True, f"the mode is {matter.policy.mode}"
    live = matter.live.deployment_id if matter.live else "unknown"
    return False, f"the mode is shadow; proposed is a rollback of deployment {live} to {matter.decision.rollback_to}"


def _auto(matter: Matter) -> Answer:
    return matter.policy.mode is not Mode.ASK, f"the mode is {matter.policy.mode}"


def _measured_severity(matter: Matter) -> Answer:
    measured = matter.assessment.measured_severity
    return measured is Severity.P0, f"the readings alone say {measured}"


def _independent_signals(matter: Matter) -> Answer:
    signals, least = matter.assessment.signals, matter.policy.min_signals
    measured = any(signal not in {Signal.HEALTH, Signal.ALERT} for signal in signals)
    shown = ", ".join(signals) or "none"
    missing = "" if measured else "; none of them is measured"
    return measured and len(signals) >= least, f"signals: {shown}{missing}; the policy wants {least}"


def _confidence(matter: Matter) -> Answer:
    confidence, least = matter.decision.confidence, matter.policy.min_confidence
    return confidence >= least, f"confidence {confidence:.2f}, the policy wants {least:.2f}"


def _service_quota(matter: Matter) -> Answer | None:
    if matter.ledger.state is SourceState.FAILED:
        return None
    recent = matter.ledger.since(matter.ledger.at - HOUR)
    done = sum(each.kind is RemediationKind.ROLLBACK for each in recent)
    most = matter.policy.service_rollbacks_per_hour
    return done < most, f"{_rollbacks(done)} of the service within the last hour, the policy allows {most}"


def _fleet_quota(matter: Matter) -> Answer | None:
    if matter.ledger.state is SourceState.FAILED:
        return None
    done, most = matter.ledger.fleet_last_hour, matter.policy.fleet_rollbacks_per_hour
    return done < most, f"{_rollbacks(done)} of all services within the last hour, the policy allows {most}"


def _rollbacks(count: int) -> str:
    return f"{count} rollback{'' if count == 1 else 's'}"


def _cooled_down(matter: Matter) -> Answer | None:
    if matter.ledger.state is SourceState.FAILED:
        return None
    pause = matter.policy.cool_down
    recent = matter.ledger.since(matter.ledger.at - pause)
    if recent:
        return False, f"{recent[0].incident_id} remediated it at {recent[0].at:%H:%M:%SZ}; the cool-down is {pause}"
    return True, f"nothing was done to it within the cool-down of {pause}"


def _not_frozen(matter: Matter) -> Answer:
    held = [freeze.words for freeze in matter.policy.freezes if freeze.holds(matter.ledger.at)]
    return not held, f"frozen: {'; '.join(held)}" if held else "no freeze window holds"


def _not_a_rollback_of_a_rollback(matter: Matter) -> Answer | None:
    live = matter.live
    if live is None:
        return None
    by = _made_live_by(matter, live)
    name = f"deployment {live.deployment_id}"
    return not by, f"{name} was made live by {by}" if by else f"{name} was not made live by a rollback"


def _made_live_by(matter: Matter, live: Deployment) -> str:
    """Which rollback made `live` live; empty: none that is known."""
    for past in matter.ledger.remediations:
        if past.to_deployment == live.deployment_id and past.state not in NOTHING_DONE:
            return f"the {past.kind} of {past.incident_id}"
    if live.activated_at is None:
        return ""
    return next(
        (
            f"the rollback of deployment {each.deployment_id}"
            for each in matter.evidence.deployments.deployments
            if each.rolled_back_from_at is not None and each.rolled_back_from_at >= live.activated_at
        ),
        "",
    )


RULES: tuple[Rule, ...] = (
    Rule("proposal", "the analyst proposes a rollback", Course.PAGE, _proposal),
    Rule("allowed", "`allow` holds the service in its environment", Course.PAGE, _allowed),
    Rule("not_stopped", "no kill switch covers it (`commander stop`, `WORKER__STOPPED`)", Course.PAGE, _not_stopped),
    Rule("ledger_known", "the ledger can be read", Course.PAGE, _ledger_known),
    Rule("live_known", "exactly one deployment is live", Course.PAGE, _live_known),
    Rule(
        "live_explains_onset",
        "it went live within `deployment_explains_within` before the onset",
        Course.PAGE,
        _live_explains_onset,
    ),
    Rule(
        "live_not_innocent",
        "code does not find it innocent: nothing else explains the onset, and the service itself has moved",
        Course.PAGE,
        _live_not_innocent,
    ),
    Rule("target_known", "the target is in the service's history", Course.PAGE, _target_known),
    Rule("target_earlier", "the target was live before", Course.PAGE, _target_earlier),
    Rule("target_recent", "the target is at most `max_deployments_back` back", Course.PAGE, _target_recent),
    Rule("target_once_healthy", "the target once served in good health", Course.PAGE, _target_once_healthy),
    Rule("target_not_rolled_back", "nobody rolled back from the target", Course.PAGE, _target_not_rolled_back),
    Rule("not_shadow", "the mode is not `shadow`", Course.PAGE, _not_shadow),
    Rule("auto", "the mode is not `ask`", Course.ASK, _auto),
    Rule("live_guilty", "code finds it guilty: time, place and what moved speak for it", Course.ASK, _live_guilty),
    Rule("live_prompt", "it went live within `acts_within` before the onset", Course.ASK, _live_prompt),
    Rule(
        "only_change",
        "nobody told of another change of the service within a quarter of an hour before the onset",
        Course.ASK,
        _only_change,
    ),
    Rule("measured_severity", "the readings alone, without alerts or logs, say P0", Course.ASK, _measured_severity),
    Rule(
        "independent_signals",
        "`min_signals` kinds of anomaly agree, at least one of them measured",
        Course.ASK,
        _independent_signals,
    ),
    Rule("confidence", "the analyst's confidence reaches `min_confidence`", Course.ASK, _confidence),
    Rule(
        "service_quota",
        "fewer than `service_rollbacks_per_hour` of the service within an hour",
        Course.ASK,
        _service_quota,
    ),
    Rule("fleet_quota", "fewer than `fleet_rollbacks_per_hour` of all services", Course.ASK, _fleet_quota),
    Rule("cooled_down", "nothing was done to the service within `cool_down`", Course.ASK, _cooled_down),
    Rule("not_frozen", "no window of `freezes` holds", Course.ASK, _not_frozen),
    Rule(
        "not_a_rollback_of_a_rollback",
        "no rollback made the live deployment live",
        Course.ASK,
        _not_a_rollback_of_a_rollback,
    ),
)
"""In the order in which they speak. A rollback needs all of them; what only asks, a person may allow."""
