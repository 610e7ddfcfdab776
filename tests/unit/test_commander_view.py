"""What a person must see in a terminal, and what must not steer it."""

from dataclasses import astuple
from datetime import timedelta
from io import StringIO

from rich.console import Console, RenderableType

from commander.line import Entry
from commander.stack import StackPorts
from commander.view import Progress, incidents, standing, summary
from incident.ledger import Stop
from tests import builders

STEERING = "\x1b[2J\x07[bold]x[/bold]"


def _console() -> tuple[Console, StringIO]:
    stream = StringIO()
    return Console(file=stream, width=200), stream


def _shown(what: RenderableType) -> str:
    console, stream = _console()
    console.print(what)
    return stream.getvalue()


def test_that_nobody_could_be_told_is_shown_once_for_each_reason_and_that_somebody_was() -> None:
    console, stream = _console()
    progress = Progress(console)
    for why in ("", "slack: is away", "slack: is away", "pagerduty: is away", "", ""):
        progress.show_dossier(builders.dossier(unreached=why))
    said = stream.getvalue()
    assert said.count("NOBODY COULD BE TOLD") == 2
    assert (said.count("slack: is away"), said.count("pagerduty: is away")) == (1, 1)
    assert said.count("somebody was told by now") == 1


def test_each_entry_and_message_is_shown_once() -> None:
    console, stream = _console()
    progress = Progress(console)
    dossier = builders.dossier(notifications=[builders.notification(title="the alert")])
    progress.show_dossier(dossier)
    progress.show_dossier(dossier)
    dossier.notifications.append(builders.notification(title="the report"))
    progress.show_snapshot(builders.snapshot(dossier))
    assert [stream.getvalue().count(title) for title in ("the alert", "the report")] == [1, 1]


def test_an_open_incident_shows_its_question_with_deadline_and_digest_and_every_answer() -> None:
    proposal = builders.proposal()
    dossier = builders.dossier(
        proposal=proposal,
        policy=builders.policy(approvers=["ada", "ben"], approvals_needed=2),
        approvals=[builders.approval(approver="ada", note="seen")],
        stopped=Stop(by="ben", reason="drill", at=builders.NOW),
    )
    said = _shown(standing(dossier))
    for part in (
        dossier.incident_id,
        dossier.stage,
        proposal.question,
        f"until {proposal.deadline:%Y-%m-%d %H:%M:%SZ}, digest {proposal.digest[:12]}",
        "2 people must approve",
        "Approved        by ada at ",
        ": seen",
        "stopped by ben",
    ):
        assert part in said


def test_an_open_incident_that_asks_nothing_shows_no_question() -> None:
    said = _shown(standing(builders.dossier()))
    assert "Asked" not in said
    assert "must approve" not in said


def test_a_record_shows_who_answered_and_that_nobody_was_told() -> None:
    denied = builders.approval(approver="ben", approved=False)
    record = builders.snapshot(builders.decided_dossier(approvals=[denied], unreached="slack: is away"))
    said = _shown(summary(record))
    assert "NOBODY TOLD     slack: is away" in said
    assert "Denied          by ben" in said
    assert "NOBODY TOLD" not in _shown(summary(builders.snapshot()))


def test_the_answer_of_a_record_from_before_there_was_a_list_of_them_is_shown() -> None:
    record = builders.snapshot().model_copy(update={"approval": builders.approval(approver="ada"), "approvals": ()})
    assert "Approved        by ada" in _shown(summary(record))


def test_a_list_marks_incidents_that_nobody_was_told_of() -> None:
    told = Entry(incident_id="one", severity="P0", stands="verifying", lasted=None)
    untold = Entry(incident_id="two", severity="P1", stands="ESCALATED", lasted=timedelta(seconds=90.4), unreached="x")
    lines = _shown(incidents((told, untold))).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["one", "P0", "verifying", "open"],
        ["two", "P1", "ESCALATED", "0:01:30", "nobody", "told"],
    ]


def test_what_others_wrote_neither_steers_the_terminal_nor_is_markup() -> None:
    console, stream = _console()
    progress = Progress(console)
    progress.note(STEERING)
    progress.show_dossier(
        builders.dossier(unreached=STEERING, notifications=[builders.notification(text=STEERING, title=STEERING)])
    )
    console.print(standing(builders.dossier(approvals=[builders.approval(approver=STEERING, note=STEERING)])))
    console.print(summary(builders.snapshot(builders.decided_dossier(unreached=STEERING))))
    said = stream.getvalue()
    assert "\x1b" not in said
    assert "\x07" not in said
    assert said.count("[bold]x[/bold]") == 6


def test_every_part_of_a_stack_gets_a_free_port_of_its_own() -> None:
    ports = astuple(StackPorts.free())
    assert len(set(ports)) == len(ports) == 5


def test_a_change_that_explains_it_is_named_where_it_is_no_deployment_of_the_service() -> None:
    change = builders.told_change(description=STEERING).seen_from(builders.SERVICE)
    seen = builders.degraded_evidence(background=builders.background(changes=(change,)))
    said = _shown(
        summary(builders.snapshot(builders.decided_dossier(evidence=seen, verdict=builders.verdict(seen=seen))))
    )
    assert "Explained by    change:pool, configuration change of payment-api at 2026-11-24 13:57:30Z" in said
    assert "\x1b[2J" not in said
    assert "Explained by" not in _shown(summary(builders.snapshot()))
