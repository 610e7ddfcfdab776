"""The same stack behind a gateway: people answer in Slack or by token, PagerDuty wakes them, alerts come by webhook.

`slack` and `pagerduty` are stand-ins in this process. `put_right()` resets them too, and starts a gateway that a case
has ended. `asking()` opens an incident whose question stands in Slack; `press` and `call` answer it, as Slack and the
command line do. `record(incident)` gives what the invariants ask about.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
from pydantic import JsonValue, SecretStr

from gateway.tokens import Scope, entry_of, mint
from incident.dossier import Proposal
from incident.policy import Mode, Policy
from incident.severity import Severity
from integrations.slack import SlackSettings
from tests.fault.histories import History, read
from tests.fault.invariants import Record
from tests.fault.world import BRISK, ENVIRONMENT, SERVICE, BriskStack, Incident, World, until
from tests.standins.github.behaviour import DispatchEntry, EffectEntry, Journal
from tests.standins.pagerduty import PagerDutyStandin
from tests.standins.slack import BOT_TOKEN, SIGNING_SECRET, TEAM, Message, Person, SlackStandin
from tests.standins.slack.payloads import block_actions, form, signed
from workflows.desk import IncidentDesk

OLDER, GOOD, BAD = 99, 100, 101
"""The deployments that the patient knows."""
ADA, GRACE = f"slack:{TEAM}/{Person.MEMBER}", f"slack:{TEAM}/{Person.ANOTHER}"
"""The two approvers, as Slack knows them."""
ASKING = BRISK.model_copy(
    update={"mode": Mode.ASK, "approvers": ("ada", "grace"), "known_as": {ADA: "ada", GRACE: "grace"}}
)
"""As brisk, but a person is asked."""
MANY = tuple(f"storm-{number:03}" for number in range(200))
"""Services beside the usual one; all of them are the one mock service."""
ALERTMANAGER_SECRET = "what-alertmanager-sends"  # noqa: S105 - opens nothing but the gateway of a test
INTERACTIVITY = "/slack/interactivity"
_SCOPES: Mapping[str, tuple[Scope, ...]] = {
    "ada": tuple(Scope),
    "grace": (Scope.APPROVE,),
    "mallory": (Scope.APPROVE,),
    "reader": (Scope.READ,),
}
"""Whose tokens the gateway knows; mallory is none of the policy's approvers."""
_POLICY = f"""
mode = "ask"
approvers = ["ada"]
settle = "500ms"
look_every = "250ms"
page_after = "1h"
ask_again_after = "1h"
page_unanswered_after = "1h"
approve_within = "2h"

[known_as]
"{ADA}" = "ada"
"""
"""What is in force where an alert opens an incident: it waits for ada as long as a test likes."""
_CALL_WITHIN = 30.0


@dataclass(frozen=True)
class Question:
    """An incident that asks, what it proposes, and the message with the buttons as it stood then."""

    incident: Incident
    proposal: Proposal
    message: Message


class GatewayWorld(World):
    """The stack, its gateway, and the people.

    Args:
        directory: for the logs and files of every part.
        slack: a stand-in that runs.
        pagerduty: the same.
    """

    def __init__(self, directory: Path, slack: SlackStandin, pagerduty: PagerDutyStandin) -> None:
        self.slack, self.pagerduty = slack, pagerduty
        chat = _variables(slack.settings())
        paged = {"PAGERDUTY__EVENTS_URL": pagerduty.url, "PAGERDUTY__ROUTING_KEY": pagerduty.routing_key}
        super().__init__(directory, _registry, {**chat, **paged})
        minted = {name: mint() for name in _SCOPES}
        self.tokens = {name: token for name, (token, _) in minted.items()}
        entries = (entry_of(name, sha256, _SCOPES[name]) for name, (_, sha256) in minted.items())
        tokens_file, policy_file = directory / "tokens.toml", directory / "policy.toml"
        tokens_file.write_text("\n".join(entries), encoding="utf-8")
        policy_file.write_text(_POLICY, encoding="utf-8")
        gateway = {
            **chat,
            "PYTHONPATH": self._plan.worker["PYTHONPATH"],
            "STORE__URL": self._plan.worker["STORE__URL"],
            "POLICY_FILE": str(policy_file),
            "GATEWAY__TOKENS_FILE": str(tokens_file),
            "GATEWAY__ALERTMANAGER_SECRET": ALERTMANAGER_SECRET,
        }
        self._plan = replace(self._plan, gateway=gateway)
        self.stack = BriskStack(self._plan)
        self.outside = httpx.AsyncClient(base_url=self.stack.gateway_url, trust_env=False, timeout=_CALL_WITHIN)
        """What everybody outside reaches the gateway by."""
        self.bad = BAD
        """The deployment that an incident is about: the last one, or the one before it, so that another can follow."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.outside.aclose()
        await super().__aexit__(kind, error, trace)

    async def put_right(self) -> None:
        """As if nothing had happened yet, in Slack and at PagerDuty either."""
        await super().put_right()
        if not self.alive("gateway"):
            await self.stack.start_gateway()
        self.slack.reset()
        self.pagerduty.reset()
        self.bad = BAD

    async def deploy_badly(self) -> None:
        """The bad deployment goes live."""
        if self.bad == BAD:
            await super().deploy_badly()
            return
        await self.post(f"/deployment/{OLDER}/activate")
        await self.post("/demo/spoil", deployment_id=self.bad, degradation=1)
        await self.post(f"/deployment/{self.bad}/activate")

    async def until_says(self, severity: Severity) -> None:
        """Returns once the patient's numbers speak for that severity."""
        await until(self._says(severity), f"the numbers say {severity}")

    async def somebody_deploys(self) -> None:
        """Somebody makes an old deployment live, which helps, and then the last one, which is bad.

        An alert that fires only then has to resolve first: else the trouble would seem older than the last deployment.
        """
        await until(self._alerted, "the patient's alerts fire")
        await self.post(f"/deployment/{OLDER}/activate")
        await self.until_says(Severity.P3)
        await super().deploy_badly()
        await self.until_says(Severity.P0)

    async def _alerted(self) -> bool:
        return bool((await self._pulse()).alerts.firing)

    # What people do.

    async def asking(self, policy: Policy = ASKING) -> Question:
        """A new incident of a bad deployment, once its question stands in Slack."""
        incident = await self.incident(policy)
        return await self.asked(incident)

    async def asked(self, incident: Incident, digest_was: str = "") -> Question:
        """What `incident` asks, once that stands in Slack and is another question than the one of that digest."""
        found: list[Message] = []

        def _stands() -> bool:
            found[:] = [each for each in self.slack.messages() if _asks(each, incident.incident_id, digest_was)]
            return bool(found)

        try:
            await until(_stands, "the question stands in Slack")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{await self.doings(incident)}") from error
        dossier = await IncidentDesk(self.stack.client).dossier(self.handle(incident))
        assert dossier.proposal
        return Question(incident, dossier.proposal, found[-1])

    async def press(  # noqa: PLR0913 - each is one thing that a sender may do wrongly
        self,
        message: Message,
        answer: str = "approve",
        *,
        user: str = Person.MEMBER,
        secret: str = SIGNING_SECRET,
        at: timedelta | str = timedelta(0),
        tamper: Callable[[bytes], bytes] = lambda body: body,
        value: str | None = None,
        **changes: object,
    ) -> int:
        """Presses a button as it stood in `message`, and Slack tells the gateway; the status of its answer.

        Args:
            message: as it stood when it was looked at.
            answer: which button, approve or deny.
            user: who presses.
            secret: what Slack's request is signed with.
            at: when it was signed, from now; or exactly what stands as its time.
            tamper: changes the body after it was signed.
            value: of the button, in place of its own.
            changes: of the payload, by its keys.
        """
        body = self.pressed(message, answer, user=user, value=value, **changes)
        stamp = at if isinstance(at, str) else str(int(time.time() + at.total_seconds()))
        return await self.sent(tamper(body), signed(body, stamp, secret))

    def pressed(
        self,
        message: Message,
        answer: str = "approve",
        *,
        user: str = Person.MEMBER,
        value: str | None = None,
        **changes: object,
    ) -> bytes:
        """The body of that press."""
        payload = block_actions(message, f"commander.{answer}", user, **changes)
        if value is not None:
            payload["actions"][0]["value"] = value
        return form(payload)

    async def sent(self, body: bytes, headers: Mapping[str, str]) -> int:
        """The gateway's status for that request of Slack's."""
        return (await self.outside.post(INTERACTIVITY, content=body, headers=headers)).status_code

    async def call(self, method: str, path: str, body: JsonValue = None, *, caller: str = "ada") -> httpx.Response:
        """The gateway's answer to whom it knows by a token; a name that has none is presented in its place."""
        bearer = {"Authorization": f"Bearer {self.tokens.get(caller, caller)}"}
        return await self.outside.request(method, path, json=body, headers=bearer)

    async def answer(
        self, question: Question, *, approved: bool = True, caller: str = "ada", digest: str = ""
    ) -> httpx.Response:
        """The gateway's answer to an answer by token."""
        said: JsonValue = {"digest": digest or question.proposal.digest, "approved": approved}
        return await self.call("POST", f"/incidents/{question.incident.incident_id}/approval", said, caller=caller)

    async def counted(self, name: str, **labels: str) -> float:
        """What the gateway's metrics say of that series; 0 where there is none."""
        told = (await self.outside.get("/metrics")).text
        inner = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        series = f"{name}{{{inner}}}"
        return next((float(line.split()[-1]) for line in told.splitlines() if line.startswith(f"{series} ")), 0.0)

    # What can be seen of an incident.

    def threads(self, question: Question) -> str:
        """Every text that stands under the incident's one message."""
        return "\n".join(each.shown for each in self.slack.messages() if each.thread_ts == question.message.thread_ts)

    def told_alone(self) -> str:
        """What single people were told, a line each."""
        return "\n".join(each.text for each in self.slack.ephemerals())

    async def history(self, incident: Incident) -> History:
        """Its history so far."""
        return await read(self.handle(incident).fetch_history_events())

    async def record(self, incident: Incident) -> Record:
        """All that there is to say of an incident, once it has closed; what the patient did stands for GitHub."""
        result = await self.closed(incident)
        history, stored = await self.history(incident), await self.store.load(incident.incident_id)
        slack = self.slack.journal()
        outbound = {
            "the logs": self.logs(),
            "the history": history.raw.decode("utf-8", "replace"),
            "the stored snapshot": stored.model_dump_json() if stored else "",
            "Slack": b"\n".join(each.body for each in slack.requests if "apps.connections" not in each.path).decode(),
            "PagerDuty": "\n".join(each.body for each in self.pagerduty.requests()),
        }
        return Record(
            policy=result.policy,
            result=result,
            stored=stored,
            history=history,
            github=_as_github(await self.activations(incident)),
            ledger=await self.ledger(incident),
            outbound=outbound,
            canaries=(BOT_TOKEN, SIGNING_SECRET, ALERTMANAGER_SECRET, *self.tokens.values()),
            seen_at=datetime.now(UTC),
        )


def _asks(message: Message, incident_id: str, digest_was: str) -> bool:
    value = message.buttons.get("commander.approve", "")
    return value.startswith(f"{incident_id} ") and not (digest_was and value.endswith(digest_was))


def _as_github(activations: Sequence[dict[str, Any]]) -> Journal:
    """The commander's calls to the patient, as GitHub would have recorded them."""
    ours = [each for each in activations if each["correlation_id"]]
    at = [datetime.fromisoformat(each["at"]) for each in ours]
    return Journal(
        dispatches=[
            DispatchEntry(
                at=when,
                correlation_id=each["correlation_id"],
                inputs={"service": SERVICE, "environment": ENVIRONMENT, "deployment_id": str(each["deployment_id"])},
                accepted=True,
                run_id=None,
            )
            for each, when in zip(ours, at, strict=True)
        ],
        effective=[
            EffectEntry.model_validate(
                {
                    "correlation_id": each["correlation_id"],
                    "from": None,
                    "to": each["deployment_id"],
                    "from_revision": f"before {each['deployment_id']}",
                    "to_revision": str(each["deployment_id"]),
                    "run_id": 0,
                    "at": when,
                }
            )
            for each, when in zip(ours, at, strict=True)
            if each["applied"]
        ],
        runs=[],
        requests=[],
        cancels=[],
        deployments=[],
    )


def _registry(mock_url: str) -> str:
    source = f'{{ kind = "mock", url = "{mock_url}" }}'
    return "\n".join(
        f'[[service]]\nname = "{name}"\nenvironment = "{ENVIRONMENT}"\nsource = {source}\n' for name in (SERVICE, *MANY)
    )


def _variables(settings: SlackSettings) -> dict[str, str]:
    """The settings as environment variables."""
    shown = settings.model_dump(mode="python", exclude_unset=True)
    plain = {name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in shown.items()}
    return {f"SLACK__{name.upper()}": str(value or "") for name, value in plain.items()}
