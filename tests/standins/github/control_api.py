"""The control API, which GitHub does not have."""

from http import HTTPStatus

from fastapi import APIRouter, Response

from tests.standins.github.behaviour import Address, Behaviour, Deploy, Fault, Journal, Review, Seed
from tests.standins.github.guard import Refused, not_found
from tests.standins.github.runs import Stage
from tests.standins.github.state import GitHub

CONTROL = "/_control"
_DONE = HTTPStatus.NO_CONTENT


class ControlApi:
    """What a test may do to the stand-in."""

    def __init__(self, github: GitHub) -> None:
        self._github = github

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(prefix=CONTROL)
        router.add_api_route("/address", self.address, methods=["PUT"], status_code=_DONE, response_model=None)
        router.add_api_route("/behaviour", self.behave, methods=["PUT"], status_code=_DONE, response_model=None)
        router.add_api_route("/reset", self.reset, methods=["POST"], status_code=_DONE, response_model=None)
        router.add_api_route("/faults", self.faults, methods=["POST"], status_code=_DONE, response_model=None)
        router.add_api_route(
            "/runs/{run_id}/review", self.review, methods=["POST"], status_code=_DONE, response_model=None
        )
        router.add_api_route("/deploy", self.deploy, methods=["POST"])
        router.add_api_route("/journal", self.journal, methods=["GET"])
        return router

    async def address(self, address: Address) -> None:
        """Where links in replies lead from now on; a reset leaves it."""
        self._github.public_url = address.public_url

    async def behave(self, behaviour: Behaviour) -> None:
        """Behave so; what is not said is as at the start."""
        self._github.behaviour = behaviour

    async def reset(self, seed: Seed | None = None) -> None:
        """Begin anew."""
        self._github.reset(seed or Seed())

    async def faults(self, faults: list[Fault]) -> None:
        """Let calls to come go wrong."""
        self._github.faults.add(faults)

    async def review(self, run_id: int, review: Review) -> Response:
        """A required reviewer decides."""
        run = self._github.runs.find(run_id)
        if run is None:
            raise not_found()
        if run.stage is not Stage.WAITING:
            raise Refused(HTTPStatus.CONFLICT, f"the run is {run.stage}, it waits for nobody")
        self._github.runs.review(run, approved=review.approved)
        return Response(status_code=_DONE)

    async def deploy(self, order: Deploy) -> dict[str, int]:
        """Somebody deploys."""
        return {"deployment_id": self._github.deploy(order).id}

    async def journal(self) -> Journal:
        """All that happened."""
        return self._github.journal()
