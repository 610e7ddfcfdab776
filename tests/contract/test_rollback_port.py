"""What every rollback target promises: one correlation id is one rollback, and nothing happens to another live one."""

import asyncio
from datetime import UTC, datetime
from math import inf
from time import monotonic

import pytest

from incident.errors import TransientError
from incident.evidence import Health
from incident.ledger import RollbackOrder, RollbackRun, RunState
from tests import builders
from tests.contract.conftest import Ward
from tests.fakes import FakeReleases, FakeRollback, FakeService
from tests.standins.github.history import OLDER_SHA

_ENDS_WITHIN = 60.0  # seconds, in which a ward's runs come to their end


async def _live(ward: Ward) -> int | None:
    live = (await ward.service.deployments.read_deployments()).live
    return live.deployment_id if live else None


async def _ended(ward: Ward, order: RollbackOrder, run: RollbackRun) -> RollbackRun:
    """`run`, looked at until it has ended."""
    async with asyncio.timeout(_ENDS_WITHIN):
        while not run.state.ended:
            run = await ward.service.rollback.look(order, run)
    return run


async def _rolled_back(ward: Ward, order: RollbackOrder) -> RollbackRun:
    return await _ended(ward, order, await ward.service.rollback.start(order, inf))


async def test_an_unknown_correlation_id_finds_nothing(ward: Ward, order: RollbackOrder) -> None:
    assert await ward.service.rollback.find(order, None) is None


async def test_a_rollback_makes_the_target_live_and_the_service_well(ward: Ward, order: RollbackOrder) -> None:
    await ward.deploy_bad()

    run = await _rolled_back(ward, order)

    assert (run.correlation_id, run.state) == (order.correlation_id, RunState.SUCCEEDED)
    assert await _live(ward) == order.target
    assert (await ward.service.metrics.read_metrics()).health is Health.HEALTHY


async def test_a_started_rollback_is_found_again(ward: Ward, order: RollbackOrder) -> None:
    await ward.deploy_bad()
    asked_at = datetime.now(UTC)
    await _rolled_back(ward, order)

    found = await ward.service.rollback.find(order, asked_at)

    assert found is not None
    assert (found.correlation_id, found.state) == (order.correlation_id, RunState.SUCCEEDED)


async def test_two_starts_at_once_of_one_order_are_one_rollback(ward: Ward, order: RollbackOrder) -> None:
    await ward.deploy_bad()

    started = await asyncio.gather(ward.service.rollback.start(order, inf), ward.service.rollback.start(order, inf))
    runs = [await _ended(ward, order, run) for run in started]

    assert RunState.SUCCEEDED in {run.state for run in runs}
    assert await _live(ward) == order.target
    assert await ward.applied(order.correlation_id) == 1


async def test_a_repeated_start_does_not_undo_what_came_after(ward: Ward, order: RollbackOrder) -> None:
    await ward.deploy_bad()
    await _rolled_back(ward, order)
    await ward.deploy_bad()
    live = await _live(ward)

    await _rolled_back(ward, order)

    assert await _live(ward) == live
    assert await ward.applied(order.correlation_id) == 1


async def test_another_live_deployment_than_expected_is_left_alone(ward: Ward, order: RollbackOrder) -> None:
    live = await _live(ward)
    stale = order.model_copy(update={"target": 99, "target_revision": OLDER_SHA})

    run = await _rolled_back(ward, stale)

    assert run.state is RunState.FAILED
    assert run.detail
    assert await _live(ward) == live
    assert await ward.applied(order.correlation_id) == 0


async def test_an_unknown_target_fails_and_changes_nothing(ward: Ward, order: RollbackOrder) -> None:
    await ward.deploy_bad()
    live = await _live(ward)

    run = await _rolled_back(ward, order.model_copy(update={"target": 7, "target_revision": "7" * 40}))

    assert (run.state, bool(run.detail)) == (RunState.FAILED, True)
    assert await _live(ward) == live


async def test_what_leaves_too_late_is_not_started(ward: Ward, order: RollbackOrder) -> None:
    await ward.deploy_bad()
    live = await _live(ward)

    with pytest.raises(TransientError, match="too late"):
        await ward.service.rollback.start(order, monotonic() - 1)

    assert await _live(ward) == live
    assert await ward.service.rollback.find(order, None) is None


async def test_a_look_learns_what_became_of_a_run_whose_answer_was_lost(ward: Ward, order: RollbackOrder) -> None:
    await ward.deploy_bad()
    await _rolled_back(ward, order)
    unknown = builders.run(RunState.UNKNOWN, correlation_id=order.correlation_id)

    assert (await ward.service.rollback.look(order, unknown)).state is RunState.SUCCEEDED


async def test_a_look_at_a_run_that_nobody_knows_says_nothing_new(ward: Ward, order: RollbackOrder) -> None:
    unknown = builders.run(RunState.UNKNOWN, correlation_id=order.correlation_id)

    assert await ward.service.rollback.look(order, unknown) == unknown


@pytest.mark.parametrize("state", [state for state in RunState if state.ended])
async def test_an_ended_run_stays_as_it_is(ward: Ward, order: RollbackOrder, state: RunState) -> None:
    ended = builders.run(state, correlation_id=order.correlation_id)

    assert await ward.service.rollback.look(order, ended) == ended
    assert await ward.service.rollback.cancel(order, ended) == ended


async def test_a_rollback_that_is_done_cannot_be_called_off(ward: Ward, order: RollbackOrder) -> None:
    await ward.deploy_bad()
    run = await _rolled_back(ward, order)

    assert (await ward.service.rollback.cancel(order, run)).state is RunState.SUCCEEDED
    assert await _live(ward) == order.target


async def test_the_world_changes_when_a_scripted_run_succeeds_and_not_before(order: RollbackOrder) -> None:
    service = FakeService(live=101, states=(RunState.PENDING, RunState.RUNNING, RunState.SUCCEEDED))

    run = await service.rollback.start(order, inf)
    seen = [(run.state, service.releases.live)]
    for _ in range(2):
        run = await service.rollback.look(order, run)
        seen.append((run.state, service.releases.live))

    assert seen == [(RunState.PENDING, 101), (RunState.RUNNING, 101), (RunState.SUCCEEDED, 100)]


async def test_a_scripted_run_that_has_not_begun_can_be_called_off(order: RollbackOrder) -> None:
    service = FakeService(live=101, states=(RunState.WAITING, RunState.SUCCEEDED))
    run = await service.rollback.start(order, inf)

    assert (await service.rollback.cancel(order, run)).state is RunState.CANCELLED
    assert (await service.rollback.look(order, run)).state is RunState.CANCELLED
    assert service.releases.live == 101


async def test_a_failing_start_does_nothing_and_a_lost_reply_has_done_it(order: RollbackOrder) -> None:
    down = TransientError("mock-service", "cannot be reached")
    releases = FakeReleases(live=101)
    target = FakeRollback(releases, failures=[down], lost_replies=[down])

    with pytest.raises(TransientError):
        await target.start(order, inf)
    assert (releases.live, await target.find(order, None)) == (101, None)
    with pytest.raises(TransientError):
        await target.start(order, inf)
    found = await target.find(order, None)

    assert found is not None
    assert (releases.live, found.state, len(target.begun)) == (100, RunState.SUCCEEDED, 1)
