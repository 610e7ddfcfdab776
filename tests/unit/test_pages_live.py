"""The live page: what has changed is sent, as rendered and escaped parts, until the incident closes."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from gateway.pages.door import Door, Visit
from gateway.pages.live import Live
from gateway.pages.rendering import Renderer
from gateway.pages.sessions import Session, Sessions
from gateway.pages.sheet import SECTIONS
from gateway.tokens import TokenBook
from incident.dossier import Dossier, Stage, TimelineEntry
from incident.errors import TransientError
from tests import builders
from tests.builders import NOW
from tests.e2e.pages_hostile import CORPUS
from tests.e2e.pages_office import SESSION_KEY, Desktop, asking_dossier

EVENTS = f"/ui/incidents/{builders.INCIDENT_ID}/events"


class Following:
    """One reader of an incident whose course the test decides."""

    def __init__(self, ours: Desktop, last_event_id: str = "", lasts: timedelta = timedelta(hours=1)) -> None:
        self.ours = ours
        sessions = Sessions(SESSION_KEY, ours.office.tokens, ours.office.clock)
        cookie = sessions.begin(ours.tokens["ada"])
        assert cookie
        headers = [(b"cookie", f"commander={cookie}".encode()), (b"last-event-id", last_event_id.encode())]
        scope = {"type": "http", "method": "GET", "path": EVENTS, "query_string": b"", "headers": headers}
        request = Request({**scope, "path_params": {"incident_id": builders.INCIDENT_ID}})
        session = sessions.read(cookie)
        assert isinstance(session, Session)
        self._visit = Visit(request, session, "", {})
        renderer = Renderer()
        self._live = Live(ours.office, Door(ours.office, renderer), renderer, timedelta(milliseconds=1), lasts)

    async def open(self) -> "Following":
        """Begins to read."""
        self.response = await self._live.follow(self._visit)
        assert self.response.headers["content-type"].startswith("text/event-stream")
        self._events = self.response.body_iterator  # type: ignore[attr-defined]  # of a StreamingResponse
        assert await self.next() == ("retry", 2000)
        return self

    async def next(self) -> tuple[str, Any]:
        """The next thing that comes: the name of an event and its data, or a comment."""
        async with asyncio.timeout(10):
            sent = await anext(self._events)
        assert sent.endswith("\n\n")
        lines = sent.rstrip("\n").split("\n")
        fields = dict(line.split(": ", 1) for line in lines)
        assert len(fields) == len(lines), "nothing in an event may end it or begin another"
        if "retry" in fields:
            return "retry", int(fields["retry"])
        return (fields["event"], json.loads(fields["data"])) if "event" in fields else ("comment", fields[""])

    async def over(self) -> bool:
        """Whether nothing comes any more."""
        try:
            await self.next()
        except StopAsyncIteration:
            return True
        return False

    def happen(self, **changes: object) -> None:
        """Changes what is known of the incident."""
        desk = self.ours.desk
        desk.dossiers[builders.INCIDENT_ID] = asking_dossier(**changes)
        desk.events += 1


def entry(text: str) -> TimelineEntry:
    return TimelineEntry(at=NOW, stage=Stage.VERIFYING, text=text)


def desktop(*dossiers: Dossier) -> Desktop:
    return Desktop(dossiers=dossiers or [asking_dossier()])


async def test_the_first_event_has_every_part_and_the_next_ones_what_has_changed() -> None:
    reader = await Following(desktop()).open()
    name, first = await reader.next()
    assert (name, set(first["sections"])) == ("sections", set(SECTIONS))
    reader.happen(timeline=[entry("look 1: better")])
    _, second = await reader.next()
    assert set(second["sections"]) == {"timeline"}
    assert "look 1: better" in second["sections"]["timeline"]["html"]
    assert second["news"] == "look 1: better"


async def test_while_nothing_happens_only_a_comment_keeps_the_connection() -> None:
    reader = await Following(desktop()).open()
    await reader.next()
    assert [await reader.next() for _ in range(3)] == [("comment", "still here")] * 3


async def test_the_version_of_each_part_is_the_one_that_the_page_was_loaded_with() -> None:
    ours = desktop()
    reader = await Following(ours).open()
    _, first = await reader.next()
    async with ours.visitor("ada") as ada:
        page = (await ada.get(EVENTS.removesuffix("/events"))).text
    for name, part in first["sections"].items():
        assert f'id="{name}"' in page
        assert f'data-version="{part["version"]}"' in page


async def test_a_reader_that_comes_again_is_sent_nothing_it_has_seen() -> None:
    ours = desktop()
    ours.desk.events = 7
    assert await (await Following(ours, "7").open()).next() == ("comment", "still here")
    assert (await (await Following(ours, "6").open()).next())[0] == "sections"


@pytest.mark.parametrize("nonsense", ["x", "-1", "9" * 30, "1.5"])
async def test_a_reader_that_says_nonsense_is_sent_everything(nonsense: str) -> None:
    ours = desktop()
    assert (await (await Following(ours, nonsense).open()).next())[0] == "sections"


async def test_the_end_is_sent_once_the_incident_has_closed_even_to_whoever_had_seen_all() -> None:
    ours = desktop(asking_dossier(stage=Stage.CLOSED))
    ours.store.snapshots = {builders.INCIDENT_ID: builders.snapshot()}
    reader = await Following(ours, str(ours.desk.events)).open()
    _, last = await reader.next()
    assert "recovered" in last["sections"]["status"]["html"]
    assert last["title"] == "P0 payment-api: RECOVERED"
    assert await reader.next() == ("end", {})
    assert await reader.over()


async def test_what_outsiders_write_ends_no_event_and_is_escaped() -> None:
    for text in CORPUS:
        reader = await Following(desktop(asking_dossier(timeline=[entry(text)]))).open()
        _, sent = await reader.next()
        assert "<script" not in sent["sections"]["timeline"]["html"]
        assert "<img" not in sent["sections"]["timeline"]["html"]


async def test_that_temporal_does_not_answer_is_said_and_then_everything_is_sent_anew() -> None:
    ours = desktop()
    reader = await Following(ours).open()
    await reader.next()
    ours.desk.away = TransientError("temporal", "does not answer")
    name, data = await reader.next()
    assert name == "trouble"
    assert "temporal: does not answer" in data["text"]
    ours.desk.away = None
    assert (await reader.next())[0] == "sections"


async def test_it_ends_with_the_login() -> None:
    ours = desktop()
    reader = await Following(ours, lasts=timedelta(days=2)).open()
    await reader.next()
    ours.now += timedelta(hours=13)
    assert await reader.next() == ("comment", "come again")
    assert await reader.over()


async def test_it_ends_when_the_token_is_removed() -> None:
    ours = desktop()
    reader = await Following(ours).open()
    await reader.next()
    object.__setattr__(ours.office.tokens, "entries", TokenBook().entries)
    assert await reader.next() == ("comment", "come again")


async def test_a_reader_is_served_for_a_while_and_then_comes_again() -> None:
    ours = desktop()
    reader = await Following(ours, lasts=timedelta(minutes=10)).open()
    await reader.next()
    ours.now += timedelta(minutes=11)
    assert await reader.next() == ("comment", "come again")
    assert await reader.over()


@pytest.mark.parametrize("incident", ["nonsense", builders.INCIDENT_ID])
async def test_a_reader_of_what_nobody_knows_is_told_not_to_come_again(incident: str) -> None:
    async with Desktop().visitor("ada") as ada:
        answered = await ada.get(f"/ui/incidents/{incident}/events", headers={"Accept": "text/event-stream"})
    assert answered.status_code == httpx.codes.NO_CONTENT
