"""How PagerDuty is reached, and on whose behalf."""

import re

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from integrations.addresses import host_of

_ROUTING_KEY = re.compile(r"[A-Za-z0-9]{32}")


class PagerDutySettings(BaseModel):
    """The integration whose people are paged, and the region that takes its events."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    routing_key: SecretStr | None = Field(
        default=None, description="The integration key of an Events API v2 integration, 32 letters and digits."
    )
    events_url: str = Field(
        default="https://events.pagerduty.com",
        description="PagerDuty's Events API; in the EU region https://events.eu.pagerduty.com.",
    )

    def key(self) -> str:
        """The integration key, as text; empty where none is set."""
        return self.routing_key.get_secret_value() if self.routing_key else ""

    def problems(self) -> tuple[str, ...]:
        """A line for each variable that keeps PagerDuty from being asked; empty: none does."""
        # Checked here and not by the fields, whose errors would show what was given, secrets included.
        found = []
        if not _ROUTING_KEY.fullmatch(self.key()):
            found.append("PAGERDUTY__ROUTING_KEY: expected an integration key of Events API v2, 32 letters and digits")
        if not host_of(self.events_url):
            found.append(
                "PAGERDUTY__EVENTS_URL: expected an address that begins with https:// or http://, without user or query"
            )
        return tuple(found)
