from collections.abc import Sequence
from datetime import timedelta

import pytest

from incident.anomalies import assess
from incident.cause import Cause, Change, ChangeKind, Climb, Guilt, Suspect
from incident.causes import Span, cause_of, explaining, guilt_of_live, news, with_changes
from incident.evidence import Background, Evidence, Metric, SourceState
from incident.policy import Policy
from tests.builders import (
    NOW,
    ONSET,
    SERVICE,
    background,
    bad_deployment,
    degraded_evidence,
    deployment,
    deployments,
    evidence,
    metrics,
    normal,
    told_change,
)

WITHIN = timedelta(hours=2)


def found(seen: Evidence) -> Cause:
    return cause_of(seen, assess(seen, Policy().thresholds), WITHIN)


def suspects(*services: str) -> Sequence[Suspect]:
    return [
        Suspect(service=each, score=10.0 / 10**place, moved=("error_ratio",)) for place, each in enumerate(services)
    ]


def around_it(*services: str, changes: Sequence[Change] = ()) -> Background:
    return background(suspects=suspects(*services), onset=ONSET, seen=("database",), changes=changes)


def around(service: str, minutes_before: float) -> Change:
    at = ONSET - timedelta(minutes=minutes_before)
    return Change(id=f"change:{service}", service=service, kind=ChangeKind.DEPLOYMENT, at=at)


def guilt(seen: Evidence) -> Guilt:
    return guilt_of_live(found(seen), seen)[0]


def test_the_live_deployment_is_guilty_where_time_place_and_what_moved_speak_for_it() -> None:
    cause = found(degraded_evidence())
    assert cause.guilty
    assert cause.guilty.id == "deployment:101"


def test_a_deployment_is_innocent_where_another_service_moved_first() -> None:
    seen = degraded_evidence(background=around_it("database", SERVICE))
    assert guilt(seen) is Guilt.INNOCENT
    assert "database" in guilt_of_live(found(seen), seen)[1]


def test_a_change_next_door_explains_it_where_that_service_moved_first() -> None:
    seen = degraded_evidence(background=around_it("database", SERVICE, changes=(around("database", 1),)))
    cause = found(seen)
    assert cause.guilty == around("database", 1)
    assert guilt_of_live(cause, seen)[1].endswith("change:database of database explains it")


def test_a_change_next_door_is_innocent_where_the_service_itself_moved_first() -> None:
    seen = degraded_evidence(background=around_it(SERVICE, "database", changes=(around("database", 1),)))
    cause = found(seen)
    assert cause.guilty
    assert cause.guilty.service == SERVICE
    verdict = cause.verdict("change:database")
    assert verdict
    assert verdict.guilt is Guilt.INNOCENT


def test_a_surge_of_requests_leaves_open_whether_the_live_deployment_is_guilty() -> None:
    (own,) = suspects(SERVICE)
    surge = background(suspects=[own.model_copy(update={"asked": 2.8})], onset=ONSET)
    seen = degraded_evidence(background=surge)
    assert guilt(seen) is Guilt.UNKNOWN
    assert "asked 2.8 times as much as before" in guilt_of_live(found(seen), seen)[1]


def test_a_service_around_that_was_not_seen_to_move_has_no_guilty_change() -> None:
    seen = degraded_evidence(background=background(changes=(around("cache", 1),)))
    verdict = found(seen).verdict("change:cache")
    assert verdict
    assert verdict.guilt is Guilt.UNKNOWN


@pytest.mark.parametrize(
    ("known", "guilty"), [((), Guilt.UNKNOWN), ((normal(Metric.ERROR_RATE, 0.01, high=0.02),), Guilt.INNOCENT)]
)
def test_where_nothing_moved_only_a_history_makes_it_innocent(known: tuple[object, ...], guilty: Guilt) -> None:
    assert guilt(degraded_evidence(metrics=metrics(), background=background(normals=known))) is guilty


def test_where_nothing_could_be_read_it_is_not_known() -> None:
    assert guilt(degraded_evidence(metrics=metrics(state=SourceState.FAILED, readings=()))) is Guilt.UNKNOWN


def test_the_metrics_onset_goes_before_the_alerts() -> None:
    early = background(onset=NOW - timedelta(hours=1))
    assert guilt(degraded_evidence(background=early)) is Guilt.INNOCENT


def test_what_went_live_after_the_live_one_by_its_own_history_is_not_judged() -> None:
    history = deployments(bad_deployment(), deployment(100, activated_at=NOW - timedelta(minutes=5)))
    assert [each.change.id for each in found(degraded_evidence(deployments=history)).changes] == ["deployment:101"]


def test_without_a_live_deployment_nothing_is_known_of_it() -> None:
    seen = evidence(deployments=deployments(deployment(100)))
    assert guilt_of_live(found(seen), seen) == (Guilt.UNKNOWN, "when the live deployment went live is not known")


def test_of_a_long_history_the_newest_ten_are_told() -> None:
    history = deployments(
        bad_deployment(),
        *(deployment(100 - day, activated_at=NOW - timedelta(days=day + 1)) for day in range(30)),
    )
    assert len(found(degraded_evidence(deployments=history)).changes) == 10


def climbing(since: timedelta, onset: timedelta) -> Evidence:
    """Memory climbs since so long ago, and the trouble is said to have begun so long ago."""
    climb = Climb(what="memory", since=NOW - since, within=timedelta(minutes=12))
    return degraded_evidence(
        background=background(suspects=suspects(SERVICE), onset=NOW - onset, climb=climb),
        deployments=deployments(bad_deployment(activated_at=NOW - timedelta(hours=5)), deployment(100)),
    )


def test_what_has_climbed_since_the_live_deployment_went_live_makes_it_guilty() -> None:
    seen = climbing(timedelta(hours=5, minutes=7), onset=timedelta(hours=5))
    judged, words = guilt_of_live(found(seen), seen)
    assert judged is Guilt.GUILTY
    assert f"memory has climbed since {NOW - timedelta(hours=5):%Y-%m-%d %H:%MZ}, when it went live" in words


def test_what_has_climbed_since_long_before_the_live_deployment_leaves_it_innocent() -> None:
    seen = climbing(timedelta(hours=7), onset=timedelta(hours=7))
    judged, words = guilt_of_live(found(seen), seen)
    assert judged is Guilt.INNOCENT
    assert f"memory has climbed since {NOW - timedelta(hours=7):%Y-%m-%d %H:%MZ}, give or take 12 min" in words


def test_what_has_climbed_only_since_long_after_the_live_deployment_leaves_it_innocent() -> None:
    seen = climbing(timedelta(hours=2), onset=timedelta(hours=2))
    assert guilt(seen) is Guilt.INNOCENT


def told(minutes_before: float, change_id: str = "pool", **changes: object) -> Change:
    at = ONSET - timedelta(minutes=minutes_before)
    return told_change(change_id, at=at, **changes).seen_from(SERVICE)


def degraded_with(*changes: Change) -> Evidence:
    """Degraded evidence of a service without a history, of which those changes were told."""
    known = Background(source="store", state=SourceState.EMPTY, changes=changes)
    return degraded_evidence(background=known)


def test_a_told_change_nearer_to_the_onset_than_the_live_deployment_explains_it() -> None:
    seen = degraded_with(told(1))
    assert found(seen).guilty == told(1)
    guilty, words = guilt_of_live(found(seen), seen)
    assert guilty is Guilt.INNOCENT
    assert words == (
        "deployment:101 is innocent: made 8 min before the trouble began; change:pool explains it better"
        "; change:pool of payment-api explains it"
    )


@pytest.mark.parametrize(
    "change",
    [told(-1), told(9), told(1, service="database")],
    ids=["after the onset", "before the deployment", "next door"],
)
def test_a_told_change_elsewhere_in_time_or_place_leaves_the_live_deployment_guilty(change: Change) -> None:
    assert guilt(degraded_with(change)) is Guilt.GUILTY


def test_a_told_change_long_before_the_onset_is_innocent() -> None:
    cause = found(degraded_with(told(121)))
    verdict = cause.verdict("change:pool")
    assert verdict
    assert verdict.guilt is Guilt.INNOCENT


def test_a_told_change_is_judged_where_no_deployment_is_known_to_be_live() -> None:
    known = Background(source="store", state=SourceState.EMPTY, changes=(told(1),))
    assert found(degraded_evidence(background=known, deployments=deployments())).guilty == told(1)


def test_a_flood_of_later_changes_hides_no_verdict_on_the_live_deployment() -> None:
    flood = [told(-number, f"{number}") for number in range(1, 40)]
    assert guilt(degraded_with(*flood)) is Guilt.GUILTY
    assert guilt(degraded_with(*flood, told(1))) is Guilt.INNOCENT


CLIMB = Climb(what="memory", since=NOW - timedelta(hours=9), within=timedelta(minutes=6))


def leaking(*changes: Change) -> Evidence:
    """Memory has climbed for nine hours, in which the live deployment went live four minutes."""
    live = bad_deployment(activated_at=CLIMB.since - timedelta(minutes=4))
    known = background(onset=live.activated_at, climb=CLIMB, suspects=suspects(SERVICE), changes=changes)
    return degraded_evidence(background=known, deployments=deployments(live, deployment(100)))


def test_a_change_explains_an_onset_from_so_long_before_it_until_then() -> None:
    assert explaining(degraded_evidence(), WITHIN) == Span(ONSET - WITHIN, ONSET)


def test_a_change_explains_a_climb_from_so_long_before_its_earliest_beginning_until_its_latest() -> None:
    begun = (CLIMB.since - CLIMB.within - WITHIN, CLIMB.since + CLIMB.within)
    assert explaining(leaking(), WITHIN) == Span(*begun)


@pytest.mark.parametrize(("minutes_before", "inside"), [(0, True), (120, True), (121, False), (-1, False)], ids=str)
def test_both_ends_of_a_span_belong_to_it(minutes_before: float, inside: bool) -> None:  # noqa: FBT001 - the case
    assert explaining(degraded_evidence(), WITHIN).holds(ONSET - timedelta(minutes=minutes_before)) is inside


def test_what_comes_to_be_known_joins_what_is_known_once() -> None:
    seen = degraded_with(told(1))
    assert with_changes(seen, (told(1, description="in other words"),)) == seen
    assert with_changes(seen, (told(1), told(2, "flags"))).changes == (told(1), told(2, "flags"))


def test_a_change_joins_evidence_that_knows_of_none() -> None:
    joined = with_changes(degraded_evidence(), (told(1),))
    assert joined == degraded_with(told(1))
    assert guilt(joined) is Guilt.INNOCENT


def test_a_climb_begins_with_a_change_that_comes_to_be_known_and_lies_nearer_than_the_deployment() -> None:
    assert guilt(leaking()) is Guilt.GUILTY
    change = told_change(at=CLIMB.since + timedelta(minutes=1)).seen_from(SERVICE)
    joined = with_changes(leaking(), (change,))
    assert joined.onset == change.at
    assert found(joined).guilty == change
    assert guilt(joined) is Guilt.UNKNOWN  # it went live within the same five minutes


@pytest.mark.parametrize("minutes", [5, -7], ids=["farther than the deployment", "before any beginning"])
def test_a_change_that_lies_farther_from_a_climb_than_the_deployment_leaves_it_guilty(minutes: float) -> None:
    change = told_change(at=CLIMB.since + timedelta(minutes=minutes)).seen_from(SERVICE)
    joined = with_changes(leaking(), (change,))
    assert joined.onset == leaking().onset
    assert guilt(joined) is Guilt.GUILTY


def test_the_news_is_the_guilty_change_and_else_those_that_were_not_known_of() -> None:
    before = degraded_with(told(2, "flags"))
    now = with_changes(before, (told(3, "quota"), told(1)))
    guilty = "change:pool, configuration change of payment-api at 2026-11-24 13:57:00Z: database pool from 20 to 10"
    assert news(before, now, found(now)) == (f"{guilty}, was not known of when it was decided",)
    assert [each.split(",")[0] for each in news(before, now, None)] == ["change:quota", "change:pool"]
    assert news(now, now, found(now)) == ()
