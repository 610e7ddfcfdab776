"""Workflow runs as GitHub's JSON has them."""

from collections.abc import Sequence

from tests.standins.github.clock import iso
from tests.standins.github.history import MAIN
from tests.standins.github.runs import Run, Stage
from tests.standins.github.state import PAGE, GitHub
from tests.standins.github.tokens import USER
from tests.standins.github.wire import Json, Wire
from tests.standins.github.workflow import ROLLBACK

_ENVIRONMENT_ID = 161_088
_REVIEWER = "payments-on-call"
_JOB_CONCLUSIONS = {"success", "failure", "neutral", "cancelled", "skipped", "timed_out", "action_required"}
_STEPS = ("Validate the inputs", "Roll back")


class RunWire:
    """Puts runs, their jobs and what they wait for into words."""

    def __init__(self, github: GitHub, wire: Wire) -> None:
        self._github = github
        self._wire = wire

    def run(self, run: Run) -> Json:
        """A workflow run."""
        url = self.url(run)
        commit = self._github.history.resolve(run.head_sha)
        assert commit is not None
        person = {"name": "Dev", "email": "dev@acme.example"}
        parts = {part: f"{url}/{part}" for part in ("jobs", "logs", "artifacts", "cancel", "rerun")}
        return {
            "id": run.id,
            "name": run.workflow.name,
            "node_id": f"WFR_{run.id}",
            "check_suite_id": run.id,
            "check_suite_node_id": f"CS_{run.id}",
            "head_branch": MAIN,
            "head_sha": run.head_sha,
            "path": run.workflow.path,
            "run_number": run.number,
            "run_attempt": run.attempt,
            "display_title": run.title,
            "event": run.event,
            "status": run.stage,
            "conclusion": run.conclusion,
            "workflow_id": run.workflow.id,
            "url": url,
            "html_url": self._github.runs.page(run),
            "pull_requests": [],
            "actor": self._wire.user(USER),
            "triggering_actor": self._wire.user(USER),
            "created_at": iso(run.created_at),
            "updated_at": iso(run.since),
            "run_started_at": iso(run.created_at),
            **{f"{part}_url": link for part, link in parts.items()},
            "check_suite_url": f"{self._wire.repo}/check-suites/{run.id}",
            "workflow_url": f"{self._wire.repo}/actions/workflows/{run.workflow.id}",
            "previous_attempt_url": None,
            "head_commit": {
                "id": commit.sha,
                "tree_id": commit.sha,
                "message": commit.message,
                "timestamp": iso(commit.at),
                "author": person,
                "committer": person,
            },
            "repository": self._wire.repository(),
            "head_repository": self._wire.repository(),
        }

    def url(self, run: Run) -> str:
        """The run, for machines."""
        return f"{self._wire.repo}/actions/runs/{run.id}"

    def job(self, run: Run) -> Json:
        """The one job of a run."""
        began = run.started_at or run.created_at
        conclusion = run.conclusion if run.conclusion in _JOB_CONCLUSIONS else "failure"
        ended = run.stage is Stage.COMPLETED
        steps = [
            {"name": name, "number": number, "status": run.stage, "conclusion": conclusion if ended else None}
            for number, name in enumerate(_STEPS, start=1)
            if run.started_at is not None and run.stage in {Stage.IN_PROGRESS, Stage.COMPLETED}
        ]
        return {
            "id": run.job_id,
            "node_id": f"CR_{run.job_id}",
            "run_id": run.id,
            "run_url": self.url(run),
            "run_attempt": run.attempt,
            "head_sha": run.head_sha,
            "head_branch": MAIN,
            "workflow_name": run.workflow.name,
            "name": "Roll back" if run.workflow is ROLLBACK else "Deploy",
            "url": f"{self._wire.repo}/actions/jobs/{run.job_id}",
            "html_url": self._github.runs.log_url(run),
            "status": run.stage,
            "conclusion": conclusion if ended else None,
            "created_at": iso(run.created_at),
            "started_at": iso(began),
            "completed_at": iso(run.since) if ended else None,
            "check_run_url": f"{self._wire.repo}/check-runs/{run.job_id}",
            "labels": ["ubuntu-24.04"],
            "runner_id": 1 if run.started_at else None,
            "runner_name": "GitHub Actions 1" if run.started_at else None,
            "runner_group_id": 0 if run.started_at else None,
            "runner_group_name": "GitHub Actions" if run.started_at else None,
            "steps": steps,
        }

    def pending_deployments(self, run: Run) -> Sequence[Json]:
        """What a run waits for."""
        if run.stage is not Stage.WAITING or run.inputs is None:
            return []
        environment = {
            "id": _ENVIRONMENT_ID,
            "node_id": f"EN_{_ENVIRONMENT_ID}",
            "name": run.inputs.environment,
            "url": f"{self._wire.repo}/environments/{run.inputs.environment}",
            "html_url": f"{PAGE}/deployments/activity_log?environments_filter={run.inputs.environment}",
        }
        return [
            {
                "environment": environment,
                "wait_timer": 0,
                "wait_timer_started_at": None,
                "current_user_can_approve": False,
                "reviewers": [{"type": "User", "reviewer": self._wire.user(_REVIEWER)}],
            }
        ]
