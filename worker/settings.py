"""Every setting of the worker, from the environment.

`OPENAI__API_KEY` sets `openai.api_key`, and so on.
"""

import os
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from incident.model import Duration
from incident.services import ServiceRegistry
from integrations.credentials import Credentials, SourceCredentials
from integrations.egress import Egress, addresses
from integrations.github import GitHubSettings
from integrations.http import HttpSettings
from integrations.openai import OpenAISettings
from integrations.pagerduty import PagerDutySettings
from integrations.prometheus import PrometheusSettings
from integrations.redaction import RedactionSettings
from integrations.slack import SlackSettings
from integrations.store import StoreSettings
from integrations.temporal import TemporalSettings
from integrations.variables import from_environment
from workflows.names import DEPLOYMENT


class AnalystKind(StrEnum):
    """Who decides."""

    AUTO = "auto"
    RULES = "rules"
    OPENAI = "openai"


class Versioning(StrEnum):
    """What happens to open incidents when a new build of the worker comes."""

    AUTO_UPGRADE = "auto-upgrade"
    PINNED = "pinned"


class WorkerSettings(BaseModel):
    """How the worker process runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    analyst: AnalystKind = Field(
        default=AnalystKind.AUTO, description="auto: openai where OPENAI__API_KEY is set, else rules."
    )
    stopped: bool = Field(
        default=False, description="The kill switch: true keeps this worker from starting any remediation."
    )
    build_id: str = Field(default="0.1.0", min_length=1, description="The build that this worker is a member of.")
    deployment: str = Field(
        default=DEPLOYMENT, min_length=1, description="The worker deployment that builds are versions of."
    )
    versioning: Versioning = Field(
        default=Versioning.AUTO_UPGRADE,
        description="auto-upgrade where one build runs at a time; pinned where builds run side by side.",
    )
    health_bind: str = Field(
        default="127.0.0.1:8081", description="host:port of /healthz and /readyz; port 0 takes a free one."
    )
    metrics_bind: str = Field(default="", description="host:port of Prometheus metrics; empty: none are served.")
    drain: Duration = Field(
        default="20s", validate_default=True, description="How long SIGTERM lets activities finish."
    )
    sticky_timeout: Duration = Field(
        default="2s", validate_default=True, description="How soon another worker takes over from one that died."
    )
    activities: int = Field(
        default=100,
        ge=1,
        description="Activities of incidents at once, at the most; remediations and pages have room of their own.",
    )
    watches: int = Field(default=500, ge=1, description="Watched services that this worker checks, at the most.")
    checks_at_once: int = Field(default=20, ge=1, description="Of those, how many it looks at in the same moment.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least level logged.")


class Settings(BaseSettings):
    """All settings; see each part for its fields."""

    model_config = SettingsConfigDict(env_nested_delimiter="__", env_ignore_empty=True, extra="ignore", frozen=True)

    services_file: Path = Field(default=Path("services.toml"), description="The registry of services.")
    policy_file: Path = Field(
        default=Path("policy.toml"), description="The policy; where the file does not exist, the defaults hold."
    )
    public_url: str = Field(
        default="", description="Where people reach the gateway, for the links in messages; empty: no links."
    )
    temporal: TemporalSettings = TemporalSettings()
    worker: WorkerSettings = WorkerSettings()
    openai: OpenAISettings = OpenAISettings()
    store: StoreSettings = StoreSettings()
    github: GitHubSettings = GitHubSettings()
    prometheus: PrometheusSettings = PrometheusSettings()
    loki: Credentials = Credentials()
    json_lines: Credentials = Credentials()
    alertmanager: Credentials = Credentials()
    slack: SlackSettings = SlackSettings()
    pagerduty: PagerDutySettings = PagerDutySettings()
    http: HttpSettings = HttpSettings()
    redaction: RedactionSettings = RedactionSettings()

    @property
    def credentials(self) -> SourceCredentials:
        """What is shown to the sources of evidence."""
        return SourceCredentials(loki=self.loki, json_lines=self.json_lines, alertmanager=self.alertmanager)

    @property
    def incident_url(self) -> str:
        """Where the incidents' pages stand; an incident's id is appended to it. Empty: nowhere."""
        return f"{self.public_url.rstrip('/')}/ui/incidents/" if self.public_url else ""

    def destinations(self, registry: ServiceRegistry) -> Egress:
        """The only hosts that the shared client may ask. The model, Slack's bot and Temporal have their own clients."""
        webhook = self.slack.webhook_url
        return Egress(
            {
                str(self.services_file): addresses(registry),
                "GITHUB__API_URL": [self.github.api_url],
                "PAGERDUTY__EVENTS_URL": [self.pagerduty.events_url],
                "SLACK__WEBHOOK_URL": [webhook.get_secret_value()] if webhook else [],
            }
        )


def load_settings() -> Settings:
    """The settings of this process's environment.

    Raises:
        ConfigurationError: a line for each variable that cannot be used.
    """
    return from_environment(Settings)


def child_environment(**overrides: str) -> dict[str, str]:
    """This process's environment with `overrides`, for a child process."""
    return {**os.environ, **overrides}
