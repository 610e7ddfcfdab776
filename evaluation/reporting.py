"""How good the commander's actions and its confidence were, as far as people have said so afterwards."""

from collections.abc import Iterable, Mapping, Sequence

from pydantic import Field

from evaluation.calibration import Bin, Forecast, bins, brier_score, calibration_error
from incident.decision import Action
from incident.labels import Judgement, Label
from incident.model import Fact
from incident.snapshot import Snapshot

_BY_POLICY = "policy"


class Precision(Fact):
    """How many of a number of rollbacks were right."""

    made: int
    right: int
    wrong: int
    unknown: int = Field(description="nobody has said, or people disagree")
    precision: float | None = Field(description="right of right and wrong together, 0..1; null: none is known")


class Report(Fact):
    """Figures over closed incidents; what nobody has said is unknown, and in no share."""

    incidents: int
    labelled: int = Field(description="incidents with a verdict on which everybody agrees")
    disputed: int = Field(description="incidents on which people disagree: in no figure")
    unlabelled: int
    rollbacks: Precision
    by_itself: Precision = Field(description="the rollbacks that no person had approved")
    harmful: int = Field(description="labelled incidents in which what was done was wrong")
    missed: int = Field(description="labelled incidents in which a rollback would have been right and was not made")
    regret: float | None = Field(description="harmful and missed, per 1,000 labelled incidents; null: none is labelled")
    forecasts: int = Field(description="decisions of which it is known whether they were right")
    undetermined: int = Field(description="labelled incidents whose label does not tell whether the decision was right")
    brier_score: float | None = Field(description="of the decisions' confidence: 0 is best; null: no forecast")
    calibration_error: float | None = Field(description="expected, over ten bins: 0 is best; null: no forecast")
    bins: tuple[Bin, ...]
    unreadable: tuple[str, ...] = Field(default=(), description="records that cannot be read, and are in no figure")


def report(records: Sequence[Snapshot], labels: Iterable[Label], unreadable: Sequence[str] = ()) -> Report:
    """The figures over `records`.

    Args:
        records: of closed incidents, each once.
        labels: everybody's; those of other incidents are left out.
        unreadable: what could not be read of the records.
    """
    said: dict[str, set[Judgement]] = {}
    for each in labels:
        said.setdefault(each.incident_id, set()).add(each.judgement)
    verdicts = {each.incident_id: said[each.incident_id] for each in records if each.incident_id in said}
    agreed = {incident_id: next(iter(found)) for incident_id, found in verdicts.items() if len(found) == 1}
    rollbacks = [each for each in records if _acted(each)]
    judged = [(each, agreed[each.incident_id]) for each in records if each.incident_id in agreed]
    forecasts = [known for record, judgement in judged if (known := forecast(record, judgement))]
    counts = {judgement: sum(each is judgement for each in agreed.values()) for judgement in Judgement}
    regretted = counts[Judgement.HARMFUL] + counts[Judgement.MISSED]
    return Report(
        incidents=len(records),
        labelled=len(agreed),
        disputed=len(verdicts) - len(agreed),
        unlabelled=len(records) - len(verdicts),
        rollbacks=_precision(rollbacks, agreed),
        by_itself=_precision([each for each in rollbacks if _by_itself(each)], agreed),
        harmful=counts[Judgement.HARMFUL],
        missed=counts[Judgement.MISSED],
        regret=1000 * regretted / len(agreed) if agreed else None,
        forecasts=len(forecasts),
        undetermined=len(agreed) - len(forecasts),
        brier_score=brier_score(forecasts),
        calibration_error=calibration_error(forecasts),
        bins=bins(forecasts),
        unreadable=tuple(unreadable),
    )


def forecast(record: Snapshot, judgement: Judgement) -> Forecast | None:
    """The decision's confidence, and whether it was right; `None`: nobody decided, or the label does not tell.

    A decision is right where it proposed a rollback and one was right, or proposed none and none was; whether it was
    followed is the gate's matter.
    """
    wanted = _rollback_was_right(judgement, acted=_acted(record))
    if record.analysis is None or wanted is None:
        return None
    decision = record.analysis.decision
    return Forecast(decision.confidence, right=(decision.action is Action.ROLLBACK) is wanted)


def _rollback_was_right(judgement: Judgement, *, acted: bool) -> bool | None:
    match judgement, acted:
        case (Judgement.GOOD, _):
            return acted
        case (Judgement.HARMFUL, True):
            return False
        case (Judgement.MISSED, False):
            return True
        case _:  # harmful, and nothing was done; or missed, and something was
            return None


def _precision(rollbacks: Sequence[Snapshot], agreed: Mapping[str, Judgement]) -> Precision:
    known = [agreed[each.incident_id] for each in rollbacks if each.incident_id in agreed]
    right = sum(each is Judgement.GOOD for each in known)
    return Precision(
        made=len(rollbacks),
        right=right,
        wrong=len(known) - right,
        unknown=len(rollbacks) - len(known),
        precision=right / len(known) if known else None,
    )


def _acted(record: Snapshot) -> bool:
    return record.remediation is not None and record.remediation.acted


def _by_itself(record: Snapshot) -> bool:
    return record.remediation is not None and record.remediation.authorised_by == _BY_POLICY
