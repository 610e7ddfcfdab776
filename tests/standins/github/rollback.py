"""What the job of the rollback workflow does: compare what is live with what was expected, and set it."""

from enum import Enum

import httpx

from tests.standins.github.deployments import Deployment
from tests.standins.github.runs import FAILURE, SUCCESS, Run
from tests.standins.github.state import GitHub
from tests.standins.github.workflow import RollbackInputs

_TIMEOUT_SECONDS = 5.0


class Finding(Enum):
    """How the live deployment stands to the order."""

    EXPECTED = "expected"
    ALREADY_THERE = "already there"
    ANOTHER = "another"  # the job ends with exit status 65
    NO_SENSE = "no sense"  # exit status 64
    STRAY = "stray"  # exit status 66


async def carry_out(github: GitHub, run: Run, client: httpx.AsyncClient) -> None:
    """Takes a run through its rollback to its end."""
    assert run.inputs is not None
    if run.plan.conclusion is not None and not run.plan.effect_first:
        github.end(run, run.plan.conclusion)
        return
    finding = compare(github, run.inputs)
    told = finding is Finding.EXPECTED and await _told(run, run.inputs, client)
    if not github.knows(run):
        return
    if told:
        github.roll_back(run)
    done = finding is Finding.ALREADY_THERE or run.effective
    github.end(run, run.plan.conclusion or (SUCCESS if done else FAILURE))


def compare(github: GitHub, order: RollbackInputs) -> Finding:
    """What the job finds before it changes anything."""
    if not order.sensible:
        return Finding.NO_SENSE
    if not github.history.on_main(order.target_revision):
        return Finding.STRAY
    live: Deployment | None = github.deployments.live(order.environment)
    if live is None:
        return Finding.ANOTHER
    if live.sha == order.expected_revision:
        return Finding.EXPECTED
    return Finding.ALREADY_THERE if live.sha == order.target_revision else Finding.ANOTHER


async def _told(run: Run, order: RollbackInputs, client: httpx.AsyncClient) -> bool:
    """Whether the service, if there is one, has let itself be rolled back."""
    if run.plan.activate_url is None:
        return True
    url = f"{run.plan.activate_url}/deployment/{order.deployment_id}/activate"
    call = {
        "reason": order.reason,
        "confidence": round(100 * float(order.confidence)),  # percent
        "rollback_to": int(order.deployment_id),
        "execution_id": order.execution_id or None,
        "correlation_id": order.correlation_id,
        "expected_live": int(order.expected_deployment_id),
    }
    try:
        return (await client.post(url, json=call, timeout=_TIMEOUT_SECONDS)).is_success
    except httpx.TransportError:
        return False
