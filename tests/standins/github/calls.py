"""The bodies that GitHub takes."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Call(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class DispatchCall(_Call):
    """Body of POST dispatches. GitHub permits no other key."""

    model_config = ConfigDict(extra="forbid")

    ref: str
    inputs: dict[str, str] = {}
    return_run_details: bool = False


class DeploymentCall(_Call):
    """Body of POST deployments."""

    ref: str
    task: str = "deploy"
    auto_merge: bool = True
    required_contexts: list[str] | None = None
    payload: dict[str, Any] | str = Field(default_factory=dict)
    environment: str = "production"
    description: str | None = Field(default="", max_length=140)


class StatusCall(_Call):
    """Body of POST statuses."""

    state: Literal["error", "failure", "inactive", "in_progress", "queued", "pending", "success"]
    target_url: str = ""
    log_url: str = ""
    description: str = Field(default="", max_length=140)
    environment_url: str = ""
