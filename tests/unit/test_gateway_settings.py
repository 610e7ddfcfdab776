"""The gateway's settings: secrets are checked and never shown."""

import pytest
from pydantic import SecretStr

from gateway.settings import GatewaySettings, Settings, load_settings
from incident.errors import ConfigurationError
from integrations.variables import variables
from worker.settings import Settings as WorkerSettings

SHORT = "c0ffee"


@pytest.mark.parametrize("name", ["alertmanager_secret", "grafana_secret", "github_secret", "session_key"])
def test_a_secret_that_is_too_short_is_named_and_not_shown(name: str) -> None:
    given = GatewaySettings.model_validate({name: SHORT})
    (line,) = given.problems()
    assert line.startswith(f"GATEWAY__{name.upper()}: expected at least ")
    assert SHORT not in line + repr(given)
    assert GatewaySettings.model_validate({name: "x" * 32}).problems() == ()


def test_the_key_of_sessions_is_as_long_as_its_hash() -> None:
    assert GatewaySettings(session_key=SecretStr("x" * 31)).problems()
    assert GatewaySettings(github_secret=SecretStr("x" * 16)).problems() == ()
    assert GatewaySettings(github_secret=SecretStr("x" * 15)).problems()


def test_what_cannot_be_used_is_a_line_for_each_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "GATEWAY__BURST": "0",
        "GATEWAY__DEFAULT_ENVIRONMENT": "Pro-Duction",
        "GATEWAY__DRAIN": "soon",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert [line.partition(": ")[0] for line in caught.value.lines] == [
        "GATEWAY__DEFAULT_ENVIRONMENT",
        "GATEWAY__BURST",
        "GATEWAY__DRAIN",
    ]


def test_slack_is_held_to_its_settings_only_where_its_buttons_are_pressed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK__CHANNEL", "incidents")
    assert load_settings().slack.channel == "incidents"
    monkeypatch.setenv("SLACK__SIGNING_SECRET", SHORT)
    with pytest.raises(ConfigurationError, match="SLACK__CHANNEL: ") as caught:
        load_settings()
    assert SHORT not in str(caught.value)


def test_what_worker_and_gateway_both_know_is_described_alike() -> None:
    known = {each.name: each for each in variables(WorkerSettings)}
    shared = [each for each in variables(Settings) if each.name in known]
    assert {"SERVICES_FILE", "POLICY_FILE", "PUBLIC_URL", "TEMPORAL__ADDRESS", "STORE__URL"} <= {
        each.name for each in shared
    }
    assert [each for each in shared if each != known[each.name]] == []


def test_defaults_are_enough_to_start() -> None:
    assert load_settings().gateway.bind == "127.0.0.1:8080"
