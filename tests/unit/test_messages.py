from datetime import timedelta

import pytest

from incident.cause import Change, ChangeKind
from incident.evidence import SourceState
from incident.gate import Course, Verdict
from incident.ledger import RunState
from incident.messages import Ask, ChatKind, ChatMessage, Claim, MessageField, Page, said_again
from incident.recovery import classify
from incident.severity import Severity
from incident.verifying import RecoveryLimits
from incident.wording import alert, change, details, instead, intention, page, question, refused, report, review
from tests.builders import (
    INCIDENT_ID,
    NOW,
    SERVICE,
    analysis,
    assessment,
    background,
    bad_deployment,
    decision,
    degraded_evidence,
    deployments,
    log_template,
    logs,
    look,
    metrics,
    order,
    policy,
    run,
    told_change,
    verdict,
)

ACT = verdict()
ASK = verdict(decision(confidence=0.75))
PAGE = verdict(decision(rollback_to=42))
SHADOW = policy(mode="shadow")


def fields(message: ChatMessage | Page) -> dict[str, str]:
    items = message.fields if isinstance(message, ChatMessage) else message.details
    assert len({item.label for item in items}) == len(items)
    return {item.label: item.text for item in items}


def the_alert(**changes: object) -> ChatMessage:
    seen = degraded_evidence(NOW, **changes)
    return alert(INCIDENT_ID, seen, assessment(seen), analysis(analyst="openai"), verdict(seen=seen))


@pytest.mark.parametrize(
    ("judged", "words"),
    [
        (ACT, "rolling back deployment 101 to 100"),
        (ASK, "asking to roll back deployment 101 to 100"),
        (PAGE, "paging the person on call"),
        (verdict(by=SHADOW), "paging the person on call; without the shadow mode it would roll back"),
        (
            verdict(decision(confidence=0.75), by=SHADOW),
            "paging the person on call; without the shadow mode it would ask",
        ),
        (
            verdict(decision(rollback_to=42), by=SHADOW),
            "paging the person on call; without the shadow mode it would page",
        ),
        (ACT.model_copy(update={"course": Course.WATCH}), "watching"),
    ],
)
def test_what_happens_now_is_said_in_words(judged: Verdict, words: str) -> None:
    assert intention(judged) == words


def test_the_alert_says_what_was_measured_and_what_happens() -> None:
    message = the_alert()
    shown = fields(message)
    assert message.kind is ChatKind.ALERT
    assert message.title == "P0 payment-api (production): rolling back deployment 101 to 100"
    assert shown["Severity"] == "P0"
    assert shown["Error rate"] == "15.5%"
    assert shown["CPU"] == "92.0%"
    assert shown["Latency"] == "p95 850ms, p99 1200ms"
    assert shown["Deployment"] == "101 (abc101), live since 2026-11-24 13:50:00Z: release 101"
    assert shown["Action"] == "rolling back deployment 101 to 100"
    assert shown["Confidence"] == "0.92, as the analyst puts it"
    assert "Not seen" not in shown
    assert "Because" not in shown


def test_the_alert_shows_the_worst_errors_that_are_new_in_the_log() -> None:
    templates = tuple(log_template(number, new=True, text=f"no {number}") for number in range(1, 5))
    assert fields(the_alert(logs=logs(templates=templates)))["Log"] == (
        "new since the live deployment, 400 times: ERROR no 1; new since the live deployment, 400 times: ERROR no 2"
    )
    assert "Log" not in fields(the_alert(logs=logs(templates=(log_template(new=False),))))


def test_the_alert_keeps_what_the_analyst_says_apart_from_what_was_measured() -> None:
    message = the_alert()
    assert {each.label: each.text for each in message.claims} == {
        "Analyst (openai) says": decision().summary,
        "Analyst (openai) suspects": decision().root_cause_hypothesis,
    }
    assert {each.cites for each in message.claims} == {("metric:error_rate", "deployment:101")}
    assert not {decision().summary, decision().root_cause_hypothesis} & set(fields(message).values())


def test_an_incident_has_one_card() -> None:
    assert the_alert().key == the_alert(metrics=metrics()).key == f"{INCIDENT_ID}/card"


def test_the_details_hold_every_finding_and_what_is_known_of_each_citation() -> None:
    seen = degraded_evidence()
    message = details(
        INCIDENT_ID, seen, analysis(decision=decision(evidence_ids=("metric:error_rate", "log:77"))), ASK, 2
    )
    shown = fields(message)
    assert message.kind is ChatKind.DETAILS
    assert set(shown) == {each.rule for each in ASK.findings} | {"Cited"}
    assert shown["confidence"] == "refused: confidence 0.75, the policy wants 0.80"
    assert shown["Cited"] == "metric:error_rate: 15.5%\nlog:77: not among the evidence"


def test_the_alert_and_the_details_say_which_citations_do_not_exist_and_what_they_cost() -> None:
    seen = degraded_evidence()
    invented = analysis(decision=decision(evidence_ids=("metric:error_rate", "log:77"))).held_to(seen.ids)
    card = fields(alert(INCIDENT_ID, seen, assessment(seen), invented, ASK))
    assert card["Confidence"].endswith(", lowered since 1 of 2 citations do not exist")
    assert fields(details(INCIDENT_ID, seen, invented, ASK, 2))["Cited, and not among the evidence"] == "log:77"


def test_a_refused_answer_says_whose_and_why() -> None:
    assert refused(INCIDENT_ID, "slack:T1/U1", "approve", "too late").title == (
        "The answer of slack:T1/U1 (approve) was not taken: too late"
    )


def test_a_page_that_stands_in_the_chat_says_why_nobody_was_paged() -> None:
    sent = page(INCIDENT_ID, degraded_evidence(), Severity.P0, "refused", "no approver")
    message = instead(sent, "pagerduty: HTTP 500")
    assert (message.kind, message.key, message.title) == (ChatKind.PAGE, sent.key, sent.summary)
    assert fields(message)["Nobody could be paged"] == "pagerduty: HTTP 500"


def test_an_escalation_is_another_page() -> None:
    first, second = (page(INCIDENT_ID, degraded_evidence(), Severity.P0, "x", "y", number) for number in (1, 2))
    assert (first.key, second.key) == (f"ic/{INCIDENT_ID}/escalation-1", f"ic/{INCIDENT_ID}/escalation-2")


def test_a_rollback_is_a_change_of_its_service() -> None:
    shown = change(order(), run(RunState.SUCCEEDED, url="https://github.example/runs/7"), NOW)
    assert shown.summary == "rollback of payment-api (production): deployment 101 → 100"
    assert (shown.at, shown.url) == (NOW, "https://github.example/runs/7")


def test_the_alert_says_unknown_and_what_was_not_seen() -> None:
    shown = fields(
        the_alert(
            metrics=metrics({"error_rate": None}),
            logs=logs(state=SourceState.FAILED, problem="timed out"),
            deployments=deployments(state=SourceState.EMPTY, deployments=()),
        )
    )
    assert shown["Error rate"] == "unknown"
    assert shown["Not seen"] == "logs: timed out"
    assert shown["Deployment"] == "not known"
    assert "live_known: the deployment history is empty" in shown["Because"]


def test_a_deployment_of_unknown_age_is_shown_without_a_time() -> None:
    shown = fields(the_alert(deployments=deployments(bad_deployment(activated_at=None))))
    assert shown["Deployment"] == "101 (abc101): release 101"


def test_a_message_reads_as_text_line_by_line() -> None:
    message = ChatMessage(
        kind=ChatKind.ALERT, incident_id=INCIDENT_ID, title="Title", fields=(MessageField(label="A", text="b"),)
    )
    assert message.text == "Title\nA: b"
    said = Claim(label="C", text="d", cites=("log:1", "log:2"))
    more = message.model_copy(update={"status": "by now", "claims": (said,)})
    assert more.text == "Title\nby now\nA: b\nC: d [log:1, log:2]"


def test_a_message_that_may_stand_twice_says_so() -> None:
    message = the_alert()
    assert said_again(message) == message
    again = message.model_copy(update={"again": True})
    assert said_again(again).status == "sent again: it may stand here twice"
    assert (
        said_again(again.model_copy(update={"status": "asks"})).status == "asks (sent again: it may stand here twice)"
    )


def test_the_question_says_what_why_and_how_to_answer() -> None:
    message = question(INCIDENT_ID, degraded_evidence(), ASK, Ask(digest="f" * 64, deadline=NOW), 1)
    shown = fields(message)
    assert message.kind is ChatKind.QUESTION
    assert message.title == "P0 payment-api (production): roll back deployment 101 to 100?"
    assert shown["Because"] == "confidence: confidence 0.75, the policy wants 0.80"
    assert shown["Answer"] == f"commander approve {INCIDENT_ID} (or deny), before {NOW:%Y-%m-%d %H:%M:%SZ}"
    assert shown["Digest"] == "f" * 12


def test_a_review_is_asked_for_with_its_place_and_what_it_waits_for() -> None:
    waiting = run(RunState.WAITING, url="https://github.example/runs/7", detail="a reviewer of production")
    message = review(INCIDENT_ID, order(), waiting)
    assert message.kind is ChatKind.REVIEW
    assert message.title == "payment-api (production): the rollback to deployment 100 waits for a review"
    assert fields(message) == {"Review": "https://github.example/runs/7", "Waits for": "a reviewer of production"}


def test_a_review_says_nothing_of_what_is_not_known() -> None:
    assert review(INCIDENT_ID, order(), run(RunState.WAITING)).fields == ()


def test_the_report_compares_before_and_after() -> None:
    before, now = look(seen=degraded_evidence()), look()
    recovery = classify(before, [now], RecoveryLimits(stable_looks=1))
    message = report(INCIDENT_ID, degraded_evidence(), before, [before, now], recovery, "rolled back 101 to 100")
    shown = fields(message)
    assert message.kind is ChatKind.REPORT
    assert message.title == "FULLY_RECOVERED payment-api (production)"
    assert shown["Done"] == "rolled back 101 to 100"
    assert shown["Error rate"] == "15.5% → 0.8% (94.8 % better)"
    assert shown["P99 latency"] == "1200ms → 180ms (85.0 % better)"
    assert shown["Why"] == "1 good looks in a row"


def test_the_report_says_worse_and_unknown() -> None:
    before = look(seen=degraded_evidence())
    now = look({"error_rate": 31.0, "p99_latency": None})
    recovery = classify(before, [now], policy().recovery)
    shown = fields(report(INCIDENT_ID, degraded_evidence(), before, [now], recovery, "nothing"))
    assert shown["Error rate"] == "15.5% → 31.0% (100.0 % worse)"
    assert shown["P99 latency"] == "1200ms → unknown"


def test_a_report_without_a_look_claims_nothing() -> None:
    before = look(seen=degraded_evidence())
    shown = fields(report(INCIDENT_ID, degraded_evidence(), before, [], classify(before, [], policy().recovery), ""))
    assert shown["Error rate"] == "15.5% → unknown"
    assert "Done" not in shown


def test_the_page_is_one_for_each_incident() -> None:
    one = page(INCIDENT_ID, degraded_evidence(), Severity.P0, "refused", "no approver")
    other = page(INCIDENT_ID, degraded_evidence(), Severity.P1, "still bad", "nobody answered")
    assert one.key == other.key == f"ic/{INCIDENT_ID}"


def test_the_page_says_what_why_and_how_bad() -> None:
    seen = degraded_evidence(logs=logs(state=SourceState.FAILED, problem="timed out"))
    sent = page(INCIDENT_ID, seen, Severity.P1, "refused", "no approver")
    shown = fields(sent)
    assert (sent.severity, sent.priority) == (Severity.P1, "P2")
    assert sent.summary == "P1 payment-api (production): refused"
    assert (sent.service, sent.environment) == ("payment-api", "production")
    assert (shown["incident"], shown["why"], shown["not seen"]) == (INCIDENT_ID, "no approver", "logs: timed out")
    assert (shown["error_rate"], shown["memory_usage"]) == ("15.5%", "88.0%")


def test_the_page_reads_as_text_line_by_line() -> None:
    lines = page(INCIDENT_ID, degraded_evidence(), Severity.P0, "refused", "no approver").text.splitlines()
    assert lines[:3] == ["P0 payment-api (production): refused", f"incident: {INCIDENT_ID}", "why: no approver"]
    assert "error_rate: 15.5%" in lines


def test_a_long_summary_is_cut_to_what_a_pager_takes() -> None:
    assert len(page(INCIDENT_ID, degraded_evidence(), Severity.P0, "x" * 3000, "").summary) == 1024


def test_the_page_names_the_newest_told_changes_and_no_deployment() -> None:
    told = [told_change(f"{n}", at=NOW - timedelta(minutes=n)).seen_from(SERVICE) for n in range(5)]
    deployed = Change(id="ledger/deployment:7", service="ledger", kind=ChangeKind.DEPLOYMENT, at=NOW)
    seen = degraded_evidence(background=background(changes=(deployed, *told)))
    shown = fields(page(INCIDENT_ID, seen, Severity.P0, "refused", "no approver"))["changed"].split("; ")
    assert [each.partition(",")[0] for each in shown] == ["change:0", "change:1", "change:2"]
    assert shown[0].endswith("configuration change of payment-api at 2026-11-24 14:00:00Z: database pool from 20 to 10")
