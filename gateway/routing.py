"""The routers that routes stand on: one for each scope, so that no route can be without."""

from typing import Annotated

from fastapi import APIRouter, Path, Security
from fastapi.security import HTTPBearer

from gateway.access import Admission, by_token, guarded
from gateway.documents import INCIDENT
from gateway.tokens import Scope, TokenBook

IncidentId = Annotated[
    str,
    Path(
        pattern=r"^[a-z][a-z0-9_]{0,31}\.[a-z0-9][a-z0-9-]{0,62}\.[0-9]{8}T[0-9]{6}Z\.[0-9a-f]{8}$",
        description="the incident's id",
        examples=[INCIDENT],
    ),
]


def for_scope(tokens: TokenBook, scope: Scope | None) -> APIRouter:
    """Routes for callers whose token is good for `scope`; `None`: for any known token."""
    needs = f"A token with the scope `{scope}`." if scope else "Any known token."
    return for_bearer(by_token(tokens, scope), scope or "any", needs)


def for_bearer(admit: Admission, name: str, description: str) -> APIRouter:
    """Routes for those whom `admit` lets in by what they present as bearer; the document calls it `name`."""
    # Only for the document: `admit` has looked at the header before this is asked.
    scheme = HTTPBearer(auto_error=False, scheme_name=name, description=description)
    return APIRouter(route_class=guarded(admit), dependencies=[Security(scheme)])
