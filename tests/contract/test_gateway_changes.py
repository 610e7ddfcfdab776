"""What people and programs tell the gateway of changes, and what it refuses."""

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from incident.errors import TransientError
from tests import builders
from tests.builders import NOW
from tests.contract.gateway_desk import FakeDesk, Gate

TOLD = {"service": "payment-api", "id": "pool-4711", "kind": "config_change", "description": "pool from 20 to 10"}
A_WHILE_AGO = NOW - timedelta(minutes=4)


class StandingClock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


CLOCK = StandingClock()
GATE = Gate(FakeDesk(), clock=CLOCK)


@pytest.fixture
def gate() -> Gate:
    """A gateway that was told nothing, at NOW."""
    CLOCK.now = NOW
    GATE.reset()
    return GATE


async def told(gate: Gate, who: str = "ada", **changes: Any) -> httpx.Response:  # noqa: ANN401 - a field's value
    """The answer to the change with those changes; `None` leaves a field out."""
    body = {key: value for key, value in {**TOLD, **changes}.items() if value is not None}
    async with gate.client(getattr(gate.people, who)) as api:
        return await api.post("/changes", json=body)


async def known(gate: Gate, **query: str) -> Any:  # noqa: ANN401 - JSON values have no narrower type
    """What the gateway says was told of."""
    async with gate.client(gate.people.reader) as api:
        return (await api.get("/changes", params=query)).json()


async def test_a_change_is_kept_in_the_tellers_name_and_made_now_unless_they_say_when(gate: Gate) -> None:
    answer = await told(gate, "operator")
    assert answer.status_code == 200
    expected = {**TOLD, "environment": "production", "at": "2026-11-24T14:00:00Z", "by": "operator"}
    assert answer.json() == {**expected, "told_at": "2026-11-24T14:00:00Z"}
    assert (await told(gate, id="other", at="2026-11-24T14:56:00+01:00")).json()["at"] == "2026-11-24T13:56:00Z"


async def test_changes_are_listed_newest_first_of_that_service_only(gate: Gate) -> None:
    for name, minutes in (("b", 1), ("a", 0), ("c", 2)):
        await told(gate, id=name, at=(NOW - timedelta(minutes=minutes)).isoformat())
    await told(gate, service="checkout")
    await told(gate, environment="staging", id="s")
    assert [each["id"] for each in (await known(gate, service="payment-api"))["changes"]] == ["a", "b", "c"]
    assert [each["id"] for each in (await known(gate, service="payment-api", environment="staging"))["changes"]] == [
        "s"
    ]


@pytest.mark.parametrize("at", [None, A_WHILE_AGO.isoformat()], ids=["made now", "dated"])
async def test_the_same_told_again_is_kept_once_and_answered_alike(at: str | None, gate: Gate) -> None:
    first = await told(gate, at=at)
    CLOCK.now += timedelta(minutes=1)
    again = await told(gate, "operator", at=at)
    assert (again.status_code, again.json()) == (200, first.json())
    assert len(gate.store.changes) == 1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"kind": "other"}, "kind"),
        ({"description": "pool from 20 to 5"}, "description"),
        ({"at": NOW.isoformat()}, "at"),
    ],
    ids=["kind", "description", "at"],
)
async def test_what_says_otherwise_under_the_same_id_is_refused_and_changes_nothing(
    changes: dict[str, str], named: str, gate: Gate
) -> None:
    first = await told(gate, at=A_WHILE_AGO.isoformat())
    answer = await told(gate, **{"at": A_WHILE_AGO.isoformat(), **changes})
    assert answer.status_code == 409
    assert answer.json()["detail"] == f"change pool-4711 of payment-api is known with another {named}"
    assert (await known(gate, service="payment-api"))["changes"] == [first.json()]


async def test_one_id_may_stand_for_a_change_of_several_services(gate: Gate) -> None:
    for service, environment in (("payment-api", "production"), ("checkout", "production"), ("payment-api", "staging")):
        assert (await told(gate, service=service, environment=environment)).status_code == 200
    assert len(gate.store.changes) == 3


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"service": "paymentapi"}, "service: no service 'paymentapi' in environment 'production'"),
        ({"service": "checkout", "environment": "staging"}, "service: no service 'checkout'"),
        ({"kind": "deployment"}, "kind: "),
        ({"kind": None}, "kind: Field required"),
        ({"id": "two words"}, "id: "),
        ({"id": None}, "id: Field required"),
        ({"at": "2026-11-24T13:00:00"}, "at: "),
        ({"at": "0001-01-01T00:00:00+14:00"}, "at: not a usable value"),
        ({"at": (NOW + timedelta(minutes=6)).isoformat()}, "at: expected at most 5 minutes in the future"),
        ({"at": (NOW - timedelta(days=8)).isoformat()}, "at: expected at most 7 days ago"),
        ({"description": "x" * 10_001}, "description: "),
        ({"by": "bob"}, "by: "),
    ],
    ids=[
        "service",
        "environment",
        "deployment",
        "no kind",
        "id",
        "no id",
        "no zone",
        "no such time",
        "ahead",
        "old",
        "long",
        "by",
    ],
)
async def test_what_cannot_be_used_is_named_and_not_kept(changes: dict[str, Any], field: str, gate: Gate) -> None:
    answer = await told(gate, **changes)
    assert answer.status_code == 422
    (line,) = answer.json()["errors"]
    assert line.startswith(f"body.{field}")
    assert gate.store.changes == {}


async def test_a_service_that_the_registry_lacks_has_no_list(gate: Gate) -> None:
    assert (await known(gate, service="paymentapi"))["errors"][0].startswith("query.service: no service 'paymentapi'")


async def test_a_description_is_kept_without_secrets_and_hidden_characters_and_only_its_beginning(gate: Gate) -> None:
    secret = "AKIA" + "CANARY7890123456"
    answer = await told(gate, description=f"pool\u202e\nby {secret} " + "x" * 9_000)
    (kept,) = gate.store.changes.values()
    assert answer.json()["description"] == kept.description
    assert kept.description.startswith("pool by [REDACTED:")
    assert len(kept.description) == 500
    assert secret not in answer.text


async def test_a_store_that_is_away_is_told_as_such(gate: Gate) -> None:
    for name in ("tell", "told"):
        gate.store.errors[name] = TransientError("store", "cannot be used now: 10.1.2.3")
    assert (await told(gate)).json() == {"detail": "the store does not answer; try again", "errors": []}
    assert (await known(gate, service=builders.SERVICE))["detail"] == "the store does not answer; try again"
