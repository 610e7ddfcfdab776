"""Which adapter stands behind a service: GitHub only where the registry names it, and never without a token."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from commander import doctor
from commander.app import app
from commander.finding import Finding
from incident.errors import ConfigurationError, PermanentError
from incident.services import ServiceRegistry, parse_registry
from integrations.github import GitHubDeployments, GitHubRollback, GitHubSettings
from integrations.mock_service import MockPaymentApi
from tests.unit.github_double import Script, client
from worker.settings import Settings
from worker.sources import ConfiguredServices

MOCK = '[[service]]\nname = "payment-api"\nsource = {kind = "mock", url = "http://127.0.0.1:9"}\n'
DEPLOYMENTS = 'deployments = {kind = "github", repository = "acme/payment-api"}\n'
ROLLBACK = 'rollback = {kind = "github", repository = "acme/payment-api"}\n'
TOKEN = GitHubSettings.model_validate({"token": "standin", "api_url": "http://127.0.0.1:9"})


def _registry(text: str) -> ServiceRegistry:
    return parse_registry(text, "services.toml")


def test_each_endpoint_gets_the_adapter_of_its_kind() -> None:
    services = ConfiguredServices(_registry(MOCK + DEPLOYMENTS + ROLLBACK), client(Script()), TOKEN)

    connected = services.connect("production", "payment-api")

    assert isinstance(connected.metrics, MockPaymentApi)
    assert isinstance(connected.logs, MockPaymentApi)
    assert isinstance(connected.alerts, MockPaymentApi)
    assert isinstance(connected.deployments, GitHubDeployments)
    assert isinstance(connected.rollback, GitHubRollback)
    assert services.connect("production", "payment-api") is connected


def test_without_github_no_token_is_wanted() -> None:
    services = ConfiguredServices(_registry(MOCK), client(Script()))

    connected = services.connect("production", "payment-api")

    assert services.github is None
    assert isinstance(connected.deployments, MockPaymentApi)
    assert isinstance(connected.rollback, MockPaymentApi)


@pytest.mark.parametrize("line", [DEPLOYMENTS, ROLLBACK])
def test_a_service_on_github_wants_a_token(line: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^GITHUB__TOKEN: expected a token, or a GitHub App"):
        ConfiguredServices(_registry(MOCK + line), client(Script()))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a registry, where nothing can be reached."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEMPORAL__ADDRESS", "127.0.0.1:9")
    (tmp_path / "services.toml").write_text(MOCK + MOCK.replace("payment-api", "checkout"))
    return tmp_path


def _settings(**changes: object) -> Settings:
    return Settings.model_validate({"temporal": {"address": "127.0.0.1:9"}, **changes})


async def _findings(only: str = "", **changes: object) -> dict[str, Finding]:
    return {each.system: each for each in await doctor.examine(_settings(**changes), only)}


@pytest.mark.usefixtures("here")
async def test_the_doctor_examines_every_service_or_one() -> None:
    everything, one = await _findings(), await _findings("checkout")

    assert {"payment-api metrics", "checkout metrics", "temporal", "policy"} <= set(everything)
    assert [each for each in one if each.startswith("payment-api")] == []
    assert "checkout metrics" in one


@pytest.mark.usefixtures("here")
async def test_a_service_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(PermanentError, match="no service 'nope'; known: checkout, payment-api"):
        await _findings("nope")


@pytest.mark.usefixtures("here")
def test_the_command_takes_a_service() -> None:
    shown = CliRunner().invoke(app, ["doctor", "checkout"])

    assert shown.exit_code == 1
    assert "payment-api metrics" not in shown.output
    assert "checkout metrics" in " ".join(shown.output.split())


async def test_the_doctor_names_the_variable_that_github_wants(here: Path) -> None:
    (here / "services.toml").write_text(MOCK + DEPLOYMENTS + ROLLBACK)

    found = await _findings()

    assert not found["github"].works
    assert found["github"].words.startswith("GITHUB__TOKEN: ")


async def test_the_doctor_says_what_github_lacks(here: Path) -> None:
    (here / "services.toml").write_text(MOCK + DEPLOYMENTS + ROLLBACK)

    found = await _findings(github=TOKEN)

    for subject in ("payment-api repository", "payment-api live"):
        assert not found[subject].works
        assert found[subject].words == "github: cannot be reached"
    assert "payment-api workflow" not in found


@pytest.mark.parametrize(
    ("text", "works", "words"),
    [
        (None, True, "the defaults hold"),
        ('mode = "auto"\n', True, "payment-api: auto"),
        ("mode = [", False, "policy.toml: not TOML"),
        ('mode = "yolo"\n', False, "policy.toml: mode"),
        ("surprise = 1\n", False, "policy.toml: surprise"),
        ("[services.nope]\n", False, "nope"),
        ("\udcff", False, "cannot be read (UnicodeDecodeError)"),
    ],
)
async def test_the_doctor_reads_the_policy(here: Path, text: str | None, words: str, *, works: bool) -> None:
    if text is not None:
        (here / "policy.toml").write_text(text, errors="surrogateescape")

    found = (await _findings())["policy"]

    assert found.works is works
    assert words in found.words


async def test_the_doctor_shows_what_the_registry_sets_of_the_policy_or_what_is_wrong_with_it(here: Path) -> None:
    (here / "services.toml").write_text(MOCK + '[service.policy]\nmode = "auto"\ncool_down = "2h"\n')
    assert (await _findings())["policy"].words.endswith(
        'payment-api: auto (of the registry: mode "auto", cool_down "PT2H")'
    )

    (here / "services.toml").write_text(MOCK + "[service.policy]\nobjective = false\n")
    assert (await _findings())["policy"].words.endswith("payment-api: ask (of the registry: objective false)")

    (here / "services.toml").write_text(MOCK + '[service.policy]\nmode = "yolo"\n')
    found = (await _findings())["policy"]
    assert (found.works, found.words.startswith("services.toml: service[0].policy: mode: ")) == (False, True)
