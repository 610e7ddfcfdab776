"""The oracle can fail: each kind of damage is named."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from incident.ledger import RunState
from incident.messages import ChatKind
from tests import builders
from tests.fault.oracle import Ending, differences

ORDER = builders.order()
ACTIVATION = {"applied": True, "correlation_id": ORDER.correlation_id}
ENTRY = builders.remediation(correlation_id=ORDER.correlation_id)
TOLD = (
    builders.notification(),
    builders.notification(kind=ChatKind.CHANGE),
    builders.notification(kind=ChatKind.REPORT),
)
SNAPSHOT = builders.snapshot(
    builders.decided_dossier(
        remediation=builders.remediation_record(),
        looks=[builders.look()],
        recovery={"classification": "FULLY_RECOVERED", "reasons": (), "settled": True},
        notifications=list(TOLD),
    )
)
GOOD = Ending(
    snapshot=SNAPSHOT,
    stored=SNAPSHOT,
    activations=(ACTIVATION,),
    ledger=(ENTRY,),
    delivered={ChatKind.ALERT: 1, ChatKind.QUESTION: 0, ChatKind.REPORT: 1, ChatKind.PAGE: 0},
)
LATER = SNAPSHOT.model_copy(update={"closed_at": SNAPSHOT.closed_at + timedelta(seconds=1)})
DAMAGE: dict[str, tuple[dict[str, Any], str]] = {
    "a second rollback": ({"activations": (ACTIVATION, ACTIVATION)}, "applied activations: 2, expected 1"),
    "no rollback": ({"activations": ()}, "applied activations: 0, expected 1"),
    "another key": ({"activations": (ACTIVATION, {"applied": False, "correlation_id": "x"})}, "correlation ids"),
    "an open ledger": ({"ledger": (builders.remediation(state=RunState.PENDING),)}, "ledger"),
    "an empty ledger": ({"ledger": ()}, "ledger"),
    "nothing stored": ({"stored": None}, "stored snapshot"),
    "another snapshot stored": ({"stored": LATER}, "stored snapshot"),
    "no alert": ({"delivered": {**GOOD.delivered, ChatKind.ALERT: 0}}, "alert arrived"),
    "the report thrice": ({"delivered": {**GOOD.delivered, ChatKind.REPORT: 3}}, "report arrived"),
    "a page": ({"delivered": {**GOOD.delivered, ChatKind.PAGE: 1}}, "page arrived"),
}


def test_good_ending_differs_in_nothing() -> None:
    assert differences(GOOD) == ()


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named(kind: str) -> None:
    changes, named = DAMAGE[kind]
    assert any(each.startswith(named) for each in differences(replace(GOOD, **changes)))


def test_good_ending_lacks_a_page_that_must_have_come() -> None:
    assert any(each.startswith("page arrived") for each in differences(GOOD, paged=True))
