"""The list of incidents and one of them: what is shown, what is known not to be, and that text stays text."""

import json
import re
from collections.abc import Sequence
from datetime import timedelta
from html.parser import HTMLParser

import pytest

from gateway.pages.rendering import lasting, outside
from gateway.pages.sheet import SECTIONS
from incident.errors import TransientError
from incident.evidence import SourceState
from incident.ledger import Stop
from incident.recovery import Classification, Recovery
from incident.snapshot import Outcome, Snapshot, close
from integrations.text import clean
from tests import builders
from tests.builders import NOW
from tests.e2e.pages_hostile import ADDRESSES, CORPUS, hostile_dossier, numbered
from tests.e2e.pages_office import Desktop, asking_dossier

INCIDENT = f"/ui/incidents/{builders.INCIDENT_ID}"


class Page(HTMLParser):
    """What a browser makes of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th", "dt", "dd", "li"}:
            self.text += " "  # a browser shows them apart

    def all(self, name: str) -> Sequence[str]:
        """The values of that attribute."""
        return [attrs[name] or "" for _, attrs in self.tags if name in attrs]

    @property
    def words(self) -> str:
        """The text, with single spaces."""
        return " ".join(self.text.split())


async def page(ours: Desktop, address: str = INCIDENT, who: str = "ada", status: int = 200) -> Page:
    async with ours.visitor(who) as visitor:
        shown = await visitor.get(address)
    assert shown.status_code == status, shown.text
    return Page(shown.text)


def closed(number: int = 0, *, outcome: Outcome = Outcome.RECOVERED, **changes: object) -> Snapshot:
    opened_at = NOW - timedelta(hours=number)
    dossier = builders.decided_dossier(incident_id=numbered(number), opened_at=opened_at, **changes)
    return close(dossier, outcome, opened_at + timedelta(minutes=3))


async def test_open_and_past_incidents_are_listed_with_a_link_to_each() -> None:
    listed = await page(Desktop(dossiers=[asking_dossier()], snapshots=[closed(1)]), "/ui/")
    assert {INCIDENT, f"/ui/incidents/{numbered(1)}"} <= set(listed.all("href"))
    assert "awaiting approval" in listed.words
    assert "recovered" in listed.words


async def test_that_temporal_does_not_answer_is_said_and_past_incidents_are_shown() -> None:
    ours = Desktop(snapshots=[closed(1)])
    async with ours.visitor("ada") as ada:
        ours.desk.away = TransientError("temporal", "away")
        listed = Page((await ada.get("/ui/")).text)
    assert "Which incidents are open is not known" in listed.words
    assert "No incident is open" not in listed.words
    assert f"/ui/incidents/{numbered(1)}" in listed.all("href")


async def test_that_the_store_does_not_answer_is_said_and_open_incidents_are_shown() -> None:
    ours = Desktop(dossiers=[asking_dossier()])
    ours.store.errors["search"] = TransientError("store", "away")
    listed = await page(ours, "/ui/")
    assert "Past incidents are not known" in listed.words
    assert "No past incident" not in listed.words
    assert INCIDENT in listed.all("href")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {1, 2, 3}),
        ("outcome=ESCALATED", {2}),
        ("severity=P0&outcome=", {1, 2, 3}),
        ("severity=P1", set()),
        ("service=payment-api&environment=production", {1, 2, 3}),
        ("service=gone", set()),
    ],
)
async def test_filters_narrow_the_list(query: str, expected: set[int]) -> None:
    past = [closed(1), closed(2, outcome=Outcome.ESCALATED), closed(3)]
    listed = await page(Desktop(snapshots=past), f"/ui/?{query}")
    assert {n for n in (1, 2, 3) if f"/ui/incidents/{numbered(n)}" in listed.all("href")} == expected


@pytest.mark.parametrize(
    ("query", "shown"),
    [("severity=P0", True), ("severity=P1", False), ("service=gone", False), ("outcome=RECOVERED", False)],
)
async def test_open_incidents_are_narrowed_too(query: str, *, shown: bool) -> None:
    listed = await page(Desktop(dossiers=[asking_dossier()]), f"/ui/?{query}")
    assert (INCIDENT in listed.all("href")) is shown


@pytest.mark.parametrize(
    "query",
    ["severity=P9", "outcome=x", "service=%3Cscript%3E", "environment=A-B", "after=x", "after=2026-11-24~x", "after=~"],
)
async def test_what_there_cannot_be_is_refused_without_an_echo(query: str) -> None:
    refused = await page(Desktop(), f"/ui/?{query}", status=422)
    assert "script" not in [tag for tag, _ in refused.tags]


async def test_older_incidents_follow_page_by_page_each_of_them_once_and_filtered() -> None:
    past = [closed(n) for n in range(120)]
    seen: list[str] = []
    address: str | None = "/ui/?outcome=RECOVERED"
    async with Desktop(snapshots=past).visitor("ada") as ada:
        while address:
            listed = Page((await ada.get(address)).text)
            seen += [each for each in listed.all("href") if each.startswith("/ui/incidents/")]
            address = next((each for each in listed.all("href") if "after=" in each), None)
            assert address is None or "outcome=RECOVERED" in address
    assert seen == [f"/ui/incidents/{each.incident_id}" for each in past]


async def test_an_open_incident_is_followed_and_a_closed_one_is_not() -> None:
    assert (await page(Desktop(dossiers=[asking_dossier()]))).all("data-events") == [f"{INCIDENT}/events"]
    shown = await page(Desktop(snapshots=[builders.snapshot()]))
    assert not shown.all("data-events")
    assert "script" not in [tag for tag, _ in shown.tags]


@pytest.mark.parametrize(
    "address", ["/ui/incidents/nonsense", f"/ui/incidents/{numbered(7)}", f"/ui/incidents/{numbered(7)}/snapshot.json"]
)
async def test_an_incident_that_nobody_knows_is_not_found(address: str) -> None:
    await page(Desktop(), f"/ui/incidents/{address}", status=404)


async def test_cited_evidence_is_marked_in_words_and_each_citation_leads_to_its_row() -> None:
    shown = await page(Desktop(dossiers=[asking_dossier()]))
    cited = [attrs["id"] for tag, attrs in shown.tags if tag == "tr" and attrs.get("class") == "cited"]
    assert cited == ["evidence-metric-1", "evidence-deployment-1"]
    assert shown.words.count("★ cited") == len(cited) + 1  # and the legend
    assert {f"#{each}" for each in cited} <= set(shown.all("href"))


async def test_log_templates_are_shown_with_their_counts_and_whether_they_are_new() -> None:
    templates = (builders.log_template(1, new=True), builders.log_template(2, text="<b>usual", new=None))
    seen = builders.degraded_evidence(logs=builders.logs(templates=templates, more_templates=7))
    analysis = builders.analysis(decision=builders.decision(evidence_ids=("log:template-1",)))
    shown = await page(Desktop(dossiers=[asking_dossier(evidence=seen, analysis=analysis)]))
    assert "400 ERROR charge <*> refused: upstream timed outcharge ch_7 refused: upstream timed out new" in shown.words
    assert "<b>usual" in shown.words
    assert "not known" in shown.words
    assert "7 more templates are left out." in shown.words
    assert "#evidence-template-1" in shown.all("href")


async def test_a_told_change_is_shown_with_what_code_makes_of_it_and_can_be_led_to() -> None:
    known = builders.background(changes=(builders.told_change().seen_from(builders.SERVICE),))
    seen = builders.degraded_evidence(background=known)
    dossier = asking_dossier(
        evidence=seen,
        verdict=builders.verdict(seen=seen),
        analysis=builders.analysis(decision=builders.decision(evidence_ids=("change:pool",))),
    )
    shown = await page(Desktop(dossiers=[dossier]))
    assert (
        "change:pool payment-api configuration change database pool from 20 to 10 2026-11-24 13:57:30Z "
        "guilty: made 30 s before the trouble began; payment-api itself left what is usual ★ cited"
    ) in shown.words
    assert "#evidence-change-1" in shown.all("href")


async def test_a_citation_of_nothing_is_shown_as_such_and_leads_nowhere() -> None:
    analysis = builders.analysis(decision=builders.decision(evidence_ids=("log:99",)))
    shown = await page(Desktop(dossiers=[asking_dossier(analysis=analysis)]))
    assert "log:99: not among the evidence" in shown.words


async def test_a_citation_that_was_left_out_is_named_beside_those_that_exist() -> None:
    decision = builders.decision(evidence_ids=("metric:error_rate", "log:<b>99"))
    analysis = builders.analysis(decision=decision).held_to(builders.degraded_evidence().ids)
    shown = await page(Desktop(dossiers=[asking_dossier(analysis=analysis)]))
    assert "Not among the evidence log:<b>99: left out" in shown.words


async def test_every_link_within_the_page_has_a_place_to_go_to_and_no_id_is_there_twice() -> None:
    shown = await page(Desktop(dossiers=[hostile_dossier("text")]))
    ids = shown.all("id")
    assert len(ids) == len(set(ids))
    assert {each[1:] for each in shown.all("href") if each.startswith("#")} <= set(ids)


async def test_each_rule_of_the_gate_is_shown_with_its_result_in_words() -> None:
    dossier = asking_dossier()
    shown = await page(Desktop(dossiers=[dossier]))
    assert dossier.verdict
    for finding in dossier.verdict.findings:
        assert finding.saw in shown.words
    assert shown.words.count("✕ refused") == len(dossier.verdict.refusals)


async def test_what_is_unknown_is_called_unknown_and_never_zero() -> None:
    unread = builders.degraded_evidence(
        metrics=builders.metrics({"error_rate": None, "cpu_usage": None}, deployment_id=None),
        alerts=builders.alerts(state=SourceState.FAILED, problem="no answer"),
    )
    dossier = asking_dossier(
        evidence=unread, assessment=builders.assessment(unread), looks=[builders.look({"error_rate": None})]
    )
    shown = await page(Desktop(dossiers=[dossier]))
    assert "error rate unknown (no number)" in shown.words
    assert "error rate unknown unknown" in shown.words
    assert "(opened) unknown 180ms unknown 52.0% healthy unknown unknown" in shown.words
    assert "alerts by mock-service: failed: no answer" in shown.words
    assert "0.0%" not in shown.words


async def test_before_and_since_are_compared_and_each_look_is_in_a_table_beside_its_plots() -> None:
    shown = await page(Desktop(snapshots=[builders.snapshot()]))
    assert "error rate 15.5% 0.8% 94.8 % better" in shown.words
    assert "requests per second 98.0/s 98.0/s What" not in shown.words
    plots = [attrs for tag, attrs in shown.tags if tag == "img"]
    assert [each["src"] for each in plots if "error_rate" in str(each["src"])] == [
        f"{INCIDENT}/plots/error_rate.svg?looks=2"
    ]
    assert all(each["alt"] for each in plots)
    assert "2026-11-24 14:01:00Z 0.8% 180ms" in shown.words


async def test_that_nobody_could_be_told_stands_at_the_top() -> None:
    shown = await page(Desktop(dossiers=[asking_dossier(unreached="slack and pagerduty do not answer")]))
    assert "Nobody could be told: slack and pagerduty do not answer" in shown.words
    assert "alert" in shown.all("role")


async def test_a_kill_switch_and_whoever_cancelled_are_named() -> None:
    shown = await page(Desktop(dossiers=[asking_dossier(stopped=Stop(by="ben", at=NOW), cancelled_by="cleo")]))
    assert "Kill switch: everything stopped by ben" in shown.words
    assert "Cancelled by cleo." in shown.words


async def test_the_question_has_forms_with_the_digest_for_whoever_may_answer() -> None:
    shown = await page(Desktop(dossiers=[asking_dossier()]))
    assert "Approve …" in shown.words
    assert "d" * 64 in shown.all("value")


@pytest.mark.parametrize(
    ("who", "changes", "why"),
    [
        ("ben", {}, "ben's token has not the scope approve"),
        (
            "ada",
            {"policy": builders.policy(mode="ask", approvers=("dora",))},
            "ada is not one of the policy's approvers",
        ),
        ("ada", {"approval": builders.approval(approver="dora")}, "already approved by dora"),
        (
            "ada",
            {"proposal": builders.proposal(deadline=NOW - timedelta(minutes=1))},
            "the deadline was 2026-11-24 13:59:00Z",
        ),
    ],
)
async def test_whoever_cannot_answer_is_told_why_and_gets_no_button(
    who: str, changes: dict[str, object], why: str
) -> None:
    shown = await page(Desktop(dossiers=[asking_dossier(**changes)]), who=who)
    assert f"You cannot answer: {why}." in shown.words
    assert "Approve …" not in shown.words


async def test_only_who_may_operate_is_offered_to_cancel() -> None:
    assert f"{INCIDENT}/cancel" in (await page(Desktop(dossiers=[asking_dossier()]))).all("href")
    assert f"{INCIDENT}/cancel" not in (await page(Desktop(dossiers=[asking_dossier()]), who="ben")).all("href")
    assert f"{INCIDENT}/cancel" not in (await page(Desktop(snapshots=[builders.snapshot()]))).all("href")


async def test_the_snapshot_is_given_as_it_was_recorded() -> None:
    snapshot = builders.snapshot()
    async with Desktop(snapshots=[snapshot]).visitor("ben") as ben:
        given = await ben.get(f"{INCIDENT}/snapshot.json")
    assert given.headers["content-type"] == "application/json"
    assert Snapshot.model_validate(json.loads(given.text)) == snapshot


async def test_an_open_incident_has_no_snapshot_yet() -> None:
    await page(Desktop(dossiers=[asking_dossier()]), f"{INCIDENT}/snapshot.json", status=404)


async def test_an_incident_of_which_nothing_is_known_yet_has_its_page() -> None:
    shown = await page(Desktop(dossiers=[builders.dossier()]))
    assert "not known yet" in shown.words
    assert "Nobody has looked yet." in shown.words


async def test_a_person_reads_the_last_look_that_improved_nothing_as_worse() -> None:
    worse = builders.look({"error_rate": 31.0}, at=NOW + timedelta(minutes=1))
    recovery = Recovery(classification=Classification.DEGRADED, reasons=("error_rate 15.5% → 31.0%",), settled=False)
    shown = await page(Desktop(dossiers=[asking_dossier(looks=[worse], recovery=recovery)]))
    assert "error rate 15.5% 31.0% 100.0 % worse" in shown.words
    assert "degraded: error_rate 15.5% → 31.0%" in shown.words


OURS = {
    *("html", "head", "meta", "title", "link", "script", "body", "a", "header", "p", "nav", "form", "input", "span"),
    *("button", "main", "div", "h1", "h2", "h3", "section", "dl", "dt", "dd", "time", "ul", "ol", "li", "strong", "em"),
    *(
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "figure",
        "img",
        "details",
        "summary",
        "label",
        "textarea",
        "select",
    ),
    "option",
}


@pytest.mark.parametrize("where", ["", "/answer?answer=approve&digest=" + "d" * 64, "/cancel"])
@pytest.mark.parametrize(("number", "text"), tuple(enumerate(CORPUS)))
async def test_what_outsiders_write_stays_text_everywhere(number: int, text: str, where: str) -> None:
    address = ADDRESSES[number % len(ADDRESSES)]
    plain = await page(Desktop(dossiers=[hostile_dossier("text", address)]), INCIDENT + where)
    shown = await page(Desktop(dossiers=[hostile_dossier(text, address)]), INCIDENT + where)
    assert [tag for tag, _ in shown.tags] == [tag for tag, _ in plain.tags]
    assert {tag for tag, _ in shown.tags} <= OURS
    names = {name for _, attrs in shown.tags for name in attrs}
    assert not [name for name in names if name.startswith("on") or name in {"srcdoc", "style", "formaction"}]
    assert all(re.match(r"(/ui/|#|http://127\.0\.0\.1:8233/)", each) for each in shown.all("href"))
    assert all(each.startswith("/ui/") for name in ("src", "action") for each in shown.all(name))
    if not where:
        assert shown.words.count(" ".join(clean(text, 8192).split())) >= 20
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00\x1b]", shown.text)


def test_the_parts_of_the_page_are_those_that_have_a_template() -> None:
    assert len(set(SECTIONS)) == len(SECTIONS) == 10


@pytest.mark.parametrize(
    "address", [*ADDRESSES, "", "ftp://a/", "http://a b/", "http://[", "http://ä/", "https://" + "a" * 3000]
)
def test_only_a_plain_web_address_becomes_a_link(address: str) -> None:
    assert outside(address) == ""


def test_a_web_address_stays_as_it_is() -> None:
    assert (
        outside("https://github.com/acme/shop/actions/runs/1?pr=2")
        == "https://github.com/acme/shop/actions/runs/1?pr=2"
    )


@pytest.mark.parametrize(
    ("taken", "words"),
    [
        (None, "not known"),
        (timedelta(0), "0 s"),
        (timedelta(seconds=59.6), "1 min 00 s"),
        (timedelta(minutes=61), "1 h 01 min"),
        (timedelta(days=2), "48 h 00 min"),
        (timedelta(seconds=-5), "-5 s"),
    ],
)
def test_a_duration_is_said_in_its_two_largest_units(taken: timedelta | None, words: str) -> None:
    assert lasting(taken) == words
