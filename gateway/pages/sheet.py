"""One incident as its page shows it: what was measured, what the analyst says of it, what was done and by whom."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Generic, Protocol, TypeVar

from gateway.office import IncidentView
from gateway.pages.sessions import Session
from gateway.tokens import Scope
from incident.cause import Change, ChangeVerdict
from incident.dossier import Approval, Dossier, Heard, RemediationRecord, Stage
from incident.evidence import Alert, Deployment, Evidence, LogLine, Metric, Reading, Source, SourceReport
from incident.log_templates import LogTemplate
from incident.recovery import COMPARED, Look, improvement, look_at
from incident.snapshot import Snapshot

SECTIONS = (
    "status",
    "question",
    "timeline",
    "measured",
    "comparison",
    "analyst",
    "gate",
    "done",
    "answers",
    "messages",
)
"""The parts of the page that change while the incident goes on, in their order."""
PLOTTED = (Metric.ERROR_RATE, Metric.P99_LATENCY, Metric.CPU_USAGE, Metric.MEMORY_USAGE)
_MORE_IS_NOT_WORSE = frozenset({Metric.REQUESTS_PER_SECOND})


class _Citable(Protocol):
    @property
    def id(self) -> str: ...


_Item_co = TypeVar("_Item_co", bound=_Citable, covariant=True)


@dataclass(frozen=True)
class Row(Generic[_Item_co]):
    """One item of the evidence."""

    item: _Item_co
    anchor: str
    """The id of its row in the page; nothing of the item's own id is in it."""
    cited: bool


@dataclass(frozen=True)
class Citation:
    """What a decision is said to rest on."""

    id: str
    anchor: str
    """Empty: the evidence has no such item."""
    text: str


@dataclass(frozen=True)
class Compared:
    """One metric before and now."""

    name: str
    before: str
    now: str
    better: str
    """Empty: it cannot be said."""


@dataclass(frozen=True)
class Deed:
    """A remediation, and what it is called."""

    title: str
    record: RemediationRecord


@dataclass(frozen=True)
class Sheet:
    """Everything that the page shows."""

    view: IncidentView
    session: Session
    now: datetime

    @property
    def record(self) -> Dossier | Snapshot | None:
        """All that is known; `None`: it left no record."""
        return self.view.snapshot or self.view.dossier

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.view.stage is not Stage.CLOSED

    @property
    def lasted(self) -> timedelta | None:
        """From the opening to the end, or to now; `None`: it has ended, and nobody knows when."""
        end = self.now if self.is_open else self.view.closed_at
        return end - self.view.opened_at if end else None

    @property
    def title(self) -> str:
        """What the browser's tab says."""
        state = self.view.outcome or ("open" if self.is_open else "closed")
        severity = f"{self.view.severity} " if self.view.severity else ""
        return f"{severity}{self.view.service}: {state}"

    @property
    def news(self) -> str:
        """What happened last, for those who cannot see the page change."""
        return self.record.timeline[-1].text if self.record and self.record.timeline else ""

    @property
    def evidence(self) -> Evidence | None:
        """What was seen."""
        return self.record.evidence if self.record else None

    @property
    def reports(self) -> Sequence[tuple[Source, SourceReport]]:
        """How each source answered."""
        seen = self.evidence
        if seen is None:
            return ()
        reports = (seen.metrics, seen.logs, seen.alerts, seen.deployments)
        return tuple(zip(Source, reports, strict=True))

    @property
    def readings(self) -> Sequence[Row[Reading]]:
        """The readings."""
        return self._rows("metric", self.evidence.metrics.readings if self.evidence else ())

    @property
    def lines(self) -> Sequence[Row[LogLine]]:
        """The log lines."""
        return self._rows("log", self.evidence.logs.lines if self.evidence else ())

    @property
    def templates(self) -> Sequence[Row[LogTemplate]]:
        """What the log lines have in common."""
        return self._rows("template", self.evidence.logs.templates if self.evidence else ())

    @property
    def alerts(self) -> Sequence[Row[Alert]]:
        """The alerts."""
        return self._rows("alert", self.evidence.alerts.alerts if self.evidence else ())

    @property
    def deployments(self) -> Sequence[Row[Deployment]]:
        """The deployments."""
        return self._rows("deployment", self.evidence.deployments.deployments if self.evidence else ())

    @property
    def changes(self) -> Sequence[Row[Change]]:
        """What else was changed in the service, and around it."""
        return self._rows("change", self.evidence.changes if self.evidence else ())

    def verdict_on(self, change: Change) -> ChangeVerdict | None:
        """What code makes of `change`; `None`: nothing is known of it, or not any more."""
        verdict = self.record.verdict if self.record else None
        return verdict.cause.verdict(change.id) if verdict and verdict.cause else None

    @property
    def citations(self) -> Sequence[Citation]:
        """What the decision cites, whether there is such a thing or not."""
        analysis = self.record.analysis if self.record else None
        cited = analysis.decision.evidence_ids if analysis else ()
        return tuple(self.citation(each) for each in cited)

    def citation(self, item_id: str) -> Citation:
        """Where the item of that id stands, and what is known of it."""
        text = self.evidence.describe(item_id) if self.evidence else "not among the evidence"
        return Citation(item_id, self._anchors.get(item_id, ""), text)

    @property
    def before(self) -> Look | None:
        """The look that the incident is compared with."""
        if self.record is None or self.record.evidence is None or self.record.assessment is None:
            return None
        return look_at(self.record.evidence, self.record.assessment)

    @property
    def looks(self) -> Sequence[Look]:
        """The looks since, oldest first."""
        return self.record.looks if self.record else ()

    @property
    def every_look(self) -> Sequence[Look]:
        """The look that opened it, and those since."""
        return (*((self.before,) if self.before else ()), *self.looks)

    @property
    def compared(self) -> Sequence[Compared]:
        """The metrics that a recovery is told by, before and now."""
        before, now = self.before, self.looks[-1] if self.looks else None
        if before is None:
            return ()
        return tuple(
            _compared(metric, before.values.get(metric), now.values.get(metric) if now else None) for metric in COMPARED
        )

    @property
    def plots(self) -> Sequence[tuple[Metric, str]]:
        """The metrics that are plotted, each with what its plot shows, in words."""
        return tuple((metric, self.in_words(metric)) for metric in PLOTTED) if self.before else ()

    def in_words(self, metric: Metric) -> str:
        """What the plot of `metric` shows."""
        before = self.before.values.get(metric) if self.before else None
        values = [look.values.get(metric) for look in self.looks]
        since = f"then {', '.join(map(metric.show, values))}" if values else "nobody has looked since"
        return f"{metric.value.replace('_', ' ')}: {metric.show(before)} when the incident opened, {since}"

    @property
    def deeds(self) -> Sequence[Deed]:
        """What was done, or tried."""
        if self.record is None:
            return ()
        deeds = (("Rollback", self.record.remediation), ("Undoing of the rollback", self.record.undo))
        return tuple(Deed(title, record) for title, record in deeds if record)

    @property
    def approvals(self) -> Sequence[Approval]:
        """Every answer that is known, oldest first."""
        if self.record is None:
            return ()
        decided = (self.record.approval,) if self.record.approval else ()
        return self.record.approvals or decided  # records older than schema 1.2 hold the deciding one alone

    @property
    def heard(self) -> Heard:
        """What alerts said meanwhile."""
        return self.record.heard if self.record else Heard()

    @property
    def may_cancel(self) -> bool:
        """Whether who looks may end it."""
        return self.is_open and self.session.may(Scope.OPERATE)

    @property
    def hindrance(self) -> str:
        """Why who looks cannot answer the question; empty: they can, as far as can be told."""
        if self.view.proposal is None:
            return "nothing is proposed"
        if not self.session.may(Scope.APPROVE):
            return f"{self.session.caller.name}'s token has not the scope {Scope.APPROVE}"
        dossier = self.view.dossier
        return dossier.objection(self.view.proposal.digest, self.session.caller.name, self.now) if dossier else ""

    @cached_property
    def _cited(self) -> frozenset[str]:
        analysis = self.record.analysis if self.record else None
        return frozenset(analysis.decision.evidence_ids if analysis else ())

    @cached_property
    def _anchors(self) -> dict[str, str]:
        rows: tuple[Row[_Citable], ...] = (
            *self.readings,
            *self.lines,
            *self.templates,
            *self.alerts,
            *self.deployments,
            *self.changes,
        )
        # Where an id is there twice, the first one is meant.
        return {row.item.id: row.anchor for row in reversed(rows)}

    def _rows(self, kind: str, items: Iterable[_Item_co]) -> Sequence[Row[_Item_co]]:
        return tuple(
            Row(item, f"evidence-{kind}-{place}", item.id in self._cited) for place, item in enumerate(items, start=1)
        )


def _compared(metric: Metric, before: float | None, now: float | None) -> Compared:
    percent = None if metric in _MORE_IS_NOT_WORSE else improvement(before, now)
    better = "" if percent is None else f"{abs(percent):.1f} % {'better' if percent >= 0 else 'worse'}"
    return Compared(metric.value.replace("_", " "), metric.show(before), metric.show(now), better)
