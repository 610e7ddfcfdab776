"""The figures over past incidents."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from incident.dossier import Stage, TimelineEntry
from incident.evidence import Metric
from incident.figures import Spread, figures, time_to_act, time_to_detect, time_to_recover
from incident.ledger import RunState
from incident.recovery import Look, classify, look_at
from incident.severity import Severity
from incident.snapshot import Outcome, Snapshot, close
from tests import builders
from tests.builders import NOW

SICK = {"error_rate": 15.5, "p99_latency": 1200.0}


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def recovered(*looks: Look, asked_after: timedelta | None = timedelta(minutes=1), **changes: object) -> Snapshot:
    """An incident that was rolled back and then looked at."""
    taken = looks or (builders.look(at=NOW + minutes(2)), builders.look(at=NOW + minutes(3)))
    dossier = builders.decided_dossier(
        remediation=builders.remediation_record(run=builders.run(asked_at=asked_after and NOW + asked_after)),
        looks=list(taken),
        **changes,
    )
    assert dossier.evidence
    assert dossier.assessment
    before = look_at(dossier.evidence, dossier.assessment)
    by_looks = dossier.policy.recovery.model_copy(update={"count_requests": False})
    dossier.recovery = classify(before, taken, by_looks)
    return close(dossier, Outcome.RECOVERED, NOW + minutes(4))


def nothing_found(source: str) -> Snapshot:
    seen = builders.healthy_evidence()
    dossier = builders.dossier(evidence=seen, assessment=builders.assessment(seen), trigger={"source": source})
    return close(dossier, Outcome.NO_INCIDENT, NOW + minutes(1))


def acted_after(*each: float) -> Sequence[Snapshot]:
    return [recovered(asked_after=minutes(number)) for number in each]


def test_every_incident_is_counted_once_under_its_severity_and_outcome() -> None:
    called_off = builders.snapshot(builders.decided_dossier(), Outcome.CANCELLED)
    found = figures([recovered(), recovered(), called_off, nothing_found("cli")])
    assert found.incidents == 4
    assert found.count(Severity.P0, Outcome.RECOVERED) == 2
    assert found.count(Severity.P0, Outcome.CANCELLED) == 1
    assert found.count(Severity.P3, Outcome.NO_INCIDENT) == 1
    assert found.count(Severity.P1, Outcome.RECOVERED) == 0
    assert sum(each.incidents for each in found.counts) == found.incidents


def test_detection_runs_from_the_oldest_firing_alert_to_the_opening() -> None:
    assert time_to_detect(recovered()) == minutes(2)


@pytest.mark.parametrize(
    "seen",
    [
        builders.degraded_evidence(alerts=builders.alerts()),
        builders.degraded_evidence(alerts=builders.alerts(builders.alert(started_at=NOW + minutes(1)))),
        None,
    ],
    ids=["no alert", "an alert only afterwards", "no evidence"],
)
def test_without_an_alert_before_the_opening_the_time_to_detect_is_unknown_and_never_zero(seen: object) -> None:
    changes = {"evidence": seen} if seen else {"evidence": None, "assessment": None}
    snapshot = builders.snapshot(builders.dossier(**changes), Outcome.ESCALATED)
    assert time_to_detect(snapshot) is None
    assert figures([snapshot]).to_detect == Spread(known=0, unknown=1)


def test_a_look_that_found_nothing_says_nothing_of_the_time_to_detect() -> None:
    assert figures([nothing_found("alertmanager")]).to_detect == Spread(known=0, unknown=0)


def test_acting_runs_from_the_opening_to_when_the_remediation_was_asked_for() -> None:
    assert time_to_act(recovered(asked_after=minutes(7))) == minutes(7)


def test_the_timeline_says_when_something_was_done_where_the_target_does_not() -> None:
    timeline = [
        TimelineEntry(at=NOW, stage=Stage.DETECTING, text="asked by cli"),
        TimelineEntry(at=NOW + minutes(5), stage=Stage.REMEDIATING, text="begins"),
        TimelineEntry(at=NOW + minutes(6), stage=Stage.REMEDIATING, text="runs"),
    ]
    assert time_to_act(recovered(asked_after=None, timeline=timeline)) == minutes(5)


def test_something_done_at_an_unknown_time_is_counted_as_unknown() -> None:
    assert figures([recovered(asked_after=None)]).to_act == Spread(known=0, unknown=1)


def test_where_nothing_was_done_there_is_no_time_to_act_to_be_missed() -> None:
    never = builders.remediation_record(run=builders.run(RunState.NEVER_STARTED, asked_at=NOW))
    escalated = builders.snapshot(builders.decided_dossier(remediation=never), Outcome.ESCALATED)
    assert time_to_act(escalated) is None
    assert figures([escalated]).to_act == Spread(known=0, unknown=0)


def test_recovery_begins_with_the_first_of_the_good_looks_that_it_ended_with() -> None:
    looks = (
        builders.look(at=NOW + minutes(1)),
        builders.look(SICK, at=NOW + minutes(2)),
        builders.look(at=NOW + minutes(3)),
        builders.look(at=NOW + minutes(4)),
    )
    assert time_to_recover(recovered(*looks)) == minutes(3)


def test_a_look_with_an_unknown_value_is_no_good_look() -> None:
    looks = (
        builders.look({Metric.ERROR_RATE: None}, at=NOW + minutes(1)),
        builders.look(at=NOW + minutes(2)),
        builders.look(at=NOW + minutes(3)),
    )
    assert time_to_recover(recovered(*looks)) == minutes(2)


def test_what_recovered_without_a_settled_streak_is_counted_as_unknown() -> None:
    snapshot = builders.snapshot(builders.decided_dossier(), Outcome.RECOVERED)
    assert figures([snapshot]).to_recover == Spread(known=0, unknown=1)


def test_what_did_not_recover_has_no_time_to_recover() -> None:
    one_good_look = recovered(builders.look(at=NOW + minutes(1)))
    assert time_to_recover(one_good_look) is None
    escalated = builders.snapshot(builders.decided_dossier(), Outcome.ESCALATED)
    assert figures([escalated]).to_recover == Spread(known=0, unknown=0)


@pytest.mark.parametrize(
    ("taken", "median", "p90"),
    [((3,), 3, 3), ((1, 2), 1.5, 2), (tuple(range(1, 11)), 5.5, 9), (tuple(range(1, 12)), 6, 10)],
)
def test_nine_in_ten_took_no_longer_than_the_ninetieth_percentile(
    taken: tuple[float, ...], median: float, p90: float
) -> None:
    spread = figures(acted_after(*taken)).to_act
    assert spread == Spread(known=len(taken), unknown=0, median=minutes(median), p90=minutes(p90))


def test_only_an_alerts_word_can_be_a_false_alarm() -> None:
    found = figures([nothing_found("alertmanager"), nothing_found("grafana"), nothing_found("kestra"), recovered()])
    assert (found.by_alert, found.false_alarms) == (2, 2)


def test_an_alert_that_was_right_is_no_false_alarm() -> None:
    found = figures([recovered(trigger={"source": "alertmanager"})])
    assert (found.by_alert, found.false_alarms) == (1, 0)


def test_what_a_person_called_off_is_counted_apart_from_false_alarms() -> None:
    called_off = builders.decided_dossier(trigger={"source": "alertmanager"}, cancelled_by="ada")
    found = figures([builders.snapshot(called_off, Outcome.CANCELLED)])
    assert (found.called_off, found.false_alarms) == (1, 0)


def test_no_incident_at_all_gives_no_figure_instead_of_zero() -> None:
    found = figures([])
    assert found.incidents == 0
    assert found.to_act.median is None
    assert found.to_recover.p90 is None
