import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incident.identifiers import correlation_id, mint_incident_id, page_key, parse_incident_id, workflow_id
from tests.builders import INCIDENT_ID, NOW

environments = st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True)
services = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)
# Hyphens and few letters, so that pairs that look alike when joined come up often.
close_environments = st.from_regex(r"a[ab_]{0,2}", fullmatch=True)
close_services = st.from_regex(r"[ab][ab-]{0,4}", fullmatch=True)
times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - given its zone


@settings(deadline=None)
@given(st.tuples(close_environments, close_services), st.tuples(close_environments, close_services))
def test_no_two_services_share_a_workflow_id(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (workflow_id(*one) == workflow_id(*other)) == (one == other)


@settings(deadline=None)
@given(environments, services, times, st.uuids())
def test_an_incident_id_tells_its_environment_and_service(
    environment: str, service: str, at: datetime, entropy: uuid.UUID
) -> None:
    assert parse_incident_id(mint_incident_id(environment, service, at, entropy)) == (environment, service)


def test_an_incident_id_reads_as_place_service_start_and_suffix() -> None:
    entropy = uuid.UUID("0badcafe-0000-4000-8000-000000000000")
    assert mint_incident_id("production", "payment-api", NOW, entropy) == INCIDENT_ID
    assert workflow_id("production", "payment-api") == "incident-production-payment-api"


def test_incident_ids_of_one_service_sort_by_time() -> None:
    first = mint_incident_id("production", "a", NOW, uuid.UUID(int=2**128 - 1))
    later = mint_incident_id("production", "a", NOW.replace(minute=1), uuid.UUID(int=0))
    assert first < later


@pytest.mark.parametrize(
    "text",
    [
        "",
        "incident-production-payment-api",
        INCIDENT_ID + "\n",
        INCIDENT_ID + "0",
        INCIDENT_ID.upper(),
        "../" + INCIDENT_ID,
        INCIDENT_ID.replace("production", "pro-duction"),
        INCIDENT_ID.replace("2026", "٢٠٢٦"),
    ],
)
def test_what_is_no_incident_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an incident id"):
        parse_incident_id(text)


def test_equal_actions_have_equal_correlation_ids() -> None:
    assert correlation_id(INCIDENT_ID, "rollback") == correlation_id(INCIDENT_ID, "rollback", 1)


def test_correlation_ids_differ_by_incident_action_and_ordinal() -> None:
    ids = {
        correlation_id(incident, action, ordinal)
        for incident in (INCIDENT_ID, INCIDENT_ID.replace("0badcafe", "0badcaff"))
        for action in ("rollback", "page")
        for ordinal in (1, 2, 11)
    }
    assert len(ids) == 2 * 2 * 3
    assert all(each.startswith("ic-") and len(each) == 23 for each in ids)


def test_one_incident_has_one_page() -> None:
    assert page_key(INCIDENT_ID) == f"ic/{INCIDENT_ID}"
