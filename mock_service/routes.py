"""The API's routes: what is asked of the patient, and the control calls' rules."""

from collections.abc import Callable
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from mock_service.calls import CHAOS_CALLS, LONGEST_CORRELATION_ID, ActivationCall, Call, Refused, SpoilCall, read_call
from mock_service.chaos import ChaosKind
from mock_service.journal import Activation, Activations, Journal
from mock_service.metering import HttpMeter
from mock_service.middleware import CALL, ControlCall
from mock_service.patience import Sleep
from mock_service.patient import Answer, Body, Patient
from mock_service.readings import plain
from mock_service.releases import Release
from mock_service.replies import JsonReply

_PAGE = Path(__file__).with_name("page.html")
_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ECHOED = {
    ChaosKind.LATENCY: "latency_injected",
    ChaosKind.ERRORS: "error_rate_injected",
    ChaosKind.CPU: "cpu_injected",
}


Spoil = Callable[[Release, float], None]
"""Makes a deployment this bad whenever it is live."""


class Looks:
    """Everything that changes nothing."""

    def __init__(self, patient: Patient, *, meter: HttpMeter, journal: Journal, sleep: Sleep) -> None:
        self._patient = patient
        self._meter = meter
        self._journal = journal
        self._sleep = sleep

    def router(self) -> APIRouter:
        """The routes; GET routes answer HEAD too."""
        router = APIRouter()
        looks = {
            "/health": self.health,
            "/metrics/json": self.metrics_json,
            "/metrics": self.metrics,
            "/alerts": self.alerts,
            "/logs": self.logs,
            "/deployment/status": self.status,
            "/dashboard": self.dashboard,
            "/demo/journal": self.journal,
            "/api/user/profile": self.user_profile,
        }
        for path, answer in looks.items():
            router.add_api_route(path, answer, methods=["GET", "HEAD"])
        router.add_api_route("/api/payment", self.payment, methods=["POST"])
        return router

    async def health(self) -> Response:
        """Whether requests should be sent here."""
        return await self._take_time(self._patient.health())

    async def metrics_json(self) -> Response:
        """The signals as JSON."""
        return JsonReply(self._patient.metrics())

    async def metrics(self) -> Response:
        """The signals and this process's own, for Prometheus."""
        return Response(self._meter.exposition(), media_type=_METRICS_TYPE)

    async def alerts(self) -> Response:
        """The alerts that fire."""
        return JsonReply(self._patient.alerts())

    async def logs(self) -> Response:
        """The latest log lines."""
        return JsonReply(self._patient.logs())

    async def status(self) -> Response:
        """The deployments."""
        return JsonReply(self._patient.status())

    async def dashboard(self) -> Response:
        """A summary in JSON."""
        return JsonReply(self._patient.dashboard())

    async def journal(self, correlation_id: str | None = None) -> Response:
        """The control calls."""
        return JsonReply(self._journal.page(correlation_id))

    async def payment(self) -> Response:
        """A payment, whatever the body says."""
        return await self._take_time(self._patient.payment())

    async def user_profile(self) -> Response:
        """A user."""
        return await self._take_time(self._patient.user_profile())

    async def _take_time(self, answer: Answer) -> Response:
        if answer.delay:
            await self._sleep(answer.delay)
        return JsonReply(answer.body, answer.status)


class Controls:
    """Everything that changes something. A refusal changes nothing."""

    def __init__(self, patient: Patient, *, spoil: Spoil | None = None) -> None:
        self._patient = patient
        self._spoil = spoil
        self._activations = Activations()

    def router(self, *, live: bool) -> APIRouter:
        """The routes of a profile."""
        router = APIRouter()
        router.add_api_route("/deployment/{deployment}/activate", self.activate, methods=["POST"])
        router.add_api_route("/demo/trigger-incident", self.trigger, methods=["POST"])
        router.add_api_route("/demo/reset", self.reset, methods=["POST"])
        kinds = {ChaosKind.LATENCY: self.latency, ChaosKind.ERRORS: self.errors, ChaosKind.CPU: self.cpu}
        for kind, begin in kinds.items():
            if kind in self._patient.kinds_of_chaos:
                router.add_api_route(f"/chaos/{kind.value}", begin, methods=["POST"])
        if live:
            router.add_api_route("/demo/bad-deployment", self.trigger, methods=["POST"])
        if self._spoil:
            router.add_api_route("/demo/spoil", self.spoil, methods=["POST"])
        return router

    async def activate(self, deployment: str, request: Request) -> Response:
        """Make a deployment live: once per correlation id, and only over the expected one where one is named."""
        release = self._patient.releases.find(deployment)
        if release is None:
            raise Refused(404, {"error": "no such deployment"})
        control = _control(request)
        call = read_call(ActivationCall, control.body)
        if (before := self._activations.find(control.correlation_id)) is not None:
            return JsonReply(_repeated(before, release.id))
        live = self._patient.releases.live.id
        if call.expected_live is not None and call.expected_live != live:
            raise Refused(409, {"error": "another deployment is live than the expected one", "live": live})
        body = self._patient.activate(release, call)
        control.applied = True
        self._activations.remember(control.correlation_id, Activation(release.id, body))
        return JsonReply(body)

    async def trigger(self, request: Request) -> Response:
        """Start the incident."""
        control = _control(request)
        read_call(Call, control.body)
        control.applied = True
        return JsonReply(self._patient.trigger())

    async def reset(self, request: Request) -> Response:
        """Back to the good deployment, without chaos."""
        control = _control(request)
        read_call(Call, control.body)
        control.applied = True
        return JsonReply(self._patient.reset())

    async def spoil(self, request: Request) -> Response:
        """Make a deployment this bad whenever it is live."""
        control = _control(request)
        call = read_call(SpoilCall, control.body)
        release = self._patient.releases.find(str(call.deployment_id))
        if release is None or self._spoil is None:
            raise Refused(404, {"error": "no such deployment"})
        self._spoil(release, call.degradation)
        control.applied = True
        return JsonReply({"deployment_id": release.id, "degradation": plain(call.degradation)})

    async def latency(self, request: Request) -> Response:
        """Add latency for a while."""
        return self._begin(ChaosKind.LATENCY, _control(request))

    async def errors(self, request: Request) -> Response:
        """Add errors for a while."""
        return self._begin(ChaosKind.ERRORS, _control(request))

    async def cpu(self, request: Request) -> Response:
        """Burn cpu for a while."""
        return self._begin(ChaosKind.CPU, _control(request))

    def _begin(self, kind: ChaosKind, control: ControlCall) -> Response:
        call = read_call(CHAOS_CALLS[kind], control.body)
        self._patient.inject(kind, call.amount, call.lasting)
        control.applied = True
        body: Body = {
            "status": "ok",
            _ECHOED[kind]: plain(call.amount),
            "duration_seconds": plain(call.duration_seconds),
        }
        return JsonReply(body if call.reason is None else {**body, "reason": call.reason})


def page_router() -> APIRouter:
    """The page for people, and the way to it."""
    page = _PAGE.read_text(encoding="utf-8")
    router = APIRouter()

    async def show() -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": _PAGE_POLICY})

    async def lead() -> Response:
        return RedirectResponse("/ui")

    router.add_api_route("/ui", show, methods=["GET", "HEAD"])
    router.add_api_route("/", lead, methods=["GET", "HEAD"])
    return router


def _control(request: Request) -> ControlCall:
    call = request.scope[CALL]
    if not isinstance(call, ControlCall):
        raise TypeError(f"the scope holds {type(call).__name__} for a control call")
    if call.header_too_long:
        fault = {"field": "X-Correlation-ID", "problem": f"longer than {LONGEST_CORRELATION_ID} characters"}
        raise Refused(422, {"error": "the request is not valid: X-Correlation-ID", "detail": [fault]})
    return call


def _repeated(before: Activation, deployment_id: int) -> Body:
    """The reply that a correlation id got before, or Refused when it now names another deployment."""
    if before.deployment_id != deployment_id:
        error = "this correlation id has activated another deployment"
        raise Refused(409, {"error": error, "deployment_id": before.deployment_id})
    return before.body
