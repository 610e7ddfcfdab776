"""What a person sees of an incident in a terminal. Untrusted text stays text: no markup, no control characters."""

from collections.abc import Sequence
from datetime import timedelta

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from commander.line import Entry
from incident.dossier import Approval, Dossier, Notification, TimelineEntry
from incident.evidence import Metric
from incident.recovery import COMPARED, Classification, improvement
from incident.snapshot import Snapshot
from incident.text import visible
from incident.watching import WatchedService

_GOOD = frozenset({Classification.FULLY_RECOVERED, Classification.SIGNIFICANT_IMPROVEMENT, Classification.IMPROVING})


class Progress:
    """Prints what is new in a dossier or a record each time it is shown one. Implements `Watcher`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._entries = 0
        self._told = 0
        self._unreached = ""

    def show_dossier(self, dossier: Dossier) -> None:
        """Prints what is new in `dossier`."""
        self._show(dossier.timeline, dossier.notifications)
        self._show_unreached(dossier.unreached)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Prints what is new in the record."""
        self._show(snapshot.timeline, snapshot.notifications)

    def note(self, text: str) -> None:
        """Prints `text` apart from what happens to the incident."""
        self._console.print(Text(plain(text), "yellow"))

    def _show(self, timeline: Sequence[TimelineEntry], notifications: Sequence[Notification]) -> None:
        for entry in timeline[self._entries :]:
            self._console.print(
                Text.assemble((f"{entry.at:%H:%M:%S} ", "dim"), (f"{entry.stage:<17} ", "cyan"), plain(entry.text))
            )
        for message in notifications[self._told :]:
            self._console.print(notification(message))
        self._entries, self._told = len(timeline), len(notifications)

    def _show_unreached(self, why: str) -> None:
        if why and why != self._unreached:
            self._console.print(unreached(why))
        if self._unreached and not why:
            self._console.print(Text("somebody was told by now", "green"))
        self._unreached = why


def say(console: Console, label: str, value: str) -> None:
    """Prints `label` and `value` on one line however long it is, so that a link stays one and can be clicked."""
    console.print(Text(f"{label:<17}{plain(value)}"), soft_wrap=True)


def plain(text: str) -> str:
    """`text` without what steers a terminal or hides; line breaks stay."""
    return visible(text)


def notification(message: Notification) -> RenderableType:
    """One message as it would reach people."""
    state = "" if message.delivered else f" (not delivered: {plain(message.problem)})"
    title = f"{message.channel}: {message.kind}{state}"
    return Panel(Text(plain(message.text or message.title)), title=title, title_align="left", box=box.ROUNDED)


def unreached(why: str) -> RenderableType:
    """That nobody could be told, which nobody may overlook."""
    text = Text(plain(f"Tell somebody. {why}"))
    return Panel(text, title="NOBODY COULD BE TOLD", title_align="left", box=box.HEAVY, style="bold red")


def standing(dossier: Dossier) -> RenderableType:
    """Where an open incident stands, and what is asked of people."""
    lines = [Text(f"Stage           {dossier.stage}")]
    if dossier.stopped:
        lines.append(Text(plain(f"Stopped         {dossier.stopped.words}"), "bold yellow"))
    proposal, needed = dossier.proposal, dossier.policy.approvals_needed
    if proposal is not None:
        lines += [
            Text(plain(f"Asked           {proposal.question}"), "bold"),
            Text(f"                until {proposal.deadline:%Y-%m-%d %H:%M:%SZ}, digest {proposal.digest[:12]}"),
        ]
        if needed > 1:
            lines.append(Text(f"                {needed} people must approve"))
    lines += map(_answer, dossier.approvals)
    return Panel(Group(*lines), title=dossier.incident_id, title_align="left", box=box.HEAVY)


def _answer(approval: Approval) -> Text:
    said = "Approved" if approval.approved else "Denied"
    note = f": {approval.note}" if approval.note else ""
    return Text(plain(f"{said:<16}by {approval.approver} at {approval.at:%H:%M:%SZ}{note}"))


def comparison(snapshot: Snapshot) -> RenderableType:
    """Before and after, with the improvement in percent."""
    table = Table(title="Before and after", box=box.SIMPLE_HEAVY, title_justify="left")
    for column in ("", "before", "after", "better by"):
        table.add_column(column, justify="left" if not column else "right")
    after = snapshot.looks[-1] if snapshot.looks else None
    for metric in COMPARED:
        was = snapshot.evidence.metrics.value(metric) if snapshot.evidence else None
        now = after.values.get(metric) if after else None
        better = improvement(was, now) if metric is not Metric.REQUESTS_PER_SECOND else None
        shown = "" if better is None else f"{better:.1f} %"
        table.add_row(metric.value.replace("_", " "), metric.show(was), metric.show(now), shown)
    if snapshot.evidence:
        health = after.health.value if after else "unknown"
        table.add_row("health", snapshot.evidence.metrics.health.value, health, "")
        table.add_row("deployment", *_deployments(snapshot), "")
    return table


def _deployments(snapshot: Snapshot) -> tuple[str, str]:
    looks = (snapshot.metrics.before, snapshot.metrics.after)
    was, now = (str(look.deployment_id) if look and look.deployment_id is not None else "unknown" for look in looks)
    return was, now


def summary(snapshot: Snapshot) -> RenderableType:
    """How the incident ended, in a few lines."""
    said = snapshot.recovery.classification if snapshot.recovery else None
    lines = [Text(plain(f"NOBODY TOLD     {snapshot.unreached}"), "bold red")] if snapshot.unreached else []
    lines += [
        Text.assemble("Outcome         ", (snapshot.outcome, "bold")),
        Text.assemble("Classification  ", (said or "not checked", "bold green" if said in _GOOD else "bold yellow")),
        Text(f"Severity        {snapshot.severity}"),
        Text(f"Done            {snapshot.action_taken}"),
        *map(_answer, snapshot.approvals or ((snapshot.approval,) if snapshot.approval else ())),
    ]
    if snapshot.analysis:
        lines.append(Text(plain(f"Analyst         {snapshot.analysis.analyst} {snapshot.analysis.model}").rstrip()))
    if snapshot.analysis and snapshot.analysis.because:
        lines.append(Text(plain(f"                since {snapshot.analysis.because}")))
    if snapshot.verdict:
        if snapshot.verdict.cause and snapshot.verdict.cause.elsewhere:
            lines.append(Text(plain(f"Explained by    {snapshot.verdict.cause.elsewhere}"), "bold"))
        lines += [
            Text.assemble(
                ("  passed  " if each.passed else "  refused ", "green" if each.passed else "red"),
                plain(f"{each.rule}: {each.saw}"),
            )
            for each in snapshot.verdict.findings
        ]
    if snapshot.recovery:
        lines.append(Text(plain(f"Because         {'; '.join(snapshot.recovery.reasons)}")))
    return Panel(Group(*lines), title=snapshot.incident_id, title_align="left", box=box.HEAVY)


def incidents(entries: Sequence[Entry]) -> RenderableType:
    """Open and closed incidents, a row each; when one opened stands in its id, in UTC."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("incident", "", "stage, outcome", "lasted", ""):
        table.add_column(column, no_wrap=True)
    for each in entries:
        lasted = "open" if each.lasted is None else str(timedelta(seconds=round(each.lasted.total_seconds())))
        mark = Text("nobody told", "bold red") if each.unreached else ""
        table.add_row(each.incident_id, each.severity, each.stands, lasted, mark)
    return table


def watchers(watched: Sequence[WatchedService]) -> RenderableType:
    """What is watched, a row each."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("service", "environment", "stands"):
        table.add_column(column, no_wrap=True)
    for each in watched:
        table.add_row(each.service, each.environment, each.stands or "begins")
    return table
