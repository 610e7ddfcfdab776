"""What tests/contract/test_openai_analyst.py cannot have aimock answer, and what no aimock is needed for."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Literal

import httpx2
import pytest
from pydantic import SecretStr

from incident.analysis import Analysis, Tokens
from incident.errors import AnalystUnusableError, PermanentError, TransientError
from integrations.openai import OpenAIAnalyst, OpenAISettings, build_client
from tests import builders
from tests.fakes import InMemoryStore

Api = Literal["responses", "chat"]
Answer = Callable[[httpx2.Request], httpx2.Response]

OPENAI = "https://api.openai.com/v1"
GOOD = builders.decision().model_dump_json()
REFUSAL = "I will not, and the log says: charge refused"


@pytest.fixture(params=["responses", "chat"])
def api(request: pytest.FixtureRequest) -> Api:
    chosen: Api = request.param
    return chosen


class Server:
    """Gives each request the next answer, and the last one again."""

    def __init__(self, *answers: httpx2.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.content) for request in self.requests]


async def decide(server: Server, api: Api, base_url: str = "http://localhost:8000/v1") -> Analysis:
    settings = OpenAISettings(api_key=SecretStr("sk-canary"), base_url=base_url, api=api, model="standin-model")
    async with build_client(settings, httpx2.MockTransport(server)) as client:
        return await OpenAIAnalyst(client, settings, InMemoryStore()).decide(builders.case())


def response(*parts: Mapping[str, Any], **changes: object) -> httpx2.Response:
    message = {"type": "message", "role": "assistant", "content": list(parts)}
    body = {"object": "response", "status": "completed", "model": "standin-model", "output": [message]}
    return httpx2.Response(200, json={**body, **changes})


def completion(message: Mapping[str, Any], **changes: object) -> httpx2.Response:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}
    body = {"object": "chat.completion", "model": "standin-model", "choices": [choice]}
    return httpx2.Response(200, json={**body, **changes})


def good(api: Api, **changes: object) -> httpx2.Response:
    if api == "responses":
        return response({"type": "output_text", "text": GOOD}, **changes)
    return completion({"content": GOOD}, **changes)


async def test_a_refusal_is_not_repaired_and_its_text_goes_nowhere(api: Api) -> None:
    refused = {
        "responses": response({"type": "refusal", "refusal": REFUSAL}),
        "chat": completion({"content": None, "refusal": REFUSAL}),
    }[api]
    server = Server(refused)
    with pytest.raises(AnalystUnusableError, match=r"^openai: the model refused to answer$"):
        await decide(server, api)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("max_output_tokens", "the answer was cut off at max_output_tokens"),
        ("content_filter", "the answer was stopped by the content filter"),
        ("something new", "the answer is incomplete"),
    ],
)
async def test_an_incomplete_response_says_why_and_is_not_repaired(reason: str, words: str) -> None:
    text = {"type": "output_text", "text": GOOD}
    server = Server(response(text, status="incomplete", incomplete_details={"reason": reason}))
    with pytest.raises(AnalystUnusableError, match=rf"^openai: {words}$"):
        await decide(server, "responses")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"code": "server_error", "message": "canary"}, TransientError),
        ({"code": "rate_limit_exceeded", "message": "canary"}, TransientError),
        (None, TransientError),
        ({"code": "invalid_prompt", "message": "canary"}, AnalystUnusableError),
    ],
)
async def test_a_failed_response_is_tried_again_unless_the_prompt_is_to_blame(
    error: object, expected: type[Exception]
) -> None:
    with pytest.raises(expected) as caught:
        await decide(Server(response(status="failed", error=error)), "responses")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("output", [[], [{"type": "reasoning", "summary": []}], [{"type": "message", "content": []}]])
async def test_a_response_without_text_is_empty(output: object) -> None:
    with pytest.raises(AnalystUnusableError, match="empty"):
        await decide(Server(response(output=output)), "responses")


@pytest.mark.parametrize("changes", [{"choices": []}, {"choices": [{"message": {"content": None}}]}])
async def test_a_completion_without_text_is_empty(changes: dict[str, object]) -> None:
    with pytest.raises(AnalystUnusableError, match="empty"):
        await decide(Server(completion({}, **changes)), "chat")


async def test_what_a_model_says_while_thinking_is_no_answer() -> None:
    output = [
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "{}"}]},
        {"type": "message", "phase": "commentary", "content": [{"type": "output_text", "text": "Let me look."}]},
        {"type": "message", "phase": "final_answer", "content": [{"type": "output_text", "text": GOOD}]},
    ]
    analysis = await decide(Server(response(output=output)), "responses")
    assert (analysis.decision, analysis.repairs) == (builders.decision(), 0)


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(200, html="<html>Sign in, canary</html>"),
        httpx2.Response(200, text="canary"),
        httpx2.Response(200, content=b"\xff\xfe", headers={"Content-Type": "application/json"}),
        httpx2.Response(200, json=None),
        httpx2.Response(200, json=[]),
        httpx2.Response(200, json="canary"),
        httpx2.Response(200, json={"error": {"message": "canary"}}),
        httpx2.Response(200, json={"status": 1, "output": 1, "choices": 1}),
        httpx2.Response(204),
    ],
    ids=["html", "text", "bytes", "null", "list", "string", "error", "types", "no content"],
)
async def test_a_server_that_does_not_speak_the_api_is_worth_another_try(api: Api, answer: httpx2.Response) -> None:
    server = Server(answer)
    with pytest.raises(TransientError, match=r"^openai: answered something that is not its API$") as caught:
        await decide(server, api)
    assert caught.value.__cause__ is None
    assert len(server.requests) == 1


class BrokenOff(httpx2.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'{"status": "compl'
        raise httpx2.ReadError("canary")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx2.ConnectError("canary"), "the connection failed or broke off"),
        (httpx2.RemoteProtocolError("canary"), "the connection failed or broke off"),
        (httpx2.ReadTimeout("canary"), "did not answer in time"),
        (httpx2.ConnectTimeout("canary"), "did not answer in time"),
    ],
    ids=["refused", "reset", "silent", "unreachable"],
)
async def test_a_connection_that_fails_is_worth_another_try(api: Api, answer: Exception, words: str) -> None:
    with pytest.raises(TransientError, match=rf"^openai: {words}$"):
        await decide(Server(answer), api)


async def test_a_body_that_breaks_off_or_cannot_be_unpacked_is_worth_another_try(api: Api) -> None:
    packed = {"Content-Encoding": "gzip"}
    for stream, headers in ((BrokenOff(), {}), (httpx2.ByteStream(b"canary"), packed)):
        with pytest.raises(TransientError, match=r"^openai: the connection failed or broke off$"):
            await decide(Server(httpx2.Response(200, stream=stream, headers=headers)), api)


async def test_a_redirect_is_not_followed(api: Api) -> None:
    server = Server(httpx2.Response(302, headers={"Location": "http://elsewhere.example/v1"}))
    with pytest.raises(PermanentError, match=r"^openai: refused the request \(302\)$"):
        await decide(server, api)
    assert len(server.requests) == 1


async def test_the_code_of_an_error_is_told_and_its_text_is_not(api: Api) -> None:
    error = {"message": "canary", "code": "context_length_exceeded"}
    with pytest.raises(PermanentError, match=r"^openai: refused the request \(400 context_length_exceeded\)$"):
        await decide(Server(httpx2.Response(400, json={"error": error})), api)


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({}, None),
        ({"Retry-After": "12"}, timedelta(seconds=12)),
        ({"Retry-After": "0"}, timedelta(0)),
        ({"Retry-After": "86400"}, timedelta(seconds=30)),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, timedelta(0)),
        ({"Retry-After": format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)}, timedelta(seconds=30)),
    ],
    ids=["none", "seconds", "zero", "a day", "words", "negative", "endless", "past date", "far date"],
)
async def test_the_wait_that_a_server_asks_for_is_obeyed_up_to_a_cap(
    headers: dict[str, str], pause: timedelta | None
) -> None:
    with pytest.raises(TransientError) as caught:
        await decide(Server(httpx2.Response(503, headers=headers)), "responses")
    assert caught.value.retry_after == pause


async def test_nothing_is_stored_with_openai_and_only_openai_is_told_so(api: Api) -> None:
    there, elsewhere = Server(good(api)), Server(good(api))
    await decide(there, api, OPENAI)
    await decide(elsewhere, api)
    assert there.bodies[0]["store"] is False
    assert ("store" in elsewhere.bodies[0]) is (api == "responses")


async def test_each_server_is_told_the_limit_in_its_own_word() -> None:
    there, elsewhere = Server(good("chat")), Server(good("chat"))
    await decide(there, "chat", OPENAI)
    await decide(elsewhere, "chat")
    assert (there.bodies[0]["max_completion_tokens"], "max_tokens" in there.bodies[0]) == (4000, False)
    assert (elsewhere.bodies[0]["max_tokens"], "max_completion_tokens" in elsewhere.bodies[0]) == (4000, False)


async def test_tokens_that_a_server_does_not_count_are_unknown_not_zero(api: Api) -> None:
    names = {"responses": ("input_tokens", "output_tokens"), "chat": ("prompt_tokens", "completion_tokens")}[api]
    counted = good(api, usage=dict(zip(names, (10, 5), strict=True)))
    assert (await decide(Server(counted), api)).tokens == Tokens(input=10, output=5)
    assert (await decide(Server(good(api)), api)).tokens is None


@pytest.mark.parametrize("name", ["", "x" * 500, "evil\nname", "\u202ename"], ids=ascii)
async def test_a_model_name_that_is_no_name_is_not_recorded(api: Api, name: str) -> None:
    assert (await decide(Server(good(api, model=name)), api)).model == "standin-model"


async def test_a_server_that_trickles_is_left_when_the_time_is_over() -> None:
    class Trickle(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.Event().wait()

    settings = OpenAISettings(base_url="http://localhost:8000/v1", timeout=timedelta(milliseconds=50))
    server = Server(httpx2.Response(200, stream=Trickle()))
    async with build_client(settings, httpx2.MockTransport(server)) as client:
        with pytest.raises(TransientError, match=r"no decision within 0.05 s"):
            await OpenAIAnalyst(client, settings, InMemoryStore()).decide(builders.case())


async def test_an_invalid_answer_names_its_fields_and_nothing_that_the_model_wrote() -> None:
    answer = json.dumps({**json.loads(GOOD), "severity": "canary", "canary_field": 1, "rollback_to": None})
    with pytest.raises(AnalystUnusableError) as caught:
        await decide(Server(completion({"content": answer})), "chat")
    assert str(caught.value) == "openai: no valid decision after 2 repairs; invalid: severity, form"


async def test_instructions_of_ones_own_are_what_the_model_is_told_and_every_reply_is_heard(api: Api) -> None:
    server = Server(
        {"responses": response({"type": "output_text", "text": "{}"}), "chat": completion({"content": "{}"})}[api],
        good(api),
    )
    settings = OpenAISettings(base_url="http://localhost:8000/v1", api=api, model="standin-model")
    heard: list[str] = []
    async with build_client(settings, httpx2.MockTransport(server)) as client:
        analyst = OpenAIAnalyst(
            client, settings, InMemoryStore(), "Judge it.\n", lambda reply: heard.append(reply.text)
        )
        assert (await analyst.decide(builders.case())).repairs == 1
    assert heard == ["{}", GOOD]
    told = [body["instructions"] if api == "responses" else body["messages"][0]["content"] for body in server.bodies]
    assert told == ["Judge it.\n"] * 2
