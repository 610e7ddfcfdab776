"""What holds for every call: refusals, permissions, pages."""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import JSONResponse

from tests.standins.github.state import GitHub

APP_PATH = "/app/"
VERSION_WITH_DETAILS = "2026-03-10"
_VERSIONS = {"2022-11-28", VERSION_WITH_DETAILS}
_MOST_A_PAGE = 100
_PERMISSIONS = (
    (r"/actions/", "actions"),
    (r"/deployments", "deployments"),
    (r"/(commits|compare|contents)", "contents"),
)

Item = TypeVar("Item")


class Refused(Exception):  # noqa: N818 - an answer to the caller, not a failure of the stand-in
    """The call is answered with this status, and nothing was changed."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    def reply(self) -> JSONResponse:
        """The answer."""
        body = {
            "message": self.message,
            "documentation_url": "https://docs.github.com/rest",
            "status": str(self.status),
        }
        return JSONResponse(body, self.status)


def not_found() -> Refused:
    """What is not there, or may not be seen."""
    return Refused(HTTPStatus.NOT_FOUND, "Not Found")


def unprocessable(message: str) -> Refused:
    """What makes no sense."""
    return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, message)


def accepted_permissions(method: str, path: str) -> str:
    """What a token must be allowed to make this call, as GitHub tells it in a header of each reply."""
    access = "read" if method == "GET" else "write"
    return next((f"{scope}={access}" for pattern, scope in _PERMISSIONS if re.search(pattern, path)), "metadata=read")


class Guard:
    """Lets a call in, or raises Refused."""

    def __init__(self, github: GitHub) -> None:
        self._github = github

    async def __call__(self, request: Request) -> None:
        """Judges the version that is asked for, the token, and what it may do; keeps whose token it is."""
        version = request.headers.get("x-github-api-version")
        if version is not None and version not in _VERSIONS:
            raise Refused(HTTPStatus.BAD_REQUEST, f"{version} is not a supported version of the REST API")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        path = request.url.path
        if scheme.lower() not in {"bearer", "token"} or not token:
            raise Refused(HTTPStatus.UNAUTHORIZED, "Requires authentication")
        behaviour = self._github.behaviour
        if path.startswith(APP_PATH):
            if fault := self._github.tokens.fault_in_claim(token, behaviour):
                raise Refused(HTTPStatus.UNAUTHORIZED, fault)
            return
        owner = self._github.tokens.owner(token, behaviour)
        if owner is None:
            raise Refused(HTTPStatus.UNAUTHORIZED, "Bad credentials")
        request.state.login = owner
        for method, _, pattern in (denied.partition(" ") for denied in behaviour.denied):
            if method.upper() == request.method and re.search(pattern, path):
                raise Refused(HTTPStatus.FORBIDDEN, "Resource not accessible by personal access token")


class Pages:
    """Cuts lists into pages, with links that lead back to where the client came from."""

    def __init__(self, github: GitHub) -> None:
        self._github = github

    def cut(self, items: Sequence[Item], request: Request) -> tuple[Sequence[Item], Mapping[str, str]]:
        """The page that is asked for, and the header that leads to its neighbours."""
        size = min(_number(request, "per_page", 30), _MOST_A_PAGE)
        page = _number(request, "page", 1)
        last = max(1, -(-len(items) // size))
        links = [("prev", page - 1), ("first", 1)] if page > 1 else []
        links += [("next", page + 1), ("last", last)] if page < last else []
        link = ", ".join(f'<{self._link(request, number)}>; rel="{name}"' for name, number in links)
        return items[(page - 1) * size : page * size], {"Link": link} if link else {}

    def _link(self, request: Request, page: int) -> str:
        query = urlencode({**request.query_params, "page": page})
        return f"{self._github.public_url}{request.url.path}?{query}"


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    return int(text) if text.isdecimal() and int(text) > 0 else default
