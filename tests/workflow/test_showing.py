"""What a person sees in the Temporal Web UI: search attributes, a page of markdown, a summary on every step."""

import pytest
from temporalio.api.enums.v1 import EventType

from incident.dossier import Stage
from incident.evidence import Health, Source
from incident.ledger import RunState
from tests import builders
from tests.fakes import FakeAnalyst, FakeService
from tests.workflow.conftest import Staff
from tests.workflow.shift import P1, Handle, at_stage, details, ended, sick, summaries, until_true, well
from workflows import names
from workflows.incident import IncidentWorkflow
from workflows.messages import ApprovalAnswer, CancelRequest

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE = "[free](https://evil.example) <img src=x> **bold** |cell| `code`\n# headline"


async def shown(handle: Handle) -> dict[str, str]:
    """The search attributes as the server knows them."""
    known = (await handle.describe()).typed_search_attributes
    return {key.name: value for key in names.SEARCH_ATTRIBUTES if (value := known.get(key)) is not None}


async def test_search_attributes_follow_the_incident(staff: Staff) -> None:
    shift = await staff()
    handle = await shift.open({"settle": "1h"}, skipping=False)
    dossier = await at_stage(handle, Stage.SETTLING)
    assert await shown(handle) == {
        "IncidentId": dossier.incident_id,
        "Service": "payment-api",
        "Environment": "production",
        "Severity": "P0",
        "Stage": "settling",
    }
    await shift.finish(handle)
    assert await shown(handle) == {
        "IncidentId": dossier.incident_id,
        "Service": "payment-api",
        "Environment": "production",
        "Severity": "P0",
        "Stage": "closed",
        "Outcome": "RECOVERED",
    }


async def test_the_severity_shown_is_the_verdicts(staff: Staff) -> None:
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(P1), well())
    proposal = builders.decision(action="escalate", rollback_to=None)
    shift = await staff(service=service, analyst=FakeAnalyst(proposal))
    handle = await shift.open()
    await ended(handle)
    assert (await shown(handle))["Severity"] == "P0"


async def test_a_closed_incident_is_found_by_its_id(staff: Staff) -> None:
    shift = await staff(service=FakeService(live=100))
    snapshot = await shift.handle()
    query = f'IncidentId = "{snapshot.incident_id}" AND Outcome = "NO_INCIDENT"'

    async def found() -> bool:
        return [each.id async for each in shift.environment.client.list_workflows(query)] == [shift.name]

    await until_true(found)


async def test_the_page_of_an_incident_shows_where_it_stands_and_before_and_now(staff: Staff) -> None:
    shift = await staff()
    handle = await shift.open()
    snapshot = await ended(handle)
    page = await details(handle)
    assert page.startswith(f"### payment-api in production: closed\n`{snapshot.incident_id}`")
    assert "**P0** by the numbers: CRITICAL: CRITICAL\\_ERROR\\_RATE: 15.5%" in page
    assert "Gate: **act** (deployment 100)" in page
    assert "| error_rate | 15.5% | 0.8% |" in page
    assert "closed: RECOVERED" in page


async def test_the_page_of_an_incident_shows_what_a_person_is_asked(staff: Staff) -> None:
    shift = await staff(analyst=FakeAnalyst(builders.decision(confidence=0.7)))
    handle = await shift.open({"settle": "0s", "look_every": "0s"}, skipping=False)
    proposal = (await at_stage(handle, Stage.AWAITING_APPROVAL)).proposal
    assert proposal
    page = await details(handle)
    assert "Waiting for a person: P0 payment-api (production): roll back deployment 101 to 100?" in page
    assert f"Digest `{proposal.digest[:12]}`" in page
    answer = ApprovalAnswer(digest=proposal.digest, approver="ada", approved=False)
    await handle.execute_update(IncidentWorkflow.answer, answer)
    await ended(handle)
    assert "Waiting for a person" not in await details(handle)


async def test_text_from_outside_is_no_markdown(staff: Staff) -> None:
    service = FakeService(live=100)
    service.answer(Source.METRICS, builders.metrics(health=Health.DEGRADED))
    service.answer(Source.ALERTS, builders.alerts(builders.alert("x", summary=HOSTILE)))
    shift = await staff(service=service)
    handle = await shift.open({"settle": "1h"}, skipping=False, trigger={"source": HOSTILE})
    await at_stage(handle, Stage.SETTLING)
    await handle.execute_update(IncidentWorkflow.cancel, CancelRequest(by="ada", reason=HOSTILE))
    await ended(handle)
    page = await details(handle)
    escaped = r"\[free\](https://evil.example) \<img src=x\> \*\*bold\*\* \|cell\| \`code\` \# headline"
    assert page.count(escaped) == 4
    assert "[free](" not in page.replace("\\[", "").replace("\\]", "")
    assert "<img" not in page.replace("\\<", "")
    assert "\n# headline" not in page


async def test_every_activity_and_every_timer_says_what_it_is_for(staff: Staff) -> None:
    service = FakeService(live=101, states=(RunState.PENDING, RunState.SUCCEEDED))
    shift = await staff(service=service)
    handle = await shift.open()
    await ended(handle)
    activities = await summaries(handle, EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
    assert activities[:2] == ["metrics, logs, alerts, deployments", "analyst and gate: P0"]
    assert set(activities[2:]) == {
        "chat: alert",
        "gate again, then deployment 101 → 100",
        "the rollback was pending",
        "show the change",
        "look 1 of at most 3",
        "look 2 of at most 3",
    }
    assert await summaries(handle, EventType.EVENT_TYPE_MARKER_RECORDED) == ["chat: report", "snapshot: RECOVERED"]
    timers = await summaries(handle, EventType.EVENT_TYPE_TIMER_STARTED)
    assert timers == [
        "page if nothing has been done",
        "look at the rollback again",
        "let the service settle",
        "until the next look",
    ]


async def test_the_waits_for_people_say_whom_they_wait_for(staff: Staff) -> None:
    shift = await staff(analyst=FakeAnalyst(builders.decision(confidence=0.7)))
    handle = await shift.open(outside_analyst="kestra")
    await ended(handle)
    timers = await summaries(handle, EventType.EVENT_TYPE_TIMER_STARTED)
    assert "wait for the decision of kestra" in timers
    assert "wait for a person's answer" in timers
    assert "wake the person on call" in await summaries(handle, EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
