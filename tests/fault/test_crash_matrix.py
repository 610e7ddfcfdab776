"""Whatever dies or freezes, at whichever boundary of a rollback through GitHub: one rollback, and nothing lost.

Each boundary is played once, with the fault that its turn gives it (CRASH_MATRIX_SEED, by default the day); all cells
with CRASH_MATRIX=whole. CRASH_MATRIX_RECORD=1 writes boundaries.json anew, after a deliberate change of the path.
"""

import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.fault import matrix
from tests.fault.boundary import DISPATCH, Boundary, Moment
from tests.fault.github_world import GitHubWorld
from tests.fault.invariants import violations
from tests.fault.matrix import Cell, Fault, Matrix
from tests.standins.github.chain import GitHubChain

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

_LANES = int(os.environ.get("CRASH_MATRIX_LANES", "2"))
CELLS = matrix.cells()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Matrix]:
    """The cells that this run has selected, being played."""
    wanted = [cell for item in request.session.items if (cell := matrix.cell_of(item))]
    async with AsyncExitStack() as stack:
        worlds = []
        for _ in range(min(_LANES, len(wanted))):
            directory = tmp_path_factory.mktemp("lane")
            chain = await stack.enter_async_context(GitHubChain(directory / "github", judged=False))
            worlds.append(await stack.enter_async_context(GitHubWorld(directory, chain)))
        playing = Matrix(worlds, wanted)
        yield playing
        await playing.close()


@pytest.mark.parametrize("cell", CELLS, ids=str)
async def test_nothing_is_lost_and_nothing_done_twice(
    played: Matrix, cell: Cell, record_property: Callable[[str, object], None]
) -> None:
    record_property("cell", str(cell))
    end = await played.played(cell)
    record_property("ended", str(end))
    assert not end.problems, "; ".join(end.problems)


async def test_the_matrix_covers_every_boundary_of_a_recorded_incident(github_world: GitHubWorld) -> None:
    found, record = await matrix.recorded(github_world)
    assert (matrix.recovered(record), violations(record)) == ([], ())
    if os.environ.get("CRASH_MATRIX_RECORD"):
        matrix.BOUNDARIES.write_text(json.dumps([each.point for each in found], indent=2) + "\n", encoding="utf-8")
    assert set(matrix.boundaries()) == set(found)


UNDO = tuple(
    Cell(Boundary(moment, what, nth), fault)
    for moment, what, nth, fault in (
        (Moment.ACCEPTED, DISPATCH, 1, Fault.WORKER_KILLED),
        (Moment.BEFORE, DISPATCH, 1, Fault.WORKER_FROZEN),
        (Moment.ACCEPTED, DISPATCH, 1, Fault.SERVER_KILLED),
        (Moment.AFTER, "remediate.undo", 1, Fault.WORKER_KILLED),
    )
)


@pytest.mark.parametrize("undo", UNDO, ids=str)
async def test_an_undoing_is_done_once(
    github_world: GitHubWorld, undo: Cell, record_property: Callable[[str, object], None]
) -> None:
    end = await matrix.play_undo(github_world, undo)
    record_property("ended", str(end))
    assert not end.problems, "; ".join(end.problems)
