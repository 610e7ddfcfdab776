"""The doctor asks each source of logs and alerts, and says how much it read of which, or what to set."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from commander import doctor
from commander.finding import Finding
from tests.standins.github.processes import free_port
from tests.standins.loki import Said, Stream, push, running_fake
from tests.standins.prometheus import running, why_not
from worker.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not())]

_SECOND = 10**9


@pytest.fixture(scope="module")
def loki() -> Iterator[str]:
    with running_fake() as url:
        now = time.time_ns()
        lines = tuple(Said(now - (number + 1) * _SECOND, f"ERROR charge ch_{number} refused") for number in range(40))
        push(url, Stream({"app": "payment-api"}, lines))
        yield url


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    place = tmp_path_factory.mktemp("doctor")
    config = place / "alertmanager.yml"
    config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    with running("alertmanager", place / "data", config, free_port()) as url:
        alert = {"labels": {"alertname": "HighErrorRate", "service": "payment-api"}}
        httpx.post(f"{url}/api/v2/alerts", json=[alert], trust_env=False).raise_for_status()
        yield url


async def _found(place: Path, sources: str) -> dict[str, Finding]:
    services = place / "services.toml"
    services.write_text(
        f'[[service]]\nname = "payment-api"\nsource = {{ kind = "mock", url = "http://127.0.0.1:9" }}\n{sources}\n'
    )
    settings = Settings.model_validate(
        {"services_file": services, "temporal": {"address": "127.0.0.1:9"}, "store": {"url": "sqlite://"}}
    )
    return {each.system: each for each in await doctor.examine(settings)}


async def test_the_doctor_says_what_it_read_of_logs_and_alerts(tmp_path: Path, loki: str, alertmanager: str) -> None:
    sources = f"""
    logs = {{ kind = "loki", url = "{loki}", selector = '{{app="payment-api"}}' }}
    alerts = {{ kind = "alertmanager", url = "{alertmanager}", matchers = ['service="payment-api"'] }}
    """
    found = await _found(tmp_path, sources)
    assert found["payment-api logs"].works
    assert found["payment-api logs"].words.startswith("loki: 40 lines since 20")
    assert found["payment-api logs"].words.endswith("; 1 template, what is new is not known")
    assert found["payment-api alerts"] == Finding("payment-api alerts", works=True, words="alertmanager: 1 firing")


async def test_the_doctor_says_what_is_wrong_with_a_source(tmp_path: Path, loki: str, alertmanager: str) -> None:
    sources = f"""
    logs = {{ kind = "loki", url = "{loki}", selector = '{{app=~"(payment-api"}}' }}
    alerts = {{ kind = "alertmanager", url = "{alertmanager}/api/v2", matchers = ['service="payment-api"'] }}
    """
    found = await _found(tmp_path, sources)
    assert [(each.works, each.words) for each in (found["payment-api logs"], found["payment-api alerts"])] == [
        (False, "loki: refuses the question: the selector, or more `lines` than it allows (HTTP 400)"),
        (False, "alertmanager: has no such address: the url ends before /api (HTTP 404)"),
    ]


async def test_a_selector_that_cannot_be_one_is_said_with_its_place(tmp_path: Path) -> None:
    found = await _found(tmp_path, 'logs = { kind = "loki", url = "http://127.0.0.1:9", selector = "payment-api" }')
    assert not found["services"].works
    assert "service[0].logs.loki.selector: expected a selector such as" in found["services"].words
