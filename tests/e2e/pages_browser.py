"""Debian's Chromium, driven by Playwright, that reaches this machine and nothing else; axe-core looks at what it shows.

axe-core comes from `npm ci --prefix tests/standins/browser --ignore-scripts --omit=dev`.
"""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

AXE = Path(__file__).parents[1] / "standins" / "browser" / "node_modules" / "axe-core" / "axe.min.js"
PATIENCE = 20_000
"""Milliseconds after which a condition counts as never met; the machine may be busy."""
DESKTOP, PHONE = (1280, 900), (360, 740)
_NAMES = ("chromium", "chromium-browser")
_QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-dev-shm-usage"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
Scheme = Literal["light", "dark"]


def why_not() -> str:
    """Why no page can be looked at here; empty: it can."""
    if _chromium() is None:
        return "Chromium is needed: apt-get install chromium"
    return "" if AXE.exists() else "axe-core needs: npm ci --prefix tests/standins/browser --ignore-scripts --omit=dev"


def _chromium() -> str | None:
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser with a profile of its own, which ends with it."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=_chromium(), args=_QUIET)
        try:
            yield browser
        finally:
            await browser.close()


class Tab:
    """One tab of a person's own, and what went on in it.

    Args:
        page: the tab.
        base: where the gateway is.
    """

    def __init__(self, page: Page, base: str) -> None:
        self.page = page
        self.base = base
        self.requests: list[str] = []
        self.complaints: list[str] = []
        """What the browser or a script in the page complained of, violations of the content policy among it."""
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    async def open(self, address: str) -> None:
        """Goes to that page of the gateway."""
        await self.page.goto(f"{self.base}{address}")

    async def log_in(self, token: str) -> None:
        """Logs in, on the page that asks for it."""
        await self.page.get_by_label("Your token").fill(token)
        await self.page.get_by_role("button", name="Log in").click()

    async def text(self, selector: str) -> str:
        """What is read there, with single spaces."""
        return " ".join((await self.page.locator(selector).inner_text()).split())

    async def violations(self, *rules: str) -> Sequence[str]:
        """What axe-core finds wrong with the page as it is shown, by all of its rules or by those alone."""
        options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
        found: dict[str, Any] = await self.page.evaluate("options => axe.run(document, options)", options)
        assert found["passes"], "axe-core has looked at nothing"
        return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found["violations"]]

    async def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(
            await self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        )

    def strangers(self) -> Sequence[str]:
        """What was asked of any other host."""
        own = urlsplit(self.base).netloc
        return [each for each in self.requests if urlsplit(each).netloc not in {own, ""}]


@asynccontextmanager
async def tab(
    browser: Browser, base: str, size: tuple[int, int] = DESKTOP, scheme: Scheme = "light"
) -> AsyncIterator[Tab]:
    """A new tab without any cookie; leaving it, nothing may have been asked of another host."""
    context: BrowserContext = await browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, reduced_motion="reduce"
    )
    await context.add_init_script(path=AXE)
    try:
        opened = Tab(await context.new_page(), base)
        yield opened
        assert opened.strangers() == []
    finally:
        await context.close()


class _Guest(uvicorn.Server):
    """Uvicorn as a guest: the process's signals belong to pytest."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """Where `app` is served meanwhile, on a free port of this machine."""
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
    server = _Guest(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving
