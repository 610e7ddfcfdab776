"""What every rollback target promises: one correlation id is one rollback, and nothing happens to another live one."""

import asyncio
from uuid import uuid4

import pytest

from incident.errors import TransientError
from incident.evidence import Health
from incident.ledger import RollbackOrder, RunState
from tests import builders
from tests.contract.conftest import Ward
from tests.fakes import FakeReleases, FakeRollback, FakeService


async def _live(ward: Ward) -> int | None:
    live = (await ward.service.deployments.read_deployments()).live
    return live.deployment_id if live else None


async def test_an_unknown_correlation_id_finds_nothing(ward: Ward) -> None:
    assert await ward.service.rollback.find(f"ic-{uuid4().hex[:20]}") is None


async def test_a_rollback_makes_the_target_live_and_the_service_well(ward: Ward, order: RollbackOrder) -> None:
    await ward.deploy_bad()

    run = await ward.service.rollback.start(order)

    assert (run.correlation_id, run.state) == (order.correlation_id, RunState.SUCCEEDED)
    assert await _live(ward) == 100
    assert (await ward.service.metrics.read_metrics()).health is Health.HEALTHY


async def test_a_started_rollback_is_found_again(ward: Ward, order: RollbackOrder) -> None:
    await ward.deploy_bad()
    await ward.service.rollback.start(order)

    found = await ward.service.rollback.find(order.correlation_id)

    assert found is not None
    assert (found.correlation_id, found.state) == (order.correlation_id, RunState.SUCCEEDED)


async def test_two_starts_at_once_of_one_order_are_one_rollback(ward: Ward, order: RollbackOrder) -> None:
    await ward.deploy_bad()

    runs = await asyncio.gather(ward.service.rollback.start(order), ward.service.rollback.start(order))

    assert [run.state for run in runs] == [RunState.SUCCEEDED, RunState.SUCCEEDED]
    assert await ward.applied(order.correlation_id) == 1


async def test_a_repeated_start_does_not_undo_what_came_after(ward: Ward, order: RollbackOrder) -> None:
    await ward.deploy_bad()
    await ward.service.rollback.start(order)
    await ward.deploy_bad()

    await ward.service.rollback.start(order)

    assert await _live(ward) == 101
    assert await ward.applied(order.correlation_id) == 1


async def test_another_live_deployment_than_expected_is_left_alone(ward: Ward, order: RollbackOrder) -> None:
    run = await ward.service.rollback.start(order.model_copy(update={"target": 101, "expected_live": 101}))

    assert run.state is RunState.FAILED
    assert run.detail
    assert await _live(ward) == 100
    assert await ward.applied(order.correlation_id) == 0
    assert await ward.service.rollback.find(order.correlation_id) is None


async def test_an_unknown_target_fails_and_changes_nothing(ward: Ward, order: RollbackOrder) -> None:
    await ward.deploy_bad()

    run = await ward.service.rollback.start(order.model_copy(update={"target": 7}))

    assert (run.state, bool(run.detail)) == (RunState.FAILED, True)
    assert await _live(ward) == 101


async def test_a_look_learns_what_became_of_a_run_whose_answer_was_lost(ward: Ward, order: RollbackOrder) -> None:
    await ward.deploy_bad()
    await ward.service.rollback.start(order)
    unknown = builders.run(RunState.UNKNOWN, correlation_id=order.correlation_id)

    assert (await ward.service.rollback.look(unknown)).state is RunState.SUCCEEDED


async def test_a_look_at_a_run_that_nobody_knows_says_nothing_new(ward: Ward, order: RollbackOrder) -> None:
    unknown = builders.run(RunState.UNKNOWN, correlation_id=order.correlation_id)

    assert await ward.service.rollback.look(unknown) == unknown


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.CANCELLED, RunState.SUCCEEDED])
async def test_an_ended_run_stays_as_it_is(ward: Ward, order: RollbackOrder, state: RunState) -> None:
    ended = builders.run(state, correlation_id=order.correlation_id)

    assert await ward.service.rollback.look(ended) == ended


async def test_the_world_changes_when_a_scripted_run_succeeds_and_not_before(order: RollbackOrder) -> None:
    service = FakeService(live=101, states=(RunState.PENDING, RunState.RUNNING, RunState.SUCCEEDED))

    run = await service.rollback.start(order)
    seen = [(run.state, service.releases.live)]
    for _ in range(2):
        run = await service.rollback.look(run)
        seen.append((run.state, service.releases.live))

    assert seen == [(RunState.PENDING, 101), (RunState.RUNNING, 101), (RunState.SUCCEEDED, 100)]


async def test_a_failing_start_does_nothing_and_a_lost_reply_has_done_it(order: RollbackOrder) -> None:
    down = TransientError("mock-service", "cannot be reached")
    releases = FakeReleases(live=101)
    target = FakeRollback(releases, failures=[down], lost_replies=[down])

    with pytest.raises(TransientError):
        await target.start(order)
    assert (releases.live, await target.find(order.correlation_id)) == (101, None)
    with pytest.raises(TransientError):
        await target.start(order)
    found = await target.find(order.correlation_id)

    assert found is not None
    assert (releases.live, found.state, len(target.begun)) == (100, RunState.SUCCEEDED, 1)
