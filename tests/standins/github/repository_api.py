"""GitHub's routes for commits, deployments and what else is not Actions."""

from datetime import timedelta
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from tests.standins.github.calls import DeploymentCall, StatusCall
from tests.standins.github.clock import iso
from tests.standins.github.deployments import Deployment
from tests.standins.github.guard import Pages, Refused, not_found, unprocessable
from tests.standins.github.history import MAIN, Commit
from tests.standins.github.state import GitHub
from tests.standins.github.wire import Json, Wire
from tests.standins.github.workflow import ROLLBACK

RATE_LIMIT = 5_000  # calls an hour
_DEPLOYMENT_FILTERS = ("sha", "ref", "task", "environment")


class RepositoryApi:
    """The repository, its commits and its deployments."""

    def __init__(self, github: GitHub, wire: Wire, pages: Pages) -> None:
        self._github = github
        self._wire = wire
        self._pages = pages

    def add_to(self, router: APIRouter) -> None:
        """Adds the routes to those of the repository."""
        router.add_api_route("", self.repository, methods=["GET"])
        router.add_api_route("/contents/{path:path}", self.contents, methods=["GET"])
        router.add_api_route("/commits", self.commits, methods=["GET"])
        router.add_api_route("/commits/{ref:path}", self.commit, methods=["GET"])
        router.add_api_route("/compare/{basehead:path}", self.compare, methods=["GET"])
        router.add_api_route("/deployments", self.deployments, methods=["GET"])
        router.add_api_route("/deployments", self.deploy, methods=["POST"])
        router.add_api_route("/deployments/{deployment_id}", self.deployment, methods=["GET"])
        router.add_api_route("/deployments/{deployment_id}/statuses", self.statuses, methods=["GET"])
        router.add_api_route("/deployments/{deployment_id}/statuses", self.add_status, methods=["POST"])

    async def repository(self) -> Json:
        """The repository."""
        return self._wire.full_repository()

    async def contents(self, path: str, ref: str = MAIN) -> Json:
        """The rollback workflow's file; the repository is not known to hold another."""
        missing = self._github.behaviour.workflow_missing or self._github.history.resolve(ref) is None
        if missing or path != ROLLBACK.path:
            raise not_found()
        return self._wire.file()

    async def commits(self, request: Request, sha: str = MAIN) -> Response:
        """A commit and what came before it, newest first."""
        start = self._github.history.resolve(sha)
        if start is None:
            raise not_found()
        page, headers = self._pages.cut(self._github.history.line(start), request)
        return JSONResponse([self._wire.commit(each) for each in page], headers=dict(headers))

    async def commit(self, ref: str) -> Json:
        """One commit."""
        found = self._github.history.resolve(ref)
        if found is None:
            raise unprocessable(f"No commit found for SHA: {ref}")
        return self._wire.commit(found)

    async def compare(self, basehead: str) -> Json:
        """How one commit stands to another."""
        base, _, head = basehead.partition("...")
        return self._wire.comparison(self._github.history.compare(self._compared(base), self._compared(head)), basehead)

    async def deployments(self, request: Request) -> Response:
        """The deployments, newest first."""
        wanted = {name: request.query_params[name] for name in _DEPLOYMENT_FILTERS if name in request.query_params}
        found = [
            each
            for each in sorted(self._github.deployments, key=lambda each: (each.at, each.id), reverse=True)
            if all(getattr(each, name) == value for name, value in wanted.items())
        ]
        page, headers = self._pages.cut(found, request)
        return JSONResponse([self._wire.deployment(each) for each in page], headers=dict(headers))

    async def deployment(self, deployment_id: int) -> Json:
        """One deployment."""
        return self._wire.deployment(self._find(deployment_id))

    async def deploy(self, call: DeploymentCall, request: Request) -> Response:
        """Record a deployment."""
        commit = self._github.history.resolve(call.ref)
        if commit is None:
            raise unprocessable(f"No ref found for: {call.ref}")
        if call.auto_merge and commit != self._github.history.head:
            raise Refused(HTTPStatus.CONFLICT, f"Conflict merging {MAIN} into {call.ref}.")
        if call.required_contexts:
            raise Refused(HTTPStatus.CONFLICT, f"Conflict: Commit status checks failed for {call.ref}.")
        deployments = self._github.deployments
        deployment = Deployment(deployments.next_id, commit.sha, self._github.clock(), ref=call.ref, task=call.task)
        deployment.environment, deployment.payload = call.environment, call.payload
        deployment.description, deployment.creator = call.description, request.state.login
        return JSONResponse(self._wire.deployment(deployments.record(deployment)), HTTPStatus.CREATED)

    async def statuses(self, deployment_id: int, request: Request) -> Response:
        """A deployment's statuses, newest first."""
        found = self._find(deployment_id)
        page, headers = self._pages.cut(found.statuses[::-1], request)
        return JSONResponse([self._wire.status(each, found) for each in page], headers=dict(headers))

    async def add_status(self, deployment_id: int, call: StatusCall, request: Request) -> Response:
        """Say how a deployment goes."""
        found = self._find(deployment_id)
        status = self._github.deployments.add_status(
            found,
            call.state,
            at=self._github.clock(),
            log_url=call.log_url or call.target_url,
            description=call.description,
            environment_url=call.environment_url,
            creator=request.state.login,
        )
        body = self._wire.status(status, found)
        return JSONResponse(body, HTTPStatus.CREATED, {"Location": body["url"]})

    def _compared(self, ref: str) -> Commit:
        found = self._github.history.resolve(ref)
        if found is None:
            raise not_found()
        return found

    def _find(self, deployment_id: int) -> Deployment:
        found = self._github.deployments.find(deployment_id)
        if found is None:
            raise not_found()
        return found


class RootApi:
    """What belongs to no repository."""

    def __init__(self, github: GitHub) -> None:
        self._github = github

    def add_to(self, router: APIRouter) -> None:
        """Adds the routes."""
        router.add_api_route("/rate_limit", self.rate_limit, methods=["GET"])
        router.add_api_route("/app/installations/{installation_id}/access_tokens", self.access_token, methods=["POST"])

    async def rate_limit(self) -> Json:
        """What is left of the hour's calls."""
        reset = int((self._github.clock() + timedelta(hours=1)).timestamp())
        core = {"limit": RATE_LIMIT, "used": 0, "remaining": RATE_LIMIT, "reset": reset}
        return {"resources": {"core": core, "search": {**core, "limit": 30, "remaining": 30}}, "rate": core}

    async def access_token(self, installation_id: int) -> Response:
        """A token for the app, for one hour."""
        del installation_id
        token, expires_at = self._github.tokens.give()
        permissions: dict[str, str] = {"actions": "write", "deployments": "read", "contents": "read"}
        body = {"token": token, "expires_at": iso(expires_at), "permissions": permissions}
        return JSONResponse({**body, "repository_selection": "selected"}, HTTPStatus.CREATED)
