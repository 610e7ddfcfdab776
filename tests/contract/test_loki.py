"""Loki, as the fake and, where it was built, the real one answer: what `LokiLogs` makes of it, and that both agree."""

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx
import pytest
import pytest_asyncio

from incident.errors import PermanentError
from incident.evidence import LogsReport, SourceState
from incident.services import LokiEndpoint
from integrations.http import HttpSettings, build_client
from integrations.log_lines import at, nanoseconds_of
from integrations.loki import LokiLogs
from tests.standins.loki import (
    QUESTIONS,
    Said,
    Stream,
    asked,
    lines,
    push,
    recorded,
    running_fake,
    running_loki,
    why_not,
)

_REAL = pytest.param(
    "real", marks=[pytest.mark.slow, pytest.mark.needs_loki, pytest.mark.skipif(bool(why_not()), reason=why_not())]
)
_MINUTE = 60 * 10**9


@dataclass(frozen=True)
class Told:
    """A Loki, and when what it was told begins: forty minutes ago, a real one asks its memory for no older lines."""

    url: str
    base: int

    async def read(self, client: httpx.AsyncClient, selector: str, **changes: object) -> LogsReport:
        """What is read half an hour after that."""
        given = {"kind": "loki", "url": self.url, "selector": selector, **changes}
        now = at(self.base + 30 * _MINUTE)
        return await LokiLogs(client, LokiEndpoint.model_validate(given), clock=lambda: now).read_logs()

    def since(self, moment: datetime) -> timedelta:
        """How long that was after the beginning."""
        return moment - at(self.base)


@pytest.fixture(scope="module", params=["fake", _REAL])
def loki(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    place = tmp_path_factory.mktemp("loki")
    with running_fake() if request.param == "fake" else running_loki(place) as url:
        base = time.time_ns() // _MINUTE * _MINUTE - 40 * _MINUTE
        push(url, *lines(base), *_night(base))
        yield Told(url, base)


@pytest_asyncio.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with build_client(HttpSettings(read_timeout=timedelta(seconds=30))) as opened:
        yield opened


def _night(base: int) -> tuple[Stream, ...]:
    """Twenty minutes of a service that refuses charges from the tenth on."""
    return (
        Stream(
            {"app": "night", "level": "info"},
            tuple(Said(base + minute * _MINUTE + 7, f"INFO charged {minute} EUR") for minute in range(20)),
        ),
        Stream(
            {"app": "night", "level": "error"},
            tuple(Said(base + minute * _MINUTE + 8, f"ERROR charge ch_{minute} refused") for minute in range(10, 20)),
        ),
    )


@pytest.mark.parametrize("name", QUESTIONS)
def test_it_answers_as_a_real_one_was_recorded(name: str, loki: Told) -> None:
    assert asked(loki.url, name, loki.base) == recorded()[name]


async def test_lines_come_with_their_levels_oldest_first_and_exact(loki: Told, client: httpx.AsyncClient) -> None:
    report = await loki.read(client, '{app="payment-api"}')
    assert [(nanoseconds_of(line.at) + line.nanoseconds - loki.base, line.level) for line in report.lines] == [
        (1, "ERROR"),
        (2, "ERROR"),
        (10, "INFO"),
        (20, "INFO"),
        (30, "ERROR"),
    ]
    assert report.lines[4].message == 'ERROR quotes " and \\ and \u00fc'
    assert (report.capped, report.unreadable, report.problem) == (False, 0, "")


async def test_templates_tell_what_was_said_how_often_and_since_when(loki: Told, client: httpx.AsyncClient) -> None:
    report = await loki.read(client, '{app="night"}')
    assert [(each.text, each.count, loki.since(each.first_at)) for each in report.templates] == [
        ("INFO charged <*> EUR", 20, timedelta(0)),
        ("ERROR charge <*> refused", 10, timedelta(minutes=10)),
    ]
    assert not report.capped


async def test_of_very_many_lines_the_newest_and_the_oldest_are_read(loki: Told, client: httpx.AsyncClient) -> None:
    report = await loki.read(client, '{app="night"}', lines=10)
    assert report.capped
    assert {each.text: (each.count, loki.since(each.first_at)) for each in report.templates} == {
        "INFO charged <*> EUR": (15, timedelta(0)),
        "ERROR charge <*> refused": (5, timedelta(minutes=15)),
    }


async def test_no_lines_are_no_lines(loki: Told, client: httpx.AsyncClient) -> None:
    assert (await loki.read(client, '{app="nobody"}')).state is SourceState.EMPTY


async def test_a_value_of_any_marks_is_found(loki: Told, client: httpx.AsyncClient) -> None:
    report = await loki.read(client, r'{app="pay\"ment\\api"}')
    assert [line.message for line in report.lines] == ["INFO another one"]


async def test_a_refused_question_says_what_to_look_at(loki: Told, client: httpx.AsyncClient) -> None:
    with pytest.raises(PermanentError, match=r"the selector, or more `lines` than it allows \(HTTP 400\)"):
        await loki.read(client, '{app="x", app=~"("}')
