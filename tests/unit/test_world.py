"""Made-up systems: the same seed, the same system; faults travel to the callers; arms differ by what is done alone."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from evaluation.arms import HORIZON, PAGE, WATCH, Response, Rollback, best, scene
from evaluation.cases import Case, Fates, Release, make_case, unattended
from evaluation.deciding import ACTS
from evaluation.faults import MIX, Effect, Fault, FaultClass
from evaluation.histories import background
from evaluation.measuring import NOISES
from evaluation.sightings import sight
from evaluation.world import ENTRY, ROWS, Call, World, flow, make_world, no_strain, slower_than

ONSET = 610
DECIDED = 615


def two_services(share: float = 1.0, passes: float = 1.0) -> World:
    """`front` calls `service-1`: ten requests a second, without noise."""
    return World(
        services=("front", "service-1"),
        calls=(Call(caller=0, callee=1, share=share, passes=passes, waits=1.0, timeout=2000),),
        outside=None,
        traffic=np.full(ROWS, 10.0),
        own_errors=np.zeros((ROWS, 2)),
        own_latency=np.full((ROWS, 2), 50.0),
        cpu=np.full((ROWS, 2), 0.3),
        memory=np.full((ROWS, 2), 0.5),
        sized_for=10.0,
    )


def bad_deployment(**changes: Any) -> Case:  # noqa: ANN401 - any field
    """Half of all requests to `service-1` fail since its deployment 102; nothing else happens."""
    strength = (np.arange(ROWS) >= ONSET).astype(float)
    case = Case(
        world=two_services(),
        fault=Fault(FaultClass.BAD_DEPLOYMENT, ONSET, strength, {1: Effect(errors=0.5)}),
        releases=(
            Release(0, 100, -500),
            Release(1, 100, -400),
            Release(1, 101, -300),
            Release(0, 101, 605),
            Release(1, 102, 608, bad=True),
        ),
        fates=Fates(
            repair=30,
            complaint=20,
            answer=5,
            judgement=0.5,
            rollout=np.full(2, 3.0),
            restart=np.full(2, 0.0),
            uncured=False,
        ),
    )
    return replace(case, **changes)


def random(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", list(FaultClass), ids=str)
def test_the_same_seed_gives_the_same_incident_and_sighting(kind: FaultClass) -> None:
    cases = [make_case(kind, random(7)) for _ in range(2)]
    strains = [unattended(case) for case in cases]
    assert cases[0].releases == cases[1].releases
    assert np.array_equal(strains[0].errors, strains[1].errors)
    seen = [sight(case, NOISES[-1], random(8)) for case in cases]
    assert (seen[0] is None) is (seen[1] is None)
    if seen[0] and seen[1]:
        assert np.array_equal(seen[0].samples.values, seen[1].samples.values, equal_nan=True)
        assert seen[0].evidence(ENTRY).digest() == seen[1].evidence(ENTRY).digest()
    assert make_case(kind, random(9)).releases != cases[0].releases


def test_every_world_has_a_call_graph_without_circles_that_reaches_every_service() -> None:
    for seed in range(50):
        world = make_world(random(seed))
        assert 5 <= len(world.inside) <= 12
        assert all(call.caller < call.callee for call in world.calls)
        assert {call.callee for call in world.calls} == set(range(1, len(world.services)))
        assert world.outside not in {call.caller for call in world.calls}
        assert (world.traffic > 0).all()


def test_failures_travel_to_the_callers_by_their_share_and_no_further_down() -> None:
    world = two_services(share=0.5, passes=0.4)
    strain = no_strain(10, 2)
    strain.errors[:, 1] = 0.5
    assert flow(world, strain).errors[0] == pytest.approx([0.5 * 0.4 * 0.5, 0.5], abs=1e-6)
    strain = no_strain(10, 2)
    strain.errors[:, ENTRY] = 0.5
    assert flow(world, strain).errors[0] == pytest.approx([0.5, 0.0], abs=1e-6)


def test_callers_wait_for_what_they_call_but_not_beyond_their_time_out() -> None:
    strain = no_strain(10, 2)
    strain.latency[:, 1] = 10
    assert flow(two_services(), strain).latency[0] == pytest.approx([550, 500])
    strain.latency[:, 1] = 1000
    slow = flow(two_services(), strain)
    assert slow.latency[0] == pytest.approx([2050, 50_000])
    assert slow.errors[0, ENTRY] > 0.9


def test_more_traffic_than_the_processors_serve_fails() -> None:
    strain = no_strain(10, 2)
    strain.traffic[:] = 5
    assert flow(two_services(), strain).errors[0, 1] == pytest.approx(1 - 1 / 1.5, abs=1e-6)


def test_one_percent_is_slower_than_the_p99() -> None:
    assert slower_than(200.0, np.array([200.0])) == pytest.approx([0.01], abs=1e-4)


def test_user_error_minutes_are_the_requests_of_each_minute_times_the_share_of_users_hit() -> None:
    at = scene(bad_deployment(), DECIDED)
    usual = at.usual
    hurt = 1 - 0.5 * (1 - usual)
    for_good = replace(at.case.fates, repair=500, complaint=500)
    never = scene(bad_deployment(fates=for_good), DECIDED).user_error_minutes(WATCH)
    assert never == pytest.approx(HORIZON * 600 * hurt, rel=1e-3)
    paged = at.user_error_minutes(PAGE)
    assert paged == pytest.approx(600 * (30 * hurt + 30 * usual), rel=1e-3)
    assert at.user_error_minutes(WATCH) == pytest.approx(600 * (50 * hurt + 10 * usual), rel=1e-3)


def test_a_rollback_behind_the_guilty_deployment_cures_and_is_the_best() -> None:
    at = scene(bad_deployment(), DECIDED)
    right = Response(rollbacks=(Rollback(1, 101),), paged_after=0, undoes=True)
    assert at.remedies == (Rollback(1, 100), Rollback(1, 101))
    assert best(at)[1] == at.user_error_minutes(right) < at.user_error_minutes(PAGE) / 3


def test_a_rollback_of_another_service_cures_nothing_and_delays_the_page() -> None:
    at = scene(bad_deployment(), DECIDED)
    wrong = (Rollback(0, 100),)
    assert at.user_error_minutes(Response(rollbacks=wrong, paged_after=0)) >= at.user_error_minutes(PAGE)
    assert at.user_error_minutes(Response(rollbacks=wrong)) > at.user_error_minutes(PAGE) + 600


def test_going_back_behind_a_fix_brings_the_bug_back_until_somebody_repairs_it() -> None:
    case = bad_deployment(releases=(Release(0, 100, -500), Release(0, 101, 605, fixed=Effect(errors=0.2))))
    lost = scene(case, DECIDED).user_error_minutes(Response(rollbacks=(Rollback(0, 100),), paged_after=0))
    kept = scene(case, DECIDED).user_error_minutes(PAGE)
    assert lost - kept > 600 * 0.5 * 0.2 * 20


def test_what_a_rollback_broke_is_undone_once() -> None:
    releases = (Release(0, 100, -500), Release(0, 101, 605, clash=Effect(errors=0.9)))
    at = scene(bad_deployment(releases=releases, fates=replace(bad_deployment().fates, repair=500)), DECIDED)
    rollback = (Rollback(0, 100),)
    undone = at.user_error_minutes(Response(rollbacks=rollback, paged_after=0, undoes=True))
    assert undone < at.user_error_minutes(Response(rollbacks=rollback, paged_after=0)) - 600 * 0.4 * 30


def test_a_person_who_is_asked_approves_what_helps() -> None:
    case = bad_deployment()
    asked = Response(asked=(Rollback(1, 101),))
    right = scene(case, DECIDED).user_error_minutes(asked)
    wrong = scene(replace(case, fates=replace(case.fates, judgement=0.95)), DECIDED).user_error_minutes(asked)
    assert right < scene(case, DECIDED).user_error_minutes(PAGE) / 2 < wrong


def test_every_arm_starts_from_the_same_state() -> None:
    at = scene(make_case(FaultClass.LEAK, random(3)), 650)
    before = at.truth.errors.copy()
    first = [at.user_error_minutes(each) for each in (WATCH, PAGE)]
    best(at)
    again = scene(make_case(FaultClass.LEAK, random(3)), 650)
    assert [again.user_error_minutes(each) for each in (PAGE, WATCH)] == first[::-1]
    assert np.array_equal(at.truth.errors, before)


def test_a_restart_gives_back_what_leaked_whoever_is_guilty() -> None:
    case = next(
        each for each in (make_case(FaultClass.LEAK, random(seed)) for seed in range(50)) if each.guilty is None
    )
    at = scene(case, case.fault.onset + 5)
    assert {each.service for each in at.remedies} == {case.fault.leaking}


def test_more_than_a_third_of_the_mix_has_no_guilty_deployment() -> None:
    innocent = {
        kind: np.mean([make_case(kind, random(seed)).guilty is None for seed in range(20)]) for kind in FaultClass
    }
    assert sum(MIX.values()) == pytest.approx(1)
    assert 0.45 < sum(MIX[kind] * share for kind, share in innocent.items()) < 0.65
    assert innocent[FaultClass.BAD_DEPLOYMENT] == 0
    assert innocent[FaultClass.LOAD] == 1


def test_innocent_deployments_coincide_often() -> None:
    cases = [make_case(FaultClass.DEPENDENCY, random(seed)) for seed in range(100)]
    near = [any(0 <= case.fault.onset - each.row <= 20 for each in case.releases) for case in cases]
    assert 0.5 < np.mean(near) < 0.9


def test_only_what_has_happened_by_the_decision_is_seen() -> None:
    seen = [sight(make_case(FaultClass.BAD_DEPLOYMENT, random(seed)), NOISES[2], random(1, seed)) for seed in range(10)]
    assert any(seen)
    for each in filter(None, seen):
        now = each.now.timestamp()
        assert each.frame_of(each.scene.case.world.inside).times[-1] < now
        assert all(change.at.timestamp() <= now for change in background(each, ENTRY, ACTS).changes)
        evidence = each.evidence(next(iter(each.fired)))
        assert evidence.alerts.firing
        assert evidence.onset <= evidence.collected_at
        assert evidence.deployments.live is not None
