"""How lines get into a Loki."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from tests.standins.starting import NO_TLS


@dataclass(frozen=True)
class Said:
    """One line."""

    at: int
    """Nanoseconds since 1970."""
    text: str
    beside: Mapping[str, str] = field(default_factory=dict)
    """What is kept beside it: structured metadata."""


@dataclass(frozen=True)
class Stream:
    """Lines under one set of labels."""

    labels: Mapping[str, str]
    lines: tuple[Said, ...]


def push(url: str, *streams: Stream) -> None:
    """Puts the lines into the Loki at `url`; AssertionError where it does not take them."""
    body = {
        "streams": [
            {
                "stream": dict(stream.labels),
                "values": [
                    [str(each.at), each.text, *([dict(each.beside)] if each.beside else [])] for each in stream.lines
                ],
            }
            for stream in streams
        ]
    }
    answer = httpx.post(f"{url}/loki/api/v1/push", json=body, trust_env=False, verify=NO_TLS, timeout=20)
    assert answer.status_code == 204, answer.text
