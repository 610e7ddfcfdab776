"""What a caller believes of a service: it may repeat the registry and tighten the policy, and no more."""

import httpx
import pytest

from tests.contract.gateway_desk import FakeDesk

pytest_plugins = ["tests.contract.gateway_fixtures"]
URLS = {
    "service_url": "http://127.0.0.1:9",
    "metrics_url": "http://127.0.0.1:9/metrics/json",
    "logs_url": "http://127.0.0.1:9/logs",
    "alerts_url": "http://127.0.0.1:9/alerts",
}
WAYS = ("/incidents", "/services/check")


async def test_a_check_says_what_the_registry_says_and_starts_nothing(api: httpx.AsyncClient, desk: FakeDesk) -> None:
    answer = await api.post("/services/check", json={"service": "payment-api"})
    assert answer.status_code == 200
    assert answer.json() == {
        "service": "payment-api",
        "environment": "production",
        **URLS,
        "deployments_repo": "Acme/Payment-API",
        "chaos_url": "http://127.0.0.1:9",
        "min_confidence": 80.0,
    }
    assert not desk.touched


async def test_a_service_that_is_not_on_github_has_no_repository(api: httpx.AsyncClient) -> None:
    assert (await api.post("/services/check", json={"service": "checkout"})).json()["deployments_repo"] == ""
    asked = {"service": "checkout", "deployments_repo": "acme/checkout"}
    answer = await api.post("/services/check", json=asked)
    assert answer.json()["errors"] == ["body.deployments_repo: expected nothing: there is none"]


@pytest.mark.parametrize("way", WAYS)
async def test_what_repeats_the_registry_is_taken(way: str, api: httpx.AsyncClient) -> None:
    asked = {"service": "payment-api", **URLS, "deployments_repo": "acme/payment-api"}
    assert (await api.post(way, json=asked)).is_success
    assert (await api.post(way, json={**asked, "service_url": "http://127.0.0.1:9/"})).is_success


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("field", [*URLS, "deployments_repo"])
async def test_what_contradicts_the_registry_starts_nothing_and_is_named(
    field: str, way: str, api: httpx.AsyncClient, desk: FakeDesk
) -> None:
    answer = await api.post(way, json={"service": "payment-api", field: "http://elsewhere:3000/metrics/json"})
    assert answer.status_code == 422
    (line,) = answer.json()["errors"]
    assert line.startswith(f"body.{field}: expected {URLS.get(field, 'Acme/Payment-API')}")
    assert "elsewhere" not in answer.text
    assert not desk.touched


async def test_a_url_in_other_letters_is_another_url(api: httpx.AsyncClient, desk: FakeDesk) -> None:
    answer = await api.post(
        "/incidents", json={"service": "payment-api", "metrics_url": f"{URLS['service_url']}/Metrics/json"}
    )
    assert answer.status_code == 422
    assert not desk.touched


@pytest.mark.parametrize(("percent", "wanted"), [(None, 0.8), (0, 0.8), (79, 0.8), (80, 0.8), (81, 0.81), (100, 1.0)])
async def test_a_confidence_may_only_tighten_the_policy(
    percent: int | None, wanted: float, api: httpx.AsyncClient, desk: FakeDesk
) -> None:
    asked = {"service": "payment-api", "min_confidence_for_rollback": percent}
    assert (await api.post("/services/check", json=asked)).json()["min_confidence"] == wanted * 100
    assert (await api.post("/incidents", json=asked)).is_success
    assert desk.opened[0].policy.min_confidence == wanted


@pytest.mark.parametrize("percent", [-1, 101, 0.92, "80", True])
async def test_a_confidence_that_is_no_percentage_starts_nothing_and_is_named(
    percent: object, api: httpx.AsyncClient, desk: FakeDesk
) -> None:
    answer = await api.post("/incidents", json={"service": "payment-api", "min_confidence_for_rollback": percent})
    assert answer.status_code == 422
    assert answer.json()["errors"][0].startswith("body.min_confidence_for_rollback: ")
    assert not desk.touched


async def test_chaos_on_purpose_is_kept_with_the_incident(api: httpx.AsyncClient, desk: FakeDesk) -> None:
    await api.post("/incidents", json={"service": "payment-api", "chaos_mode": True})
    assert desk.opened[0].trigger.chaos_mode
