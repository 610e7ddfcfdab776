"""The gateway as one application."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from gateway.changes import build_changes
from gateway.codec import CodecOrigin, build_codec
from gateway.documents import DocumentedApp
from gateway.guards import Bounded, Observed, Paced
from gateway.incidents import build_incidents
from gateway.interactivity import Presses, build_interactivity
from gateway.labels import build_labels
from gateway.metrics import Metrics
from gateway.office import Office
from gateway.orders import build_orders
from gateway.pace import Pace
from gateway.pages import build_pages
from gateway.probes import Probe, build_probes
from gateway.problems import Answers
from gateway.stops import build_stops
from gateway.watches import build_watches
from gateway.webhooks import build_webhooks
from incident.search import Wanted

_DESCRIPTION: Final = (
    "The way in to the incident commander. It verifies, translates, and tells the incident's workflow; it decides "
    "nothing and keeps nothing, so that any number can run side by side. Every problem is told as `detail` and "
    "`errors`, a line for each field."
)


def build_app(
    office: Office,
    metrics: Metrics | None = None,
    presses: Presses | None = None,
    needs: Mapping[str, Probe] | None = None,
) -> FastAPI:
    """The application.

    Args:
        office: what the routes stand on.
        metrics: where it counts; by default in counts of its own.
        presses: takes presses of Slack's buttons; `None`: that way in is closed.
        needs: what must answer beside the store before it is ready, by name.
    """
    counts = metrics or Metrics()
    settings = office.settings.gateway
    # The usual pages about the document load their scripts from elsewhere.
    app = DocumentedApp(
        title="Incident Commander gateway", version="1", description=_DESCRIPTION, docs_url=None, redoc_url=None
    )
    for router in (
        build_orders(office),
        build_incidents(office),
        build_labels(office),
        build_changes(office),
        build_stops(office),
        build_watches(office),
        build_webhooks(office, counts),
        build_interactivity(office.settings.slack, presses, office.clock),
        build_probes(counts, {"store": lambda: office.archive.search(Wanted(limit=1)), **(needs or {})}),
    ):
        app.include_router(router)
    app.include_router(build_pages(office))
    codec = office.settings.temporal.codec()
    if codec is not None:
        app.include_router(build_codec(office, codec))
        app.add_middleware(CodecOrigin, ui_url=office.settings.temporal.ui_url)

    @app.get("/", include_in_schema=False)
    async def home() -> RedirectResponse:
        return RedirectResponse("/ui/", HTTPStatus.SEE_OTHER)

    Answers(counts).install(app)
    # The last one added stands first: it counts what the others refuse.
    pace = Pace(settings.requests_per_second, settings.burst)
    app.add_middleware(Paced, pace=pace, tokens=office.tokens, metrics=counts)
    app.add_middleware(Bounded, limit=settings.max_body_bytes, metrics=counts)
    app.add_middleware(Observed, metrics=counts)
    return app
