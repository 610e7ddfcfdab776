"""A person answers on the pages: exactly what is asked, bound to the digest that was shown, and once."""

from datetime import timedelta

import httpx
import pytest

from incident.dossier import Stage
from incident.errors import NotOpenError, RefusedError
from tests import builders
from tests.e2e.pages_office import Desktop, asking_dossier, form_token

INCIDENT = f"/ui/incidents/{builders.INCIDENT_ID}"
DIGEST = builders.proposal().digest


def desktop() -> Desktop:
    return Desktop(dossiers=[asking_dossier()])


async def confirmation(visitor: httpx.AsyncClient, answer: str = "approve", digest: str = DIGEST) -> httpx.Response:
    return await visitor.get(f"{INCIDENT}/answer", params={"answer": answer, "digest": digest})


async def send(visitor: httpx.AsyncClient, what: str = "answer", **fields: str) -> httpx.Response:
    token = form_token((await visitor.get("/ui/")).text)
    return await visitor.post(f"{INCIDENT}/{what}", data={"form_token": token, **fields})


@pytest.mark.parametrize(("answer", "word"), [("approve", "Approve"), ("deny", "Deny")])
async def test_the_last_step_says_exactly_what_is_answered(answer: str, word: str) -> None:
    async with desktop().visitor("ada") as ada:
        asked = (await confirmation(ada, answer)).text
    assert f"{word} the rollback of 101 to 100" in asked
    assert "deployment 101 (abc101): release 101" in asked
    assert "deployment 100 (abc100): release 100" in asked
    assert DIGEST in asked
    assert "auto: the mode is ask" in asked
    assert f'value="{answer}"' in asked


async def test_asking_answers_nothing() -> None:
    ours = desktop()
    async with ours.visitor("ada") as ada:
        await confirmation(ada)
    assert not ours.desk.answers


@pytest.mark.parametrize(("answer", "approved"), [("approve", True), ("deny", False)])
async def test_an_answer_reaches_the_incident_with_the_persons_own_name(answer: str, *, approved: bool) -> None:
    ours = desktop()
    async with ours.visitor("ada") as ada:
        taken = await send(ada, answer=answer, digest=DIGEST, note="seen\r\nit ", approver="eve")
        assert (taken.status_code, taken.headers["location"].partition("?")[0]) == (303, INCIDENT)
        said = (await ada.get(taken.headers["location"])).text
    (given,) = ours.desk.answers
    assert (given.approver, given.approved, given.digest, given.note) == ("ada", approved, DIGEST, "seen\nit")
    assert f"Your {'approval' if approved else 'denial'} was taken." in said


async def test_what_has_changed_meanwhile_is_not_asked() -> None:
    async with desktop().visitor("ada") as ada:
        asked = await confirmation(ada, digest="e" * 64)
    assert asked.status_code == 409
    assert "Something else is proposed by now" in asked.text


async def test_an_answer_to_what_has_changed_meanwhile_is_refused_with_the_reason() -> None:
    ours = desktop()
    async with ours.visitor("ada") as ada:
        refused = await send(ada, answer="approve", digest="e" * 64)
    assert refused.status_code == 409
    assert "its digest differs" in refused.text
    assert not ours.desk.answers


async def test_what_is_asked_no_more_is_not_asked() -> None:
    ours = Desktop(dossiers=[asking_dossier(stage=Stage.REMEDIATING)])
    async with ours.visitor("ada") as ada:
        assert (await confirmation(ada)).status_code == 409


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RefusedError("already denied by dora", awaited=True), "already denied by dora"),
        (NotOpenError("incident", "is not open"), "has closed"),
    ],
)
async def test_what_the_incident_does_not_take_is_told_and_not_thanked_for(error: Exception, words: str) -> None:
    ours = desktop()
    async with ours.visitor("ada") as ada:
        ours.desk.refusal = error
        for what in ("answer", "cancel"):
            refused = await send(ada, what, answer="approve", digest=DIGEST)
            assert refused.status_code == 409
            assert words in refused.text


@pytest.mark.parametrize("fields", [{}, {"answer": "yes"}, {"answer": "approve", "note": "x" * 501}])
async def test_an_answer_that_cannot_be_one_is_refused(fields: dict[str, str]) -> None:
    ours = desktop()
    async with ours.visitor("ada") as ada:
        assert (await send(ada, digest=DIGEST, **fields)).status_code == 422
    assert not ours.desk.answers


async def test_whoever_may_only_read_can_neither_answer_nor_cancel() -> None:
    ours = desktop()
    async with ours.visitor("ben") as ben:
        for answered in (
            await confirmation(ben),
            await send(ben, answer="approve", digest=DIGEST),
            await ben.get(f"{INCIDENT}/cancel"),
            await send(ben, "cancel"),
        ):
            assert answered.status_code == 403
            assert "has not the scope" in answered.text
    assert not ours.desk.answers
    assert not ours.desk.cancellations


async def test_cancelling_is_asked_first_and_then_done_in_the_persons_name() -> None:
    ours = desktop()
    async with ours.visitor("ada") as ada:
        assert "Cancel this incident?" in (await ada.get(f"{INCIDENT}/cancel")).text
        assert not ours.desk.cancellations
        taken = await send(ada, "cancel", reason="known")
        assert "nothing has been done yet" in (await ada.get(taken.headers["location"])).text
    (given,) = ours.desk.cancellations
    assert (given.by, given.reason) == ("ada", "known")


async def test_cancelling_what_has_acted_says_that_it_goes_on() -> None:
    ours = Desktop(dossiers=[asking_dossier(remediation=builders.remediation_record())])
    async with ours.visitor("ada") as ada:
        taken = await send(ada, "cancel")
        assert "Something was done already" in (await ada.get(taken.headers["location"])).text


async def test_a_reason_that_is_too_long_cancels_nothing() -> None:
    ours = desktop()
    async with ours.visitor("ada") as ada:
        assert (await send(ada, "cancel", reason="x" * 501)).status_code == 422
    assert not ours.desk.cancellations


async def test_nothing_can_be_answered_of_an_incident_that_nobody_knows() -> None:
    async with Desktop().visitor("ada") as ada:
        assert (await send(ada, answer="approve", digest=DIGEST)).status_code == 404
        token = form_token((await ada.get("/ui/")).text)
        nonsense = await ada.post("/ui/incidents/nonsense/cancel", data={"form_token": token})
        assert nonsense.status_code == 404


async def test_a_closed_incident_is_not_offered_to_be_cancelled() -> None:
    async with Desktop(snapshots=[builders.snapshot()]).visitor("ada") as ada:
        assert (await ada.get(f"{INCIDENT}/cancel")).status_code == 409


async def test_an_answer_after_the_deadline_is_the_incidents_to_refuse() -> None:
    late = asking_dossier(proposal=builders.proposal(deadline=builders.NOW - timedelta(seconds=1)))
    ours = Desktop(dossiers=[late])
    async with ours.visitor("ada") as ada:
        refused = await send(ada, answer="approve", digest=DIGEST)
    assert refused.status_code == 409
    assert "the deadline was" in refused.text
