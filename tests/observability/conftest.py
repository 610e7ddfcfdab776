"""One night, played once, and the files of observability/ that its Prometheus and its PostgreSQL are asked by."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from incident.dossier import Channel
from incident.ledger import Stop
from incident.messages import ChatKind
from incident.snapshot import Outcome
from integrations.store import SqlStore, StoreSettings
from tests import builders
from tests.observability.night import Night, night
from tests.standins import postgres, prometheus

NEEDS_PROMETHEUS = pytest.mark.skipif(bool(prometheus.why_not()), reason=prometheus.why_not())
"""Of a test that runs one of its programs."""
NEEDS_A_NIGHT = [
    pytest.mark.slow,
    pytest.mark.needs_postgres,
    NEEDS_PROMETHEUS,
    pytest.mark.skipif(bool(postgres.why_not()), reason=postgres.why_not()),
]
"""Of a test that asks what the night left behind."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def last_night(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Night]:
    """What the night left, and beside it in the store what did not happen in it."""
    async with night(tmp_path_factory.mktemp("night")) as over:
        store = SqlStore(StoreSettings(url=over.store))
        unheard = builders.notification(channel=Channel.PAGER, kind=ChatKind.PAGE, delivered=False, problem="away")
        await store.save(builders.snapshot(builders.decided_dossier(notifications=[unheard]), Outcome.ESCALATED))
        await store.stop(Stop(by="ada", reason="hands off", at=builders.NOW))
        await store.close()
        yield over
