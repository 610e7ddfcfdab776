"""GitHub as a script: what each path answers, what was asked, and a time that passes when somebody pauses."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import httpx

from integrations.github import GitHub, GitHubSettings
from integrations.http import HttpSettings, build_client

NOW = datetime(2026, 11, 24, 14, 0, tzinfo=UTC)
REPOSITORY = "acme/payment-api"
REPO = f"/repos/{REPOSITORY}"
WORKFLOW = f"{REPO}/actions/workflows/rollback.yml"
RUNS = f"{WORKFLOW}/runs"
DISPATCHES = f"{WORKFLOW}/dispatches"
TOKEN = "standin-canary"  # noqa: S105 - opens nothing

Answer = httpx.Response | Exception | Mapping[str, object] | Sequence[object]


class Script:
    """Answers by method and path, one after the other; the last one stays. What is not scripted is not found."""

    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []
        self.now = NOW
        self.pauses: list[float] = []
        self._answers: dict[tuple[str, str], list[Answer]] = {}

    def say(self, method: str, path: str, *answers: Answer) -> None:
        """Lets that path answer so from now on; a dict or a list is the JSON of a 200."""
        self._answers[method, path] = list(answers)

    def sent(self, method: str, path: str = "") -> list[httpx.Request]:
        """What was asked by that method, of that path or of all."""
        return [each for each in self.asked if each.method == method and path in {"", each.url.path}]

    async def pause(self, seconds: float) -> None:
        """Lets time pass at once."""
        self.pauses.append(seconds)
        self.now += timedelta(seconds=seconds)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answers = self._answers.get((request.method, request.url.path))
        if answers is None:
            return httpx.Response(404, json={"message": "Not Found"})
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        return httpx.Response(200, json=answer)


def client(script: Callable[[httpx.Request], httpx.Response], max_bytes: int = 1_000_000) -> httpx.AsyncClient:
    """A client that the script answers."""
    return build_client(HttpSettings(max_response_bytes=max_bytes), httpx.MockTransport(script))


def github(script: Script, **settings: object) -> GitHub:
    """A connection that the script answers, by the script's clock."""
    given = GitHubSettings.model_validate({"token": TOKEN, **settings})
    return GitHub(client(script), given, clock=lambda: script.now)
