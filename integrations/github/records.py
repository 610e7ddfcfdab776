"""What GitHub's deployments and their statuses say, taken for what it is.

A rollback is recorded by its workflow as a deployment with the task `rollback` and
`{"rollback": {"service", "deployment_id", "from_deployment_id", …}}` as payload. Where several services share an
environment, their deployments differ by task, or carry `{"service": "<name>"}` as payload.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field, JsonValue, StrictInt, ValidationError

from incident.errors import PermanentError
from integrations.github.refusals import SYSTEM

ROLLBACK_TASK = "rollback"
SUCCESS = "success"
_RUN = re.compile(r"/([^/\s]+/[^/\s]+)/actions/runs/([0-9]{1,18})(?:[/?#]|\Z)")


class DeploymentRecord(BaseModel):
    """A deployment, as GitHub lists it."""

    id: StrictInt
    sha: str = Field(pattern=r"^[0-9A-Za-z]{1,64}$")
    task: str = ""
    payload: JsonValue = None
    description: str | None = None
    created_at: AwareDatetime


class Status(BaseModel):
    """One status of a deployment."""

    id: StrictInt
    state: str
    created_at: AwareDatetime
    log_url: str | None = None
    target_url: str | None = None

    @property
    def order(self) -> tuple[datetime, int]:
        """GitHub's times are whole seconds; within one, ids ascend."""
        return self.created_at, self.id

    def run_of(self, repository: str) -> int | None:
        """The workflow run of `repository` that its links lead to, or `None`."""
        for url in (self.log_url, self.target_url):
            found = _RUN.search(url or "")
            if found and found[1].casefold() == repository.casefold():
                return int(found[2])
        return None


@dataclass(frozen=True)
class Told:
    """A deployment with all its statuses, oldest first, and the workflow runs that those lead to."""

    record: DeploymentRecord
    statuses: tuple[Status, ...]
    runs: frozenset[int] = frozenset()

    @property
    def latest(self) -> Status | None:
        """The newest status, or `None`."""
        return self.statuses[-1] if self.statuses else None

    @property
    def successes(self) -> list[Status]:
        """Its successes, oldest first."""
        return [status for status in self.statuses if status.state == SUCCESS]

    @property
    def says_success(self) -> bool:
        """Whether the newest status is one."""
        return self.latest is not None and self.latest.state == SUCCESS


def told(record: DeploymentRecord, statuses: Iterable[Status], repository: str) -> Told:
    """`record` of `repository` with its statuses in order."""
    ordered = tuple(sorted(statuses, key=lambda status: status.order))
    return Told(record, ordered, frozenset(run for each in ordered if (run := each.run_of(repository)) is not None))


def _number(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


_Id = Annotated[StrictInt, BeforeValidator(_number), Field(gt=0)]


class Rollback(BaseModel):
    """What a rollback's record says; numbers may be written as text."""

    service: str
    deployment_id: _Id
    from_deployment_id: _Id
    run_id: JsonValue = None


def rollback_of(deployment: DeploymentRecord, service: str) -> Rollback | None:
    """The rollback of `service` that `deployment` records; `None`: it records none, or another service's.

    Raises:
        PermanentError: it says that it is a rollback, and of what cannot be read.
    """
    said = rollback_said(deployment)
    if said is None and deployment.task != ROLLBACK_TASK:
        return None
    if isinstance(said, dict) and isinstance(said.get("service"), str) and said["service"] != service:
        return None
    try:
        return Rollback.model_validate(said)
    except ValidationError as error:
        first: Any = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(("payload", "rollback", *(str(part) for part in first["loc"])))
        raise PermanentError(
            SYSTEM,
            f"deployment {deployment.id} says that it is a rollback, but {where} is not as expected ({first['type']}): "
            "what is live cannot be told; mend the workflow, and delete or replace that record",
        ) from None


def _payload(deployment: DeploymentRecord) -> dict[str, JsonValue]:
    payload = deployment.payload
    if isinstance(payload, str):
        payload = _from_json(payload)
    return payload if isinstance(payload, dict) else {}


def rollback_said(deployment: DeploymentRecord) -> JsonValue:
    """What it says of a rollback, of whichever shape and service; `None`: nothing."""
    return _payload(deployment).get("rollback")


def is_of(deployment: DeploymentRecord, service: str) -> bool:
    """Whether it may be `service`'s: it names no other one."""
    named = _payload(deployment).get("service")
    return not isinstance(named, str) or named == service


def _from_json(text: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value
