"""The production worker before the stand-ins for Slack and PagerDuty, each behind a network that can go bad.

Time is skipped, so that hours of silence take seconds. `gateway` is one in this process, over the same incidents.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NotRequired, Protocol, TypedDict, Unpack

import httpx
from pydantic import SecretStr
from temporalio.testing import WorkflowEnvironment

from gateway.interactivity import Presses
from gateway.metrics import Metrics
from incident import ports
from incident.identifiers import workflow_id
from incident.rules import RulesAnalyst
from integrations.http import HttpSettings, build_client
from integrations.pagerduty import PagerDutyPager, PagerDutySettings
from integrations.slack import Directory, SlackChat, SlackSettings, SlackWebhook
from tests import builders
from tests.contract.gateway_desk import Gate, settings
from tests.fakes import FakeService
from tests.standins.github.toxics import Toxics
from tests.standins.pagerduty import PagerDutyStandin
from tests.standins.slack import SlackStandin
from tests.workflow.shift import Shift
from worker.bootstrap import Ports, build_worker
from worker.settings import WorkerSettings
from workflows.desk import IncidentDesk

MENTION = "<!subteam^S0ONCALL01>"
_SOON = timedelta(seconds=1)


@dataclass
class Surroundings:
    """The stand-ins, and the networks before them."""

    slack: SlackStandin
    pagerduty: PagerDutyStandin
    slack_network: Toxics
    pagerduty_network: Toxics

    async def put_right(self) -> None:
        """As if nothing had happened yet."""
        await self.slack_network.clear()
        await self.pagerduty_network.clear()
        self.slack.reset()
        self.pagerduty.reset()

    def chat(self) -> SlackSettings:
        """Slack as a bot reaches it."""
        return self.slack.settings(api_url=f"{self.slack_network.url}/api/", timeout=_SOON, mention=MENTION)

    def webhook(self) -> SlackSettings:
        """Slack as an incoming webhook reaches it."""
        url = self.slack.webhook_url.replace(self.slack.url, self.slack_network.url)
        return self.slack.webhook_settings(webhook_url=SecretStr(url), timeout=_SOON, mention=MENTION)

    def pager(self) -> PagerDutySettings:
        """PagerDuty as the worker reaches it."""
        key = SecretStr(self.pagerduty.routing_key)
        return PagerDutySettings(events_url=self.pagerduty_network.url, routing_key=key)

    def keys(self) -> Sequence[str]:
        """The key of every message that stands in Slack, without the incident's id."""
        return [each.key.rpartition("/")[2] for each in self.slack.messages() if each.key]


class Wishes(TypedDict):
    """How a shift differs from the usual one."""

    service: NotRequired[FakeService]
    analyst: NotRequired[ports.Analyst]
    by_webhook: NotRequired[bool]
    """Whether there is no bot, but an incoming webhook."""


@dataclass(kw_only=True)
class PeopleShift(Shift):
    """One worker whose people are in Slack and at PagerDuty."""

    around: Surroundings
    slack: ports.Chat
    pagerduty: ports.Pager
    name: str = field(default_factory=lambda: workflow_id(builders.ENVIRONMENT, builders.SERVICE))

    @property
    def world(self) -> Ports:
        """The ports that the worker is built of."""
        usual = super().world
        return Ports(
            services=usual.services,
            analyst=usual.analyst,
            rules=usual.rules,
            chat=self.slack,
            pager=self.pagerduty,
            store=usual.store,
            ledger=usual.ledger,
        )

    @asynccontextmanager
    async def gateway(self, ahead: timedelta = timedelta(0)) -> AsyncIterator[Gate]:
        """A gateway whose clock is so far ahead."""
        metrics, directory = Metrics(), Directory(self.around.chat())
        desk = IncidentDesk(self.environment.client, self.name)
        presses = Presses(desk, directory, metrics)
        known = settings().model_copy(update={"slack": self.around.chat()})
        try:
            yield Gate(
                desk,
                store=self.store,
                metrics=metrics,
                settings=known,
                presses=presses,
                clock=lambda: datetime.now(UTC) + ahead,
            )
        finally:
            await presses.close()
            await directory.close()


class Commission(Protocol):
    """Puts a worker to work."""

    async def __call__(self, **wishes: Unpack[Wishes]) -> PeopleShift:
        """A shift with these wishes; its worker stops when the test ends."""
        ...


@asynccontextmanager
async def at_work(where: WorkflowEnvironment, around: Surroundings, wishes: Wishes) -> AsyncIterator[PeopleShift]:
    """A shift whose worker runs meanwhile."""
    async with AsyncExitStack() as open_clients:
        http: httpx.AsyncClient = await open_clients.enter_async_context(build_client(HttpSettings(read_timeout=_SOON)))
        pager = PagerDutyPager(http, around.pager())
        chat: ports.Chat
        if wishes.get("by_webhook"):
            chat = SlackWebhook(http, around.webhook())
        else:
            bot = SlackChat(around.chat())
            open_clients.push_async_callback(bot.close)
            chat = bot
        shift = PeopleShift(
            environment=where,
            around=around,
            slack=chat,
            pagerduty=pager,
            service=wishes.get("service") or FakeService(live=101),
            analyst=wishes.get("analyst") or RulesAnalyst(),
        )
        settings_ = WorkerSettings(drain=timedelta(0))
        async with build_worker(where.client, shift.world, settings_, task_queue=shift.name, versioned=False):
            yield shift
