"""An office whose incidents a test writes: what stands behind the pages where no Temporal is needed."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast

import httpx
from fastapi import FastAPI
from pydantic import SecretStr

from gateway.office import Handle, Office
from gateway.pages import build_pages
from gateway.settings import GatewaySettings, Settings
from gateway.tokens import Scope, TokenBook, entry_of, mint
from incident.dossier import Approval, Dossier, Stage
from incident.errors import NotOpenError, RefusedError, TransientError
from incident.identifiers import parse_incident_id
from incident.policy import PolicyBook
from incident.services import ServiceRegistry
from incident.snapshot import Snapshot
from tests import builders
from tests.contract.gateway_desk import FakeLookout
from tests.fakes import InMemoryStore
from workflows.desk import IncidentDesk, OpenIncident, Standing
from workflows.messages import ApprovalAnswer, CancelReceipt, CancelRequest

HERE = "http://pages.test"
BROWSER = {"Accept": "text/html", "Origin": HERE, "Sec-Fetch-Site": "same-origin"}
"""What a browser says of a form that stands on one of these pages."""
_LOOK = 0.02
"""Seconds between two looks at an incident."""
SESSION_KEY = "only-for-tests-" + "k" * 32
REGISTRY = ServiceRegistry.model_validate(
    {"service": [{"name": builders.SERVICE, "source": {"kind": "mock", "url": "http://127.0.0.1:9"}}]}
)


class ScriptedDesk(IncidentDesk):
    """A desk that knows the dossiers it is given, and keeps what it is told."""

    def __init__(self, *dossiers: Dossier) -> None:
        self.dossiers = {each.incident_id: each for each in dossiers}
        self.answers: list[ApprovalAnswer] = []
        self.cancellations: list[CancelRequest] = []
        self.away: TransientError | None = None
        self.refusal: Exception | None = None
        self.events = 1

    async def all_open(self) -> tuple[OpenIncident, ...]:
        self._may()
        return tuple(
            OpenIncident(
                incident_id=each.incident_id,
                workflow_id=each.workflow_id,
                run_id="run",
                service=each.service,
                environment=each.environment,
                severity=each.verdict.severity if each.verdict else "",
                stage=each.stage,
                opened_at=each.opened_at,
            )
            for each in self.dossiers.values()
            if each.stage is not Stage.CLOSED
        )

    async def find(self, incident_id: str) -> Handle | None:
        parse_incident_id(incident_id)
        self._may()
        return cast("Handle", _Found(incident_id)) if incident_id in self.dossiers else None

    async def standing(self, handle: Handle) -> Standing:
        self._may()
        stage = self._known(handle).stage
        return Standing(stage=stage, closed=stage is Stage.CLOSED, events=self.events)

    async def until(self, handle: Handle, changed: Callable[[Standing], bool], within: timedelta) -> Standing:
        standing = await self.standing(handle)
        with suppress(TimeoutError):
            async with asyncio.timeout(within.total_seconds()):
                while not standing.closed and not changed(standing):
                    await asyncio.sleep(_LOOK)
                    standing = await self.standing(handle)
        return standing

    async def dossier(self, handle: Handle) -> Dossier:
        self._may()
        return self._known(handle)

    async def answer(self, handle: Handle, answer: ApprovalAnswer) -> Approval:
        self._may()
        if self.refusal:
            raise self.refusal
        if objection := self._known(handle).objection(answer.digest, answer.approver, builders.NOW):
            raise RefusedError(objection, awaited=True)
        self.answers.append(answer)
        return Approval(**answer.model_dump(), at=builders.NOW)

    async def cancel(self, handle: Handle, request: CancelRequest) -> CancelReceipt:
        self._may()
        if self.refusal:
            raise self.refusal
        self.cancellations.append(request)
        return CancelReceipt(incident_id=self._known(handle).incident_id, acted=self._known(handle).acted)

    def _known(self, handle: Handle) -> Dossier:
        found = self.dossiers.get(handle.id)
        if found is None:
            raise NotOpenError("incident", "is not open")
        return found

    def _may(self) -> None:
        if self.away:
            raise self.away


@dataclass(frozen=True)
class _Found:
    """What a test's desk gives for a handle."""

    id: str
    run_id: str = "run"


@dataclass
class Desktop:
    """The office, and what a test changes and reads of it."""

    dossiers: Sequence[Dossier] = ()
    snapshots: Sequence[Snapshot] = ()
    now: datetime = builders.NOW
    session_key: str | None = SESSION_KEY
    secure_cookies: bool = False
    public_url: str = ""
    tokens: dict[str, str] = field(default_factory=dict)
    """Tokens by who has them."""

    def __post_init__(self) -> None:
        self.desk = ScriptedDesk(*self.dossiers)
        self.store = InMemoryStore()
        self.store.snapshots = {each.incident_id: each for each in self.snapshots}
        entries = []
        for name, scopes in WHO.items():
            self.tokens[name], sha256 = mint()
            entries.append(entry_of(name, sha256, scopes))
        gateway = GatewaySettings(
            session_key=SecretStr(self.session_key) if self.session_key is not None else None,
            secure_cookies=self.secure_cookies,
        )
        self.office = Office(
            desk=self.desk,
            lookout=FakeLookout(),
            archive=self.store,
            switch=self.store,
            labels=self.store,
            changes=self.store,
            registry=REGISTRY,
            policies=PolicyBook(),
            tokens=TokenBook.parse("\n".join(entries), "tokens.toml"),
            settings=Settings(gateway=gateway, public_url=self.public_url),
            clock=lambda: self.now,
        )

    def app(self) -> FastAPI:
        """The pages, and nothing else."""
        app = FastAPI(openapi_url=None)
        app.include_router(build_pages(self.office))
        return app

    @asynccontextmanager
    async def visitor(self, who: str = "") -> AsyncIterator[httpx.AsyncClient]:
        """What a browser does for `who`, who has logged in; for nobody where it is empty."""
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app()), base_url=HERE, headers=BROWSER, timeout=10
        ) as client:
            if who:
                entered = await client.post("/ui/login", data={"token": self.tokens[who]})
                assert entered.status_code == httpx.codes.SEE_OTHER, entered.text
            yield client


WHO = {
    "ada": (Scope.READ, Scope.OPERATE, Scope.APPROVE),
    "ben": (Scope.READ,),
    "cleo": (Scope.OPERATE, Scope.APPROVE),
}
"""Who has a token, and for what."""


def real_now() -> datetime:
    """The time, for a browser, which has no other."""
    return datetime.now(UTC)


def asking_dossier(**changes: object) -> Dossier:
    """An incident that asks a person."""
    asking = {
        "stage": Stage.AWAITING_APPROVAL,
        "proposal": builders.proposal(),
        "policy": builders.policy(mode="ask"),
        "verdict": builders.verdict(by=builders.policy(mode="ask")),
    }
    return builders.decided_dossier(**{**asking, **changes})


def form_token(page: str) -> str:
    """The token in the forms of that page."""
    found = re.search(r'name="form_token" value="([0-9a-f]{64})"', page)
    assert found, "the page has no form of a login"
    return found[1]
