"""Prometheus, Alertmanager and their tools, as others wrote them, from `install` beside this file."""

from tests.standins.prometheus.servers import Prometheus, checked, running, why_not

__all__ = ["Prometheus", "checked", "running", "why_not"]
