"""How GitHub is asked: identity, pages, and what each refusal means."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from incident.errors import IntegrationError, PermanentError, TransientError
from integrations.github.client import GitHub, parsed, parsed_list
from integrations.github.refusals import MAX_SAID, MAX_WAIT, MIN_WAIT, Need, message, refusal
from integrations.http import Reply
from tests.unit.github_double import NOW, TOKEN, Script, github

NEED = Need("workflow rollback.yml of acme/payment-api", "acme/payment-api", "actions=write")
SECRET = "ghp_" + "s3cret" * 6


def _refused(status: int, body: object = None, **headers: str) -> IntegrationError:
    named = httpx.Headers({name.replace("_", "-"): value for name, value in headers.items()})
    return refusal(Reply(status, body, headers=named), NEED, NOW)  # type: ignore[arg-type]  # any JSON is the point


async def test_every_request_says_who_asks_and_which_version_it_speaks() -> None:
    script = Script()
    script.say("GET", "/user", {})
    script.say("POST", "/user", {})

    connection = github(script, api_version="2026-03-10")
    await connection.get("/user", NEED, {"q": "a&b=c"})
    await connection.post("/user", NEED, {"a": 1})

    for request in script.asked:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        assert request.headers["x-github-api-version"] == "2026-03-10"
        assert request.headers["accept"] == "application/vnd.github+json"
    assert dict(script.asked[0].url.params) == {"q": "a&b=c"}


async def test_an_enterprise_servers_address_is_kept() -> None:
    script = Script()
    script.say("GET", "/api/v3/user", {"login": "ada"})

    reply = await github(script, api_url="https://github.example/api/v3/").get("/user", NEED)

    assert reply.body == {"login": "ada"}
    assert script.asked[0].url.host == "github.example"


@pytest.mark.parametrize(
    ("error", "retry_after"),
    [
        (_refused(429, retry_after="7"), timedelta(seconds=7)),
        (_refused(403, retry_after="3600"), timedelta(hours=1)),
        (_refused(403, retry_after="999999"), MAX_WAIT),
        (_refused(403, x_ratelimit_remaining="0", x_ratelimit_reset=str(int(NOW.timestamp()) + 90)), timedelta(0, 90)),
        (_refused(403, x_ratelimit_remaining="0", x_ratelimit_reset="1"), timedelta(seconds=1)),
        (_refused(403, x_ratelimit_remaining="0", x_ratelimit_reset="9" * 15), MAX_WAIT),
        (_refused(403, x_ratelimit_remaining="0", x_ratelimit_reset="soon"), MIN_WAIT),
        (_refused(403, {"message": "You have exceeded a secondary rate limit."}), MIN_WAIT),
        (_refused(403, {"message": "You have triggered an abuse detection mechanism"}), MIN_WAIT),
        (_refused(429), MIN_WAIT),
        (_refused(429, None, x_ratelimit_remaining="17"), MIN_WAIT),
    ],
)
def test_a_rate_limit_passes_when_github_says(error: IntegrationError, retry_after: timedelta) -> None:
    assert isinstance(error, TransientError)
    assert error.retry_after == retry_after
    assert "rate limit" in error.problem


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
@pytest.mark.parametrize("body", [None, {"message": "Server Error"}])
def test_a_failing_github_is_worth_another_try(status: int, body: object) -> None:
    error = _refused(status, body, retry_after="7")

    assert isinstance(error, TransientError)
    assert error.retry_after == timedelta(seconds=7)
    assert f"HTTP {status}" in error.problem


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "set GITHUB__TOKEN"),
        (403, "the token needs actions=write on acme/payment-api"),
        (404, "there is no workflow rollback.yml of acme/payment-api, or the token cannot see it"),
        (410, "there is no workflow rollback.yml of acme/payment-api, or the token cannot see it"),
        (422, "does not take this request for workflow rollback.yml of acme/payment-api"),
        (301, "acme/payment-api has moved: write its new name into services.toml"),
        (307, "acme/payment-api has moved"),
        (400, "refuses workflow rollback.yml"),
        (418, "refuses workflow rollback.yml"),
    ],
)
@pytest.mark.parametrize("said", [None, "Bad thing"])
def test_a_refusal_is_final_and_says_what_to_do(status: int, words: str, said: str | None) -> None:
    error = _refused(status, {"message": said} if said else None, x_ratelimit_remaining="17")

    assert isinstance(error, PermanentError)
    assert words in error.problem
    assert error.problem.startswith(f"HTTP {status} {said}" if said else f"HTTP {status}: ")


def test_a_missing_permission_is_named_as_github_names_it() -> None:
    error = _refused(
        403,
        {"message": "Resource not accessible by personal access token"},
        x_accepted_github_permissions="actions=write",
    )

    assert str(error) == (
        "github: HTTP 403 Resource not accessible by personal access token: the token needs actions=write on "
        "acme/payment-api (X-Accepted-GitHub-Permissions said actions=write)"
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (None, ""),
        ([], ""),
        ({"message": 7}, ""),
        ({"message": "a\n\x1b[31mb\u202e\ud800"}, "a [31mb"),
        ({"message": f"no {SECRET}"}, "no [REDACTED:github-token]"),
        ({"message": "Invalid", "errors": ["x", {"message": "y"}, {"code": "z"}, "never"]}, "Invalid; x; y"),
        ({"message": "Invalid", "errors": "x"}, "Invalid"),
        ({"message": "x" * 9000}, "x" * (MAX_SAID - 1) + "…"),
    ],
)
def test_what_github_says_is_short_clean_and_holds_no_secret(body: object, said: str) -> None:
    assert message(Reply(422, body)) == said  # type: ignore[arg-type]  # any JSON is the point


@given(
    st.integers(300, 599),
    st.one_of(st.none(), st.text(), st.dictionaries(st.text(), st.text()), st.lists(st.integers())),
    st.dictionaries(
        st.sampled_from(["retry-after", "x-ratelimit-remaining", "x-ratelimit-reset", "x-accepted-github-permissions"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
    ),
)
def test_no_refusal_is_unreadable_and_no_wait_is_endless(status: int, body: object, headers: dict[str, str]) -> None:
    error = refusal(Reply(status, body, headers=httpx.Headers(headers)), NEED, NOW)  # type: ignore[arg-type]  # any JSON is the point

    assert error.problem.isprintable()
    assert not isinstance(error, TransientError) or (error.retry_after or timedelta(0)) <= MAX_WAIT
    assert isinstance(error, TransientError) or status < 500


async def test_while_a_limit_holds_nothing_is_sent_and_then_it_is() -> None:
    script = Script()
    script.say("GET", "/user", httpx.Response(429, headers={"retry-after": "7"}), {})
    connection = github(script)
    with pytest.raises(TransientError):
        await connection.get("/user", NEED)

    script.now += timedelta(seconds=6)
    with pytest.raises(TransientError, match="nothing was sent") as raised:
        await connection.post("/user", NEED)
    assert raised.value.retry_after == timedelta(seconds=1)
    assert len(script.asked) == 1

    script.now += timedelta(seconds=1)
    await connection.get("/user", NEED)
    assert len(script.asked) == 2


async def test_a_refusal_for_good_holds_up_nothing_else() -> None:
    script = Script()
    script.say("GET", "/user", {})
    connection = github(script)
    with pytest.raises(PermanentError):
        await connection.get("/unknown", NEED)

    assert (await connection.get("/user", NEED)).body == {}


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, html="<html>a proxy"),
        httpx.Response(200, content=b'{"cut": '),
        httpx.Response(204),
        httpx.ReadTimeout("silent"),
        httpx.ConnectError("refused"),
        httpx.RemoteProtocolError("cut"),
    ],
)
async def test_an_answer_that_cannot_be_read_is_worth_another_try(answer: httpx.Response | Exception) -> None:
    script = Script()
    script.say("GET", "/user", answer)

    with pytest.raises(TransientError, match=r"^github: "):
        await github(script).get("/user", NEED)


async def test_pages_follow_the_link_and_stop_where_it_ends_or_enough_is_read() -> None:
    def page(number: int, following: str) -> httpx.Response:
        return httpx.Response(200, json=[number], headers={"link": following} if following else {})

    script = Script()
    links = [f'<https://api.github.com/list?page={each}&per_page=1>; rel="next", <x>; rel="last"' for each in (2, 3)]
    script.say("GET", "/list", page(1, links[0]), page(2, links[1]), page(3, '<https://x/?page=1>; rel="prev"'))
    connection = github(script)

    assert [each async for each in connection.pages("/list", NEED, {"per_page": 1}, 10)] == [[1], [2], [3]]
    assert [each.url.params.get("page") for each in script.asked] == [None, "2", "3"]

    script.say("GET", "/list", page(1, links[0]))
    assert [each async for each in connection.pages("/list", NEED, {}, 2)] == [[1], [1]]


async def test_the_token_goes_nowhere_that_a_link_leads_to() -> None:
    script = Script()
    away = httpx.Response(200, json=[], headers={"link": '<https://evil.example/steal?page=2>; rel="next"'})
    script.say("GET", "/list", away, [])

    _ = [each async for each in github(script).pages("/list", NEED, {}, 10)]

    assert [(each.url.host, each.url.path) for each in script.asked] == [("api.github.com", "/list")] * 2


class _Thing(BaseModel):
    id: int
    at: datetime


@pytest.mark.parametrize("body", [None, [], {"id": "s3cret"}, {"id": 1}, {"id": 1, "at": "s3cret"}])
def test_an_answer_of_another_shape_is_an_error_that_repeats_none_of_it(body: object) -> None:
    with pytest.raises(PermanentError, match=r"^github: the answer about a thing: ") as raised:
        parsed(_Thing, body, "a thing")  # type: ignore[arg-type]  # any JSON is the point
    with pytest.raises(PermanentError):
        parsed_list(_Thing, [body], "a thing")  # type: ignore[list-item]  # any JSON is the point

    assert "s3cret" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_what_github_adds_is_left_out() -> None:
    body = {"id": 1, "at": "2026-11-24T14:00:00Z", "new": True}

    assert parsed(_Thing, body, "a thing") == _Thing(id=1, at=datetime(2026, 11, 24, 14, tzinfo=UTC))  # type: ignore[arg-type]  # any JSON is the point


def test_a_connection_has_a_clock_of_its_own() -> None:
    connection = github(Script())
    assert isinstance(connection, GitHub)
    assert connection.clock() == NOW
