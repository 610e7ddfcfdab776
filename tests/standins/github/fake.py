"""Wires the stand-in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

import httpx
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from tests.standins.github.actions_api import ActionsApi
from tests.standins.github.clock import Clock, wall_clock
from tests.standins.github.control_api import ControlApi
from tests.standins.github.front import Front
from tests.standins.github.guard import Guard, Pages, Refused
from tests.standins.github.repository_api import RepositoryApi, RootApi
from tests.standins.github.rollback import carry_out
from tests.standins.github.state import OWNER, REPOSITORY, GitHub
from tests.standins.github.wire import Wire

_LOOKS_EVERY_SECONDS = 0.01


def create_app(clock: Clock = wall_clock) -> FastAPI:
    """The stand-in; all that it knows lives and dies with the returned app, and runs go on while it serves."""
    github = GitHub(clock)
    wire, pages = Wire(github), Pages(github)

    app = FastAPI(openapi_url=None, redirect_slashes=False, lifespan=lambda _: _runners(github))
    app.include_router(ControlApi(github).router())
    guard = [Depends(Guard(github))]
    repository = APIRouter(prefix=f"/repos/{OWNER}/{REPOSITORY}", dependencies=guard)
    ActionsApi(github, wire, pages).add_to(repository)
    RepositoryApi(github, wire, pages).add_to(repository)
    app.include_router(repository)
    root = APIRouter(dependencies=guard)
    RootApi(github).add_to(root)
    app.include_router(root)

    app.add_middleware(Front, github=github)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    return app


@asynccontextmanager
async def _runners(github: GitHub) -> AsyncIterator[None]:
    async with httpx.AsyncClient(trust_env=False) as client:
        work = asyncio.create_task(_work(github, client))
        yield
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work


async def _work(github: GitHub, client: httpx.AsyncClient) -> None:
    """Moves runs on, for ever; each rollback takes its time without holding up the others."""
    async with asyncio.TaskGroup() as rollbacks:
        while True:
            for run in github.runs.advance():
                rollbacks.create_task(carry_out(github, run, client))
            await asyncio.sleep(_LOOKS_EVERY_SECONDS)


async def _refused(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, Refused)
    return exc.reply()


async def _invalid(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)
    faults = "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in exc.errors())
    return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"Invalid request. {faults}").reply()


async def _http_error(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    return Refused(HTTPStatus(exc.status_code), exc.detail).reply()
