"""The pages in a real browser: followed live, answered, read by keyboard and by axe-core, and proof against text."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from commander.stack import EmbeddedStack, StackPlan, StackPorts
from gateway.tokens import Scope, entry_of, mint
from incident.dossier import Dossier, Stage, TimelineEntry
from incident.snapshot import Outcome
from tests import builders
from tests.builders import NOW
from tests.e2e.pages_browser import DESKTOP, PHONE, Scheme, Tab, chromium, served, tab, why_not
from tests.e2e.pages_hostile import CORPUS, hostile_dossiers, numbered
from tests.e2e.pages_office import SESSION_KEY, Desktop, asking_dossier
from worker.settings import child_environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs_chromium,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]

CAUTIOUS = """
version = 1
mode = "ask"
approvers = ["ada"]
settle = "1s"
look_every = "1s"
"""
INCIDENT = f"/ui/incidents/{builders.INCIDENT_ID}"
CLOSED = f"/ui/incidents/{numbered(99)}"
PAGES = (
    "/ui/",
    INCIDENT,
    CLOSED,
    "/ui/figures",
    f"{INCIDENT}/answer?answer=approve&digest={'d' * 64}",
    f"{INCIDENT}/cancel",
    "/ui/incidents/unknown",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


def desktop(*dossiers: Dossier) -> Desktop:
    """An office with an incident that asks, and one that has closed."""
    entry = TimelineEntry(at=NOW, stage=Stage.DETECTING, text="asked by cli")
    asking = asking_dossier(timeline=[entry], approvals=[builders.approval(digest="e" * 64, note="not yet")])
    closed = builders.snapshot(outcome=Outcome.RECOVERED).model_copy(update={"incident_id": numbered(99)})
    return Desktop(dossiers=dossiers or [asking], snapshots=[closed])


@asynccontextmanager
async def entered(
    browser: Browser, ours: Desktop, size: tuple[int, int] = DESKTOP, scheme: Scheme = "light"
) -> AsyncIterator[Tab]:
    """A tab in which ada has logged in."""
    async with served(ours.app()) as base, tab(browser, base, size, scheme) as opened:
        await opened.open("/ui/")
        await opened.log_in(ours.tokens["ada"])
        yield opened


async def test_axe_core_finds_nothing_wrong_with_any_page(browser: Browser) -> None:
    ours = desktop()
    async with served(ours.app()) as base, tab(browser, base) as nobody:
        await nobody.open("/ui/login")
        await nobody.log_in("ict_wrong")
        await expect(nobody.page.get_by_role("alert")).to_be_visible()
        assert await nobody.violations() == []
    async with entered(browser, ours) as ada:
        for page in PAGES[:5]:
            await ada.open(page)
            assert await ada.violations() == [], page


async def test_the_dark_pages_can_be_read_as_well(browser: Browser) -> None:
    async with entered(browser, desktop(), scheme="dark") as ada:
        for page in (INCIDENT, CLOSED):
            await ada.open(page)
            assert await ada.violations("color-contrast") == [], page


async def test_no_page_is_wider_than_a_phone(browser: Browser) -> None:
    ours = desktop()
    async with served(ours.app()) as base, tab(browser, base, PHONE) as nobody:
        await nobody.open("/ui/login")
        assert await nobody.overflow() == 0
    async with entered(browser, ours, PHONE) as ada:
        for page in PAGES:
            await ada.open(page)
            assert await ada.overflow() == 0, page


async def test_everything_can_be_done_by_keyboard_alone(browser: Browser) -> None:
    ours = desktop()
    async with served(ours.app()) as base, tab(browser, base) as ada:
        keys = ada.page.keyboard
        await ada.open("/ui/")
        await expect(ada.page.get_by_label("Your token")).to_be_focused()
        await keys.type(ours.tokens["ada"])
        await keys.press("Enter")
        await expect(ada.page).to_have_title("Incidents · Incident Commander")
        await reach(ada, "payment-api in production")
        await keys.press("Enter")
        await expect(ada.page).to_have_title("P0 payment-api: open · Incident Commander")
        await reach(ada, "Approve …")
        await keys.press("Enter")
        await expect(ada.page).to_have_title("Approve? · Incident Commander")
        await reach(ada, "A note for the record (optional)")
        await keys.type("seen on my phone")
        await reach(ada, "Approve the rollback of 101 to 100")
        await keys.press("Enter")
        await expect(ada.page.get_by_text("Your approval was taken.")).to_be_visible()
    (given,) = ours.desk.answers
    assert (given.approver, given.approved, given.note) == ("ada", True, "seen on my phone")


async def reach(ada: Tab, name: str, most: int = 60) -> None:
    """Goes from one control to the next until the one of that name has the focus."""
    for _ in range(most):
        await ada.page.keyboard.press("Tab")
        focused = await ada.page.evaluate(
            "() => { const e = document.activeElement; return (e.labels?.[0] || e).textContent.trim() }"
        )
        if focused == name:
            return
    pytest.fail(f"{name!r} cannot be reached by keyboard")


async def test_what_outsiders_write_runs_nothing_and_leads_nowhere(browser: Browser) -> None:
    ours = desktop(*hostile_dossiers())
    async with entered(browser, ours) as ada:
        for number in range(len(CORPUS)):
            await ada.open(f"/ui/incidents/{numbered(number)}")
            await expect(ada.page.locator("#live")).to_have_text("This page follows the incident.")
            assert await ada.page.evaluate("window.hacked") is None
            assert ada.page.url == f"{ada.base}/ui/incidents/{numbered(number)}"
        await ada.open("/ui/")
        assert await ada.page.evaluate("window.hacked") is None
        assert ada.complaints == []


async def test_parts_that_come_in_live_are_text_as_well(browser: Browser) -> None:
    ours = desktop(asking_dossier())
    async with entered(browser, ours) as ada:
        await ada.open(INCIDENT)
        await expect(ada.page.locator("#live")).to_have_text("This page follows the incident.")
        timeline = [TimelineEntry(at=NOW, stage=Stage.VERIFYING, text=each) for each in CORPUS]
        ours.desk.dossiers[builders.INCIDENT_ID] = asking_dossier(timeline=timeline)
        ours.desk.events += 1
        await expect(ada.page.locator("#timeline li")).to_have_count(len(CORPUS))
        assert CORPUS[0] in await ada.text("#timeline")
        assert await ada.page.evaluate("window.hacked") is None
        assert ada.complaints == []


async def test_the_focus_and_what_was_unfolded_outlive_a_change(browser: Browser) -> None:
    ours = desktop(asking_dossier(notifications=[builders.notification(text="the whole message")]))
    async with entered(browser, ours) as ada:
        await ada.open(INCIDENT)
        await ada.page.locator("#message-1 summary").click()
        await ada.page.locator("#approve").focus()
        later = [builders.notification(text="the whole message"), builders.page_sent()]
        proposal = builders.proposal(question="Roll back deployment 101 to 100 now?")
        ours.desk.dossiers[builders.INCIDENT_ID] = asking_dossier(notifications=later, proposal=proposal)
        ours.desk.events += 1
        await expect(ada.page.locator("#messages li")).to_have_count(2)
        await expect(ada.page.locator("#question")).to_contain_text("now?")
        await expect(ada.page.get_by_text("the whole message")).to_be_visible()
        await expect(ada.page.locator("#approve")).to_be_focused()


@asynccontextmanager
async def gateway(stack: EmbeddedStack, directory: Path, token_entry: str) -> AsyncIterator[str]:
    """Where `python -m gateway` serves that stack meanwhile."""
    port = StackPorts.free().health
    (directory / "policy.toml").write_text(CAUTIOUS)
    (directory / "tokens.toml").write_text(token_entry)
    environment = {
        "TEMPORAL__ADDRESS": stack.temporal.address,
        "TEMPORAL__UI_URL": stack.temporal.ui_url,
        "SERVICES_FILE": str(stack.services_file),
        "STORE__URL": f"sqlite:///{directory}/incidents.db",
        "GATEWAY__BIND": f"127.0.0.1:{port}",
        "GATEWAY__SESSION_KEY": SESSION_KEY,
        "GATEWAY__SECURE_COOKIES": "false",
        "GATEWAY__DRAIN": "1s",
    }
    with (directory / "gateway.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway"),
            cwd=directory,
            env=child_environment(**environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    base = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(40), httpx.AsyncClient(trust_env=False) as http:
            while not await ready(http, base):
                assert process.returncode is None, (directory / "gateway.log").read_text()
                await asyncio.sleep(0.1)
        yield base
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def ready(http: httpx.AsyncClient, base: str) -> bool:
    try:
        return (await http.get(f"{base}/readyz")).is_success
    except httpx.HTTPError:
        return False


async def test_an_incident_is_followed_live_approved_by_a_click_and_seen_to_recover(
    browser: Browser, tmp_path: Path
) -> None:
    token, sha256 = mint()
    plan = StackPlan(
        directory=tmp_path / "stack",
        ports=StackPorts.free(),
        mock={"MOCK_RAMP_SECONDS": "0", "MOCK_ALERT_AFTER_SECONDS": "1"},
        worker={"STORE__URL": f"sqlite:///{tmp_path}/incidents.db", "WORKER__DRAIN": "1s"},
    )
    async with (
        EmbeddedStack(plan) as stack,
        gateway(stack, tmp_path, entry_of("ada", sha256, Scope)) as base,
        httpx.AsyncClient(trust_env=False, headers={"Authorization": f"Bearer {token}"}) as http,
        tab(browser, base) as ada,
    ):
        await http.post(f"{stack.mock_url}/demo/trigger-incident")
        async with asyncio.timeout(30):
            while (await http.get(f"{stack.mock_url}/health")).is_success:
                pass  # each look is a request, so this does not spin
        opened = await http.post(f"{base}/incidents", json={"service": "payment-api", "reason": "errors"})
        assert opened.status_code == httpx.codes.CREATED, opened.text
        incident = opened.json()["incident_id"]

        await ada.open(f"/ui/incidents/{incident}")
        await ada.log_in(token)
        await expect(ada.page).to_have_url(f"{base}/ui/incidents/{incident}")
        await ada.page.get_by_role("button", name="Approve …").click()
        await expect(ada.page.get_by_role("heading", name="Approve this rollback?")).to_be_visible()
        await ada.page.get_by_label("A note for the record (optional)").fill("seen")
        await ada.page.get_by_role("button", name="Approve the rollback of 101 to 100").click()
        await expect(ada.page.get_by_text("Your approval was taken.")).to_be_visible()

        await ada.page.evaluate("window.loadedOnce = true")
        await expect(ada.page.locator("#status")).to_contain_text("recovered", timeout=60_000)
        await expect(ada.page.locator("#live")).to_have_text("The incident has closed.")
        assert await ada.page.evaluate("window.loadedOnce"), "the page was loaded again instead of followed"
        assert "approved by ada" in await ada.text("#answers")
        assert "Authorised by ada State succeeded" in await ada.text("#done")
        assert await ada.page.locator("#comparison img").count() == 4
        plot = ada.page.locator("#comparison img").first
        await plot.scroll_into_view_if_needed()  # until then it is not loaded
        async with asyncio.timeout(20):
            assert await plot.evaluate("e => e.decode().then(() => e.naturalWidth)")
        assert ada.complaints == []
