"""A secret that a service's logs, alerts, deployments or errors hold reaches nobody and nothing."""

import pytest

from incident.errors import AnalystUnusableError, PermanentError
from incident.evidence import Health, Source
from tests import builders
from tests.fakes import FakeAnalyst, FakeService
from tests.workflow.conftest import Staff
from tests.workflow.shift import Handle, Shift, ended

pytestmark = pytest.mark.asyncio(loop_scope="session")

CANARY = "ghp_" + "C4n4ry" * 6
"""Looks like a GitHub token, and is none."""


async def written(handle: Handle) -> bytes:
    """Everything that the history holds, its payloads as they are."""
    return b"".join([event.SerializeToString() for event in (await handle.fetch_history()).events])


def told(shift: Shift) -> str:
    """Everything that people, the analyst and the store got."""
    got = [*shift.chat.posted, *shift.pager.sent, *shift.store.snapshots.values()]
    got += shift.analyst.cases if isinstance(shift.analyst, FakeAnalyst) else []
    got += shift.service.rollback.starts
    return "\n".join([each.model_dump_json() for each in got])


def leaking() -> FakeService:
    """A degraded service with the canary in its log, its alerts and its deployment's message."""
    service = FakeService(live=101, bad=(100, 101))
    service.answer(Source.METRICS, builders.metrics(builders.DEGRADED_METRICS, health=Health.DEGRADED))
    service.answer(Source.LOGS, builders.logs(builders.log_line(1, f"cannot log in with {CANARY}")))
    since = service.releases.alerting_since
    service.answer(Source.ALERTS, builders.alerts(builders.alert(summary=f"token {CANARY} refused", started_at=since)))
    known = service.releases.history()
    told = (each.model_copy(update={"message": f"rotate to {CANARY}"}) for each in known)
    service.answer(Source.DEPLOYMENTS, builders.deployments(*told))
    return service


async def test_a_secret_in_what_was_seen_appears_nowhere(staff: Staff) -> None:
    shift = await staff(service=leaking(), analyst=FakeAnalyst())
    handle = await shift.open({"page_after": "1h"})
    snapshot = await ended(handle)
    history = await written(handle)
    assert CANARY.encode() not in history
    assert b"[REDACTED:github-token]" in history
    assert CANARY not in told(shift)
    assert "[REDACTED:github-token]" in told(shift)
    assert snapshot.evidence
    assert "[REDACTED:github-token]" in snapshot.evidence.logs.lines[0].message
    assert len(shift.chat.posted) == 2
    assert len(shift.pager.sent) == 1
    assert len(shift.service.rollback.starts) == 1


async def test_a_secret_in_a_failure_appears_nowhere(staff: Staff) -> None:
    service = FakeService(live=101, failures=[PermanentError("github", f"refused Authorization: Bearer {CANARY}")])
    service.fail(Source.LOGS, PermanentError("loki", f"https://reader:{CANARY}@loki.example refused"))
    analyst = FakeAnalyst(AnalystUnusableError("openai", f"said {CANARY}"))
    shift = await staff(service=service, analyst=analyst)
    shift.chat.error = PermanentError("slack", f"cannot render {CANARY}")
    handle = await shift.open({"min_confidence": 0.5, "follow_every": "30s"})
    snapshot = await ended(handle)
    history = await written(handle)
    assert CANARY.encode() not in history
    assert CANARY not in told(shift)
    assert snapshot.remediation
    assert snapshot.remediation.run
    assert "[REDACTED:" in snapshot.remediation.run.detail
    assert snapshot.analysis
    assert "[REDACTED:" in snapshot.analysis.because
    assert any("[REDACTED:" in each.problem for each in snapshot.notifications)
