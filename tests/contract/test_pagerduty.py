"""The pager against a stand-in for PagerDuty: who is woken, and what every kind of trouble comes to."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from incident.errors import PermanentError, TransientError
from incident.identifiers import escalation_key, page_key
from incident.messages import Change, MessageField, Page
from incident.severity import Severity
from integrations.http import MAX_RETRY_AFTER, HttpSettings, build_client
from integrations.pagerduty import PagerDutyPager, PagerDutySettings
from integrations.pagerduty.events import MAX_BODY
from tests import builders
from tests.contract.conftest import PATIENT
from tests.standins.github import toxics
from tests.standins.github.behaviour import Fault
from tests.standins.pagerduty import (
    PagerDutyStandin,
    State,
    accepted_then_cut,
    broken,
    hanging,
    html,
    judge,
    limited,
    refused,
    reset,
    running_pagerduty,
)
from tests.standins.pagerduty.contract import EVENTS
from tests.standins.pagerduty.fake import MAX_BODY as MOST_THAT_PAGERDUTY_TAKES

KEY = page_key(builders.INCIDENT_ID)
QUICK = HttpSettings(read_timeout=timedelta(seconds=0.5))
PAGES = "https://commander.example/incidents/"


@pytest.fixture(scope="module")
def running() -> Iterator[PagerDutyStandin]:
    with running_pagerduty() as standin:
        yield standin


@pytest.fixture
def pagerduty(running: PagerDutyStandin) -> PagerDutyStandin:
    running.reset()
    return running


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with build_client(HttpSettings()) as client:
        yield client


def _pager(client: httpx.AsyncClient, url: str, key: str = PagerDutyStandin.routing_key) -> PagerDutyPager:
    return PagerDutyPager(client, PagerDutySettings(routing_key=SecretStr(key), events_url=url), PAGES)


@pytest.fixture
def pager(client: httpx.AsyncClient, pagerduty: PagerDutyStandin) -> PagerDutyPager:
    return _pager(client, pagerduty.url)


def _page(key: str = KEY, summary: str = "P0 payment-api (production): look at it", detail: str = "why not") -> Page:
    return Page(
        key=key,
        incident_id=builders.INCIDENT_ID,
        severity=Severity.P0,
        priority="P1",
        summary=summary,
        service=builders.SERVICE,
        environment=builders.ENVIRONMENT,
        details=(MessageField(label="why", text=detail),),
    )


CHANGE = Change(
    incident_id=builders.INCIDENT_ID,
    summary="Rolled back to 100",
    service=builders.SERVICE,
    environment=builders.ENVIRONMENT,
    at=datetime(2026, 11, 24, 3, 4, 5, tzinfo=UTC),
    url="https://github.example/acme/payment-api/actions/runs/7",
)


def _states(pagerduty: PagerDutyStandin) -> list[State]:
    return [incident.state for incident in pagerduty.incidents()]


async def test_a_page_sent_twice_is_one_incident_that_wakes_once(
    pager: PagerDutyPager, pagerduty: PagerDutyStandin
) -> None:
    await pager.page(_page())
    await pager.page(_page(summary="it got worse"))

    (incident,) = pagerduty.incidents()
    assert (incident.dedup_key, incident.state, pagerduty.woken) == (KEY, State.TRIGGERED, 1)
    assert incident.event["payload"]["summary"] == "it got worse"
    assert incident.event["payload"]["custom_details"]["priority"] == "P1"


async def test_an_acknowledged_page_stays_silent_and_an_escalation_wakes_anew(
    pager: PagerDutyPager, pagerduty: PagerDutyStandin
) -> None:
    await pager.page(_page())
    pagerduty.acknowledge(KEY)
    await pager.page(_page())
    assert pagerduty.woken == 1

    await pager.page(_page(escalation_key(builders.INCIDENT_ID, 1)))

    assert pagerduty.woken == 2
    assert _states(pagerduty) == [State.ACKNOWLEDGED, State.TRIGGERED]


async def test_every_page_of_an_incident_is_resolved_by_its_key(
    pager: PagerDutyPager, pagerduty: PagerDutyStandin
) -> None:
    keys = [KEY, escalation_key(builders.INCIDENT_ID, 1), "ic/" + "k" * 300, ""]
    for key in keys:
        await pager.page(_page(key))
    pagerduty.acknowledge(KEY)

    for key in (*keys, *keys):
        await pager.resolve(key)

    assert _states(pagerduty) == [State.RESOLVED] * 4
    assert pagerduty.woken == 4


async def test_after_its_resolve_the_same_key_is_a_new_incident(
    pager: PagerDutyPager, pagerduty: PagerDutyStandin
) -> None:
    await pager.page(_page())
    await pager.resolve(KEY)
    await pager.page(_page())

    assert _states(pagerduty) == [State.RESOLVED, State.TRIGGERED]
    assert pagerduty.woken == 2


async def test_a_resolve_without_a_page_or_through_another_integration_changes_nothing(
    client: httpx.AsyncClient, pager: PagerDutyPager, pagerduty: PagerDutyStandin
) -> None:
    await pager.resolve(KEY)
    assert _states(pagerduty) == []
    await pager.page(_page())

    await _pager(client, pagerduty.url, "another0" * 4).resolve(KEY)

    assert _states(pagerduty) == [State.TRIGGERED]


async def test_nothing_is_ever_acknowledged_by_the_pager(pager: PagerDutyPager, pagerduty: PagerDutyStandin) -> None:
    await pager.page(_page())
    await pager.resolve(KEY)
    await pager.record_change(CHANGE)

    assert not [each for each in pagerduty.requests() if "acknowledge" in each.body]


async def test_a_change_is_shown_and_wakes_nobody(pager: PagerDutyPager, pagerduty: PagerDutyStandin) -> None:
    await pager.record_change(CHANGE)

    (change,) = pagerduty.changes()
    assert change.event["payload"]["timestamp"] == "2026-11-24T03:04:05.000+00:00"
    assert change.event["links"] == [
        {"href": CHANGE.url, "text": "Run"},
        {"href": PAGES + builders.INCIDENT_ID, "text": "Incident"},
    ]
    assert pagerduty.woken == 0


async def test_a_rulesets_key_pages_and_sends_no_change(client: httpx.AsyncClient, pagerduty: PagerDutyStandin) -> None:
    ruleset = _pager(client, pagerduty.url, "R" + "0" * 31)

    await ruleset.record_change(CHANGE)
    await ruleset.page(_page())

    assert [each.path for each in pagerduty.requests()] == [EVENTS]
    assert pagerduty.woken == 1


@pytest.mark.parametrize(
    ("fault", "error", "pause"),
    [
        (limited(7), TransientError, 7),
        (limited(), TransientError, 60),
        (limited("soon"), TransientError, 60),
        (limited(86_400), TransientError, MAX_RETRY_AFTER.total_seconds()),
        (refused("routing_key is unknown"), PermanentError, None),
        (broken(500), TransientError, None),
        (broken(503), TransientError, None),
        (html(502), TransientError, None),
        (html(200), TransientError, None),
        (html(202), TransientError, None),
        (reset(), TransientError, None),
        (hanging(), TransientError, None),
    ],
)
async def test_each_trouble_is_one_call_and_says_whether_another_helps(
    fault: Fault, error: type[Exception], pause: float | None, pagerduty: PagerDutyStandin
) -> None:
    async with build_client(QUICK) as client:
        pager = _pager(client, pagerduty.url)
        calls: tuple[Callable[[], Awaitable[None]], ...] = (
            lambda: pager.page(_page()),
            lambda: pager.resolve(KEY),
            lambda: pager.record_change(CHANGE),
        )
        for call in calls:
            pagerduty.reset()
            pagerduty.faults(fault)
            with pytest.raises(error) as raised:
                await call()
            after = getattr(raised.value, "retry_after", None)
            assert (after.total_seconds() if after is not None else None) == pause
            assert PagerDutyStandin.routing_key not in str(raised.value)
            assert (pagerduty.woken, len(pagerduty.changes())) == (0, 0)
        await pager.page(_page())
    # Every fault stood for one call: had the pager tried again by itself, none of them would have been an error.
    assert pagerduty.woken == 1


async def test_a_refusal_says_what_pagerduty_said(pager: PagerDutyPager, pagerduty: PagerDutyStandin) -> None:
    pagerduty.faults(refused("'routing_key' is not known here"))

    with pytest.raises(PermanentError, match=r"'routing_key' is not known here.*PAGERDUTY__ROUTING_KEY"):
        await pager.page(_page())


async def test_a_lost_reply_and_the_page_again_are_one_incident(
    pager: PagerDutyPager, pagerduty: PagerDutyStandin
) -> None:
    pagerduty.faults(accepted_then_cut())
    with pytest.raises(TransientError):
        await pager.page(_page())
    assert pagerduty.woken == 1

    await pager.page(_page())

    assert (len(pagerduty.incidents()), pagerduty.woken) == (1, 1)


async def test_calls_past_the_limit_are_asked_again_after_a_minute(
    pager: PagerDutyPager, pagerduty: PagerDutyStandin
) -> None:
    pagerduty.limit(2)
    await pager.page(_page())
    await pager.page(_page())

    with pytest.raises(TransientError) as raised:
        await pager.resolve(KEY)

    assert raised.value.retry_after == timedelta(minutes=1)


async def test_ten_megabytes_of_text_still_wake_somebody(pager: PagerDutyPager, pagerduty: PagerDutyStandin) -> None:
    await pager.page(_page(detail="é\n" * 5_000_000))

    (request,) = pagerduty.requests()
    assert pagerduty.woken == 1
    assert request.size <= MAX_BODY


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"payload": {"summary": "x" * 1025, "source": "s", "severity": "info"}}, "a long summary"),
        ({"payload": {"summary": "x", "source": "s", "severity": "P0"}}, "another severity"),
        ({"payload": None}, "no payload"),
        ({"event_action": "resolve"}, "a resolve with a payload"),
        ({"dedup_key": "k" * 256}, "a long key"),
        ({"routing_key": "short"}, "no integration key"),
        ({"severity": "info"}, "a field that nobody knows"),
        ({"payload": {"summary": "x", "source": "s" * MOST_THAT_PAGERDUTY_TAKES, "severity": "info"}}, "half a MB"),
    ],
)
async def test_the_stand_in_refuses(
    changed: dict[str, object], what: str, client: httpx.AsyncClient, pagerduty: PagerDutyStandin
) -> None:
    event = {
        "routing_key": pagerduty.routing_key,
        "event_action": "trigger",
        "dedup_key": "k",
        "payload": {"summary": "x", "source": "s", "severity": "info"},
    }
    taken = await client.post(pagerduty.url + EVENTS, json=event)
    answer = await client.post(pagerduty.url + EVENTS, json={**event, **changed})

    assert (taken.status_code, answer.status_code, answer.json()["status"]) == (202, 400, "invalid event"), what
    assert pagerduty.woken == 1
    assert pagerduty.routing_key not in "".join(each.body for each in pagerduty.requests())


@pytest.mark.slow
@pytest.mark.needs_node
@pytest.mark.skipif(bool(judge.why_not()), reason=judge.why_not())
async def test_prism_finds_nothing_against_either_side(pagerduty: PagerDutyStandin, tmp_path: Path) -> None:
    async with judge.judging(pagerduty.url, tmp_path) as prism, build_client(PATIENT) as client:
        pager = _pager(client, prism.url)
        await pager.page(_page())
        await pager.resolve(KEY)
        await pager.record_change(CHANGE)
        # What Prism finds wrong it answers with an error of its own, so that the calls above would have raised.
        answer = await client.post(prism.url + EVENTS, json={"event_action": "resolve"})

    assert answer.status_code == 422
    assert len(pagerduty.requests()) == 3
    assert (_states(pagerduty), len(pagerduty.changes())) == ([State.RESOLVED], 1)


@pytest.mark.slow
@pytest.mark.skipif(bool(toxics.why_not()), reason=toxics.why_not())
async def test_an_outage_passes_and_one_person_is_woken_once(pagerduty: PagerDutyStandin, tmp_path: Path) -> None:
    async with toxics.poisoning(pagerduty.url, tmp_path) as network, build_client(QUICK) as client:
        pager = _pager(client, network.url)
        await network.refuse()
        with pytest.raises(TransientError):
            await pager.page(_page())
        assert pagerduty.woken == 0
        await network.clear()

        await network.limit_data(0)  # the page arrives, its answer is lost
        with pytest.raises(TransientError):
            await pager.page(_page())
        await network.clear()
        await network.timeout()
        with pytest.raises(TransientError):
            await pager.page(_page())
        await network.clear()
        await pager.page(_page())

    assert (len(pagerduty.incidents()), pagerduty.woken) == (1, 1)
