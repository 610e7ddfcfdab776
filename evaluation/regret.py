"""How good the commander's decisions are: regret, harmful and missed actions over made-up incidents.

Every decider meets the same incidents. Regret is what its response costs above the best one in hindsight, in
user-error-minutes.
"""

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np
from pydantic import Field

from evaluation.arms import PAGE, Response, Scene, best
from evaluation.cases import make_case
from evaluation.deciding import REFERENCES, Decider, respond_all
from evaluation.faults import MIX, FaultClass
from evaluation.measuring import NOISES
from evaluation.sightings import Sighting, sight
from incident.model import Fact

PRACTICAL = 0.43
"""Minutes of every user that count: 1 % of the 43 that a service with an objective of 99.9 % may fail in a month.

An action is harmful where it costs so much more than paging at once; a rollback is missed where it would have saved it.
"""
MOST_HARMFUL = 5.0
"""In 1,000 incidents of the worst class and noise."""
MOST_HARMFUL_OVERALL = 1.0
_DRAWS = 200
"""Cases that are drawn for one that is noticed; more than one in two is, in every class."""


class Figures(Fact):
    """How one decider did in a cell; counts are per 1,000 incidents."""

    regret: float = Field(description="mean, in user-error-minutes above the best response in hindsight")
    regret_error: float = Field(description="standard error of the mean")
    cost: float = Field(description="mean, in user-error-minutes")
    acted: float = Field(description="rolled something back by itself")
    asked: float = Field(description="asked a person about a rollback, and rolled nothing back by itself")
    harmful: float = Field(description="rolled back by itself, and worse than paging at once by more than the margin")
    harmful_on_guilty: float = Field(description="of these, where the guilty deployment was what it went behind")
    missed: float = Field(description="neither took nor asked about a rollback, where one would have helped a lot")


class Cell(Fact):
    """One class of faults under one noise."""

    fault: FaultClass
    noise: str
    incidents: int
    without_guilty: float = Field(description="the ratio of incidents without a guilty deployment")
    unnoticed: int = Field(description="cases that no alert noticed, which were drawn anew")
    deciders: dict[Decider, Figures]


class DecisionsReport(Fact):
    """How good decisions are."""

    incidents: int = Field(description="in each cell")
    seed: int
    without_guilty: float = Field(description="the ratio of incidents without a guilty deployment, of the whole mix")
    overall: dict[Decider, Figures] = Field(description="by the mix of classes, over every noise alike")
    cells: tuple[Cell, ...]

    @property
    def shortfalls(self) -> tuple[str, ...]:
        """The bars that are not reached, in words."""
        production = Decider.PRODUCTION
        found = []
        worst = max(self.cells, key=lambda cell: cell.deciders[production].harmful)
        if worst.deciders[production].harmful > MOST_HARMFUL:
            harmful = worst.deciders[production].harmful
            found.append(f"harmful: {harmful:.1f} per 1,000 in {worst.fault}, {worst.noise}; at most {MOST_HARMFUL:g}")
        if self.overall[production].harmful > MOST_HARMFUL_OVERALL:
            harmful = self.overall[production].harmful
            found.append(f"harmful: {harmful:.2f} per 1,000 overall; at most {MOST_HARMFUL_OVERALL:g}")
        mine = self.worst_regret(production)
        found += [
            f"regret in the worst cell: {mine:.1f}, not below {theirs:.1f} of {each}"
            for each in REFERENCES
            if (theirs := self.worst_regret(each)) <= mine
        ]
        return tuple(found)

    def worst_regret(self, decider: Decider) -> float:
        """The mean regret of `decider` in the cell where that is greatest."""
        return max(cell.deciders[decider].regret for cell in self.cells)


@dataclass(frozen=True)
class _Trial:
    """What one decider's response to one incident came to."""

    regret: float
    cost: float
    acted: bool
    asked: bool
    harmful: bool
    on_guilty: bool
    missed: bool


def judge_decisions(
    incidents: int, seed: int, jobs: int = 1, noises: Sequence[int] = range(len(NOISES))
) -> DecisionsReport:
    """How every decider does over made-up incidents; the same seed gives the same report.

    Args:
        incidents: of each class under each noise.
        seed: from 0.
        jobs: processes that share the work.
        noises: the places in NOISES of those that are swept.
    """
    tasks = [(kind, place, incidents, seed) for kind, place in product(FaultClass, noises)]
    if jobs == 1:
        cells = [_cell(*task) for task in tasks]
    else:
        with ProcessPoolExecutor(jobs) as pool:
            cells = list(pool.map(_cell, *zip(*tasks, strict=True)))
    return DecisionsReport(
        incidents=incidents,
        seed=seed,
        without_guilty=_mixed(cells, [cell.without_guilty for cell in cells]),
        overall={each: _overall(cells, each) for each in Decider},
        cells=tuple(cells),
    )


def noticed(kind: FaultClass, noise: int, number: int, seed: int) -> tuple[Sighting, int]:
    """The incident of that number, and how many were drawn before it that nobody noticed.

    Under every noise the same numbers meet the same worlds, as far as they are noticed.

    Raises:
        RuntimeError: none was noticed.
    """
    for draw in range(_DRAWS):
        lot = [seed, list(FaultClass).index(kind), number, draw]
        case = make_case(kind, np.random.default_rng(lot))
        sighting = sight(case, NOISES[noise], np.random.default_rng([*lot, noise]))
        if sighting is not None:
            return sighting, draw
    raise RuntimeError(f"{kind}: none of {_DRAWS} incidents was noticed")


def _cell(kind: FaultClass, noise: int, incidents: int, seed: int) -> Cell:
    trials: dict[Decider, list[_Trial]] = {each: [] for each in Decider}
    unnoticed = innocent = 0
    for number in range(incidents):
        sighting, missed = noticed(kind, noise, number, seed)
        unnoticed += missed
        innocent += sighting.scene.case.guilty is None
        for each, trial in _try_all(sighting).items():
            trials[each].append(trial)
    return Cell(
        fault=kind,
        noise=NOISES[noise].name,
        incidents=incidents,
        without_guilty=innocent / incidents,
        unnoticed=unnoticed,
        deciders={each: _figures(done) for each, done in trials.items()},
    )


def _try_all(sighting: Sighting) -> dict[Decider, _Trial]:
    at = sighting.scene
    responses = respond_all(sighting)
    _, least = best(at, responses.values())
    helps = min((at.user_error_minutes(each) for each in _remedied(at)), default=math.inf)
    return {each: _trial(at, response, least, helps) for each, response in responses.items()}


def _remedied(at: Scene) -> Iterable[Response]:
    return (Response(rollbacks=(each,), paged_after=0, undoes=True) for each in at.remedies)


def _trial(at: Scene, response: Response, least: float, helps: float) -> _Trial:
    """How `response` did, where the best one in hindsight costs `least`, and the best rollback `helps`."""
    cost = at.user_error_minutes(response)
    acted = bool(response.rollbacks)
    harmful = acted and cost > at.user_error_minutes(PAGE) + PRACTICAL * at.users
    bad = at.case.guilty
    return _Trial(
        regret=cost - least,
        cost=cost,
        acted=acted,
        asked=bool(response.asked) and not acted,
        harmful=harmful,
        on_guilty=harmful
        and bad is not None
        and any(each.service == bad.service and each.target < bad.number for each in response.rollbacks),
        missed=helps < cost - PRACTICAL * at.users and not acted and not response.asked,
    )


def _figures(trials: Sequence[_Trial]) -> Figures:
    regrets = np.array([each.regret for each in trials])
    count = len(trials)
    spread = float(np.std(regrets, ddof=1)) if count > 1 else 0.0
    return Figures(
        regret=float(np.mean(regrets)),
        regret_error=spread / math.sqrt(count),
        cost=float(np.mean([each.cost for each in trials])),
        acted=_rate(each.acted for each in trials),
        asked=_rate(each.asked for each in trials),
        harmful=_rate(each.harmful for each in trials),
        harmful_on_guilty=_rate(each.on_guilty for each in trials),
        missed=_rate(each.missed for each in trials),
    )


def _rate(happened: Iterable[bool]) -> float:
    return 1000 * float(np.mean(list(happened)))


def _overall(cells: Sequence[Cell], decider: Decider) -> Figures:
    own = [cell.deciders[decider] for cell in cells]
    shares = _shares(cells)
    mixed = {name: _mixed(cells, [getattr(each, name) for each in own]) for name in Figures.model_fields}
    mixed["regret_error"] = math.sqrt(
        sum((share * each.regret_error) ** 2 for share, each in zip(shares, own, strict=True))
    )
    return Figures.model_validate(mixed)


def _mixed(cells: Sequence[Cell], values: Sequence[float]) -> float:
    return sum(share * value for share, value in zip(_shares(cells), values, strict=True))


def _shares(cells: Sequence[Cell]) -> list[float]:
    return [MIX[cell.fault] / len({each.noise for each in cells}) for cell in cells]
