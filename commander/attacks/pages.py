"""The gateway's pages of the attacked incidents, and what in one of them is nobody's of ours."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from secrets import token_hex

import httpx
from fastapi import FastAPI
from pydantic import SecretStr
from temporalio.client import Client

from gateway.office import Office
from gateway.pages import build_pages
from gateway.settings import GatewaySettings, Settings
from gateway.tokens import Scope, TokenBook, entry_of, mint
from incident.policy import PolicyBook
from incident.services import parse_registry
from integrations.store import SqlStore
from workflows.desk import IncidentDesk
from workflows.lookout import Lookout

_HERE = "http://pages.invalid"
_REGISTRY = '[[service]]\nname = "any"\nsource = {kind = "mock", url = "http://127.0.0.1:9"}'
_OURS = frozenset(
    [
        "a",
        "body",
        "br",
        "button",
        "code",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "figcaption",
        "figure",
        "form",
        "h1",
        "h2",
        "h3",
        "head",
        "header",
        "html",
        "img",
        "input",
        "label",
        "li",
        "link",
        "main",
        "meta",
        "nav",
        "ol",
        "option",
        "p",
        "script",
        "section",
        "select",
        "span",
        "strong",
        "summary",
        "table",
        "tbody",
        "td",
        "textarea",
        "th",
        "thead",
        "time",
        "title",
        "tr",
        "ul",
    ]
)
"""The elements of the templates."""
_ADDRESSES = frozenset({"action", "formaction", "href", "src"})
_SCRIPTS = "/ui/static/"


class Pages:
    """What a person who may read incidents is shown."""

    def __init__(self, browser: httpx.AsyncClient, ui_url: str) -> None:
        self._browser, self.ui_url = browser, ui_url

    async def of(self, incident_id: str, service: str) -> tuple[str, str]:
        """The page of that incident, and the list with it alone."""
        return await self._text(f"/ui/incidents/{incident_id}"), await self._text(f"/ui/?service={service}")

    async def _text(self, address: str) -> str:
        return (await self._browser.get(address)).raise_for_status().text


def foreign(page: str, ui_url: str) -> list[str]:
    """The elements, attributes and addresses of `page` that no template of ours has, or that lead to neither UI."""
    seen = _Seen()
    seen.feed(page)
    seen.close()
    return [
        *(f"<{tag}>" for tag, _ in seen.tags if tag not in _OURS),
        *("<script>" for tag, has in seen.tags if tag == "script" and not has.get("src", "").startswith(_SCRIPTS)),
        *(name for _, has in seen.tags for name in has if name.startswith("on") or name in {"srcdoc", "style"}),
        *(
            has[name]
            for _, has in seen.tags
            for name in _ADDRESSES & has.keys()
            if not has[name].startswith(("/ui/", "#", ui_url))
        ),
    ]


class _Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))


@asynccontextmanager
async def open_pages(client: Client, store: SqlStore) -> AsyncIterator[Pages]:
    """The gateway's pages over that store, with a reader who has logged in, while the context lasts."""
    token, sha256 = mint()
    gateway = GatewaySettings(session_key=SecretStr(token_hex(32)), secure_cookies=False)
    settings = Settings.model_construct(gateway=gateway)  # of no environment: nothing else of it is asked
    office = Office(
        desk=IncidentDesk(client),
        lookout=Lookout(client),
        archive=store,
        labels=store,
        changes=store,
        switch=store,
        registry=parse_registry(_REGISTRY, "services.toml"),
        policies=PolicyBook(),
        tokens=TokenBook.parse(entry_of("reader", sha256, [Scope.READ]), "tokens.toml"),
        settings=settings,
    )
    app = FastAPI(openapi_url=None)
    app.include_router(build_pages(office))
    headers = {"Accept": "text/html", "Origin": _HERE, "Sec-Fetch-Site": "same-origin"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=_HERE, headers=headers) as browser:
        entered = await browser.post("/ui/login", data={"token": token})
        if entered.status_code != httpx.codes.SEE_OTHER:
            raise RuntimeError(f"the pages let nobody in: HTTP {entered.status_code}")
        yield Pages(browser, settings.temporal.ui_url)
