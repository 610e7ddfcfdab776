"""What a response to an incident costs its users: every arm starts from the same state and meets the same chance.

User-error-minutes: over the hour from the decision, each minute's requests at the entry times the share of them that
failed or took longer than three times the usual p99. A request a minute stands for one user.

Assumptions: a rollback begins a minute after the decision, takes two to five minutes, and its restart fails some
requests and leaves cold caches. A person who is paged repairs whatever it is after 35 minutes on average; where
nobody is paged, users complain first. Whoever rolls back by itself and has paged nobody does so where it is not over
ten minutes later, as the commander does; whoever is asked is right nine times of ten.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from evaluation.cases import Case, unattended
from evaluation.faults import Effect, lay, leak_strength, memory_of_leak
from evaluation.world import ENTRY, ROWS, Flow, Strain, flow, no_strain, slower_than
from incident.series import Array

HORIZON = 60
"""Minutes from the decision in which users are counted."""
SLOW = 3.0
"""Times the usual p99 beyond which a request has failed its user."""
_BEGINS = 1
"""Minutes until a rollback has been ordered."""
_VERIFIED = 10
"""Minutes after which a rollback that did not help is paged (40 looks, 15 s apart)."""
_PAGE_AFTER = 5
"""Minutes after which the commander pages where nothing was done (`page_after`)."""
_UNDO_AFTER = 4
"""Minutes after which a rollback that made it worse is undone: it settles, then three looks find it worse."""
_SKILL = 0.9
_OVER = 0.005
"""The share of users hit, beyond the usual one, that is no incident any more."""
_COLD = (1.6, 1.4, 1.2, 1.1)
"""Factor of the latency in the minutes from a restart on."""


@dataclass(frozen=True)
class Rollback:
    """A service, the number of the deployment to make live, and when that is ordered."""

    service: int
    target: int
    after: int = 0
    """Minutes from the decision."""


@dataclass(frozen=True)
class Response:
    """What is done about an incident."""

    rollbacks: tuple[Rollback, ...] = ()
    asked: tuple[Rollback, ...] = ()
    """What a person is asked about."""
    paged_after: int | None = None
    """Minutes from the decision until a person is paged, below 0 where that was before it; `None`: nobody is, unless
    what was done does not help."""
    undoes: bool = False
    """Whether what made it worse is undone."""


WATCH = Response()
PAGE = Response(paged_after=0)


@dataclass(frozen=True)
class Scene:
    """An incident at the minute of the decision."""

    case: Case
    decided: int
    """The row of the decision."""
    truth: Flow
    """What happens where nobody does anything; ROWS rows."""
    _known: dict[Response, float] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def slow(self) -> float:
        """Milliseconds beyond which a request at the entry has failed its user."""
        return SLOW * float(np.median(self.truth.latency[: self.decided, ENTRY]))

    @cached_property
    def usual(self) -> float:
        """The share of users hit on an everyday minute."""
        return float(np.median(self.hit(self.truth)[: self.decided]))

    @cached_property
    def users(self) -> float:
        """How many users there are, on average over the horizon."""
        return 60 * float(np.mean(self.case.world.traffic[self.decided : self.decided + HORIZON]))

    def hit(self, flowed: Flow) -> Array:
        """The share of users hit, for each row of `flowed`."""
        late = slower_than(self.slow, flowed.latency[:, ENTRY])
        return np.asarray(1 - (1 - flowed.errors[:, ENTRY]) * (1 - late))

    def user_error_minutes(self, response: Response) -> float:
        """What `response` costs over the horizon."""
        if response not in self._known:
            self._known[response] = _Arm(self, response).user_error_minutes()
        return self._known[response]

    @property
    def remedies(self) -> tuple[Rollback, ...]:
        """Every rollback that could help: behind the guilty deployment, or a restart of what leaks.

        Any other one, of whatever service, only costs its restart and what it brings back, so that no arm of it can be
        the best.
        """
        leaking, bad = self.case.fault.leaking, self.case.guilty
        found = []
        for service in self.case.world.inside:
            known = [each.number for each in self.case.of(service) if each.row <= self.decided]
            targets = [Rollback(service, number) for number in known[-4:-1]]
            behind = [each for each in targets if bad and bad.service == service and each.target < bad.number]
            found += targets[-2:] if service == leaking else behind[-2:]
        return tuple(found)


def scene(case: Case, decided: int) -> Scene:
    """The incident of `case` at the minute of the decision."""
    return Scene(case, decided, flow(case.world, unattended(case)))


def best(at: Scene, also: Iterable[Response] = ()) -> tuple[Response, float]:
    """The cheapest response in hindsight, `also` among them, and what it costs."""
    arms = [WATCH, PAGE, *also]
    arms += [Response(rollbacks=(each,), paged_after=0, undoes=True) for each in at.remedies]
    return min(((each, at.user_error_minutes(each)) for each in arms), key=lambda pair: pair[1])


class _Arm:
    """One course of events."""

    def __init__(self, at: Scene, response: Response) -> None:
        self._at, self._response, self._case = at, response, at.case
        self._rows = slice(at.decided, at.decided + HORIZON)

    def user_error_minutes(self) -> float:
        waits = round(self._case.fates.answer) - _BEGINS
        asked = [replace(each, after=each.after + waits) for each in self._response.asked if self._approved(each)]
        live = {each: self._live(each) for each in (*self._response.rollbacks, *asked)}
        strain = self._strain(live, {}, ROWS)
        undone = self._undone(live, strain)
        called = self._called(live, undone, self._strain(live, undone, ROWS) if undone else strain)
        repaired = called + max(1, round(self._case.fates.repair))
        return self._users_hit(self._strain(live, undone, repaired))

    def _live(self, rollback: Rollback) -> int:
        """The row from which on the target serves."""
        return self._at.decided + rollback.after + _BEGINS + round(float(self._case.fates.rollout[rollback.service]))

    def _approved(self, asked: Rollback) -> bool:
        alone = Response(rollbacks=(asked,), paged_after=0, undoes=True)
        helps = self._at.user_error_minutes(alone) < self._at.user_error_minutes(PAGE)
        return helps is (self._case.fates.judgement < _SKILL)

    def _called(self, live: dict[Rollback, int], undone: dict[Rollback, int], strain: Strain) -> int:
        """The row in which a person is called."""
        decided, rows = self._at.decided, []
        if self._response.paged_after is not None:
            rows.append(decided + self._response.paged_after)
        rows += undone.values()
        rows += [decided + each.after + _PAGE_AFTER for each in self._response.asked]
        if live:
            looked = max(live.values()) + _VERIFIED
            if self._hit_after(strain, looked - 2, looked) > self._at.usual + _OVER:
                rows.append(looked)
        elif not rows:
            rows.append(decided + round(self._case.fates.complaint))
        return min(rows, default=ROWS)

    def _undone(self, live: dict[Rollback, int], strain: Strain) -> dict[Rollback, int]:
        """For each rollback that made it worse the row in which it has been undone."""
        if not self._response.undoes:
            return {}
        undone = {}
        for each, row in live.items():
            before = self._hit_after(strain, row - 3, row)
            after = self._hit_after(strain, row + _UNDO_AFTER - 2, row + _UNDO_AFTER)
            if after > 1.25 * before + 0.01:
                undone[each] = row + _UNDO_AFTER + round(float(self._case.fates.rollout[each.service]))
        return undone

    def _hit_after(self, strain: Strain, since: int, until: int) -> float:
        rows = slice(min(since, ROWS - 1) - self._rows.start, until - self._rows.start)
        hit = self._at.hit(flow(self._case.world, strain, self._rows.start))[rows]
        return float(np.mean(hit)) if len(hit) else 0.0

    def _users_hit(self, strain: Strain) -> float:
        flowed = flow(self._case.world, strain, self._rows.start)
        return float(np.sum(60 * flowed.requests[:, ENTRY] * self._at.hit(flowed)))

    def _strain(self, live: dict[Rollback, int], undone: dict[Rollback, int], repaired: int) -> Strain:
        """What lies upon the world where each rollback is live from a row on, until it is undone."""
        case, rows = self._case, np.arange(self._rows.start, self._rows.stop)
        strain = no_strain(HORIZON, len(case.world.services))
        attended = rows < repaired
        strength = self._strength(live, undone, repaired)[self._rows] * attended
        if case.fault.leaking is not None:
            strain.memory[:, case.fault.leaking] = self._leaked(live, undone, repaired)[self._rows]
        for service, effect in case.fault.effects.items():
            lay(effect, service, strength, strain)
        strain.traffic[:] *= 1 + (case.fault.traffic - 1) * strength
        for each, row in live.items():
            gone = undone.get(each, ROWS)
            self._restart(strain, each.service, row)
            if gone < ROWS:
                self._restart(strain, each.service, gone)
            for effect in self._lost(each):
                lay(effect, each.service, ((rows >= row) & (rows < gone) & attended).astype(float), strain)
        return strain

    def _strength(self, live: dict[Rollback, int], undone: dict[Rollback, int], repaired: int) -> Array:
        if self._case.fault.leaking is not None:
            return leak_strength(self._case.fault, self._leaked(live, undone, repaired))
        strength = self._case.fault.strength.copy()
        for each, row in live.items():
            if self._cures(each):
                strength[row : undone.get(each, ROWS)] = 0
        return strength

    def _leaked(self, live: dict[Rollback, int], undone: dict[Rollback, int], repaired: int) -> Array:
        own = {each: row for each, row in live.items() if each.service == self._case.fault.leaking}
        cured = min((row for each, row in own.items() if self._cures(each) and each not in undone), default=ROWS)
        restarts = (*own.values(), *(row for each, row in undone.items() if each in own))
        return memory_of_leak(self._case.fault, restarts, min(cured, repaired))

    def _cures(self, rollback: Rollback) -> bool:
        bad = self._case.guilty
        if bad is None or bad.service != rollback.service or self._case.fates.uncured:
            return False
        return rollback.target < bad.number

    def _lost(self, rollback: Rollback) -> list[Effect]:
        """What comes back, or breaks, where one goes behind the deployments that follow the target."""
        behind = [
            each
            for each in self._case.of(rollback.service)
            if each.number > rollback.target and each.row <= self._at.decided
        ]
        return [effect for each in behind for effect in (each.fixed, each.clash) if effect]

    def _restart(self, strain: Strain, service: int, row: int) -> None:
        start = row - self._rows.start
        if start < 0:
            return
        strain.errors[start : start + 2, service] += self._case.fates.restart[service]
        for minute, factor in enumerate(_COLD, start=start):
            if minute < HORIZON:
                strain.latency[minute, service] *= factor
