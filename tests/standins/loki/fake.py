"""A fake of the two addresses of Loki that are asked here: `push` and `query_range`. Its refusals are as recorded."""

import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

MOST_LINES = 5000
"""Loki's default `max_entries_limit_per_query`."""

_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"((?:[^"\\]|\\.)*)"')
_SELECTOR = re.compile(rf"\{{\s*{_MATCHER.pattern}(?:\s*,\s*{_MATCHER.pattern})*\s*\}}")
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True)
class _Line:
    labels: Mapping[str, str]
    at: int
    text: str


class _RefusedError(Exception):
    """Loki refuses the question; the text says why."""


class _Fake(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lines: list[_Line] = []

    def take(self, body: Mapping[str, Any]) -> None:
        for stream in body["streams"]:
            for at, text, *beside in stream["values"]:
                self.lines.append(_Line(_labelled(stream["stream"], *beside), int(at), text))

    def answer(self, asked: Mapping[str, str]) -> Mapping[str, object]:
        start, end = int(asked["start"]), int(asked["end"])
        try:
            limit = int(asked["limit"])
        except ValueError as error:
            raise _RefusedError(f'strconv.Atoi: parsing "{asked["limit"]}": invalid syntax') from error
        wanted = _wanted(asked["query"])
        if end < start:
            raise _RefusedError("end timestamp must not be before or equal to start time")
        if limit > MOST_LINES:
            raise _RefusedError(
                f"max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} > {MOST_LINES})"
            )
        found = [each for each in self.lines if start <= each.at < end and all(_holds(*one, each) for one in wanted)]
        found.sort(key=lambda each: each.at, reverse=asked["direction"] == "backward")
        streams: dict[str, dict[str, Any]] = {}
        for line in found[:limit]:
            stream = streams.setdefault(json.dumps(line.labels, sort_keys=True), {"stream": line.labels, "values": []})
            stream["values"].append([str(line.at), line.text])
        data = {"resultType": "streams", "result": list(streams.values()), "stats": {}}
        return {"status": "success", "data": data}


class _Handler(BaseHTTPRequestHandler):
    server: _Fake

    def do_POST(self) -> None:
        self.server.take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._say(204, "text/plain", "")

    def do_GET(self) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        try:
            self._say(200, "application/json", json.dumps(self.server.answer(asked)))
        except _RefusedError as refusal:
            self._say(400, "text/plain", f"{refusal}\n")

    def _say(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Says nothing."""


@contextmanager
def running_fake() -> Iterator[str]:
    """The address of a fake that holds nothing yet."""
    with _Fake() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _labelled(labels: Mapping[str, str], *beside: Mapping[str, str]) -> Mapping[str, str]:
    """The labels of a line, with what Loki adds by itself: the level and the service that it makes out."""
    found = {"service_name": labels.get("app", "unknown_service"), "detected_level": labels.get("level", "unknown")}
    return {**found, **labels, **(beside[0] if beside else {})}


def _wanted(query: str) -> Sequence[tuple[str, str, str]]:
    if not _SELECTOR.fullmatch(query):
        raise _RefusedError("parse error at line 1, col 1: syntax error: unexpected IDENTIFIER")
    found = [(name, operator, _ESCAPE.sub(r"\1", value)) for name, operator, value in _MATCHER.findall(query)]
    for _, operator, value in found:
        if "~" in operator:
            _compiles(value)
    if all(_holds(name, operator, value, _Line({}, 0, "")) for name, operator, value in found):
        raise _RefusedError(
            "parse error : queries require at least one regexp or equality matcher that does not have an "
            'empty-compatible value. For instance, app=~".*" does not meet this requirement, but app=~".+" will'
        )
    return found


def _compiles(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise _RefusedError(f"parse error : {error}") from error


def _holds(name: str, operator: str, value: str, line: _Line) -> bool:
    said = line.labels.get(name, "")
    matches = said == value if operator in {"=", "!="} else re.fullmatch(value, said) is not None
    return matches is not operator.startswith("!")
