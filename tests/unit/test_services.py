from datetime import timedelta

import pytest

from incident.errors import ConfigurationError, UnknownServiceError
from incident.prometheus import PrometheusEndpoint
from incident.services import (
    AlertmanagerEndpoint,
    GitHubEndpoint,
    JsonLinesEndpoint,
    LokiEndpoint,
    MockEndpoint,
    Service,
    calls_around,
    parse_registry,
)

MOCK = 'source = {kind = "mock", url = "http://localhost:3000"}'
ONE = f'[[service]]\nname = "payment-api"\n{MOCK}\n'


def refused(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse_registry(text, "services.toml")
    return list(caught.value.lines)


def test_one_source_stands_for_all_five_endpoints() -> None:
    registry = parse_registry(ONE, "services.toml")
    service = registry.find("production", "payment-api")
    assert registry.names == ("payment-api",)
    assert service.environment == "production"
    endpoint = MockEndpoint(kind="mock", url="http://localhost:3000")
    assert [
        service.endpoint("metrics"),
        service.endpoint("logs"),
        service.endpoint("alerts"),
        service.endpoint("deployments"),
        service.endpoint("rollback"),
    ] == [endpoint] * 5


def test_an_endpoint_of_its_own_goes_before_the_source() -> None:
    text = ONE + 'logs = {kind = "mock", url = "https://logs.example.org/api?x=1"}\n'
    service = parse_registry(text, "services.toml").find("production", "payment-api")
    assert service.endpoint("logs") == MockEndpoint(kind="mock", url="https://logs.example.org/api?x=1")
    assert service.endpoint("metrics") == MockEndpoint(kind="mock", url="http://localhost:3000")


def test_five_endpoints_need_no_source() -> None:
    lines = "".join(
        f'{name} = {{kind = "mock", url = "http://{name}"}}\n'
        for name in ("metrics", "logs", "alerts", "deployments", "rollback")
    )
    service = parse_registry(f'[[service]]\nname = "a"\n{lines}', "services.toml").find("production", "a")
    assert service.source is None
    assert service.endpoint("rollback") == MockEndpoint(kind="mock", url="http://rollback")


@pytest.mark.parametrize("missing", ["metrics", "logs", "alerts", "deployments", "rollback"])
def test_a_missing_endpoint_without_a_source_is_refused(missing: str) -> None:
    given = [name for name in ("metrics", "logs", "alerts", "deployments", "rollback") if name != missing]
    lines = "".join(f'{name} = {{kind = "mock", url = "http://{name}"}}\n' for name in given)
    (line,) = refused(f'[[service]]\nname = "a"\n{lines}')
    assert line.startswith(f"services.toml: service[0]: {missing}: expected an endpoint")


@pytest.mark.parametrize(
    ("text", "place", "expectation"),
    [
        ("", "service", "Field required"),
        ("service = []", "service", "expected at least one [[service]] table"),
        ("version = 2\n" + ONE, "version", "Input should be 1 (got 2)"),
        ("surprise = 1\n" + ONE, "surprise", "Extra inputs are not permitted"),
        (ONE + "surprise = 1", "service[0].surprise", "Extra inputs are not permitted"),
        (f"[[service]]\n{MOCK}", "service[0].name", "Field required"),
        (ONE.replace("payment-api", "Payment API"), "service[0].name", "should match pattern"),
        (ONE.replace('"mock"', '"carrier-pigeon"'), "service[0].source.kind", "'mock' (got 'carrier-pigeon')"),
        (ONE + 'environment = "pro-duction"', "service[0].environment", "should match pattern"),
        (ONE.replace("http://localhost", "ftp://localhost"), "service[0].source.url", "should match pattern"),
        (ONE.replace("http://", ""), "service[0].source.url", "should match pattern"),
        (ONE.replace("localhost:3000", "local host"), "service[0].source.url", "should match pattern"),
    ],
)
def test_a_wrong_value_is_refused_with_file_key_and_expectation(text: str, place: str, expectation: str) -> None:
    (line,) = refused(text)
    assert line.startswith(f"services.toml: {place}: ")
    assert expectation in line


@pytest.mark.parametrize("credentials", ["ada:hunter2", "hunter2", ":hunter2"])
def test_a_url_with_credentials_is_refused(credentials: str) -> None:
    (line,) = refused(ONE.replace("localhost", f"{credentials}@localhost"))
    assert line.startswith("services.toml: service[0].source.url: String should match pattern")


def test_the_refusal_of_a_url_does_not_repeat_its_password() -> None:
    (line,) = refused(ONE.replace("localhost", "ada:hunter2@localhost"))
    assert "hunter2" not in line


def test_a_service_is_given_once_in_an_environment() -> None:
    (line,) = refused(ONE + ONE)
    expected = "service: expected each name once in an environment; twice: incident-production-payment-api"
    assert line == f"services.toml: {expected}"


def test_a_service_may_be_given_in_two_environments() -> None:
    registry = parse_registry(ONE + ONE + 'environment = "staging"', "services.toml")
    assert registry.find("staging", "payment-api").environment == "staging"
    assert registry.find("production", "payment-api").environment == "production"


def test_several_errors_are_all_listed() -> None:
    lines = refused(ONE.replace('"mock"', '"x"') + ONE.replace("payment-api", "B").replace("http:", "gopher:"))
    assert [line.split(": ")[1] for line in lines] == [
        "service[0].source.kind",
        "service[1].name",
        "service[1].source.url",
    ]


def test_what_is_not_toml_is_refused_with_the_file() -> None:
    (line,) = refused("[[service]\n")
    assert line.startswith("services.toml: not TOML: ")


@pytest.mark.parametrize(("environment", "name"), [("production", "other"), ("staging", "payment-api")])
def test_an_unknown_service_is_named_with_those_that_are_known(environment: str, name: str) -> None:
    with pytest.raises(UnknownServiceError) as caught:
        parse_registry(ONE, "services.toml").find(environment, name)
    assert str(caught.value) == (
        f"services.toml: no service '{name}' in environment '{environment}'; known: payment-api (production)"
    )


GITHUB = 'rollback = {kind = "github", repository = "acme/payment-api"}\n'


def test_a_repository_on_github_may_give_deployments_and_rollbacks() -> None:
    text = ONE + GITHUB + GITHUB.replace("rollback =", "deployments =").replace("}", ', environment = "Production/EU"}')
    service = parse_registry(text, "services.toml").find("production", "payment-api")
    assert service.endpoint("rollback") == GitHubEndpoint(
        kind="github", repository="acme/payment-api", environment="", task="deploy", workflow="rollback.yml", ref="main"
    )
    deployments = service.endpoint("deployments")
    assert isinstance(deployments, GitHubEndpoint)
    assert deployments.environment == "Production/EU"
    assert service.endpoint("metrics") == MockEndpoint(kind="mock", url="http://localhost:3000")


@pytest.mark.parametrize(
    ("line", "place"),
    [
        (GITHUB.replace("rollback =", "metrics ="), "metrics"),
        (GITHUB.replace("acme/payment-api", "payment-api"), "rollback.github.repository"),
        (GITHUB.replace("acme/payment-api", "acme/../x"), "rollback.github.repository"),
        (GITHUB.replace("}", ', workflow = "../rollback.yml"}'), "rollback.github.workflow"),
        (GITHUB.replace("}", ', ref = "a b"}'), "rollback.github.ref"),
        (GITHUB.replace("}", ', task = ""}'), "rollback.github.task"),
        (GITHUB.replace("}", ', url = "http://x"}'), "rollback.github.url"),
        (GITHUB.replace('"github"', '"gitlab"'), "rollback"),
    ],
)
def test_a_wrong_repository_is_refused_with_its_place(line: str, place: str) -> None:
    assert any(each.startswith(f"services.toml: service[0].{place}") for each in refused(ONE + line))


LOKI = 'logs = {kind = "loki", url = "http://loki:3100", selector = """{app="payment-api"}"""}\n'
JSON_LINES = 'logs = {kind = "jsonlines", url = "http://logs/newest"}\n'
ALERTMANAGER = 'alerts = {kind = "alertmanager", url = "http://am:9093", matchers = [\'service="payment-api"\']}\n'


def test_logs_may_be_lokis_or_json_lines_and_alerts_an_alertmanagers() -> None:
    service = parse_registry(ONE + LOKI + ALERTMANAGER, "services.toml").find("production", "payment-api")
    assert service.endpoint("logs") == LokiEndpoint(
        kind="loki", url="http://loki:3100", selector='{app="payment-api"}', window=timedelta(hours=1), lines=1000
    )
    assert service.endpoint("alerts") == AlertmanagerEndpoint(
        kind="alertmanager", url="http://am:9093", peers=(), matchers=('service="payment-api"',)
    )
    service = parse_registry(ONE + JSON_LINES, "services.toml").find("production", "payment-api")
    assert service.endpoint("logs") == JsonLinesEndpoint(
        kind="jsonlines", url="http://logs/newest", time="time", level="level", message="message"
    )


@pytest.mark.parametrize(
    ("line", "place", "expectation"),
    [
        (LOKI.replace('{app="payment-api"}', "payment-api"), "logs.loki.selector", "expected a selector"),
        (LOKI.replace('{app="payment-api"}', '{app=~".*"}'), "logs.loki.selector", "everything there is"),
        (LOKI.replace("}\n", ', tenant = "a b"}\n'), "logs.loki.tenant", "should match pattern"),
        (LOKI.replace("}\n", ', window = "1s"}\n'), "logs.loki.window", "greater than or equal"),
        (LOKI.replace("}\n", ", lines = 5001}\n"), "logs.loki.lines", "less than or equal to 5000"),
        (LOKI.replace("}\n", ', token = "x"}\n'), "logs.loki.token", "Extra inputs"),
        (LOKI.replace("logs", "metrics"), "metrics", "'mock'"),
        (ALERTMANAGER.replace("service=", "service"), "alerts.alertmanager.matchers", "expected a matcher"),
        (
            ALERTMANAGER.replace("matchers = ['service=\"payment-api\"']", "matchers = []"),
            "alerts.",
            "everything there is",
        ),
        (ALERTMANAGER.replace("}\n", ', peers = ["am-1"]}\n'), "alerts.alertmanager.peers[0]", "should match pattern"),
        (ALERTMANAGER.replace("alerts", "logs"), "logs", "'alertmanager'"),
        (JSON_LINES.replace("http://", "http://ada:hunter2@"), "logs.jsonlines.url", "should match pattern"),
    ],
)
def test_a_wrong_source_is_refused_with_its_place(line: str, place: str, expectation: str) -> None:
    found = [each for each in refused(ONE + line) if each.startswith(f"services.toml: service[0].{place}")]
    assert any(expectation in each for each in found)
    assert "hunter2" not in "".join(found)


def test_a_service_is_immutable() -> None:
    assert Service.model_config.get("frozen")


PROMETHEUS = 'metrics = {kind = "prometheus", url = "http://prometheus:9090", selector = {job = "a"}, set = "otel"}\n'
OWN = PROMETHEUS.replace('set = "otel"', 'queries = {error_rate = "e", p99_latency = "p"}')


@pytest.mark.parametrize("line", [PROMETHEUS, OWN], ids=["set", "own"])
def test_metrics_may_come_from_prometheus_and_the_rest_from_the_source(line: str) -> None:
    service = parse_registry(ONE + line, "services.toml").find("production", "payment-api")
    endpoint = service.endpoint("metrics")
    assert isinstance(endpoint, PrometheusEndpoint)
    assert endpoint.selector == {"job": "a"}
    assert service.endpoint("logs") == MockEndpoint(kind="mock", url="http://localhost:3000")


@pytest.mark.parametrize(
    ("old", "new", "place", "expectation"),
    [
        ("http://", "http://ada:hunter2@", "url", "should match pattern"),
        (":9090", ":9090/?x=1", "url", "should match pattern"),
        ('job = "a"', "", "selector", "at least 1 item"),
        ('job = "a"', 'job = ""', "selector.job", "at least 1 character"),
        ('job = "a"', 'job = "a\\n"', "selector.job", "without control characters"),
        ('job = "a"', '__name__ = "a"', "selector.__name__.[key]", "should match pattern"),
        ('"otel"', '"prometheus"', "set", "'classic' or 'otel'"),
        ('"otel"', '"otel", window = "1s"', "window", "greater than or equal to"),
        ('"otel"', '"otel", window = 300', "window", "expected a duration with its unit"),
        ('"otel"', '"otel", surprise = 1', "surprise", "Extra inputs"),
        ('"otel"', '"otel", queries = {restarts = "x"}', "queries.restarts", "Extra inputs"),
        ('"otel"', '"otel", queries = {cpu_usage = ""}', "queries.cpu_usage.query", "at least 1 character"),
        ('"otel"', '"otel", queries = {cpu_usage = "x{$label}"}', "queries.cpu_usage.query", "and not $label"),
        (
            '"otel"',
            '"otel", queries = {cpu_usage = {query = "x", unit = "seconds"}}',
            "queries: cpu_usage.unit",
            "expected ratio or percent, and not seconds",
        ),
        (
            '"otel"',
            '"otel", queries = {cpu_usage = {query = "x", saturates_at = 1}}',
            "queries: cpu_usage.saturates_at",
            "expected for a latency only",
        ),
        (', set = "otel"', "", "", "queries.error_rate: expected a query, or a `set`"),
        (
            'set = "otel"',
            'queries = {error_rate = "e"}',
            "",
            "queries.p99_latency: expected a query, or a `set`",
        ),
        (
            'set = "otel"',
            'queries = {error_rate = "e", p99_latency = "p"}, process = {cpu_cores = 1, memory_bytes = 1}',
            "",
            "process: expected only with a `set`",
        ),
        (
            'set = "otel"',
            'set = "otel", process = {cpu_cores = 1, memory_bytes = 1}, containers = {namespace = "n", pod = "p"}',
            "",
            "process: expected this or `containers`, not both",
        ),
        (
            'set = "otel"',
            'queries = {error_rate = "e", p99_latency = "p"}, status_label = "code"',
            "",
            "status_label: expected only with a `set`",
        ),
    ],
)
def test_a_prometheus_that_cannot_work_is_refused_with_its_key(
    old: str, new: str, place: str, expectation: str
) -> None:
    (line,) = refused(ONE + PROMETHEUS.replace(old, new))
    assert line.startswith(f"services.toml: service[0].metrics.prometheus{'.' if place else ''}{place}: ")
    assert expectation in line
    assert "hunter2" not in line


def test_only_metrics_come_from_prometheus() -> None:
    (line,) = refused(ONE + PROMETHEUS.replace("metrics =", "rollback ="))
    assert line.startswith("services.toml: service[0].rollback: ")


def named(name: str, *needed: str, environment: str = "production") -> str:
    rest = "depends_on = [" + ", ".join(f'"{each}"' for each in needed) + "]"
    return f'[[service]]\nname = "{name}"\nenvironment = "{environment}"\n{MOCK}\n{rest}\n'


def test_a_service_names_its_owners_and_what_it_needs() -> None:
    text = named("checkout", "payment-api", "basket") + named("basket", "payment-api") + named("payment-api")
    service = parse_registry(text + 'owners = ["team payments", "ada@example.org"]', "services.toml").service
    assert service[0].depends_on == ("payment-api", "basket")
    assert service[2].owners == ("team payments", "ada@example.org")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            named("a") + named("b", "a", "nope"),
            "service[1].depends_on: expected services of production; not among them: nope",
        ),
        (
            named("a", environment="staging") + named("b", "a"),
            "service[1].depends_on: expected services of production; not among them: a",
        ),
        (named("a", "a"), "service[0].depends_on: expected no circle, and there is one: a -> a"),
        (
            named("a") + named("b", "c") + named("c", "d") + named("d", "b"),
            "service[1].depends_on: expected no circle, and there is one: b -> c -> d -> b",
        ),
    ],
    ids=["unknown", "elsewhere", "itself", "circle"],
)
def test_what_a_service_needs_is_registered_and_runs_in_no_circle(text: str, line: str) -> None:
    assert refused(text) == [f"services.toml: {line}"]


def test_the_calls_around_a_service_are_its_callers_and_all_that_it_needs() -> None:
    text = named("web", "shop") + named("shop", "payment-api") + named("payment-api", "store") + named("store")
    registry = parse_registry(text + named("admin", "store") + named("shop", environment="staging"), "services.toml")
    assert calls_around(registry, "production", "shop") == (
        ("web", "shop"),
        ("shop", "payment-api"),
        ("payment-api", "store"),
    )
    assert calls_around(registry, "staging", "shop") == ()
    with pytest.raises(UnknownServiceError):
        calls_around(registry, "staging", "web")


@pytest.mark.parametrize(("field", "value"), [("owners", "<!here>"), ("depends_on", "Not A Service")])
def test_a_name_that_is_none_is_refused_with_its_place(field: str, value: str) -> None:
    (line,) = refused(f'{ONE}{field} = ["{value}"]')
    assert line.startswith(f"services.toml: service[0].{field}[0]: String should match pattern")
