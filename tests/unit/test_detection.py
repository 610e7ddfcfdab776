"""When an incident opens and when it is over: row by row, and never by a single one."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from incident.baselines import Baseline, learn_baseline
from incident.detection import Detector, Sighting, State
from incident.sensitivity import Sensitivity
from incident.series import Column, Frame
from incident.units import Units
from tests.series import COLUMNS, CPU, ENTRY, ERRORS, LATENCY, MEDIAN_LATENCY, TRAFFIC, changed, healthy

SENSITIVITY = Sensitivity()
KNOWN = learn_baseline(healthy(480), ENTRY, SENSITIVITY)
NOTHING = learn_baseline(healthy(0), ENTRY, SENSITIVITY)


def watch(
    frame: Frame, baseline: Baseline = KNOWN, *, limits: Mapping[Column, float] | None = None, interval: float = 60
) -> list[Sighting]:
    detector = Detector(baseline, interval, SENSITIVITY, ENTRY, limits or {})
    return list(detector.look(frame.times, frame.values))


def test_rows_one_by_one_mean_what_they_mean_at_once() -> None:
    frame, detector = stream({ERRORS: 0.4, LATENCY: 3.0}), Detector(KNOWN, 60, SENSITIVITY, ENTRY)

    seen = [detector.look(frame.times[[place]], frame.values[[place]]) for place in range(len(frame))]

    assert [each for sightings in seen for each in sightings] == watch(frame)


def places(sightings: list[Sighting], state: State) -> list[int]:
    return [place for place, each in enumerate(sightings) if each.state is state]


def stream(into: Mapping[Column, float], since: int = 40, until: int = 50, rows: int = 80) -> Frame:
    return changed(healthy(rows, seed=9), since, until, into)


def test_what_lasts_opens_an_incident_and_quiet_that_lasts_ends_it() -> None:
    seen = watch(stream({ERRORS: 0.4, LATENCY: 3.0}))

    assert places(seen, State.OPENED) == [41]
    assert places(seen, State.ENDED) == [51]
    assert {each.column for each in seen[41].moved} == {ERRORS, LATENCY}
    assert seen[41].onset == seen[40].at
    assert all(each.state is State.QUIET and not each.moved for each in seen[52:])


def test_healthy_rows_open_nothing() -> None:
    assert not places(watch(healthy(3000, seed=11)), State.OPENED)


def test_a_single_row_opens_nothing() -> None:
    assert not places(watch(stream({ERRORS: 0.9}, 40, 41)), State.OPENED)


def test_rows_with_a_gap_between_them_do_not_last() -> None:
    frame = stream({ERRORS: 0.9}, 40, 42)
    times = frame.times.copy()
    times[41:] += 3600

    assert not places(watch(Frame(times, COLUMNS, frame.values)), State.OPENED)


def test_what_has_been_so_from_the_start_is_no_news() -> None:
    assert not places(watch(stream({CPU: 60.0}, 0, 80)), State.OPENED)


def test_what_got_worse_than_it_was_for_a_while_is_news() -> None:
    frame = changed(stream({CPU: 60.0}, 0, 80), 50, 60, {CPU: 95.0})

    assert places(watch(frame), State.OPENED) == [51]


def test_without_a_baseline_nothing_opens() -> None:
    assert not places(watch(stream({ERRORS: 1.0}), NOTHING), State.OPENED)


def test_a_fixed_limit_that_is_stated_opens_without_a_baseline() -> None:
    seen = watch(stream({ERRORS: 0.06}), NOTHING, limits={ERRORS: 0.05})

    assert places(seen, State.OPENED) == [41]
    assert places(seen, State.ENDED) == [51]


def test_an_incident_has_not_ended_while_another_service_of_it_suffers() -> None:
    frame = changed(stream({CPU: 90.0}), 43, 60, {LATENCY: 4.0})

    assert places(watch(frame), State.ENDED) == [61]


OWN_CPU = replace(CPU, service=ENTRY)
OWN = (OWN_CPU, ERRORS)
BUSY = changed(stream({ERRORS: 0.4}), 43, 70, {CPU: 90.0})


def of_one_service(frame: Frame) -> Frame:
    """The processor and the errors of `frame`, as if both were of the service that users meet."""
    return Frame(frame.times, OWN, frame.only((CPU, ERRORS)).values)


ALONE = learn_baseline(of_one_service(healthy(480)), ENTRY, SENSITIVITY)


def test_what_nobody_feels_and_did_not_open_an_incident_does_not_keep_it_open_nor_open_the_next() -> None:
    seen = watch(of_one_service(BUSY), ALONE)

    assert places(seen, State.OPENED) == [41]
    assert places(seen, State.ENDED) == [51]


def test_what_an_incident_left_behind_is_news_again_once_it_was_gone() -> None:
    seen = watch(of_one_service(changed(BUSY, 55, 60, {CPU: 20.0})), ALONE)

    assert places(seen, State.OPENED) == [41, 61]


def test_what_got_worse_than_an_incident_left_it_is_news() -> None:
    seen = watch(of_one_service(changed(BUSY, 60, 70, {CPU: 150.0})), ALONE)

    assert places(seen, State.OPENED) == [41, 61]


def test_what_opened_an_incident_keeps_it_open_though_nobody_feels_it() -> None:
    frame = changed(stream({ERRORS: 0.4, CPU: 90.0}), 50, 60, {CPU: 90.0})

    assert places(watch(of_one_service(frame), ALONE), State.ENDED) == [61]


def test_a_fixed_limit_that_is_stated_keeps_an_incident_open() -> None:
    seen = watch(of_one_service(BUSY), ALONE, limits={OWN_CPU: 80.0})

    assert places(seen, State.ENDED) == [71]


def test_trouble_that_begins_elsewhere_later_is_an_incident_of_its_own() -> None:
    frame = changed(stream({CPU: 90.0}, 40, 60), 46, 52, {ERRORS: 0.4})
    alone = learn_baseline(healthy(480), "", SENSITIVITY)

    seen = list(Detector(alone, 60, SENSITIVITY).look(frame.times, frame.values))

    told = [(each.at, each.state, each.incident) for each in seen if each.state in {State.OPENED, State.ENDED}]
    assert told == [
        (frame.times[41], State.OPENED, 1),
        (frame.times[47], State.OPENED, 2),
        (frame.times[53], State.ENDED, 2),
        (frame.times[61], State.ENDED, 1),
    ]


def test_trouble_that_spreads_at_once_is_the_same_incident() -> None:
    frame = changed(stream({CPU: 90.0}, 40, 60), 43, 45, {ERRORS: 0.4})
    alone = learn_baseline(healthy(480), "", SENSITIVITY)

    seen = list(Detector(alone, 60, SENSITIVITY).look(frame.times, frame.values))

    assert len(places(seen, State.OPENED)) == 1


def test_a_relapse_within_the_stable_time_is_the_same_incident() -> None:
    frame = changed(stream({ERRORS: 0.4}), 51, 55, {ERRORS: 0.4})

    seen = watch(frame)

    assert places(seen, State.OPENED) == [41]
    assert places(seen, State.ENDED) == [56]


def test_an_incident_that_comes_back_later_is_another_one() -> None:
    frame = changed(stream({ERRORS: 0.4}), 60, 65, {ERRORS: 0.4})

    assert places(watch(frame), State.OPENED) == [41, 61]


def test_no_data_is_no_recovery() -> None:
    frame = changed(stream({ERRORS: 0.4}), 45, 80, dict.fromkeys(COLUMNS, np.nan))

    seen = watch(frame)

    assert not places(seen, State.ENDED)
    assert all(each.silent for each in seen[45:])


def test_a_long_incident_does_not_become_its_own_norm() -> None:
    seen = watch(stream({ERRORS: 0.4}, 40, 400, rows=420))

    assert places(seen, State.ENDED) == [401]


def test_rows_of_nothing_but_gaps_open_nothing() -> None:
    assert not places(watch(stream(dict.fromkeys(COLUMNS, np.nan), 0, 80)), State.OPENED)


@pytest.mark.parametrize("factor", [1000.0, 0.001])
def test_latencies_in_another_unit_are_brought_back_and_told_once(factor: float) -> None:
    frame, units = healthy(60, seed=4), Units(healthy(480))
    values = frame.values.copy()
    latencies = [COLUMNS.index(LATENCY), COLUMNS.index(MEDIAN_LATENCY)]
    values[20:40, latencies] *= factor

    restored, told = units.restore(values)

    np.testing.assert_allclose(restored, frame.values)
    said = [(place, each.service, each.factor) for place, each in told]
    assert said == [(20, "web", pytest.approx(1 / factor)), (40, "web", 1.0)]


def test_a_fault_that_lifts_one_quantile_a_thousandfold_is_no_change_of_units() -> None:
    rows = healthy(1).values
    rows[0, COLUMNS.index(LATENCY)] *= 1000

    restored, told = Units(healthy(480)).restore(rows)

    assert not told
    np.testing.assert_array_equal(restored, rows)


def test_traffic_alone_opens_nothing() -> None:
    assert not places(watch(stream({TRAFFIC: 10_000.0})), State.OPENED)
