"""Incidents one after another, while things go wrong at random: no invariant is ever broken.

30 seconds, or SOAK_SECONDS; what goes wrong follows from SOAK_SEED, by default the day.
"""

import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import date, timedelta
from time import monotonic

import pytest
import pytest_asyncio

from tests.fault.github_world import GitHubWorld
from tests.fault.invariants import violations
from tests.fault.nemesis import SECRET, Nemesis
from tests.standins.github.chain import GitHubChain
from tests.standins.github.toxics import why_not

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),  # `make soak` takes five minutes, and what it began must end
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]

_LASTS = timedelta(seconds=float(os.environ.get("SOAK_SECONDS", "30")))
_CLOSES_WITHIN = timedelta(minutes=5)
"""An incident in which much goes wrong takes half a minute, and three times as long beside other tests."""
_SEED = int(os.environ.get("SOAK_SEED", date.today().toordinal()))  # noqa: DTZ011 - any day will do


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def rough(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GitHubWorld]:
    """A stack that reaches GitHub through a bad network."""
    directory = tmp_path_factory.mktemp("soak")
    chain = GitHubChain(directory / "github", judged=False, poisoned=True)
    async with chain as github, GitHubWorld(directory, github) as world:
        yield world


async def test_no_invariant_is_broken_in_a_stretch_of_incidents_and_faults(
    rough: GitHubWorld, record_property: Callable[[str, object], None]
) -> None:
    nemesis = Nemesis(rough, random.Random(_SEED))  # noqa: S311 - a seed that is printed
    until, outcomes, broken = monotonic() + _LASTS.total_seconds(), Counter[str](), list[str]()
    while monotonic() < until:
        await rough.put_right()
        async with nemesis.at_work():
            incident = await rough.incident(nemesis.policy)
            await rough.closed(incident, _CLOSES_WITHIN)
        record = await rough.record(incident, SECRET)
        assert record.result
        outcomes[record.result.outcome] += 1
        broken += [f"{incident.incident_id}: {line}" for line in violations(record)]
    faults = ", ".join(f"{count} {fault}" for fault, count in sorted(nemesis.done.items()))
    record_property(
        "ended",
        f"{outcomes.total()} incidents ({', '.join(f'{count} {outcome}' for outcome, count in outcomes.items())}), "
        f"{nemesis.done.total()} faults ({faults or 'none'}), {len(broken)} violations; SOAK_SEED={_SEED}",
    )
    assert not broken, "; ".join(broken)
    assert outcomes["RECOVERED"], "nothing recovered"
    assert nemesis.done, "nothing went wrong"
