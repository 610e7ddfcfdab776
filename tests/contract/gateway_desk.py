"""A desk without Temporal, and a gateway that stands on it."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import cast
from uuid import uuid4

import httpx
from fastapi import FastAPI
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

from gateway.app import build_app
from gateway.interactivity import Presses
from gateway.metrics import Metrics
from gateway.office import Office
from gateway.probes import Probe
from gateway.settings import Settings
from gateway.tokens import Scope, TokenBook, entry_of, mint
from incident.decision import InvalidDecisionError, parse_decision
from incident.dossier import AlertNotice, Approval, Dossier, Stage
from incident.errors import NotOpenError, RefusedError, TransientError
from incident.identifiers import mint_incident_id, parse_incident_id, workflow_id
from incident.ledger import Stop
from incident.policy import PolicyBook
from incident.services import ServiceRegistry, parse_registry
from incident.snapshot import Outcome, Snapshot, close
from incident.watching import WatchedService
from tests import builders
from tests.fakes import InMemoryStore
from workflows.desk import IncidentDesk, OpenIncident, Standing
from workflows.incident import IncidentWorkflow
from workflows.lookout import Lookout
from workflows.messages import (
    ApprovalAnswer,
    CancelReceipt,
    CancelRequest,
    EvidenceOffer,
    IncidentRequest,
    Joined,
    OutsideDecision,
    WatchRequest,
)

Handle = WorkflowHandle[IncidentWorkflow, Snapshot]
Counts = dict[tuple[str, frozenset[tuple[str, str]]], float]
KEYS = {
    "alertmanager_secret": "what-alertmanager-sends",
    "grafana_secret": "what-grafana-sends-here",
    "github_secret": "what-github-signs-with",
}
REGISTRY = """
[[service]]
name = "payment-api"
source = { kind = "mock", url = "http://127.0.0.1:9" }
deployments = { kind = "github", repository = "Acme/Payment-API" }
rollback = { kind = "github", repository = "Acme/Payment-API" }

[[service]]
name = "payment-api"
environment = "staging"
source = { kind = "mock", url = "http://127.0.0.1:9" }

[[service]]
name = "checkout"
source = { kind = "mock", url = "http://127.0.0.1:9" }
"""


class FakeHandle(WorkflowHandle[IncidentWorkflow, Snapshot]):
    """A run whose result is known; a run that was ended from outside has none."""

    def __init__(self, dossier: Dossier, snapshot: Snapshot | None) -> None:
        super().__init__(cast("Client", None), dossier.workflow_id, run_id=f"run-of-{dossier.incident_id}")
        self.incident_id = dossier.incident_id
        self._snapshot = snapshot

    async def result(self, **_: object) -> Snapshot:
        """The record."""
        if self._snapshot is None:
            raise WorkflowFailureError(cause=RuntimeError("terminated"))
        return self._snapshot


class FakeLookout(Lookout):
    """Watches that are kept and not made; `away` is raised by everything while it is set."""

    def __init__(self) -> None:
        super().__init__(cast("Client", None))
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        self.begun: list[WatchRequest] = []
        self.woken: list[tuple[str, str]] = []
        self.away: Exception | None = None

    async def watch(self, request: WatchRequest) -> None:
        """Keeps the request."""
        self._answer()
        self.begun.append(request)

    async def stop(self, environment: str, service: str) -> bool:
        """Forgets the requests for that service."""
        self._answer()
        kept = [each for each in self.begun if (each.environment, each.service) != (environment, service)]
        self.begun, was = kept, len(self.begun)
        return len(kept) < was

    async def wake(self, environment: str, service: str) -> bool:
        """Keeps it."""
        self._answer()
        self.woken.append((environment, service))
        return any((each.environment, each.service) == (environment, service) for each in self.begun)

    async def watched(self) -> tuple[WatchedService, ...]:
        """The services of the requests."""
        self._answer()
        known = {(each.environment, each.service) for each in self.begun}
        return tuple(
            WatchedService(service=service, environment=environment, stands="watching")
            for environment, service in sorted(known)
        )

    def _answer(self) -> None:
        if self.away:
            raise self.away


class FakeDesk(IncidentDesk):
    """Incidents that move when they are told to; what they are told is kept.

    `away` is raised by everything while it is set.
    """

    def __init__(self) -> None:
        super().__init__(cast("Client", None))
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        self.dossiers: dict[str, Dossier] = {}
        self.ended: dict[str, Snapshot | None] = {}
        self.opened: list[IncidentRequest] = []
        self.alerts: list[tuple[IncidentRequest, AlertNotice]] = []
        self.heard: list[tuple[str, str, AlertNotice]] = []
        self.looked: list[tuple[str, str]] = []
        self.pressed: list[tuple[str, ApprovalAnswer]] = []
        self.decided: list[OutsideDecision] = []
        self.cancelled: list[CancelRequest] = []
        self.stopped: list[Stop] = []
        self.away: Exception | None = None
        self.holding: asyncio.Event | None = None
        """While it is set and not yet happened, signals wait for it."""
        self.under_way = 0
        self.most_at_once = 0
        self.waiting = 0
        self._moved = asyncio.Condition()

    @property
    def touched(self) -> bool:
        """Whether any incident was opened or told anything."""
        return any(
            (
                self.opened,
                self.alerts,
                self.heard,
                self.looked,
                self.pressed,
                self.decided,
                self.cancelled,
                self.stopped,
            )
        )

    def add(self, **changes: object) -> Dossier:
        """Another open incident."""
        given = {"opened_at": builders.NOW, **changes}
        identity = {
            "incident_id": mint_incident_id(
                str(given.get("environment", builders.ENVIRONMENT)),
                str(given.get("service", builders.SERVICE)),
                builders.NOW,
                uuid4(),
            )
        }
        dossier = builders.dossier(**{**identity, **given})
        self.dossiers[dossier.incident_id] = dossier
        return dossier

    async def move(self, incident_id: str, **changes: object) -> None:
        """Changes that incident, and whoever waits for it learns of it."""
        async with self._moved:
            self.dossiers[incident_id] = self.dossiers[incident_id].model_copy(update=changes)
            self._moved.notify_all()

    async def end(self, incident_id: str, *, record: bool = True) -> Snapshot | None:
        """Closes that incident; without `record` it leaves none."""
        dossier = self.dossiers[incident_id]
        snapshot = close(dossier, Outcome.CANCELLED, dossier.opened_at + timedelta(minutes=3)) if record else None
        async with self._moved:
            self.ended[incident_id] = snapshot
            self._moved.notify_all()
        return snapshot

    async def open(self, request: IncidentRequest) -> tuple[Joined, Handle]:
        """Opens one, or joins."""
        self._may()
        self.opened.append(request)
        known = self._first(request.environment, request.service)
        dossier = known or self.add(
            service=request.service,
            environment=request.environment,
            workflow_id=workflow_id(request.environment, request.service),
            trigger=request.trigger,
            policy=request.policy,
        )
        same = bool(request.trigger.trigger_id) and dossier.trigger.trigger_id == request.trigger.trigger_id
        return Joined(incident_id=dossier.incident_id, opened=known is None or same), self._handle(dossier)

    async def alert(self, request: IncidentRequest, notice: AlertNotice) -> bool:
        """Keeps it."""
        await self._signal()
        self.alerts.append((request, notice))
        return self._first(request.environment, request.service) is None

    async def hear(self, environment: str, service: str, notice: AlertNotice) -> bool:
        """Keeps it."""
        await self._signal()
        self.heard.append((environment, service, notice))
        return self._first(environment, service) is not None

    async def look_now(self, environment: str, service: str) -> bool:
        """Keeps it."""
        await self._signal()
        self.looked.append((environment, service))
        return self._first(environment, service) is not None

    async def press(self, incident_id: str, answer: ApprovalAnswer) -> bool:
        """Keeps it, where an incident of that service is open."""
        await self._signal()
        if self._first(*parse_incident_id(incident_id)) is None:
            return False
        self.pressed.append((incident_id, answer))
        return True

    async def all_open(self) -> tuple[OpenIncident, ...]:
        """Those that are open."""
        self._may()
        return tuple(
            OpenIncident(
                incident_id=each.incident_id,
                workflow_id=each.workflow_id,
                run_id="r",
                service=each.service,
                environment=each.environment,
                severity=each.verdict.severity if each.verdict else "",
                stage=each.stage,
                opened_at=each.opened_at,
            )
            for each in self._open()
        )

    async def find(self, incident_id: str) -> Handle | None:
        """The run of that incident."""
        self._may()
        parse_incident_id(incident_id)
        dossier = self.dossiers.get(incident_id)
        return None if dossier is None else self._handle(dossier)

    async def standing(self, handle: Handle) -> Standing:
        """How far it is."""
        self._may()
        dossier = self._dossier(handle)
        closed = dossier.incident_id in self.ended
        stage = Stage.CLOSED if closed else dossier.stage
        return Standing(stage=stage, closed=closed, events=len(dossier.timeline))

    async def until(self, handle: Handle, changed: Callable[[Standing], bool], within: timedelta) -> Standing:
        """How far it is once `changed` holds."""
        async with self._moved:
            self.waiting += 1
            try:
                async with asyncio.timeout(within.total_seconds()):
                    while not (standing := await self.standing(handle)).closed and not changed(standing):
                        await self._moved.wait()
            except TimeoutError:
                return await self.standing(handle)
            finally:
                self.waiting -= 1
        return standing

    async def dossier(self, handle: Handle) -> Dossier:
        """All that is known."""
        self._may()
        return self._dossier(handle)

    async def evidence(self, handle: Handle) -> EvidenceOffer:
        """What an analyst decides on."""
        self._may()
        dossier = self._dossier(handle)
        return EvidenceOffer(
            incident_id=dossier.incident_id,
            stage=dossier.stage,
            evidence=dossier.evidence,
            assessment=dossier.assessment,
        )

    async def decide(self, handle: Handle, answer: OutsideDecision) -> None:
        """Takes a decision, by the workflow's own rules."""
        dossier = self._still_open(handle)
        if dossier.stage is not Stage.AWAITING_DECISION:
            raise RefusedError(f"no decision is awaited: the incident is {dossier.stage}", awaited=False)
        if answer.decision is not None:
            try:
                parse_decision(answer.decision)
            except InvalidDecisionError as error:
                raise RefusedError(str(error), error.errors, awaited=True) from error
        self.decided.append(answer)

    async def answer(self, handle: Handle, answer: ApprovalAnswer) -> Approval:
        """Takes an answer, by the dossier's own rules."""
        dossier = self._still_open(handle)
        given = dossier.given(answer.digest, answer.approver, approved=answer.approved)
        if given is not None:
            return given
        if objection := dossier.objection(answer.digest, answer.approver, builders.NOW):
            raise RefusedError(objection, awaited=True)
        approval = Approval(**answer.model_dump(), at=builders.NOW)
        dossier.take(approval)
        return approval

    async def cancel(self, handle: Handle, request: CancelRequest) -> CancelReceipt:
        """Keeps it."""
        dossier = self._still_open(handle)
        self.cancelled.append(request)
        return CancelReceipt(incident_id=dossier.incident_id, acted=dossier.acted)

    async def stop(self, stop: Stop) -> tuple[str, ...]:
        """Keeps it; those that it covers."""
        self._may()
        self.stopped.append(stop)
        return tuple(each.incident_id for each in self._open() if stop.covers(each.environment, each.service))

    async def _signal(self) -> None:
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            if self.holding is not None:
                await self.holding.wait()
            self._may()
        finally:
            self.under_way -= 1

    def _may(self) -> None:
        if self.away is not None:
            raise self.away

    def _open(self) -> Iterator[Dossier]:
        return (each for each in self.dossiers.values() if each.incident_id not in self.ended)

    def _first(self, environment: str, service: str) -> Dossier | None:
        of_service = (each for each in self._open() if (each.environment, each.service) == (environment, service))
        return next(of_service, None)

    def _handle(self, dossier: Dossier) -> FakeHandle:
        return FakeHandle(dossier, self.ended.get(dossier.incident_id))

    def _dossier(self, handle: Handle) -> Dossier:
        assert isinstance(handle, FakeHandle)
        return self.dossiers[handle.incident_id]

    def _still_open(self, handle: Handle) -> Dossier:
        self._may()
        dossier = self._dossier(handle)
        if dossier.incident_id in self.ended:
            raise NotOpenError("incident", "is not open")
        return dossier


def settings(**changes: object) -> Settings:
    """The gateway's settings, every webhook open."""
    return Settings.model_validate({"public_url": "https://commander.example", "gateway": {**KEYS, **changes}})


@dataclass
class People:
    """Tokens, one for each purpose."""

    reader: str
    operator: str
    approver: str
    ada: str
    book: TokenBook

    @classmethod
    def hired(cls) -> "People":
        """Four of them; ada may do everything."""
        minted = {name: mint() for name in ("reader", "operator", "approver", "ada")}
        scopes = {
            "reader": [Scope.READ],
            "operator": [Scope.OPERATE],
            "approver": [Scope.APPROVE],
            "ada": list(Scope),
        }
        text = "\n".join(entry_of(name, sha256, scopes[name]) for name, (_, sha256) in minted.items())
        return cls(**{name: token for name, (token, _) in minted.items()}, book=TokenBook.parse(text, "tokens.toml"))


@dataclass
class Gate:
    """A gateway in this process, on a desk and a store that can be looked into."""

    desk: IncidentDesk
    lookout: FakeLookout = field(default_factory=FakeLookout)
    store: InMemoryStore = field(default_factory=InMemoryStore)
    people: People = field(default_factory=People.hired)
    metrics: Metrics = field(default_factory=Metrics)
    settings: Settings = field(default_factory=settings)
    registry: ServiceRegistry = field(default_factory=lambda: parse_registry(REGISTRY, "services.toml"))
    policies: PolicyBook = field(default_factory=lambda: PolicyBook(default=builders.policy(approvers=["ada"])))
    needs: Mapping[str, Probe] = field(default_factory=dict)
    presses: Presses | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    _before: Counts = field(default_factory=dict)

    @property
    def office(self) -> Office:
        """What it stands on."""
        return Office(
            desk=self.desk,
            lookout=self.lookout,
            archive=self.store,
            switch=self.store,
            labels=self.store,
            changes=self.store,
            registry=self.registry,
            policies=self.policies,
            tokens=self.people.book,
            settings=self.settings,
            clock=self.clock,
        )

    @cached_property
    def app(self) -> FastAPI:
        """The application."""
        return build_app(self.office, self.metrics, self.presses, self.needs)

    def reset(self) -> None:
        """Begins anew, in the same application: to build one takes a quarter of a second."""
        if isinstance(self.desk, FakeDesk):
            self.desk.reset()
        for kept in (
            self.store.errors,
            self.store.snapshots,
            self.store.remediations,
            self.store._stops,
            self.store._labels,
            self.store.changes,
        ):
            kept.clear()
        self.lookout.reset()
        self._before = self._counted()

    def client(self, token: str | None = "", **headers: str) -> httpx.AsyncClient:
        """A client that presents `token`; by default ada's, `None`: none."""
        bearer = self.people.ada if token == "" else token
        given = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url="http://gateway", headers={**given, **headers}
        )

    def refused(self, reason: str) -> float:
        """How many requests were refused for that reason since the last reset."""
        return self._since("gateway_refused_total", reason=reason)

    def webhooks(self, source: str, result: str) -> float:
        """How many of that system's messages came to that since the last reset."""
        return self._since("gateway_webhooks_total", source=source, result=result)

    def signals(self, signal: str) -> float:
        """How many of those signals Temporal took since the last reset."""
        return self._since("gateway_signals_total", signal=signal)

    def _since(self, name: str, **labels: str) -> float:
        series = (name, frozenset(labels.items()))
        return self._counted().get(series, 0) - self._before.get(series, 0)

    def _counted(self) -> Counts:
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.metrics._registry.collect()
            for sample in family.samples
        }


def away() -> TransientError:
    """Temporal does not answer; the text is not for callers."""
    return TransientError("temporal", "failed to connect to 10.1.2.3:7233")
