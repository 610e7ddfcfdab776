"""What a Loki is told and asked to see that a fake answers as it does, and what a real one answered."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.standins.loki.pushing import Said, Stream
from tests.standins.starting import NO_TLS

RECORDED = Path(__file__).with_name("recorded.json")


def lines(base: int) -> tuple[Stream, ...]:
    """What it is told, from the nanosecond `base` on; a real one asks its memory for the last hours only."""
    return (
        Stream(
            {"app": "payment-api", "level": "error"},
            (
                Said(base + 1, "ERROR charge ch_1 refused"),
                Said(base + 2, "ERROR charge ch_2 refused", {"trace_id": "c0ffee"}),
                Said(base + 30, 'ERROR quotes " and \\ and \u00fc'),
            ),
        ),
        Stream(
            {"app": "payment-api", "level": "info"}, (Said(base + 10, "INFO charged"), Said(base + 20, "INFO charged"))
        ),
        Stream({"app": 'pay"ment\\api', "level": "info"}, (Said(base + 5, "INFO another one"),)),
    )


_ALL: Mapping[str, str | int] = {
    "query": '{app="payment-api"}',
    "start": 0,
    "end": 100,
    "limit": "100",
    "direction": "backward",
}
QUESTIONS: Mapping[str, Mapping[str, str | int]] = {
    "all, newest first": _ALL,
    "all, oldest first": {**_ALL, "direction": "forward"},
    "the two newest": {**_ALL, "limit": "2"},
    "the two oldest": {**_ALL, "limit": "2", "direction": "forward"},
    "from a nanosecond on": {**_ALL, "start": 2},
    "to before a nanosecond": {**_ALL, "end": 2},
    "one label more": {**_ALL, "query": '{app="payment-api", level="info"}'},
    "another label": {**_ALL, "query": '{app="payment-api", level!="info"}'},
    "a pattern": {**_ALL, "query": '{app=~"pay.*", level=~"info|warn"}'},
    "another pattern": {**_ALL, "query": '{app=~"payment-.*", level!~"inf."}'},
    "a part of a value is no match": {**_ALL, "query": '{app=~"payment"}'},
    "a value of marks": {**_ALL, "query": '{app="pay\\"ment\\\\api"}'},
    "nobody": {**_ALL, "query": '{app="nobody"}'},
    "nothing yet": {**_ALL, "start": -100, "end": 0},
    "no selector": {**_ALL, "query": "payment-api"},
    "a selector of everything": {**_ALL, "query": '{app=~".*"}'},
    "too many": {**_ALL, "limit": "5001"},
    "the end before the start": {**_ALL, "end": -1},
    "no number": {**_ALL, "limit": "x"},
}


@dataclass(frozen=True)
class Answer:
    """What is compared of an answer."""

    status: int
    kind: str
    """Its content type, without what follows a semicolon."""
    body: Any
    """The streams, their times from the base on; of a refusal, its text."""


def asked(url: str, name: str, base: int) -> Answer:
    """What the Loki at `url`, which was told `lines(base)`, answers to the question of that name."""
    parameters = {key: str(base + value) if isinstance(value, int) else value for key, value in QUESTIONS[name].items()}
    answer = httpx.get(f"{url}/loki/api/v1/query_range", params=parameters, trust_env=False, verify=NO_TLS, timeout=20)
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if not answer.is_success:
        return Answer(answer.status_code, kind, answer.text.strip())
    body = answer.json()
    assert body["status"] == "success"
    assert body["data"]["resultType"] == "streams"
    streams = [
        {**each, "values": [[int(at) - base, *rest] for at, *rest in each["values"]]}
        for each in sorted(body["data"]["result"], key=lambda each: sorted(each["stream"].items()))
    ]
    return Answer(answer.status_code, kind, streams)


def recorded() -> Mapping[str, Answer]:
    """What a real one answered, by the question's name."""
    answers = json.loads(RECORDED.read_text(encoding="utf-8"))
    return {name: Answer(**answer) for name, answer in answers.items()}


def record(url: str, base: int) -> None:
    """Writes down what the Loki at `url`, which was told `lines(base)`, answers."""
    answers = {name: asdict(asked(url, name, base)) for name in QUESTIONS}
    RECORDED.write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
