"""Our own gateway, as whoever holds a token speaks to it. No text holds the token."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from incident.changes import Telling, ToldChange
from incident.dossier import Approval, Dossier, Stage
from incident.errors import PermanentError, TransientError
from incident.labels import Judgement, Label
from incident.ledger import Stop
from incident.model import Moment
from incident.severity import Severity
from incident.snapshot import Outcome, Snapshot
from incident.watching import WatchedService
from integrations.http import HttpSettings, Question, Reply, ask, retry_after
from integrations.text import one_line

SYSTEM = "gateway"
LONGEST_WAIT = timedelta(seconds=30)
"""The gateway holds a question back no longer than that."""
_SLACK = timedelta(seconds=15)
"""What it may take beside: a worker is given ten seconds to answer."""
_LONGEST_PAGE = 200
_WORDS = 500
_EVERY_REFUSAL = range(300, 600)
_AGAIN = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


class UnreachableError(TransientError):
    """The gateway itself does not answer."""


class _Said(BaseModel):
    # A newer gateway may say more.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Opened(_Said):
    """The incident that is open now, and whether the question opened it."""

    incident_id: str
    opened: bool
    page_url: str


class Listed(_Said):
    """One incident of a list."""

    incident_id: str
    severity: Severity | None
    stage: Stage
    outcome: Outcome | None
    opened_at: Moment
    closed_at: Moment | None
    unreached: str = ""


class Listing(_Said):
    """One page of the list, the open ones first."""

    open_known: bool
    incidents: tuple[Listed, ...]
    next: str | None


class View(_Said):
    """What is known of one incident: its record once it has closed, its dossier before."""

    incident_id: str
    stage: Stage
    page_url: str
    dossier: Dossier | None = None
    snapshot: Snapshot | None = None


class Cancelled(_Said):
    """What a cancellation leads to."""

    incident_id: str
    acted: bool


class Stopped(_Said):
    """A kill switch, and which open incidents were told; `None`: they could not be."""

    stop: Stop
    told: tuple[str, ...] | None


class Myself(_Said):
    """Whose token it is, and what it is good for."""

    name: str
    scopes: tuple[str, ...]


class _Stops(_Said):
    stops: tuple[Stop, ...]


class _Changes(_Said):
    changes: tuple[ToldChange, ...]


class _Watches(_Said):
    watched: tuple[WatchedService, ...]


class _Readiness(_Said):
    missing: tuple[str, ...] = ()


class _Problem(_Said):
    detail: str
    errors: tuple[str, ...] = ()


_Answer = TypeVar("_Answer", bound=BaseModel)


def patient(settings: HttpSettings) -> HttpSettings:
    """`settings` for a client that can wait as long as the gateway may hold an answer back."""
    least = LONGEST_WAIT + _SLACK
    return settings.model_copy(update={"read_timeout": max(settings.read_timeout, least)})


class GatewayClient:
    """The gateway's API in the name of one token.

    Every method raises:
        UnreachableError: the gateway does not answer; the text says how to go on without it.
        TransientError: it is busy, or what stands behind it does not answer.
        PermanentError: it refuses; the text says why, on one line.

    Args:
        client: from `build_client`, with the time-outs of `patient`.
        url: where the gateway is.
        token: a person's; empty: only `missing` needs none.
    """

    def __init__(self, client: httpx.AsyncClient, url: str, token: str) -> None:
        self._client, self._url = client, url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def open(
        self, service: str, environment: str, *, reason: str = "", outside_analyst: str = "", trigger_id: str = ""
    ) -> Opened:
        """The incident of that service: a new one, or the one that is open."""
        body = {
            "service": service,
            "environment": environment,
            "reason": reason,
            "outside_analyst": outside_analyst,
            "trigger_id": trigger_id,
            "source": "cli",
        }
        return await self._ask(Opened, "POST", "/incidents", json=body)

    async def incidents(self, limit: int, after: str = "") -> Listing:
        """A page of at most `limit` closed incidents, of which the gateway gives no more than 200 at once.

        Args:
            limit: closed ones; the first page has the open ones beside them.
            after: `next` of the page before; empty: the first page.
        """
        query = {"limit": str(min(limit, _LONGEST_PAGE)), **({"after": after} if after else {})}
        return await self._ask(Listing, "GET", "/incidents", query)

    async def view(self, incident_id: str, wait: timedelta = timedelta(0), stage: Stage | None = None) -> View:
        """What is known of that incident: now, or once its stage is another than `stage`, or after `wait`."""
        seconds = int(min(wait, LONGEST_WAIT).total_seconds())
        query = {**({"wait": str(seconds)} if seconds else {}), **({"stage": stage.value} if stage else {})}
        return await self._ask(View, "GET", _of(incident_id), query)

    async def answer(self, incident_id: str, digest: str, *, approved: bool, note: str = "") -> Approval:
        """Approves or denies the proposal of that digest."""
        body: dict[str, JsonValue] = {"digest": digest, "approved": approved, "note": note}
        return await self._ask(Approval, "POST", f"{_of(incident_id)}/approval", json=body)

    async def cancel(self, incident_id: str, reason: str = "") -> Cancelled:
        """Ends the incident, if nothing has been done yet."""
        return await self._ask(Cancelled, "POST", f"{_of(incident_id)}/cancel", json={"reason": reason})

    async def label(self, incident_id: str, judgement: Judgement, note: str = "") -> Label:
        """Keeps that verdict on a closed incident, in place of what the token's holder said of it before."""
        body: dict[str, JsonValue] = {"judgement": judgement.value, "note": note}
        return await self._ask(Label, "POST", f"{_of(incident_id)}/label", json=body)

    async def tell(self, telling: Telling) -> ToldChange:
        """Tells of a change to a service, in the name of the token's holder; what is kept of it."""
        return await self._ask(ToldChange, "POST", "/changes", json=telling.model_dump(mode="json"))

    async def changes(self, service: str, environment: str) -> tuple[ToldChange, ...]:
        """The newest changes that were told of, newest first."""
        query = {"service": service, "environment": environment}
        return (await self._ask(_Changes, "GET", "/changes", query)).changes

    async def snapshot(self, incident_id: str) -> Snapshot:
        """The record of a closed incident."""
        return await self._ask(Snapshot, "GET", f"{_of(incident_id)}/snapshot")

    async def stop(self, service: str = "", environment: str = "", reason: str = "") -> Stopped:
        """Pulls the kill switch of that scope; empty: every service, every environment."""
        body = {"service": service, "environment": environment, "reason": reason}
        return await self._ask(Stopped, "POST", "/stops", json=body)

    async def release(self, service: str = "", environment: str = "") -> bool:
        """Lets the kill switch of exactly that scope go; whether there was one."""
        query = {key: value for key, value in (("service", service), ("environment", environment)) if value}
        return await self._was_there("/stops", query)

    async def stops(self) -> tuple[Stop, ...]:
        """Every kill switch that is pulled."""
        return (await self._ask(_Stops, "GET", "/stops")).stops

    async def watch(self, service: str, environment: str) -> None:
        """Has that service watched under its policy as it is now."""
        await self._ask(_Said, "POST", "/watches", json={"service": service, "environment": environment})

    async def unwatch(self, service: str, environment: str) -> bool:
        """Ends the watch of that service; whether there was one."""
        return await self._was_there("/watches", {"service": service, "environment": environment})

    async def watches(self) -> tuple[WatchedService, ...]:
        """Every service that is watched."""
        return (await self._ask(_Watches, "GET", "/watches")).watched

    async def whoami(self) -> Myself:
        """Whose token it is."""
        return await self._ask(Myself, "GET", "/whoami")

    async def missing(self) -> tuple[str, ...]:
        """What the gateway waits for before it can do its work; empty: nothing. No token is needed."""
        reply = await self._reply("GET", "/readyz")
        if reply.status != HTTPStatus.SERVICE_UNAVAILABLE:
            self._judged(reply)
        return _understood(_Readiness, reply).missing

    async def _was_there(self, path: str, query: Mapping[str, str]) -> bool:
        """Whether there was what has been deleted."""
        reply = await self._reply("DELETE", path, query)
        if reply.status == HTTPStatus.NOT_FOUND and _problem(reply):
            return False
        self._judged(reply)
        return True

    async def _ask(
        self,
        answer: type[_Answer],
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        json: Mapping[str, JsonValue] | None = None,
    ) -> _Answer:
        reply = await self._reply(method, path, query, json)
        self._judged(reply)
        return _understood(answer, reply)

    async def _reply(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        json: Mapping[str, JsonValue] | None = None,
    ) -> Reply:
        url = httpx.URL(f"{self._url}{path}", params=query or None)
        question = Question(method, url, json, self._headers, answers=_EVERY_REFUSAL)
        try:
            return await ask(self._client, SYSTEM, question)
        except TransientError as error:
            words = f"{error.problem} at {self._url} (setting COMMANDER__URL); --direct goes past it"
            raise UnreachableError(SYSTEM, words) from error

    def _judged(self, reply: Reply) -> None:
        status = reply.status
        if status < _EVERY_REFUSAL.start:
            return
        problem = _problem(reply)
        if status in _AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            words = one_line(problem.detail, _WORDS) if problem else f"answered HTTP {status}"
            raise TransientError(SYSTEM, words, retry_after(reply.header("Retry-After"), datetime.now(UTC)))
        if problem is None:
            words = f"{self._url} answered HTTP {status}, not as a gateway does (setting COMMANDER__URL)"
            raise PermanentError(SYSTEM, words)
        raise PermanentError(SYSTEM, _why(status, problem))


def _why(status: int, problem: _Problem) -> str:
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return "does not know your token (setting COMMANDER__TOKEN)"
        case HTTPStatus.FORBIDDEN:
            return f"refuses: {one_line(problem.detail, _WORDS)} (setting COMMANDER__TOKEN)"
        case _:
            return one_line("; ".join((problem.detail, *problem.errors)), _WORDS)


def _problem(reply: Reply) -> _Problem | None:
    """Why the gateway refuses; `None`: it is no gateway of ours that speaks."""
    try:
        return _Problem.model_validate(reply.body)
    except ValidationError:
        return None


def _understood(answer: type[_Answer], reply: Reply) -> _Answer:
    try:
        return answer.model_validate(reply.body)
    except ValidationError as error:
        where = ".".join(map(str, error.errors(include_input=False)[0]["loc"])) or "its answer"
        words = f"answers what this version does not understand: {one_line(where, _WORDS)}"
        raise PermanentError(SYSTEM, words) from None


def _of(incident_id: str) -> str:
    return f"/incidents/{quote(incident_id, safe='')}"
