"""`make screenshots`: the pictures of the pages that README shows, of an office with incidents of the tests' own."""

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

from incident.dossier import Dossier, Stage, TimelineEntry, proposal_digest
from incident.ledger import RunState
from incident.recovery import classify
from incident.snapshot import Outcome, Snapshot, close
from incident.verifying import RecoveryLimits
from tests import builders
from tests.builders import NOW
from tests.e2e.pages_browser import DESKTOP, PHONE, chromium, served, tab, why_not
from tests.e2e.pages_hostile import numbered
from tests.e2e.pages_office import Desktop, asking_dossier

FOLDER = Path(__file__).parents[2] / "docs" / "images"
ASKING = f"/ui/incidents/{builders.INCIDENT_ID}"
CLOSED = f"/ui/incidents/{numbered(1)}"
_BY_LOOKS = RecoveryLimits(count_requests=False)
PICTURES = (
    ("incident-asking", ASKING, DESKTOP),
    ("incident-closed", f"{CLOSED}#comparison", DESKTOP),
    ("figures", "/ui/figures", DESKTOP),
    ("incidents-phone", "/ui/", PHONE),
    ("incident-asking-phone", ASKING, PHONE),
)
"""Name, address and size of each."""


def asking() -> Dossier:
    """An incident that asks a person."""
    story = (
        (0, Stage.DETECTING, "asked by alertmanager"),
        (1, Stage.DETECTING, builders.assessment().summary),
        (2, Stage.ANALYZING, "rules proposes rollback"),
        (3, Stage.AWAITING_APPROVAL, "P0 payment-api (production): roll back deployment 101 to 100?"),
    )
    timeline = [TimelineEntry(at=NOW + timedelta(seconds=at), stage=stage, text=text) for at, stage, text in story]
    digest = proposal_digest(builders.INCIDENT_ID, 100, 101, builders.degraded_evidence())
    proposal = builders.proposal(digest=digest)
    return asking_dossier(
        proposal=proposal, timeline=timeline, trigger={"source": "alertmanager", "reason": "HighErrorRate fires"}
    )


def closed(number: int, outcome: Outcome = Outcome.RECOVERED) -> Snapshot:
    """An incident of some days ago that was rolled back in the `number`-th minute."""
    opened_at = NOW - timedelta(days=number - 1)
    acted_at = opened_at + timedelta(minutes=number)
    rates = (12.4, 6.1, None, 0.9, 0.8)
    looks = [
        builders.look(
            {"error_rate": rate, "p99_latency": 170 + 30 * (rate or 0)}, at=acted_at + timedelta(seconds=30 * n)
        )
        for n, rate in enumerate(rates, start=1)
    ]
    run = builders.run(RunState.SUCCEEDED, asked_at=opened_at + timedelta(minutes=number))
    dossier = builders.decided_dossier(
        incident_id=numbered(number),
        opened_at=opened_at,
        trigger={"source": "alertmanager"},
        remediation=builders.remediation_record(run=run, authorised_by="ada"),
        approval=builders.approval(note="seen it start with the release"),
        looks=looks,
        notifications=[builders.notification()],
    )
    dossier.recovery = classify(builders.look(seen=builders.degraded_evidence()), looks, _BY_LOOKS)
    return close(dossier, outcome, opened_at + timedelta(minutes=number + 4))


async def take() -> None:
    """Writes every picture."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    past = [closed(1), closed(2), closed(3, Outcome.ESCALATED), closed(4), closed(5)]
    ours = Desktop(dossiers=[asking()], snapshots=past)
    async with chromium() as browser, served(ours.app()) as base:
        for name, address, size in PICTURES:
            async with tab(browser, base, size) as ada:
                await ada.open("/ui/")
                await ada.log_in(ours.tokens["ada"])
                await ada.open(address)
                if address == ASKING:
                    await ada.page.get_by_text("This page follows the incident.").wait_for()
                await ada.page.wait_for_load_state("networkidle" if address != ASKING else "load")
                await ada.page.screenshot(path=FOLDER / f"{name}.png")


if __name__ == "__main__":
    if problem := why_not():
        sys.exit(problem)
    asyncio.run(take())
