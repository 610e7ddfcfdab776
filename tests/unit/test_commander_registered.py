"""`commander services` and `commander init`: what a person sees of the registry, and begins one with."""

import io
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from commander.__main__ import run
from commander.line import Entry, Listing
from commander.registered import STARTER, services
from incident.policy import Mode
from incident.prometheus import PrometheusEndpoint
from incident.services import GitHubEndpoint, parse_registry
from integrations.files import read_policies

TEXT = """
[[service]]
name = "payment-api"
owners = ["team payments"]
source = { kind = "mock", url = "http://127.0.0.1:9" }
metrics = { kind = "prometheus", url = "http://prometheus", set = "otel", selector = { job = "payment-api" } }

[[service]]
name = "checkout"
depends_on = ["payment-api"]
source = { kind = "mock", url = "http://127.0.0.1:9" }
rollback = { kind = "github", repository = "acme/checkout" }
"""
OPEN = Entry(
    incident_id="production.checkout.20261124T140000Z.0123abcd", severity="P0", stands="awaiting_approval", lasted=None
)
CLOSED = Entry(
    incident_id="production.payment-api.20261124T140000Z.0123abcd",
    severity="P0",
    stands="RECOVERED",
    lasted=timedelta(minutes=3),
)


def _shown(listing: Listing) -> str:
    screen = io.StringIO()
    Console(file=screen, width=200).print(services(parse_registry(TEXT, "services.toml"), listing))
    return screen.getvalue()


def test_each_service_shows_its_sources_owners_needs_and_open_incident() -> None:
    shown = _shown(Listing(entries=(OPEN, CLOSED)))

    payment, checkout = shown[shown.index("payment-api") :].split("checkout", 1)
    for words in (
        "prometheus: metrics",
        "mock: logs, alerts, deployments, rollback",
        "team payments",
        "no open incident",
    ):
        assert words in payment
    for words in (
        "mock: metrics, logs, alerts, deployments",
        "github: rollback",
        "payment-api",
        "P0 awaiting_approval",
    ):
        assert words in checkout
    assert OPEN.incident_id in checkout
    assert CLOSED.incident_id not in shown


def test_a_state_that_is_not_known_is_not_none() -> None:
    shown = _shown(Listing(entries=(), open_unknown="the gateway cannot ask Temporal"))

    assert shown.count("not known") == 2
    assert "no open incident" not in shown


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder from which no gateway can be reached."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMMANDER__URL", "http://127.0.0.1:9")
    monkeypatch.delenv("COMMANDER__TOKEN", raising=False)
    return tmp_path


def test_the_registry_is_listed_although_nobody_can_say_what_is_open(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "services.toml").write_text(TEXT)

    assert run(["services"]) == 1

    out, err = capsys.readouterr()
    assert "checkout" in out
    assert err.startswith("open incidents are not known: COMMANDER__TOKEN: expected your token")


def test_init_writes_a_registry_that_works_and_never_replaces_one(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = here / "services.toml"

    assert run(["init"]) == 0
    text = written.read_text()
    written.write_text("mine")
    assert run(["init"]) == 2

    assert parse_registry(text, "services.toml").names == ("payment-api",)
    assert written.read_text() == "mine"
    assert "services.toml: is there already, and stays as it is" in capsys.readouterr().err


def test_what_the_starter_has_in_comments_works_too() -> None:
    text = STARTER.read_text()
    begins = text.index("# [[service]]")
    rest = "".join(line[len("# ") :] for line in text[begins:].splitlines(keepends=True))

    service = parse_registry(text[:begins] + rest, "services.toml").find("production", "checkout")

    assert isinstance(service.endpoint("metrics"), PrometheusEndpoint)
    policies = read_policies(STARTER.with_name("no.toml"), parse_registry(text[:begins] + rest, ""), STARTER)
    assert policies.of("checkout", "production").mode is Mode.AUTO
    assert policies.of("payment-api", "production").mode is Mode.ASK
    assert isinstance(service.endpoint("rollback"), GitHubEndpoint)
    assert service.depends_on == ("payment-api",)
