import pytest
from pydantic import ValidationError

from mock_service.__main__ import main
from mock_service.settings import MockServiceSettings, Profile, SettingsError, load_settings

VARIABLES = ("PORT", "MOCK_HOST", "MOCK_PROFILE", "MOCK_SEED", "MOCK_RAMP_SECONDS", "MOCK_ALERT_AFTER_SECONDS")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def test_a_bare_environment_gives_a_live_service_on_loopback() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.profile) == ("127.0.0.1", 3000, Profile.LIVE)
    assert settings.ramp.total_seconds() == 4
    assert settings.alert_after.total_seconds() == 3


def test_every_setting_comes_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in zip(VARIABLES, ("8080", "0.0.0.0", "steady", "7", "0.5", "0"), strict=True):  # noqa: S104 - what an operator may set
        monkeypatch.setenv(variable, value)
    settings = load_settings()
    assert (settings.port, settings.profile, settings.seed) == (8080, Profile.STEADY, 7)
    assert (settings.ramp_seconds, settings.alert_after_seconds) == (0.5, 0)


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "")
    assert load_settings().port == 3000


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "abc"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("MOCK_PROFILE", "lively"),
        ("MOCK_SEED", "1.5"),
        ("MOCK_RAMP_SECONDS", "-1"),
        ("MOCK_RAMP_SECONDS", "nan"),
        ("MOCK_ALERT_AFTER_SECONDS", "inf"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_its_variable(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable):
        load_settings()
    assert main() == 2
    written = capsys.readouterr().err
    assert written.count("\n") == 1
    assert variable in written


def test_settings_do_not_change_once_read() -> None:
    settings = MockServiceSettings()
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]  # that it is refused is the point
