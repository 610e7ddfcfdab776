"""The same stack for a service whose deployments are GitHub's and which a workflow of its repository rolls back.

Metrics, logs and alerts come from the mock payment-api; a run's success makes the earlier deployment live there too,
so that the service really recovers. `github` is the chain before the stand-in: `github.control` says how GitHub
behaves, `github.toxics` and `github.violations()` are there where the chain has them. `put_right()` resets both sides;
what a case wants of GitHub it says after that, through `behave`. `record(incident)` gives everything that the
invariants and the oracle ask about.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Unpack

from incident.policy import Policy
from tests.fault.delivery import delivered
from tests.fault.histories import History, read
from tests.fault.invariants import Record
from tests.fault.world import BRISK, ENVIRONMENT, SERVICE, Incident, World
from tests.standins.github.chain import GitHubChain
from tests.standins.github.control import Wishes

CANARY = "ghp_" + "Canary0" * 6
"""The token, which no byte that leaves the commander may hold but the header it is for."""
QUICK = BRISK.model_copy(
    update={
        "worker_lost_after": timedelta(seconds=1),
        "settle": timedelta(seconds=0.4),
        "look_every": timedelta(seconds=0.1),
        "follow_every": timedelta(seconds=0.5),
    }
)
"""As brisk, for what GitHub takes longer about."""
_REPOSITORY = "acme/payment-api"


class GitHubWorld(World):
    """The stack, GitHub, and what a test does to them.

    Args:
        directory: for the logs and files of every part.
        github: a chain that has been entered.
    """

    def __init__(self, directory: Path, github: GitHubChain) -> None:
        variables = {
            "GITHUB__API_URL": github.url,
            "GITHUB__TOKEN": CANARY,
            "GITHUB__RUN_APPEARS_WITHIN": "2s",
            "GITHUB__SEARCH_EVERY": "200ms",
        }
        super().__init__(directory, _registry, variables)
        self.github = github

    async def behave(self, **wishes: Unpack[Wishes]) -> None:
        """GitHub behaves so from now on; what is not said is as `put_right` leaves it."""
        asked: Wishes = {"token": CANARY, "run_s": 0.1, "activate_url": self.stack.mock_url}
        asked.update(wishes)
        await self.github.control.behave(**asked)

    async def put_right(self) -> None:
        """As if nothing had happened yet, on GitHub either."""
        await super().put_right()
        await self.github.control.reset(live=100)
        await self.behave()

    async def deploy_badly(self) -> None:
        """The bad deployment goes live, and GitHub knows of it."""
        await self.github.control.deploy(101)
        await super().deploy_badly()

    async def incident(self, policy: Policy = QUICK, outside_analyst: str = "") -> Incident:
        """A new incident of a bad deployment."""
        return await super().incident(policy, outside_analyst)

    async def record(self, incident: Incident, *canaries: str) -> Record:
        """All that there is to say of an incident, once it has closed.

        Args:
            incident: which.
            canaries: secrets beside the token that may have leaked.
        """
        result = await self.closed(incident)
        history, stored = await self.history(incident), await self.store.load(incident.incident_id)
        ledger, github = await self.ledger(incident), await self.github.control.journal()
        journal, logs = await self.journal(), self.logs()
        outbound = {
            "the logs": logs,
            "the history": history.raw.decode("utf-8", "replace"),
            "the snapshot": result.model_dump_json(),
            "the stored snapshot": stored.model_dump_json() if stored else "",
            "the ledger": repr(ledger),
            "GitHub's journal": github.model_dump_json(),
            "the patient's journal": repr(journal),
        }
        return Record(
            policy=result.policy,
            result=result,
            stored=stored,
            history=history,
            github=github,
            ledger=ledger,
            delivered=delivered(logs, incident.incident_id),
            outbound=outbound,
            canaries=(CANARY, *canaries),
            seen_at=datetime.now(UTC),
        )

    async def history(self, incident: Incident) -> History:
        """Its history so far."""
        return await read(self.handle(incident).fetch_history_events())


def _registry(mock_url: str) -> str:
    github = f'{{ kind = "github", repository = "{_REPOSITORY}" }}'
    return (
        f'[[service]]\nname = "{SERVICE}"\nenvironment = "{ENVIRONMENT}"\n'
        f'source = {{ kind = "mock", url = "{mock_url}" }}\ndeployments = {github}\nrollback = {github}\n'
    )
