"""The hand of a test on the stand-in, from any thread or event loop."""

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn

from tests.standins.github.behaviour import Fault
from tests.standins.pagerduty.fake import CONTROL, server
from tests.standins.pagerduty.records import ChangeEntry, Incident, Journal, RequestEntry

ROUTING_KEY = "standin0" * 4
_WITHIN = 10.0
_LOOKS_EVERY = 0.01


class PagerDutyStandin:
    """A running stand-in at `url`, in this process or another."""

    routing_key = ROUTING_KEY
    """One that it takes; it takes every key of 32 letters and digits, and keeps their alerts apart."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._control = httpx.Client(base_url=url + CONTROL, trust_env=False, timeout=_WITHIN)

    def close(self) -> None:
        """Ends the connection, not the stand-in."""
        self._control.close()

    def incidents(self) -> Sequence[Incident]:
        """Every incident, oldest first, resolved ones included."""
        return self._journal().incidents

    @property
    def woken(self) -> int:
        """How often a person was woken."""
        return sum(incident.notified for incident in self.incidents())

    def changes(self) -> Sequence[ChangeEntry]:
        """Every change event, oldest first."""
        return self._journal().changes

    def requests(self) -> Sequence[RequestEntry]:
        """Every call that came to PagerDuty, oldest first, whatever became of it."""
        return self._journal().requests

    def acknowledge(self, key: str) -> None:
        """A person takes the open incident of that dedup key. AssertionError: there is none."""
        assert self._post("acknowledge", {"dedup_key": key}), f"no open incident {key}"

    def faults(self, *faults: Fault) -> None:
        """Lets calls to come go wrong, in this order, behind what waits already; `faults.py` makes them."""
        self._post("faults", [fault.model_dump(mode="json") for fault in faults])

    def limit(self, calls: int | None) -> None:
        """Takes so many calls of a routing key in any minute; null: any number, as at the start."""
        self._post("limit", {"calls": calls})

    def reset(self) -> None:
        """Forgets everything, faults and the limit included."""
        self._post("reset", None)

    def _journal(self) -> Journal:
        return Journal.model_validate_json(self._control.get("/journal").raise_for_status().content)

    def _post(self, path: str, body: Any) -> Any:  # noqa: ANN401 - JSON
        return self._control.post(f"/{path}", json=body).raise_for_status().json()


@contextmanager
def running_pagerduty() -> Iterator[PagerDutyStandin]:
    """A stand-in in a thread of this process, on a port that the system chose."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        served = server(0)
        thread = threading.Thread(target=served.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        standin = PagerDutyStandin(f"http://127.0.0.1:{listening.getsockname()[1]}")
        try:
            _await_start(served, thread)
            yield standin
        finally:
            standin.close()
            served.should_exit = True
            thread.join(_WITHIN)


def _await_start(served: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + _WITHIN
    while not served.started:
        assert thread.is_alive(), "the stand-in for PagerDuty did not start"
        assert time.monotonic() < deadline, f"the stand-in for PagerDuty was not ready within {_WITHIN} s"
        time.sleep(_LOOKS_EVERY)
