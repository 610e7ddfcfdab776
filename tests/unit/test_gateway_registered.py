"""What the gateway says of a service whose sources are different systems."""

from gateway.registered import Expectations, contradictions, registered
from incident.policy import Policy
from incident.services import parse_registry

TEXT = """
[[service]]
name = "payment-api"
source = { kind = "mock", url = "http://payment-api:3000/" }
metrics = { kind = "prometheus", url = "http://prometheus:9090/", set = "otel", selector = { job = "payment-api" } }
"""


def test_a_service_that_prometheus_measures_is_itself_where_its_source_is() -> None:
    service = parse_registry(TEXT, "services.toml").find("production", "payment-api")

    found = registered(service, Policy())

    assert (found.service_url, found.chaos_url) == ("http://payment-api:3000", "http://payment-api:3000")
    assert (found.metrics_url, found.logs_url) == ("http://prometheus:9090", "http://payment-api:3000/logs")
    assert contradictions(Expectations(metrics_url="http://prometheus:9090"), found) == []
    assert contradictions(Expectations(metrics_url="http://payment-api:3000/metrics/json"), found) == [
        "body.metrics_url: expected http://prometheus:9090, as the registry says, or nothing"
    ]
