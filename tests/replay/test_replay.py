"""Every stored history of every path replays on the workflows of today; a step that moved is caught."""

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from tests.replay.mutants import (
    CallsNothingOff,
    DecidesOnce,
    LooksBeforeItAnalyses,
    NeverWaits,
    PagesBeforeItUndoes,
    Unchanged,
)
from tests.replay.paths import PATHS
from tests.replay.record import HISTORIES
from worker.bootstrap import workflow_runner
from workflows.incident import IncidentWorkflow
from workflows.record import LateRecordWorkflow

ANALYSED = sorted(set(PATHS) - {"healthy", "late-record"})
PAUSED = sorted(set(ANALYSED) - {"called-off", "cancelled", "cancelled-by-temporal"})


def stored(name: str) -> WorkflowHistory:
    return WorkflowHistory.from_json(f"recorded-{name}", (HISTORIES / f"{name}.json").read_text(encoding="utf-8"))


def replayer(*workflows: type) -> Replayer:
    return Replayer(workflows=workflows, workflow_runner=workflow_runner(), data_converter=pydantic_data_converter)


def test_every_path_has_a_stored_history_and_every_history_a_path() -> None:
    assert sorted(path.stem for path in HISTORIES.glob("*")) == sorted(PATHS)


@pytest.mark.parametrize("name", PATHS)
async def test_a_stored_history_replays(name: str) -> None:
    await replayer(IncidentWorkflow, LateRecordWorkflow).replay_workflow(stored(name))


@pytest.mark.parametrize("name", ["bad-deploy", "ask-approved", "cancelled", "store-down", "undone", "review"])
async def test_a_subclass_that_moves_nothing_replays(name: str) -> None:
    await replayer(Unchanged).replay_workflow(stored(name))


@pytest.mark.parametrize("name", ANALYSED)
async def test_a_moved_activity_is_caught(name: str) -> None:
    with pytest.raises(NondeterminismError):
        await replayer(LooksBeforeItAnalyses).replay_workflow(stored(name))


@pytest.mark.parametrize("name", PAUSED)
async def test_a_timer_that_is_gone_is_caught(name: str) -> None:
    with pytest.raises(NondeterminismError):
        await replayer(NeverWaits).replay_workflow(stored(name))


@pytest.mark.parametrize("name", ["undone", "not-undone"])
async def test_a_page_that_is_moved_before_the_undoing_is_caught(name: str) -> None:
    with pytest.raises(NondeterminismError):
        await replayer(PagesBeforeItUndoes).replay_workflow(stored(name))


@pytest.mark.parametrize("name", ["called-off", "stopped-while-pending"])
async def test_a_calling_off_that_is_gone_is_caught(name: str) -> None:
    with pytest.raises(NondeterminismError):
        await replayer(CallsNothingOff).replay_workflow(stored(name))


@pytest.mark.parametrize("name", ["approval-void", "asked-anew", "decided-anew"])
async def test_a_void_proposal_that_is_not_decided_anew_is_caught(name: str) -> None:
    with pytest.raises(NondeterminismError):
        await replayer(DecidesOnce).replay_workflow(stored(name))


@pytest.mark.parametrize("name", PATHS)
def test_a_stored_history_is_small_and_tells_of_no_machine(name: str) -> None:
    text = (HISTORIES / f"{name}.json").read_text(encoding="utf-8")
    assert len(text) < 90_000
    assert '"stackTrace"' not in text
    assert str(Path.home()) not in text
    assert {line.split('"')[0] for line in text.split('"identity":"')[1:]} <= {"tests", "history-service"}
