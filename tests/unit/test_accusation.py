from datetime import UTC, datetime, timedelta

import pytest

from incident.accusation import Place, Standing, accuse, judge, place_among
from incident.cause import Change, ChangeKind, ChangeVerdict, Guilt, Suspect

ONSET = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
WINDOW = timedelta(hours=2)


def change(
    minutes: float, service: str = "payment-api", name: str = "", kind: ChangeKind = ChangeKind.DEPLOYMENT
) -> Change:
    """A change that many minutes before the onset."""
    return Change(
        id=name or f"{service}:{minutes:g}", service=service, kind=kind, at=ONSET - timedelta(minutes=minutes)
    )


def accused(*changes: Change, moved: bool | None = True, onset: datetime | None = ONSET) -> tuple[ChangeVerdict, ...]:
    return accuse(changes, onset, "payment-api", moved=moved, window=WINDOW)


def guilt(verdicts: tuple[ChangeVerdict, ...]) -> dict[str, Guilt]:
    return {each.change.id: each.guilt for each in verdicts}


def test_the_last_change_of_the_service_before_the_onset_is_guilty() -> None:
    found = accused(change(90, name="older"), change(10, name="last"))
    assert guilt(found) == {"last": Guilt.GUILTY, "older": Guilt.INNOCENT}
    assert "last explains it better" in found[1].reasons


def test_the_kind_of_a_change_is_no_excuse() -> None:
    found = accused(change(90, name="deployed"), change(10, name="configured", kind=ChangeKind.CONFIGURATION))
    assert guilt(found) == {"configured": Guilt.GUILTY, "deployed": Guilt.INNOCENT}


@pytest.mark.parametrize(
    ("minutes", "kind", "other"),
    [
        (7, ChangeKind.CONFIGURATION, Guilt.UNKNOWN),
        (8, ChangeKind.CONFIGURATION, Guilt.INNOCENT),
        (7, ChangeKind.DEPLOYMENT, Guilt.INNOCENT),
    ],
)
def test_of_two_kinds_of_change_within_five_minutes_time_cannot_tell_which_it_was(
    minutes: float, kind: ChangeKind, other: Guilt
) -> None:
    found = accused(change(minutes, name="deployed"), change(2, name="last", kind=kind))
    assert guilt(found) == {"last": Guilt.GUILTY, "deployed": other}


def test_a_change_after_the_onset_is_innocent() -> None:
    (found,) = accused(change(-1))
    assert found.guilt is Guilt.INNOCENT
    assert found.reasons == ("made 60 s after the trouble began: too late to explain it",)


def test_a_change_within_the_slack_of_the_onset_counts_as_before_it() -> None:
    (found,) = accuse([change(-4)], ONSET, "payment-api", moved=True, window=WINDOW, slack=timedelta(minutes=5))
    assert found.guilt is Guilt.GUILTY


def test_a_change_older_than_the_window_is_innocent() -> None:
    (found,) = accused(change(5 * 60))
    assert (found.guilt, found.score) == (Guilt.INNOCENT, 0)
    assert "made 5.0 h before the trouble began" in found.reasons[0]


def test_a_service_that_did_not_move_has_no_guilty_change() -> None:
    (found,) = accused(change(10), moved=False)
    assert found.guilt is Guilt.INNOCENT


def test_a_service_that_nobody_could_look_at_has_no_guilty_change() -> None:
    (found,) = accused(change(10), moved=None)
    assert found.guilt is Guilt.UNKNOWN


def test_without_an_onset_nothing_is_guilty() -> None:
    assert set(guilt(accused(change(10), change(300), onset=None)).values()) == {Guilt.UNKNOWN}


def test_a_change_of_another_service_is_not_known_to_be_guilty_or_innocent() -> None:
    assert guilt(accused(change(3, service="ledger"))) == {"ledger:3": Guilt.UNKNOWN}


def test_a_change_of_another_service_that_is_too_late_or_too_old_is_innocent() -> None:
    assert set(guilt(accused(change(-3, service="ledger"), change(400, service="ledger"))).values()) == {Guilt.INNOCENT}


def test_the_closer_to_the_onset_the_more_speaks_for_it() -> None:
    ((near,), (far,)) = accused(change(5)), accused(change(100))
    assert near.score > far.score > 0


def test_verdicts_come_newest_first_whatever_the_order_of_the_changes() -> None:
    changes = [change(50), change(5, service="ledger"), change(30)]
    assert [each.change for each in accused(*changes)] == [changes[1], changes[2], changes[0]]
    assert accused(*reversed(changes)) == accused(*changes)


@pytest.mark.parametrize("standing", [each for each in Standing if each is not Standing.SUSPECTED])
def test_only_a_change_of_a_suspected_service_is_guilty(standing: Standing) -> None:
    (found,) = judge([change(1)], ONSET, lambda _: Place(standing=standing, words="as told"), WINDOW)
    assert found.guilt is not Guilt.GUILTY
    assert "as told" in found.reasons


def test_suspects_without_any_score_accuse_nobody() -> None:
    place = place_among("payment-api", (Suspect(service="payment-api", score=0),), (), seen=True)
    assert place.standing is Standing.CALM


def test_of_two_suspected_services_the_more_suspected_ones_change_is_guilty() -> None:
    places = {
        "ledger": Place(standing=Standing.SUSPECTED, words="most", suspicion=0.9),
        "payment-api": Place(standing=Standing.SUSPECTED, words="less", suspicion=0.5),
    }
    found = judge([change(30, service="ledger"), change(2)], ONSET, places.__getitem__, WINDOW)
    assert guilt(found) == {"ledger:30": Guilt.GUILTY, "payment-api:2": Guilt.INNOCENT}


def test_a_service_that_hardly_moved_is_suspected_only_for_a_change_at_the_very_onset() -> None:
    faint = Place(standing=Standing.SUSPECTED, words="hardly moved", clear=False)
    slack = timedelta(minutes=5)
    assert guilt(judge([change(4)], ONSET, lambda _: faint, WINDOW, slack)) == {"payment-api:4": Guilt.GUILTY}
    assert guilt(judge([change(6)], ONSET, lambda _: faint, WINDOW, slack)) == {"payment-api:6": Guilt.UNKNOWN}
