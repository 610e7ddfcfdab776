"""Prometheus, or what speaks its HTTP API: a service's metrics.

By reason to change: `settings` (credentials and pace), `queries` (what is asked for a service), `client` (one query),
`answers` (what an answer says), `readings` (which number may be believed), `metrics`, `history` and `counts` (the
ports).
"""

from integrations.prometheus.client import Prometheus
from integrations.prometheus.counts import PrometheusCounts
from integrations.prometheus.history import PrometheusHistory
from integrations.prometheus.metrics import PrometheusMetrics
from integrations.prometheus.readings import NO_QUERY
from integrations.prometheus.settings import PrometheusSettings

__all__ = ["NO_QUERY", "Prometheus", "PrometheusCounts", "PrometheusHistory", "PrometheusMetrics", "PrometheusSettings"]
