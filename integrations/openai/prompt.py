"""What the model is shown: the evidence as one block of JSON, then its errors.

The instructions, which are byte-stable, come before it, so that a provider can cache them. Everything that somebody
else wrote stands in the block, as data: stripped of invisible characters, redacted, and capped for each source.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from incident.analysis import Case
from incident.anomalies import Assessment
from incident.cause import Cause, Guilt
from incident.causes import cause_of
from incident.evidence import AlertState, Deployment, LogsReport, SourceReport
from incident.model import Fact
from incident.redaction import redact
from integrations.openai.instructions import CLOSE, OPEN
from integrations.openai.schema import MAX_CHOICE_LENGTH, MAX_CHOICES

MAX_SOURCE = {
    "anomalies": 6_000,
    "metrics": 4_000,
    "normals": 2_000,
    "burns": 1_500,
    "suspects": 2_000,
    "changes": 4_000,
    "deployments": 10_000,
    "alerts": 6_000,
    "templates": 8_000,
    "logs": 8_000,
}
"""Bytes of JSON for each source: 52 kB in all, some 14,000 tokens. A flood in one source leaves the others room."""
MAX_TEXT = 800
"""Bytes of one text, such as a log line: an error and the head of its stack trace."""
MAX_ANSWER = 8_000
"""Bytes of an answer that is shown to the model again; a valid one has at most some 5,000."""
MAX_ERRORS = 20
"""Errors of one answer that are shown; more of them say nothing new."""

_CITABLE = re.compile(
    rf"(?:metric|normal|burn|log|alert|deployment|change):[A-Za-z0-9._:/@-]{{1,{MAX_CHOICE_LENGTH - 11}}}"
)
"""The ids that may be cited. They stand in the schema, outside the block, so that no sentence may pass for one."""


@dataclass(frozen=True)
class Briefing:
    """What is shown of a case, and what an answer to it may name: nothing that was not shown."""

    text: str
    candidates: tuple[int, ...]
    evidence_ids: tuple[str, ...]


def brief(case: Case) -> Briefing:
    """`case` as a user message; the same case gives the same bytes."""
    evidence = case.evidence
    metrics = _fit("metrics", evidence.metrics.readings)
    history = sorted(evidence.deployments.deployments, key=_live_then_newest)
    deployments = _fit("deployments", history)
    firing_first = sorted(evidence.alerts.alerts, key=lambda alert: alert.state is not AlertState.FIRING)
    alerts = _fit("alerts", firing_first)
    templates = _fit("templates", evidence.logs.templates)
    logs = _fit("logs", evidence.logs.lines[::-1], 0 if evidence.logs.templates else MAX_SOURCE["templates"])
    numbers = {item["deployment_id"] for item in deployments.items}
    candidates = tuple(number for number in case.candidates if number in numbers)[:MAX_CHOICES]
    normals = _fit("normals", evidence.normals)
    burn, burns = evidence.burn, _fit("burns", evidence.burns)
    cause = _cause(cause_of(evidence, case.assessment, case.explains_within))
    changes = [each for each in cause["changes"] if each["id"] in evidence.ids and _CITABLE.fullmatch(each["id"])]
    shown = (
        *(metrics.items, normals.items, burns.items, deployments.items, changes),
        *(alerts.items, templates.items, logs.items),
    )
    cited = dict.fromkeys(item["id"] for items in shown for item in items if item["id"])
    data = {
        "service": _plain(evidence.service),
        "environment": _plain(evidence.environment),
        "collected_at": evidence.collected_at.isoformat(),
        "onset": evidence.onset.isoformat(),
        "deployment_explains_onset_within_seconds": case.explains_within.total_seconds(),
        "assessment": _assessment(case.assessment),
        "metrics": _answer_of(evidence.metrics)
        | {
            "health": evidence.metrics.health,
            "live_deployment_id": evidence.metrics.deployment_id,
            "readings": metrics.items,
            "normal": normals.items,
        },
        **({"burn": _answer_of(burn) | {"objective": burn.objective.success, "windows": burns.items}} if burn else {}),
        "cause": cause,
        "deployments": _answer_of(evidence.deployments)
        | {"omitted": deployments.omitted, "newest_first": deployments.items},
        "alerts": _answer_of(evidence.alerts)
        | {"omitted": evidence.alerts.omitted + alerts.omitted, "firing_first": alerts.items},
        "logs": _answer_of(evidence.logs)
        | _templates(evidence.logs, templates)
        | {"omitted": evidence.logs.omitted + logs.omitted, "oldest_first": logs.items[::-1]},
        "rollback_candidates": candidates,
    }
    return Briefing(
        text=f"{OPEN}\n{_dump(data)}\n{CLOSE}",
        candidates=candidates,
        evidence_ids=tuple(cited)[:MAX_CHOICES],
    )


def show_again(answer: str) -> str:
    """The model's own `answer`, fit to be sent back to it."""
    return _plain(answer, MAX_ANSWER)


def ask_for_repair(errors: Sequence[str]) -> str:
    """The message that lists what is wrong with an answer, a line for each error."""
    lines = "\n".join(f"- {_plain(error)}" for error in errors[:MAX_ERRORS])
    return f"Your answer is not valid:\n{lines}\nAnswer again: the whole JSON object, corrected, and nothing else."


@dataclass(frozen=True)
class _Fitted:
    items: list[dict[str, Any]]
    omitted: int


def _fit(source: str, facts: Sequence[Fact], spare: int = 0) -> _Fitted:
    """The first of `facts` that fit the source's cap, without a gap; one too large for all of it is passed over.

    Args:
        source: whose cap it is.
        facts: what matters most comes first.
        spare: bytes that another source leaves to it.
    """
    left = MAX_SOURCE[source] + spare
    items: list[dict[str, Any]] = []
    for fact in facts:
        item = _item(fact)
        size = len(_dump(item).encode())
        if size <= left:
            left -= size
            items.append(item)
        elif items:
            break
    return _Fitted(items, len(facts) - len(items))


def _item(fact: Fact) -> dict[str, Any]:
    raw = fact.model_dump(mode="json")
    raw.pop("nanoseconds", None)  # the last three digits of a log line's time say nothing of an incident
    item = {key: _safe(value) for key, value in raw.items()}
    if item["id"] != raw["id"] or not _CITABLE.fullmatch(raw["id"]):
        item["id"] = None  # shown, not to be cited
    return item


def _templates(logs: LogsReport, fitted: _Fitted) -> dict[str, Any]:
    """What is shown of the log's templates; nothing where its source has none, as in the days before there were any."""
    if not logs.templates:
        return {}
    more = logs.more_templates + fitted.omitted
    return {"templates_omitted": more, "templates_new_then_grave_then_most_first": fitted.items}


def _assessment(assessment: Assessment) -> dict[str, Any]:
    fitted = _fit("anomalies", assessment.anomalies)
    # An anomaly is no evidence: its id may not be cited, so it is not shown.
    anomalies = [{key: value for key, value in item.items() if key != "id"} for item in fitted.items]
    return {"severity": assessment.severity, "omitted": fitted.omitted, "anomalies": anomalies}


def _cause(cause: Cause) -> dict[str, Any]:
    guilty_first = sorted(cause.changes, key=lambda each: each.guilt is not Guilt.GUILTY)
    changes = [
        {"id": each.change.id, "service": each.change.service, "is": each.guilt, "reasons": each.reasons}
        | ({"kind": each.change.kind, "description": each.change.description} if each.change.description else {})
        for each in guilty_first
    ]
    suspects = [{"service": each.service, "moved": each.moved} for each in cause.suspects]
    return {"suspects": _short("suspects", suspects), "changes": _short("changes", changes)}


def _short(source: str, items: Sequence[dict[str, Any]]) -> list[Any]:
    """The first of `items` that fit the source's cap."""
    kept, left = [], MAX_SOURCE[source]
    for item in map(_safe_item, items):
        left -= len(_dump(item).encode())
        if left < 0:
            break
        kept.append(item)
    return kept


def _safe_item(item: dict[str, Any]) -> dict[str, Any]:
    return {key: _safe(list(value) if isinstance(value, tuple) else value) for key, value in item.items()}


def _answer_of(report: SourceReport) -> dict[str, Any]:
    return {"source": _plain(report.source), "state": report.state, "problem": _plain(report.problem)}


def _live_then_newest(deployment: Deployment) -> tuple[bool, float]:
    activated = deployment.activated_at
    return not deployment.live, -activated.timestamp() if activated else 0.0


def _safe(value: Any) -> Any:  # noqa: ANN401 - JSON values have no narrower type
    match value:
        case str():
            return _plain(value)
        case list():
            return [_safe(each) for each in value]
        case _:
            return value


def _plain(text: str, limit: int = MAX_TEXT) -> str:
    # The cut comes last, or it would leave half a secret that no pattern knows.
    encoded = redact(text).encode()
    return encoded.decode() if len(encoded) <= limit else encoded[:limit].decode(errors="ignore") + "[CUT]"


def _dump(data: object) -> str:
    # Without < and > no text can close the block; JSON reads the escapes as the same characters.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e")
