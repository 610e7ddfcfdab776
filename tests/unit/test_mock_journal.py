from datetime import UTC, datetime

from mock_service.journal import Activation, Activations, Journal, JournalEntry

AT = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)


def entry(number: int, correlation_id: str | None = None) -> JournalEntry:
    return JournalEntry(AT, "POST", f"/demo/{number}", "unknown", None, correlation_id, applied=False, status=404)


def paths(page: dict[str, object]) -> list[str]:
    entries = page["entries"]
    assert isinstance(entries, list)
    assert page["total"] == len(entries)
    return [each["path"] for each in entries]


def test_the_newest_call_is_last_and_the_oldest_falls_out() -> None:
    journal = Journal()
    for number in range(1500):
        journal.record(entry(number))
    listed = paths(journal.page())
    assert len(listed) == 1000
    assert (listed[0], listed[-1]) == ("/demo/500", "/demo/1499")


def test_a_correlation_id_lists_its_own_calls() -> None:
    journal = Journal()
    for number, correlation_id in enumerate(("a", None, "b", "a")):
        journal.record(entry(number, correlation_id))
    assert paths(journal.page("a")) == ["/demo/0", "/demo/3"]
    assert paths(journal.page("nobody")) == []


def test_an_entry_says_what_happened_in_fixed_fields() -> None:
    assert entry(1, "a").as_json() == {
        "at": "2026-01-05T09:30:00.000Z",
        "method": "POST",
        "path": "/demo/1",
        "action": "unknown",
        "deployment_id": None,
        "correlation_id": "a",
        "applied": False,
        "status": 404,
    }


def test_applied_activations_are_remembered_within_bounds() -> None:
    activations = Activations(kept=2)
    for correlation_id in ("a", "b", "c", None):
        activations.remember(correlation_id, Activation(100, {"for": correlation_id}))
    assert activations.find("a") is None
    assert activations.find("c") == Activation(100, {"for": "c"})
    assert activations.find(None) is None
