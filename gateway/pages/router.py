"""Which page stands where."""

from fastapi import APIRouter

from gateway.office import Office
from gateway.pages.answers import Answers
from gateway.pages.door import LOGIN, Door
from gateway.pages.incidents import Incidents
from gateway.pages.live import Live
from gateway.pages.login import Login
from gateway.pages.rendering import Renderer
from gateway.pages.report import Report
from gateway.pages.statics import statics
from gateway.tokens import Scope

_INCIDENT = "/ui/incidents/{incident_id}"


def build_pages(office: Office) -> APIRouter:
    """Every page, under /ui. None of them stands in the API's own document."""
    renderer = Renderer()
    door = Door(office, renderer)
    login, incidents, answers = Login(door, renderer), Incidents(office, renderer), Answers(office, renderer)
    shown = {
        "/ui/": incidents.all,
        "/ui/figures": Report(office, renderer).show,
        _INCIDENT: incidents.one,
        f"{_INCIDENT}/snapshot.json": incidents.snapshot,
        f"{_INCIDENT}/plots/{{metric}}.svg": incidents.plot,
        f"{_INCIDENT}/events": Live(office, door, renderer).follow,
        f"{_INCIDENT}/answer": answers.ask,
        f"{_INCIDENT}/cancel": answers.ask_cancel,
    }
    taken = {
        "/ui/logout": (Scope.READ, login.leave),
        f"{_INCIDENT}/answer": (Scope.APPROVE, answers.give),
        f"{_INCIDENT}/cancel": (Scope.OPERATE, answers.cancel),
    }
    router = APIRouter()
    router.add_route("/ui/static/{name}", door.anyone(statics()), ["GET"], include_in_schema=False)
    router.add_route(LOGIN, door.anyone(login.show), ["GET"], include_in_schema=False)
    router.add_route(LOGIN, door.anyone(login.enter), ["POST"], include_in_schema=False)
    for place, show in shown.items():
        router.add_route(place, door.readers(show), ["GET"], include_in_schema=False)
    for place, (scope, take) in taken.items():
        router.add_route(place, door.senders(scope, take), ["POST"], include_in_schema=False)
    return router
