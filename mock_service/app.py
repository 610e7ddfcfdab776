"""Wires one mock service."""

from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from mock_service.calls import Refused
from mock_service.clock import Clock, steady_clock
from mock_service.journal import Journal
from mock_service.live import LivePatient
from mock_service.metering import HttpMeter
from mock_service.middleware import Delayed, Journaled, Metered
from mock_service.patience import Patience, Sleep
from mock_service.patient import Patient
from mock_service.replies import JsonReply
from mock_service.routes import Controls, Looks, page_router
from mock_service.settings import MockServiceSettings, Profile
from mock_service.steady import SteadyPatient


def create_app(settings: MockServiceSettings, *, clock: Clock | None = None, sleep: Sleep | None = None) -> FastAPI:
    """The service under the settings' profile; everything it knows lives and dies with the returned app."""
    clock = clock or steady_clock()
    sleep = sleep or Patience().wait
    live = settings.profile is Profile.LIVE
    patient: Patient = LivePatient(settings, clock=clock) if live else SteadyPatient(seed=settings.seed, clock=clock)
    spoil = patient.spoil if isinstance(patient, LivePatient) else None
    journal = Journal()
    meter = HttpMeter(patient.gauges)

    app = FastAPI(openapi_url=None, redirect_slashes=False)
    app.include_router(Looks(patient, meter=meter, journal=journal, sleep=sleep).router())
    app.include_router(Controls(patient, spoil=spoil).router(live=live))
    if live:
        app.include_router(page_router())

    app.add_middleware(Delayed, patient=patient, sleep=sleep)
    app.add_middleware(Journaled, journal=journal, patient=patient, clock=clock)
    app.add_middleware(Metered, meter=meter, clock=clock)

    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RequestValidationError, _invalid_query)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _broken)
    return app


async def _refused(_: Request, exc: Exception) -> Response:
    if not isinstance(exc, Refused):
        raise exc
    return JsonReply(exc.body, exc.status)


async def _invalid_query(_: Request, __: Exception) -> Response:
    return JsonReply({"error": "the request is not valid"}, HTTPStatus.UNPROCESSABLE_ENTITY)


async def _http_error(_: Request, exc: Exception) -> Response:
    """The contract knows no 405: a wrong method is a route that does not exist."""
    status = exc.status_code if isinstance(exc, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
        return JsonReply({"error": "no such route"}, HTTPStatus.NOT_FOUND)
    return JsonReply({"error": HTTPStatus(status).phrase}, status)


async def _broken(_: Request, __: Exception) -> Response:
    return JsonReply({"error": "internal error"}, HTTPStatus.INTERNAL_SERVER_ERROR)
