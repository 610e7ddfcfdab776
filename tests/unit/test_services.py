from datetime import timedelta

import pytest

from incident.errors import ConfigurationError, UnknownServiceError
from incident.services import (
    AlertmanagerEndpoint,
    GitHubEndpoint,
    JsonLinesEndpoint,
    LokiEndpoint,
    MockEndpoint,
    Service,
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
        (LOKI.replace("logs", "metrics"), "metrics.kind", "'mock'"),
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
