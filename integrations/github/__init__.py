"""GitHub: a repository's deployments as a deployment history, its rollback workflow as a rollback target.

By reason to change: `settings` (address and identity), `app_auth` (tokens), `client` (requests), `refusals` (what an
error means and what to do), `runs` (a workflow's runs), `records` and `history` (what deployments say, and mean),
`deployments` and `rollback` (the two ports), `workflow_file` (which inputs a workflow takes), `inspection` (what
`commander doctor` asks).
"""

from integrations.github.client import GitHub
from integrations.github.deployments import GitHubDeployments
from integrations.github.inspection import Checked, inspect_deployments, inspect_rollback
from integrations.github.rollback import GitHubRollback
from integrations.github.settings import GitHubSettings

__all__ = [
    "Checked",
    "GitHub",
    "GitHubDeployments",
    "GitHubRollback",
    "GitHubSettings",
    "inspect_deployments",
    "inspect_rollback",
]
