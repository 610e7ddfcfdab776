"""What Alertmanager's and Grafana's webhooks say, sorted by the service that it is about.

Alertmanager 0.34 (docs/configuration.md, webhook_config) and Grafana 13 send the same shape, as far as it is read here;
both let a team write a payload of its own, so that nothing else is relied on.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from gateway.settings import GatewaySettings
from incident.dossier import AlertNotice
from incident.model import Fact
from incident.redaction import redact
from integrations.text import one_line

MAX_ALERTS = 500
"""In one message; a notice holds no more. Alertmanager's `max_alerts` keeps its messages below that."""
MAX_LABELS = 64
"""Of one alert: twice what Prometheus's own mixins use."""
_NAME = 100
_REASON = 300
_NAMES_IN_REASON = 5
_NAMELESS = "an alert without a name"

_LabelName = Annotated[str, Field(max_length=256)]
_LabelValue = Annotated[str, Field(max_length=4096)]


class AlertStatus(StrEnum):
    """Whether it still fires."""

    FIRING = "firing"
    RESOLVED = "resolved"


class SentAlert(BaseModel):
    """One alert of a message; what is not named here is not read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    status: AlertStatus | None = Field(default=None, description="absent: the message's own")
    labels: dict[_LabelName, _LabelValue] = Field(default={}, max_length=MAX_LABELS)


class AlertMessage(BaseModel):
    """One message of an alert manager; what is not named here is not read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    status: AlertStatus = AlertStatus.FIRING
    truncatedAlerts: int = Field(default=0, ge=0, strict=True, description="alerts that were left out")  # noqa: N815 - the sender's
    alerts: tuple[SentAlert, ...] = Field(max_length=MAX_ALERTS)


class Tidings(Fact):
    """What one message says of one service."""

    environment: str
    service: str
    notice: AlertNotice

    @property
    def about(self) -> str:
        """The service, as answers name it."""
        return f"{self.environment}/{self.service}"

    @property
    def reason(self) -> str:
        """What fires, in one line."""
        names = self.notice.firing
        more = f" and {len(names) - _NAMES_IN_REASON} more" if len(names) > _NAMES_IN_REASON else ""
        return one_line(", ".join(names[:_NAMES_IN_REASON]), _REASON - len(more)) + more


def sort(message: AlertMessage, source: str, settings: GatewaySettings) -> tuple[Tidings, ...]:
    """What `message` says of each service, in the order of their first alerts; unknown ones and nameless ones as well.

    Args:
        message: as it came.
        source: who sent it: alertmanager, grafana.
        settings: which labels name service and environment.
    """
    by_service: dict[tuple[str, str], list[SentAlert]] = {}
    for alert in message.alerts:
        environment = alert.labels.get(settings.environment_label) or settings.default_environment
        by_service.setdefault((environment, alert.labels.get(settings.service_label, "")), []).append(alert)
    return tuple(
        Tidings(
            environment=environment,
            service=service,
            notice=AlertNotice(
                source=source,
                firing=_names(each for each in alerts if _status(each, message) is AlertStatus.FIRING),
                resolved=_names(each for each in alerts if _status(each, message) is AlertStatus.RESOLVED),
                left_out=message.truncatedAlerts,
            ),
        )
        for (environment, service), alerts in by_service.items()
    )


def _status(alert: SentAlert, message: AlertMessage) -> AlertStatus:
    return alert.status or message.status


def _names(alerts: Iterable[SentAlert]) -> tuple[str, ...]:
    """Each name once; others wrote them."""
    names = (one_line(redact(alert.labels.get("alertname", "")), _NAME) or _NAMELESS for alert in alerts)
    return tuple(dict.fromkeys(names))
