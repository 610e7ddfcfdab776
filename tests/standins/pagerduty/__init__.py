"""A stateful stand-in for PagerDuty's Events API v2, which refuses every body that its contract does not allow.

    with running_pagerduty() as pagerduty:           # in this process, on a port of its own
        settings = PagerDutySettings(routing_key=SecretStr(pagerduty.routing_key), events_url=pagerduty.url)
        pagerduty.faults(limited(7), broken(times=2), accepted_then_cut())
        ...
        assert pagerduty.woken == 1
        (incident,) = pagerduty.incidents()

`python -m tests.standins.pagerduty --port N` serves the same; `PagerDutyStandin("http://127.0.0.1:N")` is its hand.
"""

from tests.standins.pagerduty.client import PagerDutyStandin, running_pagerduty
from tests.standins.pagerduty.faults import accepted_then_cut, broken, hanging, html, limited, refused, reset
from tests.standins.pagerduty.records import ChangeEntry, Incident, RequestEntry, State

__all__ = [
    "ChangeEntry",
    "Incident",
    "PagerDutyStandin",
    "RequestEntry",
    "State",
    "accepted_then_cut",
    "broken",
    "hanging",
    "html",
    "limited",
    "refused",
    "reset",
    "running_pagerduty",
]
