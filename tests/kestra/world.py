"""What the flows run in: the real stack with its gateway, a model server, and one Kestra of each major.

`payment-api` is the service that rolls back by itself. The others are the same patient under policies of their own:
`ASKS` wants a person, `LINGERS` takes its time after the action, `HASTY` gives up looking soon. A deployment may be
live for an hour before the onset: the steady patient's was for half of one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
from pydantic import JsonValue

from gateway.tokens import Scope, entry_of, mint
from incident.decision import Action, Decision
from incident.severity import Severity
from tests import builders
from tests.fault.world import ENVIRONMENT, SERVICE, BriskStack, World, until
from tests.kestra import flows
from tests.standins.aimock.server import MODEL, Aimock
from tests.standins.kestra import Execution, KestraEngine

ASKS, LINGERS, HASTY = "asks", "lingers", "hasty"
WITHIN = timedelta(seconds=150)
"""How long an execution may take on a busy machine."""
KEY = "key-of-the-model"
_POLICY = f"""
mode = "auto"
service_rollbacks_per_hour = 10000
fleet_rollbacks_per_hour = 10000
cool_down = "0s"
settle = "500ms"
look_every = "250ms"
max_looks = 400
acts_within = "1h"

[services.{ASKS}]
mode = "ask"
approvers = ["ada"]
approve_within = "1h"

[services.{LINGERS}]
settle = "6s"

[services.{HASTY}]
max_looks = 3
"""
_CALL_WITHIN = 60.0


class KestraWorld(World):
    """The stack with a gateway, as tests/fault has it, and what Kestra's token may see of it.

    Args:
        directory: for the logs and files of every part.
        minted: the token that Kestra presents, and its hash; by default, new ones.
        mock: settings of the patient that are not as usual.
    """

    def __init__(
        self, directory: Path, minted: tuple[str, str] | None = None, mock: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(directory, _registry)
        self.token, sha256 = minted or mint()
        tokens, policy = directory / "tokens.toml", directory / "policy.toml"
        tokens.write_text(entry_of("kestra", sha256, (Scope.READ, Scope.OPERATE)), encoding="utf-8")
        policy.write_text(_POLICY, encoding="utf-8")
        gateway = {
            "PYTHONPATH": self._plan.worker["PYTHONPATH"],
            "STORE__URL": self._plan.worker["STORE__URL"],
            "POLICY_FILE": str(policy),
            "GATEWAY__TOKENS_FILE": str(tokens),
        }
        self._plan = replace(self._plan, gateway=gateway, mock={**self._plan.mock, **(mock or {})})
        self.stack = BriskStack(self._plan)
        self._journal_before = 0
        self._gateway = httpx.AsyncClient(
            base_url=self.stack.gateway_url,
            headers={"Authorization": f"Bearer {self.token}"},
            trust_env=False,
            timeout=_CALL_WITHIN,
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._gateway.aclose()
        await super().__aexit__(kind, error, trace)

    async def fall_ill(self) -> None:
        """The bad deployment goes live, and shows."""
        await self.deploy_badly()
        await until(self._says(Severity.P0), "the service is ill")

    async def seen(self, incident_id: str) -> dict[str, Any]:
        """What the gateway says of that incident."""
        view: dict[str, Any] = (await self._gateway.get(f"/incidents/{incident_id}")).raise_for_status().json()
        return view

    async def all(self) -> Sequence[Mapping[str, Any]]:
        """Every incident that the gateway knows."""
        page: Sequence[Mapping[str, Any]] = (
            (await self._gateway.get("/incidents", params={"limit": 100})).raise_for_status().json()["incidents"]
        )
        return page

    async def until_stage(self, incident_id: str, *stages: str) -> dict[str, Any]:
        """What the gateway says once the incident is at one of them."""
        seen: list[dict[str, Any]] = []

        async def _there() -> bool:
            seen[:] = [await self.seen(incident_id)]
            return seen[0]["stage"] in stages

        await until(_there, f"the incident is {' or '.join(stages)}", WITHIN)
        return seen[0]

    async def open_by_hand(self, service: str = SERVICE, outside_analyst: str = "") -> str:
        """The id of an incident that somebody else opens."""
        asked = {"service": service, "environment": ENVIRONMENT, "outside_analyst": outside_analyst}
        answer = await self._gateway.post("/incidents", json=asked)
        assert answer.status_code == httpx.codes.CREATED, answer.text
        return str(answer.json()["incident_id"])

    async def put_right(self) -> None:
        """As if nothing had happened yet."""
        await super().put_right()
        self._journal_before = len(await self.journal())

    async def deeds(self, path: str) -> list[str]:
        """The paths below that one of the control calls that the patient had since it was put right."""
        entries = (await self.journal())[self._journal_before :]
        return [entry["path"] for entry in entries if entry["path"].startswith(path)]


@dataclass(frozen=True)
class LoneKestra:
    """One Kestra with the flows loaded, and how a case uses it."""

    engine: KestraEngine
    model: Aimock

    def inputs(self, **changes: JsonValue) -> dict[str, JsonValue]:
        """Of an execution here."""
        chosen = {"model": MODEL, "model_url": self.model.base_url, "answer_within": "PT30S"}
        return {**chosen, **changes}

    async def begin(self, **changes: JsonValue) -> str:
        """The id of an execution that has begun.

        Raises:
            KestraRefusedError: Kestra does not take these inputs.
        """
        return await self.engine.run(flows.NAMESPACE, flows.COMMANDER, self.inputs(**changes))

    async def play(self, **changes: JsonValue) -> Execution:
        """An execution from its beginning to its end."""
        return await self.end(await self.begin(**changes))

    async def end(self, execution_id: str) -> Execution:
        """That execution, once it has ended."""
        return await self.engine.wait(execution_id, WITHIN)


@dataclass(frozen=True)
class Kestra(LoneKestra):
    """The same on the real stack."""

    world: KestraWorld

    def inputs(self, **changes: JsonValue) -> dict[str, JsonValue]:
        """Of an execution on the stack."""
        return super().inputs(**{"gateway_url": self.world.stack.gateway_url, **changes})

    async def incident_of(self, execution_id: str) -> str:
        """The id of its incident, once it has one."""
        return _label(await self.engine.until(execution_id, lambda each: bool(_label(each)), WITHIN))


def _label(execution: Execution) -> str:
    return execution.labels.get("incident", "")


def said(execution: Execution) -> dict[str, Any]:
    """The outputs of that execution."""
    return dict(execution.outputs)


def decided(**changes: object) -> dict[str, str]:
    """aimock's reply with a decision to roll back."""
    return {"content": decision(**changes).model_dump_json()}


def decision(**changes: object) -> Decision:
    """What an agent may say of the patient's bad deployment."""
    given = {"severity": "P0", "confidence": 0.95, "action": Action.ROLLBACK, "rollback_to": 100, "evidence_ids": ()}
    return builders.decision(**(given | changes))


def _registry(mock_url: str) -> str:
    source = f'{{ kind = "mock", url = "{mock_url}" }}'
    return "\n".join(
        f'[[service]]\nname = "{name}"\nenvironment = "{ENVIRONMENT}"\nsource = {source}\n'
        for name in (SERVICE, ASKS, LINGERS, HASTY)
    )
