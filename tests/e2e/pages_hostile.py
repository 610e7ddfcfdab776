"""Texts that would do something if a page took them for more than text, and an incident that holds them everywhere."""

from collections.abc import Sequence
from datetime import timedelta

from incident.anomalies import Anomaly
from incident.cause import Change, ChangeKind
from incident.dossier import Dossier, Heard, Stage, TimelineEntry, Trigger
from incident.evidence import Reading, SourceState
from incident.gate import Finding
from incident.ledger import RunState, Stop
from incident.recovery import Classification, Recovery
from incident.rulebook import Course
from tests import builders
from tests.builders import NOW
from tests.e2e.pages_office import asking_dossier

CORPUS = (
    "<script>window.hacked=1</script>",
    "</script><script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    '"><svg onload=window.hacked=1>',
    "' autofocus onfocus=window.hacked=1 x='",
    "<iframe srcdoc='<script>parent.hacked=1</script>'></iframe>",
    "</time></td></table></section><a href=javascript:window.hacked=1>approve</a>",
    "{{ 7*7 }}{% raw %}<%= 7*7 %>${7*7}",
    "<style>*{display:none}</style><base href=//evil.example/>",
    "&lt;script&gt;window.hacked=1&lt;/script&gt;",
    "data:\n\nevent: sections\ndata: {}\n\n",
    "\u202eevorppa\u202c <b>\x1b[31m</b>\x00",
    "<form action=//evil.example><button>Approve</button></form>",
    "<!--<meta http-equiv=refresh content='0;url=//evil.example'>-->",
)
ADDRESSES = (
    "javascript:window.hacked=1",
    "data:text/html,<script>window.hacked=1</script>",
    "//evil.example",
    "https://a@b/",
)


def hostile_dossier(text: str, address: str = ADDRESSES[0], **changes: object) -> Dossier:
    """An incident that asks a person, with `text` in every field that somebody outside may write."""
    short = text[:100]
    unread = [
        Reading(id=f"metric:{short}", metric=each.metric, value=None, problem=text) for each in builders.readings()
    ]
    seen = builders.degraded_evidence(
        metrics=builders.metrics(readings=tuple(unread), source=text, problem=text, state=SourceState.FAILED),
        logs=builders.logs(
            builders.log_line(message=text, level=text, error_type=text, id=f"log:{text}"),
            source=text,
            problem=text,
            templates=(builders.log_template(level=text, text=text, example=text, id=f"log:template-{text}"),),
        ),
        alerts=builders.alerts(builders.alert(id=f"alert:{text}", summary=text, severity=text)),
        deployments=builders.deployments(
            builders.bad_deployment(id=f"deployment:{text}", revision=text, message=text),
            builders.deployment(100, revision=text, message=text),
        ),
        background=builders.background(
            problem=text,
            changes=(Change(id=f"change:{text}", service=text, kind=ChangeKind.OTHER, at=NOW, description=text),),
        ),
    )
    assessment = builders.assessment(seen)
    odd = Anomaly(**{**assessment.anomalies[0].model_dump(), "label": text, "evidence_ids": (f"log:{text}",)})
    decision = builders.decision(
        summary=text, root_cause_hypothesis=text, evidence_ids=(f"log:{text}", f"alert:{text}", f"nowhere:{text}")
    )
    verdict = builders.verdict().model_copy(
        update={"findings": (Finding(rule=text, passed=False, saw=text, otherwise=Course.ASK),)}
    )
    run = builders.run(RunState.FAILED, detail=text, url=address)
    written = {
        "trigger": Trigger(source=text, trigger_id=text, execution_id=text, by=text, reason=text),
        "evidence": seen,
        "assessment": assessment.model_copy(update={"anomalies": (odd,)}),
        "analysis": builders.analysis(decision=decision, analyst=text, model=text, because=text),
        "verdict": verdict,
        "proposal": builders.proposal(question=text, deadline=NOW + timedelta(days=3650)),
        "approvals": [builders.approval(approver=text, note=text, digest=(text * 64)[:64])],
        "remediation": builders.remediation_record(
            order=builders.order(reason=text), run=run, authorised_by=text, refused=(text,), findings=verdict.findings
        ),
        "undo": builders.remediation_record(order=builders.order(reason=text), run=run, authorised_by=text),
        "stopped": Stop(by=text, reason=text, at=NOW),
        "cancelled_by": text,
        "looks": [builders.look(at=NOW + timedelta(minutes=1))],
        "recovery": Recovery(classification=Classification.IMPROVING, reasons=(text,), settled=False),
        "notifications": [builders.notification(title=text, text=text, delivered=False, problem=text)],
        "unreached": text,
        "heard": Heard(notices=3, alerts=(short,), left_out=1, firing=True, last_at=NOW),
        "timeline": [TimelineEntry(at=NOW, stage=Stage.DETECTING, text=text)],
    }
    return asking_dossier(**{**written, **changes})


def numbered(number: int) -> str:
    """The id of the `number`-th incident."""
    return f"{builders.INCIDENT_ID[:-8]}{number:08x}"


def hostile_dossiers() -> Sequence[Dossier]:
    """One incident for each text of the corpus."""
    return [
        hostile_dossier(text, ADDRESSES[number % len(ADDRESSES)], incident_id=numbered(number))
        for number, text in enumerate(CORPUS)
    ]
