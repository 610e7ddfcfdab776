"""The hand of a test on the stand-in."""

from collections.abc import Sequence
from typing import Literal, TypedDict, Unpack

from tests.standins.github.behaviour import Address, Behaviour, Deploy, Fault, Journal, Reply, Review, Seed
from tests.standins.github.control_api import CONTROL
from tests.standins.github.remote import Remote


class Wishes(TypedDict, total=False):
    """The fields of `Behaviour`."""

    reply: Reply | Literal["details", "empty", "malformed"]
    list_lag_s: float
    queue_s: float
    run_s: float
    conclusion: str | None
    effect_first: bool
    reviewers: bool
    stuck: bool
    activate_url: str | None
    denied: Sequence[str]
    token: str
    app_public_key: str | None
    workflow_missing: bool
    workflow_without_inputs: bool
    workflow_state: Literal["active", "disabled_manually", "disabled_inactivity"]


class Control:
    """Speaks to the stand-in itself, past all that stands in front of it."""

    def __init__(self, url: str) -> None:
        self._remote = Remote(url + CONTROL)

    async def ready(self) -> bool:
        """Whether the stand-in serves."""
        return await self._remote.answers("/journal")

    async def publish(self, url: str) -> None:
        """Tells the stand-in where its clients reach it."""
        await self._remote.call("PUT", "/address", Address(public_url=url).model_dump())

    async def behave(self, **wishes: Unpack[Wishes]) -> None:
        """Behave so from now on; what is not said is as at the start. `Behaviour` says what each field means."""
        behaviour = Behaviour.model_validate(wishes)
        await self._remote.call("PUT", "/behaviour", behaviour.model_dump(mode="json"))

    async def faults(self, *faults: Fault) -> None:
        """Let calls to come go wrong."""
        await self._remote.call("POST", "/faults", [fault.model_dump(mode="json") for fault in faults])

    async def reset(self, *, live: Literal[100, 101] = 100) -> None:
        """Begin anew: no runs, no faults, default behaviour, an empty journal."""
        await self._remote.call("POST", "/reset", Seed(live=live).model_dump())

    async def journal(self) -> Journal:
        """All that happened since the last reset."""
        return Journal.model_validate_json((await self._remote.call("GET", "/journal")).content)

    async def review(self, run_id: int, *, approved: bool) -> None:
        """A required reviewer decides about a waiting run."""
        await self._remote.call("POST", f"/runs/{run_id}/review", Review(approved=approved).model_dump())

    async def deploy(self, deployment_id: int | None = None, *, sha: str | None = None) -> int:
        """Somebody deploys with success: one on record goes live, any other is recorded first. Returns its id."""
        order = Deploy(deployment_id=deployment_id, sha=sha)
        reply = await self._remote.call("POST", "/deploy", order.model_dump())
        deployed: int = reply.json()["deployment_id"]
        return deployed
