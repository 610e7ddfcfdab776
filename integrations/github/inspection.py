"""Whether a repository on GitHub would do its part, before an incident asks: for `commander doctor`.

Nothing is changed on GitHub. What only a dispatch could prove is named as not proven.
"""

import base64
import binascii
from collections.abc import Awaitable
from dataclasses import dataclass

from pydantic import BaseModel

from incident.errors import IntegrationError, PermanentError
from incident.services import GitHubEndpoint
from integrations.github.client import GitHub, parsed
from integrations.github.deployments import GitHubDeployments
from integrations.github.refusals import SYSTEM, Need
from integrations.github.rollback import INPUTS
from integrations.github.workflow_file import inputs_of, is_found_by_its_name
from integrations.text import one_line

_NO_REF = "No commit found for the ref"
"""GitHub's words in a 404 for a branch or tag that does not exist."""


@dataclass(frozen=True)
class Checked:
    """One thing that was looked at, whether it would work, and what was seen or what to do."""

    subject: str
    works: bool
    words: str


class _Repository(BaseModel):
    archived: bool = False
    permissions: dict[str, bool] | None = None


class _Workflow(BaseModel):
    state: str


class _File(BaseModel):
    content: str
    encoding: str


async def inspect_rollback(github: GitHub, endpoint: GitHubEndpoint) -> list[Checked]:
    """What was found of repository, workflow and the workflow's file; of an unreadable repository nothing else."""
    found = [await _checked("repository", _repository(github, endpoint))]
    if found[0].works:
        found.append(await _checked("workflow", _workflow(github, endpoint)))
        found.append(await _checked("workflow file", _file(github, endpoint)))
    return found


async def inspect_deployments(source: GitHubDeployments) -> list[Checked]:
    """Which deployment is live, and which one a rollback would lead to."""
    return [await _checked("live", _live(source))]


async def _checked(subject: str, look: Awaitable[str]) -> Checked:
    try:
        return Checked(subject, works=True, words=await look)
    except IntegrationError as error:
        return Checked(subject, works=False, words=error.problem)


async def _repository(github: GitHub, endpoint: GitHubEndpoint) -> str:
    need = Need(f"repository {endpoint.repository}", endpoint.repository, "metadata=read")
    body = (await github.get(f"/repos/{endpoint.repository}", need)).body
    repository = parsed(_Repository, body, need.what)
    if repository.archived:
        raise PermanentError(SYSTEM, f"{endpoint.repository} is archived: GitHub runs no workflow there")
    roles = [one_line(name, 20) for name, given in (repository.permissions or {}).items() if given]
    told = f" GitHub names these rights on it: {', '.join(roles)}." if roles else ""
    return (
        f"{endpoint.repository} can be read.{told} Not proven, since only a dispatch could: that workflows may be "
        "started and called off (actions=write)"
    )


async def _workflow(github: GitHub, endpoint: GitHubEndpoint) -> str:
    need = Need(f"workflow {endpoint.workflow} of {endpoint.repository}", endpoint.repository, "actions=read")
    path = f"/repos/{endpoint.repository}/actions/workflows/{endpoint.workflow}"
    state = one_line(parsed(_Workflow, (await github.get(path, need)).body, need.what).state, 40)
    if state != "active":
        fix = f"gh workflow enable {endpoint.workflow} --repo {endpoint.repository}"
        raise PermanentError(SYSTEM, f"{need.what} is {state}, so it takes no dispatch; enable it: {fix}")
    return f"{endpoint.workflow} is active"


async def _file(github: GitHub, endpoint: GitHubEndpoint) -> str:
    name = f".github/workflows/{endpoint.workflow}"
    need = Need(f"file {name} at {endpoint.ref}", endpoint.repository, "contents=read")
    try:
        reply = await github.get(f"/repos/{endpoint.repository}/contents/{name}", need, {"ref": endpoint.ref})
    except PermanentError as error:
        if _NO_REF not in error.problem:
            raise
        words = f"{endpoint.repository} has no branch or tag {endpoint.ref}: set `ref` of the endpoint in services.toml"
        raise PermanentError(SYSTEM, words) from error
    text = _text(parsed(_File, reply.body, need.what))
    if not is_found_by_its_name(text):
        words = f"{name}: its run-name must end with [${{{{ inputs.correlation_id }}}}], or no run is found again"
        raise PermanentError(SYSTEM, words)
    taken = inputs_of(text)
    if taken is None:
        return f"{name} is on {endpoint.ref}. Not proven, since its lines could not be read: that it takes every input"
    if missing := [each for each in INPUTS if each not in taken]:
        words = f"{name} takes no input {', '.join(missing)}: GitHub refuses a dispatch that gives it"
        raise PermanentError(SYSTEM, words)
    if wanted := [one_line(each, 60) for each, needed in taken.items() if needed and each not in INPUTS]:
        raise PermanentError(SYSTEM, f"{name} requires {', '.join(wanted)}, which the commander does not give")
    return f"{name} on {endpoint.ref} takes every input"


def _text(file: _File) -> str:
    if file.encoding != "base64":
        raise PermanentError(SYSTEM, "the workflow's file is not given as base64")
    try:
        return base64.b64decode(file.content).decode("utf-8")
    except (binascii.Error, ValueError) as error:
        raise PermanentError(SYSTEM, "the workflow's file is no text") from error


async def _live(source: GitHubDeployments) -> str:
    history = await source.read()
    live, good = history.live, history.last_known_good
    if live is None:
        raise PermanentError(SYSTEM, history.problem)
    since = f" since {live.activated_at:%Y-%m-%d %H:%M:%SZ}" if live.activated_at else ""
    target = (
        f"the last known good is {good.deployment_id} ({good.revision:.12})"
        if good
        else "no earlier one is known to be good, so that nothing could be rolled back to"
    )
    return f"deployment {live.deployment_id} ({live.revision:.12}) is live{since}; {target}"
