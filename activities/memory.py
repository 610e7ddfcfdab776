"""The ledger as activities use it: with this worker's own kill switch, and with a ledger that is away told apart."""

from datetime import datetime

import structlog

from incident.errors import IntegrationError
from incident.evidence import SourceState
from incident.ledger import Admission, LedgerView, Quota, Remediation, RunState, Stop
from incident.ports import Ledger

_log = structlog.get_logger()


class Memory:
    """What was done, what may begin, and who has pulled a kill switch."""

    def __init__(self, ledger: Ledger, stopped: str = "") -> None:
        self.ledger = ledger
        self._stopped = stopped
        """By what setting this worker is kept from acting; empty: it may."""

    async def view(self, environment: str, service: str, now: datetime) -> LedgerView:
        """What the ledger holds of the service; a ledger that cannot be read is a view that says so."""
        try:
            known = await self.ledger.view(environment, service, now)
        except IntegrationError as error:
            known = LedgerView(state=SourceState.FAILED, problem=error.problem, at=now)
        own = (Stop(by=self._stopped, at=now),) if self._stopped else ()
        return known.model_copy(update={"stops": (*own, *known.stops)})

    async def view_but(self, environment: str, service: str, incident_id: str, now: datetime) -> LedgerView:
        """The same, without what that incident did itself: an attempt must not be held up by the one before it."""
        known = await self.view(environment, service, now)
        return known.without(incident_id)

    async def begin(self, entry: Remediation, quota: Quota | None) -> Admission:
        """The ledger's answer; this worker's own kill switch comes first.

        Raises:
            TransientError: the ledger is away. What cannot be counted does not begin.
        """
        if self._stopped:
            return Admission(refused=(Stop(by=self._stopped, at=entry.at).words,))
        return await self.ledger.begin(entry, quota)

    async def finish(self, correlation_id: str, state: RunState) -> None:
        """Enters how a remediation ended; a ledger that cannot be written is logged."""
        try:
            await self.ledger.finish(correlation_id, state)
        except IntegrationError as error:
            _log.warning("ledger.unwritable", problem=error.problem)
