"""The workflow that rolls back, as GitHub sees it: its file, its inputs and the name of its runs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

FILE = "rollback.yml"
DEPLOY_FILE = "deploy.yml"
MOST_INPUTS = 25
LONGEST_REASON = 2000  # bytes
PATTERNS = {
    "service": "[a-z0-9][a-z0-9-]{0,62}",
    "environment": "[A-Za-z0-9][A-Za-z0-9._/-]{0,99}",
    "deployment_id": "[1-9][0-9]{0,17}",
    "target_revision": "[0-9a-f]{40}",
    "expected_deployment_id": "[1-9][0-9]{0,17}",
    "expected_revision": "[0-9a-f]{40}",
    "incident_id": "[A-Za-z0-9][A-Za-z0-9._:-]{0,199}",
    "execution_id": "[A-Za-z0-9_-]{0,64}",
    "confidence": r"0|1|0\.[0-9]{1,18}|1\.0{1,18}",
    "correlation_id": "[A-Za-z0-9._:-]{8,128}",
}
"""What the job's first step wants of each input."""

_ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Workflow:
    """A workflow file on the default branch."""

    id: int
    name: str
    file: str

    @property
    def path(self) -> str:
        """Where it lies in the repository."""
        return f".github/workflows/{self.file}"


ROLLBACK = Workflow(161_335, "Rollback", FILE)
DEPLOY = Workflow(161_336, "Deploy", DEPLOY_FILE)


class RollbackInputs(BaseModel):
    """The inputs that a dispatch gives; all are strings, as Actions has them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    service: str
    environment: str
    deployment_id: str
    target_revision: str
    expected_deployment_id: str
    expected_revision: str
    incident_id: str
    reason: str
    confidence: str  # 0 to 1
    correlation_id: str
    execution_id: str = ""

    @property
    def sensible(self) -> bool:
        """Whether the job's first step lets them through; it ends with exit status 64 for all others."""
        given = self.model_dump()
        if not all(re.fullmatch(pattern, given[name]) for name, pattern in PATTERNS.items()):
            return False
        # The shell measures bytes.
        if not self.reason.strip() or len(self.reason.encode()) > LONGEST_REASON:
            return False
        return self.target_revision != self.expected_revision

    @property
    def title(self) -> str:
        """The run's `run-name`."""
        return (
            f"Roll back {self.service} in {self.environment} to deployment {self.deployment_id} "
            f"(execution {self.execution_id or 'none'}) [{self.correlation_id}]"
        )


INPUTS: Mapping[str, bool] = {name: field.is_required() for name, field in RollbackInputs.model_fields.items()}
"""The inputs by name, and whether each is required."""


def fault_in(inputs: Mapping[str, str], *, declared: Mapping[str, bool]) -> str | None:
    """What GitHub has against these inputs; None: nothing."""
    unexpected: Sequence[str] = [name for name in inputs if name not in declared]
    if len(inputs) > MOST_INPUTS:
        return f"Too many inputs: at most {MOST_INPUTS} are allowed"
    if unexpected:
        names = ", ".join(f'"{name}"' for name in unexpected)
        return f"Unexpected inputs provided: [{names}]"
    missing = [name for name, required in declared.items() if required and not inputs.get(name)]
    return f"Required input '{missing[0]}' not provided" if missing else None


def source(*, with_inputs: bool) -> str:
    """The file's text: this repository's own, or one that a dispatch cannot give any inputs."""
    if with_inputs:
        return (_ROOT / ROLLBACK.path).read_text(encoding="utf-8")
    return f"name: {ROLLBACK.name}\non: workflow_dispatch\njobs: {{}}\n"
