"""How an open incident looks in the Temporal Web UI: search attributes and a page of markdown."""

from collections.abc import Sequence

from temporalio import workflow
from temporalio.common import SearchAttributeUpdate

with workflow.unsafe.imports_passed_through():
    from incident.dossier import Dossier
    from incident.evidence import Metric
    from incident.snapshot import Outcome
    from workflows import names

_SHOWN = (Metric.ERROR_RATE, Metric.P99_LATENCY, Metric.CPU_USAGE, Metric.MEMORY_USAGE)


def attributes(dossier: Dossier, outcome: Outcome | None = None) -> Sequence[SearchAttributeUpdate[str]]:
    """The search attributes of `dossier`; severity once it is known, the outcome once there is one."""
    updates: list[SearchAttributeUpdate[str]] = [
        names.INCIDENT_ID.value_set(dossier.incident_id),
        names.SERVICE.value_set(dossier.service),
        names.ENVIRONMENT.value_set(dossier.environment),
        names.STAGE.value_set(dossier.stage),
    ]
    if dossier.verdict:
        updates.append(names.SEVERITY.value_set(dossier.verdict.severity))
    elif dossier.assessment:
        updates.append(names.SEVERITY.value_set(dossier.assessment.severity))
    if outcome:
        updates.append(names.OUTCOME.value_set(outcome))
    return updates


def details(dossier: Dossier) -> str:
    """`dossier` as markdown: where it stands, before and now, and what happened so far."""
    lines = [f"### {dossier.service} in {dossier.environment}: {dossier.stage}", f"`{dossier.incident_id}`", ""]
    if dossier.assessment:
        lines += [f"**{dossier.assessment.severity}** by the numbers: {_plain(dossier.assessment.summary)}", ""]
    if dossier.verdict:
        lines += [f"Gate: **{dossier.verdict.course}** (deployment {dossier.verdict.target or 'none'})", ""]
    if dossier.unreached:
        lines += [f"**Nobody knows:** {_plain(dossier.unreached)}", ""]
    if dossier.proposal and not dossier.approval:
        lines += [
            f"Waiting for a person: {_plain(dossier.proposal.question)} Digest `{dossier.proposal.digest[:12]}`",
            "",
        ]
    if dossier.evidence and dossier.looks:
        now = dossier.looks[-1]
        lines += ["| | before | now |", "|---|---|---|"]
        for metric in _SHOWN:
            was = dossier.evidence.metrics.value(metric)
            lines.append(f"| {metric} | {metric.show(was)} | {metric.show(now.values.get(metric))} |")
        lines.append("")
    lines += [f"- {entry.at:%H:%M:%S} {entry.stage}: {_plain(entry.text)}" for entry in dossier.timeline]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Untrusted text as one line that markdown does not read: no links, no HTML, no tables."""
    return "".join(f"\\{each}" if each in "\\`*_[]<>|#" else each for each in " ".join(text.split()))
