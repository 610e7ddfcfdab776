"""Both ways to the incidents, through the gateway and past it: what a person sees and does is the same."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from commander.direct_line import DirectLine, follow
from commander.gateway_line import GatewayLine
from commander.line import Asked, Line
from incident.changes import Telling, ToldKind
from incident.dossier import Dossier, Stage
from incident.errors import PermanentError, TransientError, UnknownServiceError
from incident.labels import Judgement
from incident.snapshot import Outcome, Snapshot, close
from incident.watching import WatchedService
from integrations.gateway import GatewayClient, UnreachableError, patient
from integrations.http import HttpSettings, build_client
from tests import builders
from tests.contract.gateway_desk import REGISTRY, FakeDesk, FakeHandle, Gate, away
from worker.settings import Settings
from workflows.desk import IncidentDesk
from workflows.lookout import Lookout

pytest_plugins = ["tests.contract.gateway_fixtures"]
UNKNOWN = "production.payment-api.20200101T000000Z.00000000"
DIGEST = builders.proposal().digest
PATIENCE = 20
MOMENT = timedelta(milliseconds=5)


@dataclass
class Watched:
    """Keeps what it is shown; a test waits for it."""

    dossiers: list[Dossier] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    shown: asyncio.Event = field(default_factory=asyncio.Event)

    def show_dossier(self, dossier: Dossier) -> None:
        self.dossiers.append(dossier)
        self.shown.set()

    def show_snapshot(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "services.toml").write_text(REGISTRY)
    (tmp_path / "policy.toml").write_text('approvers = ["ada"]\n')
    return Settings.model_validate(
        {"services_file": tmp_path / "services.toml", "policy_file": tmp_path / "policy.toml"}
    )


def past(gate: Gate, settings: Settings, person: str = "ada") -> DirectLine:
    async def desk() -> IncidentDesk:
        return gate.desk

    async def lookout() -> Lookout:
        return gate.lookout

    return DirectLine(settings, person, gate.store, desk, lookout)


@pytest.fixture(params=["gateway", "direct"])
async def line(request: pytest.FixtureRequest, gate: Gate, settings: Settings) -> AsyncIterator[Line]:
    """Ada's."""
    if request.param == "direct":
        yield past(gate, settings)
        return
    async with build_client(patient(HttpSettings()), httpx.ASGITransport(gate.app)) as http:
        yield GatewayLine(GatewayClient(http, "http://gateway", gate.people.ada), pause=MOMENT)


def _asking(desk: FakeDesk, **changes: object) -> Dossier:
    given = {key: value for key, value in builders.decided_dossier() if key != "incident_id"}
    asking = {"stage": Stage.AWAITING_APPROVAL, "proposal": builders.proposal()}
    return desk.add(**{**given, **asking, "policy": builders.policy(approvers=["ada"]), **changes})


async def _closed(gate: Gate, number: int, **changes: object) -> Snapshot:
    opened_at = builders.NOW + timedelta(hours=number)
    dossier = builders.dossier(
        incident_id=f"production.payment-api.20261124T{number:02}0000Z.0000000{number}", opened_at=opened_at
    )
    snapshot = close(dossier, Outcome.NO_INCIDENT, opened_at + timedelta(minutes=number + 1)).model_copy(update=changes)
    await gate.store.save(snapshot)
    return snapshot


async def test_a_service_is_looked_at_by_its_policy_in_the_persons_name(line: Line, desk: FakeDesk) -> None:
    asked = Asked(service="payment-api", environment="staging", outside_analyst="kestra", reason="they call us")
    opened, joined = await line.open(asked), await line.open(asked)
    assert (opened.opened, joined.opened) == (True, False)
    assert opened.incident_id == joined.incident_id
    request = desk.opened[0]
    assert (request.service, request.environment, request.outside_analyst) == ("payment-api", "staging", "kestra")
    assert (request.trigger.source, request.trigger.by, request.trigger.reason) == ("cli", "ada", "they call us")
    assert request.policy.approvers == ("ada",)
    assert request.trigger.trigger_id != desk.opened[1].trigger.trigger_id


async def test_a_service_that_the_registry_lacks_is_refused_and_nothing_is_opened(line: Line, desk: FakeDesk) -> None:
    with pytest.raises((PermanentError, UnknownServiceError), match="service"):
        await line.open(Asked(service="nobody-has-it"))
    assert not desk.touched


async def test_the_open_ones_stand_before_the_newest_closed_ones(line: Line, desk: FakeDesk, gate: Gate) -> None:
    open_id = desk.add(stage=Stage.VERIFYING).incident_id
    closed = [await _closed(gate, number) for number in range(5)]
    listing = await line.list(3)
    assert [each.incident_id for each in listing.entries] == [
        open_id,
        *(each.incident_id for each in reversed(closed[2:])),
    ]
    assert [each.stands for each in listing.entries] == ["verifying", *["NO_INCIDENT"] * 3]
    assert [each.lasted for each in listing.entries] == [None, *(timedelta(minutes=minutes) for minutes in (5, 4, 3))]
    assert listing.open_unknown == ""


async def test_the_list_stands_and_says_so_where_the_open_ones_are_not_known(
    line: Line, desk: FakeDesk, gate: Gate
) -> None:
    record = await _closed(gate, 1)
    desk.away = away()
    listing = await line.list(3)
    assert [each.incident_id for each in listing.entries] == [record.incident_id]
    assert "emporal" in listing.open_unknown


async def test_an_open_incident_is_its_dossier_and_a_closed_one_its_record(
    line: Line, desk: FakeDesk, gate: Gate
) -> None:
    dossier = _asking(desk)
    assert await line.look(dossier.incident_id) == dossier
    record = await _closed(gate, 1)
    assert await line.look(record.incident_id) == record


async def test_an_open_incident_is_seen_while_the_store_is_down(line: Line, desk: FakeDesk, gate: Gate) -> None:
    dossier = _asking(desk)
    gate.store.errors["load"] = TransientError("store", "is locked")
    assert await line.look(dossier.incident_id) == dossier
    with pytest.raises(TransientError, match="store"):
        await line.look(UNKNOWN)


async def test_what_nobody_knows_is_an_error(line: Line) -> None:
    for ask in (
        line.look(UNKNOWN),
        line.follow(UNKNOWN, Watched()),
        line.cancel(UNKNOWN, ""),
        line.label(UNKNOWN, Judgement.GOOD, ""),
    ):
        with pytest.raises(PermanentError, match=r"no such incident|neither Temporal nor the store"):
            await ask


async def test_an_answer_is_given_in_the_persons_name(line: Line, desk: FakeDesk) -> None:
    dossier = _asking(desk)
    given = await line.answer(dossier.incident_id, DIGEST, approved=False, note="not now")
    assert (given.approver, given.approved, given.note) == ("ada", False, "not now")
    assert desk.dossiers[dossier.incident_id].approval == given


async def test_an_answer_to_another_proposal_is_refused(line: Line, desk: FakeDesk) -> None:
    dossier = _asking(desk)
    with pytest.raises(PermanentError, match="not the proposal that is open"):
        await line.answer(dossier.incident_id, "0" * 64, approved=True, note="")
    assert dossier.approval is None


async def test_a_verdict_is_kept_of_a_closed_incident_only(line: Line, desk: FakeDesk, gate: Gate) -> None:
    closed, still_open = await _closed(gate, 1), desk.add().incident_id
    with pytest.raises(PermanentError, match="is open: there is no record of it yet"):
        await line.label(still_open, Judgement.GOOD, "")
    secret = "AKIA" + "CANARY7890123456"
    kept = await line.label(closed.incident_id, Judgement.HARMFUL, f"it used {secret}")
    assert (kept.by, kept.judgement) == ("ada", Judgement.HARMFUL)
    assert secret not in kept.note
    assert await gate.store.labels(None) == (kept,)


async def test_a_change_is_told_in_the_persons_name_once_and_without_secrets(line: Line, gate: Gate) -> None:
    secret = "AKIA" + "CANARY7890123456"
    telling = Telling(
        id="pool",
        service="payment-api",
        environment="staging",
        kind=ToldKind.CONFIGURATION,
        description=f"by {secret}",
    )
    kept, again = await line.tell(telling), await line.tell(telling)
    assert (kept.by, kept.kind, again) == ("ada", ToldKind.CONFIGURATION, kept)
    assert secret not in kept.description
    with pytest.raises(PermanentError, match="change pool of payment-api is known with another description"):
        await line.tell(telling.model_copy(update={"description": ""}))
    assert await line.told("payment-api", "staging") == (kept,)
    assert await line.told("payment-api", "production") == ()
    assert tuple(gate.store.changes.values()) == (kept,)


async def test_a_change_of_an_unknown_service_or_of_long_ago_is_refused(line: Line, gate: Gate) -> None:
    with pytest.raises((PermanentError, UnknownServiceError), match="service"):
        await line.tell(Telling(id="pool", service="nobody-has-it", kind=ToldKind.OTHER))
    with pytest.raises((PermanentError, UnknownServiceError), match="service"):
        await line.told("nobody-has-it", "production")
    old = datetime.now(UTC) - timedelta(days=8)
    with pytest.raises(PermanentError, match="at: expected at most 7 days ago"):
        await line.tell(Telling(id="pool", service="payment-api", kind=ToldKind.OTHER, at=old))
    assert gate.store.changes == {}


async def test_a_cancellation_says_whether_something_was_done(line: Line, desk: FakeDesk) -> None:
    undone, done = desk.add(), desk.add(service="checkout", remediation=builders.remediation_record())
    assert not await line.cancel(undone.incident_id, "drill")
    assert await line.cancel(done.incident_id, "")
    assert [(each.by, each.reason) for each in desk.cancelled] == [("ada", "drill"), ("ada", "")]


async def test_a_kill_switch_is_pulled_told_and_let_go(line: Line, desk: FakeDesk, gate: Gate) -> None:
    covered, other = desk.add(), desk.add(service="checkout")
    pulled = await line.stop("payment-api", "", "drill")
    assert (pulled.stop.by, pulled.stop.reason, pulled.told, pulled.untold) == (
        "ada",
        "drill",
        (covered.incident_id,),
        "",
    )
    assert other.incident_id not in pulled.told
    assert await gate.store.stops() == (pulled.stop,)
    kept = await line.release("payment-api", "production")
    assert (kept.released, kept.left) == (False, (pulled.stop,))
    gone = await line.release("payment-api", "")
    assert (gone.released, gone.left) == (True, ())


async def test_a_kill_switch_holds_where_no_incident_can_be_told_and_says_so(
    line: Line, desk: FakeDesk, gate: Gate
) -> None:
    desk.away = away()
    pulled = await line.stop("", "", "")
    assert "emporal" in pulled.untold
    assert await gate.store.stops() == (pulled.stop,)


@pytest.mark.parametrize(("service", "environment"), [("paymnet-api", ""), ("", "prodution"), ("checkout", "staging")])
async def test_a_kill_switch_that_would_stop_nothing_is_refused(
    line: Line, gate: Gate, service: str, environment: str
) -> None:
    with pytest.raises(PermanentError, match="service"):
        await line.stop(service, environment, "")
    assert await gate.store.stops() == ()


class Running(FakeHandle):
    """A run that ends when it is told to."""

    def __init__(self, dossier: Dossier) -> None:
        super().__init__(dossier, close(dossier, Outcome.RECOVERED, builders.NOW + timedelta(minutes=9)))
        self.ends = asyncio.Event()

    async def result(self, **_: object) -> Snapshot:
        await self.ends.wait()
        return await super().result()


async def test_past_the_gateway_the_following_outlasts_a_worker_that_cannot_be_asked(desk: FakeDesk) -> None:
    dossier, watched = _asking(desk), Watched()
    run = Running(dossier)
    desk.away = away()
    following = asyncio.create_task(follow(desk, run, watched))
    async with asyncio.timeout(PATIENCE):
        await asyncio.sleep(0)
        desk.away = None
        await watched.shown.wait()
        assert not following.done()
        run.ends.set()
        record = await following
    assert record.outcome is Outcome.RECOVERED
    assert watched.dossiers[0] == dossier
    assert watched.snapshots == [record]


async def test_who_follows_a_closed_incident_is_shown_its_record(line: Line, gate: Gate) -> None:
    record, watched = await _closed(gate, 1), Watched()
    assert await line.follow(record.incident_id, watched) == record
    assert watched.snapshots == [record]


async def test_an_incident_that_was_ended_from_outside_is_not_followed_for_ever(line: Line, desk: FakeDesk) -> None:
    dossier = _asking(desk)
    await desk.end(dossier.incident_id, record=False)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(PermanentError, match="was ended from outside and left no record"):
            await line.follow(dossier.incident_id, Watched())


Answer = Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


def through(answer: Answer, gone_after: timedelta) -> GatewayLine:
    """Ada's line to a gateway that answers so."""
    http = build_client(HttpSettings(), httpx.MockTransport(answer))
    return GatewayLine(GatewayClient(http, "http://gateway", "ict_" + "x" * 40), gone_after, MOMENT)


async def _view(gate: Gate, incident_id: str) -> httpx.Response:
    async with gate.client() as client:
        answer = await client.get(f"/incidents/{incident_id}")
    return httpx.Response(answer.status_code, json=answer.json())


async def test_a_gateway_that_restarts_does_not_end_the_following(gate: Gate, desk: FakeDesk) -> None:
    dossier, watched, calls = _asking(desk), Watched(), 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        match calls:
            case 2 | 3:
                raise httpx.ConnectError("refused", request=request)
            case 4 | 5:
                return httpx.Response(503, json={"detail": "a worker does not answer; try again"})
            case 6:
                await desk.end(dossier.incident_id)
        return await _view(gate, dossier.incident_id)

    async with asyncio.timeout(PATIENCE):
        record = await through(answer, timedelta(minutes=1)).follow(dossier.incident_id, watched)
    assert record == desk.ended[dossier.incident_id]
    assert (watched.dossiers, watched.snapshots) == ([dossier], [record])
    assert [each.partition(" at ")[0] for each in watched.notes] == [
        "cannot be reached",
        "a worker does not answer; try again",
    ]


async def test_a_gateway_that_stays_away_ends_the_following_and_says_how_to_go_on(gate: Gate, desk: FakeDesk) -> None:
    dossier, calls = _asking(desk), 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise httpx.ConnectError("refused", request=request)
        return await _view(gate, dossier.incident_id)

    async with asyncio.timeout(PATIENCE):
        with pytest.raises(UnreachableError, match="--direct goes past it"):
            await through(answer, timedelta(seconds=0.1)).follow(dossier.incident_id, Watched())
    assert calls > 2


async def test_a_gateway_that_never_answered_is_not_waited_for() -> None:
    calls = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        raise httpx.ConnectError("refused", request=request)

    async with asyncio.timeout(PATIENCE):
        with pytest.raises(UnreachableError):
            await through(answer, timedelta(hours=1)).follow(UNKNOWN, Watched())
    assert calls == 1


async def test_a_stage_that_is_known_is_not_asked_for_again_at_once(gate: Gate, desk: FakeDesk) -> None:
    dossier, asked = _asking(desk), list[dict[str, str]]()

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(dict(request.url.params))
        if len(asked) == 2:
            await desk.end(dossier.incident_id)
        return await _view(gate, dossier.incident_id)

    await through(answer, timedelta(0)).follow(dossier.incident_id, Watched())
    assert asked == [{}, {"wait": "2", "stage": "awaiting-approval"}]


async def test_who_may_let_go_and_not_read_still_lets_go(gate: Gate) -> None:
    async with build_client(HttpSettings(), httpx.ASGITransport(gate.app)) as http:
        line = GatewayLine(GatewayClient(http, "http://gateway", gate.people.operator))
        await line.stop("", "", "")
        gone = await line.release("", "")
    assert (gone.released, gone.left) == (True, ())


async def test_more_incidents_than_one_page_holds_are_asked_for_page_by_page(gate: Gate) -> None:
    for number in range(3):
        await _closed(gate, number)
    record = await _closed(gate, 4)
    for number in range(5, 215):
        opened_at = builders.NOW - timedelta(minutes=number)
        incident_id = f"production.payment-api.20261123T000000Z.{number:08x}"
        await gate.store.save(
            record.model_copy(update={"incident_id": incident_id, "opened_at": opened_at, "timestamp": opened_at})
        )
    async with build_client(HttpSettings(), httpx.ASGITransport(gate.app)) as http:
        listing = await GatewayLine(GatewayClient(http, "http://gateway", gate.people.ada)).list(205)
    ids = [each.incident_id for each in listing.entries]
    assert len(ids) == len(set(ids)) == 205


async def test_a_service_is_watched_under_its_policy_until_a_person_ends_it(line: Line, gate: Gate) -> None:
    await line.watch("payment-api", "staging")
    (request,) = gate.lookout.begun
    assert (request.service, request.environment, request.policy.approvers) == ("payment-api", "staging", ("ada",))
    assert await line.watches() == (WatchedService(service="payment-api", environment="staging", stands="watching"),)
    assert not await line.unwatch("payment-api", "production")
    assert await line.unwatch("payment-api", "staging")
    assert await line.watches() == ()


async def test_a_service_that_the_registry_lacks_is_not_watched(line: Line, gate: Gate) -> None:
    with pytest.raises((PermanentError, UnknownServiceError), match="service"):
        await line.watch("nobody-has-it", "production")
    assert gate.lookout.begun == []
