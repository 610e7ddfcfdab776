"""The repository, its commits and its deployments as GitHub's JSON has them."""

import base64
from typing import Any
from urllib.parse import quote

from tests.standins.github.clock import iso
from tests.standins.github.deployments import ACTIONS_BOT, Deployment, DeploymentStatus
from tests.standins.github.history import MAIN, Commit, Comparison
from tests.standins.github.state import OWNER, PAGE, REPOSITORY, GitHub
from tests.standins.github.tokens import BOT, USER
from tests.standins.github.workflow import ROLLBACK, Workflow, source

Json = dict[str, Any]
"""An object of a reply."""

_USER_IDS = {OWNER: 1, USER: 2, BOT: 3, ACTIONS_BOT: 41_898_282}


class Wire:
    """Puts objects into words; links lead to where clients reach the stand-in."""

    def __init__(self, github: GitHub) -> None:
        self._github = github

    @property
    def repo(self) -> str:
        """The repository's address for machines."""
        return f"{self._github.public_url}/repos/{OWNER}/{REPOSITORY}"

    def user(self, login: str) -> Json:
        """A "simple user"."""
        url = f"{self._github.public_url}/users/{quote(login)}"
        parts = ("followers", "following", "gists", "starred", "subscriptions", "repos", "events", "received_events")
        return {
            "login": login,
            "id": _USER_IDS.get(login, 4),
            "node_id": f"U_{login}",
            "avatar_url": "https://avatars.githubusercontent.com/u/1",
            "gravatar_id": "",
            "url": url,
            "html_url": f"https://github.com/{quote(login)}",
            "organizations_url": f"{url}/orgs",
            **{f"{part}_url": f"{url}/{part}" for part in parts},
            "type": "Bot" if login.endswith("[bot]") else "User",
            "site_admin": False,
        }

    def repository(self) -> Json:
        """The repository as it stands inside other objects."""
        plain = "contributors deployments downloads events forks hooks languages merges stargazers subscribers"
        plain += " subscription tags teams"
        templates = "archive assignees blobs branches collaborators comments commits compare contents git_commits"
        templates += " git_refs git_tags issue_comment issue_events issues keys labels milestones notifications pulls"
        templates += " releases statuses trees"
        return {
            "id": 1_296_269,
            "node_id": "R_1",
            "name": REPOSITORY,
            "full_name": f"{OWNER}/{REPOSITORY}",
            "owner": self.user(OWNER),
            "private": True,
            "html_url": PAGE,
            "description": None,
            "fork": False,
            "url": self.repo,
            **{f"{part}_url": f"{self.repo}/{part}" for part in plain.split()},
            **{f"{part}_url": f"{self.repo}/{part}{{/more}}" for part in templates.split()},
        }

    def full_repository(self) -> Json:
        """The repository when it is asked for itself."""
        began = iso(self._github.history.line(self._github.history.head)[-1].at)
        counts = "forks forks_count open_issues open_issues_count size stargazers_count watchers watchers_count"
        counts += " network_count subscribers_count"
        return {
            **self.repository(),
            "default_branch": MAIN,
            "clone_url": f"{PAGE}.git",
            "git_url": f"git://github.com/{OWNER}/{REPOSITORY}.git",
            "ssh_url": f"git@github.com:{OWNER}/{REPOSITORY}.git",
            "svn_url": PAGE,
            "mirror_url": None,
            "homepage": None,
            "language": "Python",
            "license": None,
            **dict.fromkeys(["has_issues", "has_projects", "has_wiki"], True),
            **dict.fromkeys(["has_pages", "has_discussions", "archived", "disabled"], False),
            **dict.fromkeys(counts.split(), 0),
            "created_at": began,
            "updated_at": began,
            "pushed_at": iso(self._github.history.head.at),
        }

    def commit(self, commit: Commit) -> Json:
        """A commit."""
        url = f"{self.repo}/commits/{commit.sha}"
        person = {"name": "Dev", "email": "dev@acme.example", "date": iso(commit.at)}
        return {
            "sha": commit.sha,
            "node_id": f"C_{commit.sha[:7]}",
            "url": url,
            "html_url": f"{PAGE}/commit/{commit.sha}",
            "comments_url": f"{url}/comments",
            "commit": {
                "author": person,
                "committer": person,
                "message": commit.message,
                "tree": {"sha": commit.sha, "url": f"{self.repo}/git/trees/{commit.sha}"},
                "url": f"{self.repo}/git/commits/{commit.sha}",
                "comment_count": 0,
            },
            "author": self.user("dev"),
            "committer": self.user("dev"),
            "parents": [{"sha": commit.parent, "url": f"{self.repo}/commits/{commit.parent}"}] if commit.parent else [],
        }

    def comparison(self, comparison: Comparison, basehead: str) -> Json:
        """How two commits stand to each other."""
        page = f"{PAGE}/compare/{basehead}"
        return {
            "url": f"{self.repo}/compare/{basehead}",
            "html_url": page,
            "permalink_url": page,
            "diff_url": f"{page}.diff",
            "patch_url": f"{page}.patch",
            "base_commit": self.commit(comparison.base),
            "merge_base_commit": self.commit(comparison.merge_base),
            "status": comparison.status,
            "ahead_by": len(comparison.ahead),
            "behind_by": comparison.behind,
            "total_commits": len(comparison.ahead),
            "commits": [self.commit(each) for each in comparison.ahead],
            "files": [],
        }

    def workflow(self, workflow: Workflow) -> Json:
        """A workflow."""
        began = iso(self._github.history.line(self._github.history.head)[-1].at)
        state = self._github.behaviour.workflow_state if workflow is ROLLBACK else "active"
        return {
            "id": workflow.id,
            "node_id": f"W_{workflow.id}",
            "name": workflow.name,
            "path": workflow.path,
            "state": state,
            "created_at": began,
            "updated_at": began,
            "url": f"{self.repo}/actions/workflows/{workflow.id}",
            "html_url": f"{PAGE}/blob/{MAIN}/{workflow.path}",
            "badge_url": f"{PAGE}/workflows/{workflow.name}/badge.svg",
        }

    def file(self) -> Json:
        """The rollback workflow's file."""
        text = source(with_inputs=not self._github.behaviour.workflow_without_inputs).encode()
        url = f"{self.repo}/contents/{ROLLBACK.path}"
        html_url, git_url = f"{PAGE}/blob/{MAIN}/{ROLLBACK.path}", f"{self.repo}/git/blobs/{'0' * 40}"
        return {
            "type": "file",
            "encoding": "base64",
            "size": len(text),
            "name": ROLLBACK.file,
            "path": ROLLBACK.path,
            "content": base64.encodebytes(text).decode(),
            "sha": "0" * 40,
            "url": url,
            "html_url": html_url,
            "git_url": git_url,
            "download_url": None,
            "_links": {"self": url, "git": git_url, "html": html_url},
        }

    def deployment(self, deployment: Deployment) -> Json:
        """A deployment."""
        url = f"{self.repo}/deployments/{deployment.id}"
        changed = deployment.statuses[-1].at if deployment.statuses else deployment.at
        return {
            "id": deployment.id,
            "node_id": f"DE_{deployment.id}",
            "url": url,
            "sha": deployment.sha,
            "ref": deployment.ref,
            "task": deployment.task,
            "payload": deployment.payload,
            "original_environment": deployment.environment,
            "environment": deployment.environment,
            "description": deployment.description,
            "creator": self.user(deployment.creator),
            "created_at": iso(deployment.at),
            "updated_at": iso(changed),
            "statuses_url": f"{url}/statuses",
            "repository_url": self.repo,
            "transient_environment": False,
            "production_environment": deployment.environment == "production",
        }

    def status(self, status: DeploymentStatus, deployment: Deployment) -> Json:
        """A status of a deployment."""
        url = f"{self.repo}/deployments/{deployment.id}"
        return {
            "id": status.id,
            "node_id": f"DES_{status.id}",
            "url": f"{url}/statuses/{status.id}",
            "state": status.state,
            "creator": self.user(status.creator),
            "description": status.description,
            "environment": deployment.environment,
            # A deprecated twin of log_url, which GitHub keeps filling in.
            "target_url": status.log_url,
            "log_url": status.log_url,
            "environment_url": status.environment_url,
            "created_at": iso(status.at),
            "updated_at": iso(status.at),
            "deployment_url": url,
            "repository_url": self.repo,
        }
