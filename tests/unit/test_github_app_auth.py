"""A GitHub App's tokens: signed as GitHub wants it, kept for their hour, renewed once."""

import asyncio
import json
from datetime import timedelta

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from incident.errors import PermanentError, TransientError
from integrations.github import GitHub, GitHubSettings
from integrations.github.refusals import Need
from integrations.http import HttpSettings, build_client
from tests.unit.github_double import NOW, Script, client

TOKENS = "/app/installations/7/access_tokens"
KEY = rsa.generate_private_key(65537, 2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
NEED = Need("a thing", "acme/payment-api", "actions=read")


def _granted(token: str, lasts: timedelta = timedelta(hours=1)) -> httpx.Response:
    ends = (NOW + lasts).strftime("%Y-%m-%dT%H:%M:%SZ")
    return httpx.Response(201, json={"token": token, "expires_at": ends, "permissions": {"actions": "write"}})


def _app(script: Script, http: httpx.AsyncClient | None = None) -> GitHub:
    given = {"app_id": "Iv23", "installation_id": 7, "private_key": PEM}
    return GitHub(http or client(script), GitHubSettings.model_validate(given), clock=lambda: script.now)


@pytest.fixture
def script() -> Script:
    told = Script()
    told.say("GET", "/thing", {})
    return told


def _tokens(script: Script) -> list[str]:
    return [each.headers["authorization"] for each in script.sent("GET", "/thing")]


async def test_the_app_says_who_it_is_by_a_short_signed_word(script: Script) -> None:
    script.say("POST", TOKENS, _granted("ghs_1"))

    await _app(script).get("/thing", NEED)

    (asked,) = script.sent("POST", TOKENS)
    signed = asked.headers["authorization"].removeprefix("Bearer ")
    claims = jwt.decode(
        signed, KEY.public_key(), algorithms=["RS256"], options={"verify_exp": False, "verify_iat": False}
    )
    assert claims == {
        "iss": "Iv23",
        "iat": int((NOW - timedelta(minutes=1)).timestamp()),
        "exp": int((NOW + timedelta(minutes=9)).timestamp()),
    }
    assert json.loads(asked.content) == {}
    assert asked.headers["x-github-api-version"] == "2022-11-28"
    assert _tokens(script) == ["Bearer ghs_1"]


async def test_a_token_is_kept_until_five_minutes_before_its_end(script: Script) -> None:
    script.say("POST", TOKENS, _granted("ghs_1"), _granted("ghs_2", timedelta(hours=2)))
    app = _app(script)

    for at in (0, 54, 55):
        script.now = NOW + timedelta(minutes=at)
        await app.get("/thing", NEED)

    assert _tokens(script) == ["Bearer ghs_1", "Bearer ghs_1", "Bearer ghs_2"]


async def test_however_many_ask_one_token_is_fetched(script: Script) -> None:
    script.say("POST", TOKENS, _granted("ghs_1"))

    async def slowly(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)
        return script(request)

    http = build_client(HttpSettings(), httpx.MockTransport(slowly))
    app = _app(script, http)

    await asyncio.gather(*(app.get("/thing", NEED) for _ in range(5)))

    assert len(script.sent("POST", TOKENS)) == 1
    assert len(_tokens(script)) == 5


async def test_a_limit_on_tokens_is_waited_for_as_well(script: Script) -> None:
    script.say("POST", TOKENS, httpx.Response(403, headers={"retry-after": "7"}), _granted("ghs_1"))
    app = _app(script)
    for _ in range(2):
        with pytest.raises(TransientError, match="rate limit"):
            await app.get("/thing", NEED)

    assert len(script.sent("POST", TOKENS)) == 1


async def test_a_token_that_github_does_not_take_any_more_is_replaced(script: Script) -> None:
    script.say("POST", TOKENS, _granted("ghs_1"), _granted("ghs_2"))
    script.say("GET", "/thing", httpx.Response(401, json={"message": "Bad credentials"}), {})
    app = _app(script)

    with pytest.raises(PermanentError, match="Bad credentials"):
        await app.get("/thing", NEED)
    await app.get("/thing", NEED)

    assert _tokens(script) == ["Bearer ghs_1", "Bearer ghs_2"]


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (httpx.Response(401, json={"message": "no"}), PermanentError, "the App's variables"),
        (httpx.Response(404, json={"message": "Not Found"}), PermanentError, "GITHUB__INSTALLATION_ID"),
        (httpx.Response(201, json={"token": "ghs_s3cret"}), PermanentError, "holds no installation token"),
        (httpx.Response(201, html="<html>"), TransientError, "is HTML"),
        (httpx.Response(502, html="<html>"), TransientError, "HTTP 502"),
        (httpx.Response(403, headers={"retry-after": "7"}), TransientError, "rate limit"),
        (httpx.ReadTimeout("late"), TransientError, "in time"),
    ],
)
async def test_without_a_token_nothing_is_asked(
    script: Script, answer: httpx.Response | Exception, error: type[Exception], words: str
) -> None:
    script.say("POST", TOKENS, answer, _granted("ghs_1"))
    app = _app(script)

    with pytest.raises(error, match=words) as raised:
        await app.get("/thing", NEED)
    assert "s3cret" not in str(raised.value)
    assert not script.sent("GET")

    script.now += timedelta(seconds=7)
    await app.get("/thing", NEED)
    assert _tokens(script) == ["Bearer ghs_1"]
