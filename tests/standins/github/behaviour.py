"""What a test can tell the stand-in to do, and what the stand-in tells of what was done to it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

TOKEN = "standin-token"  # noqa: S105 - opens nothing but the stand-in
"""The personal access token that the stand-in accepts, unless its behaviour names another."""

Seconds = Annotated[float, Field(ge=0, le=86_400)]


class Edge(BaseModel):
    """What every model of the control API shares."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Reply(StrEnum):
    """What an accepted dispatch is answered with."""

    DETAILS = "details"  # 200 with the run's id where the caller asks for it, else 204
    EMPTY = "empty"  # 204 whatever the caller asks for
    MALFORMED = "malformed"  # 200 without the run's id


class Behaviour(Edge):
    """How GitHub behaves from now on. A run keeps the behaviour that it was dispatched under."""

    reply: Reply = Reply.DETAILS
    list_lag_s: Seconds = 0
    """For so long after its dispatch a run is missing from the lists; by its id it is found at once."""
    queue_s: Seconds = 0
    run_s: Seconds = 0.2
    """How long the job takes: its two steps, the check of the inputs and the rollback, take half each."""
    conclusion: str | None = None
    """The run ends with this conclusion, known to GitHub or not, and does not reach its rollback."""
    effect_first: bool = False
    """With `conclusion`: the rollback takes effect all the same, before the run ends."""
    reviewers: bool = False
    """The environment has required reviewers: a run waits for `review`."""
    stuck: bool = False
    """No runner ever takes the run."""
    activate_url: str | None = Field(default=None, pattern="^http://")
    """The service that is told of a rollback, by POST to /deployment/{id}/activate."""
    denied: Sequence[str] = ()
    """Calls that the token may not make, each as "METHOD regex", the regex searched for in the path."""
    token: str = TOKEN
    app_public_key: str | None = None
    """PEM. With it the app's JSON web tokens must be signed by its private half; without it any signature will do."""
    workflow_missing: bool = False
    workflow_without_inputs: bool = False
    workflow_state: Literal["active", "disabled_manually", "disabled_inactivity"] = "active"


class FaultKind(StrEnum):
    """How a call goes wrong."""

    STATUS = "status"
    HTML = "html"
    RESET = "reset"
    HANG = "hang"


class Moment(StrEnum):
    """Whether the call has its effect before it goes wrong."""

    BEFORE = "before"
    AFTER = "after"


class Fault(Edge):
    """The next `times` calls of that method whose path holds the regex go wrong."""

    method: str
    path: str
    kind: FaultKind
    times: int = Field(default=1, ge=1)
    status: int = Field(default=502, ge=200, le=599)
    headers: Mapping[str, str] = {}
    body: Any = None
    when: Moment = Moment.BEFORE


class Seed(Edge):
    """How the world stands after a reset."""

    live: Literal[100, 101] = 100


class Deploy(Edge):
    """Somebody deploys: one of the deployments on record, or a new one of a commit that may be new as well."""

    deployment_id: int | None = None
    sha: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")


class Review(Edge):
    """A required reviewer's word."""

    approved: bool


class Address(Edge):
    """Where clients reach the stand-in: links in its replies lead there."""

    public_url: str


class DispatchEntry(Edge):
    """A dispatch that the token may make, accepted or refused."""

    at: datetime
    correlation_id: str | None
    inputs: Mapping[str, str]
    accepted: bool
    run_id: int | None


class RunEntry(Edge):
    """A run of the rollback workflow. `effective`: it changed what is live."""

    id: int
    attempt: int
    correlation_id: str
    inputs: Mapping[str, str]
    status: str
    conclusion: str | None
    effective: bool
    created_at: datetime
    completed_at: datetime | None


class EffectEntry(Edge):
    """A rollback that changed what is live, from one deployment to another."""

    correlation_id: str
    from_: int | None = Field(alias="from")
    to: int
    from_revision: str
    to_revision: str
    run_id: int
    at: datetime


class RequestEntry(Edge):
    """A call that reached GitHub. `status` is None where no answer was given."""

    at: datetime
    method: str
    path: str
    query: str
    status: int | None
    authorization: Literal["present", "absent"]


class CancelEntry(Edge):
    """A request to cancel a run."""

    at: datetime
    run_id: int
    forced: bool
    accepted: bool


class DeploymentEntry(Edge):
    """A deployment on record. `automatic_of`: the rollback run for whose job GitHub recorded it by itself."""

    id: int
    sha: str
    ref: str
    task: str
    environment: str
    payload: Any
    creator: str
    state: str | None
    automatic_of: int | None


class Journal(Edge):
    """All that happened since the start or the last reset, oldest first. No token is ever in it."""

    dispatches: Sequence[DispatchEntry]
    runs: Sequence[RunEntry]
    effective: Sequence[EffectEntry]
    requests: Sequence[RequestEntry]
    cancels: Sequence[CancelEntry]
    deployments: Sequence[DeploymentEntry]
