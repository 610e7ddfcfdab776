from datetime import timedelta

import httpx2
import pytest
from pydantic import SecretStr, ValidationError

from incident.errors import ConfigurationError
from integrations.openai import OpenAISettings, build_client

KEY = SecretStr("sk-0123456789")


@pytest.mark.parametrize(
    ("base_url", "api", "spoken"),
    [
        ("https://api.openai.com/v1", "auto", "responses"),
        ("https://eu.api.openai.com/v1", "auto", "responses"),
        ("https://api.openai.com.example/v1", "auto", "chat"),
        ("https://notapi.openai.com/v1", "auto", "chat"),
        ("http://localhost:8000/v1", "auto", "chat"),
        ("http://localhost:8000/v1", "responses", "responses"),
        ("https://api.openai.com/v1", "chat", "chat"),
    ],
)
def test_responses_are_spoken_with_openai_and_chat_elsewhere(base_url: str, api: str, spoken: str) -> None:
    assert OpenAISettings.model_validate({"base_url": base_url, "api": api}).spoken_api == spoken


def test_the_defaults_need_nothing_but_a_key_and_end_before_the_activity_does() -> None:
    settings = OpenAISettings(api_key=KEY)
    assert settings.timeout == timedelta(seconds=45)
    assert settings.temperature is None
    assert KEY.get_secret_value() not in repr(settings)
    assert all(field.description for field in OpenAISettings.model_fields.values())


@pytest.mark.parametrize("timeout", ["60s", "0s", "2m", 45])
def test_a_time_out_beyond_the_activity_is_refused(timeout: object) -> None:
    with pytest.raises(ValidationError, match="timeout"):
        OpenAISettings.model_validate({"timeout": timeout})


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (OpenAISettings(), "openai.api_key: expected a key"),
        (OpenAISettings(api_key=SecretStr("")), "openai.api_key: expected a key"),
        (OpenAISettings(base_url="localhost:8000"), "begins with https:// or http://"),
        (OpenAISettings(base_url="https://me:hunter2@models.internal/v1"), "without a user or a password"),
        (OpenAISettings(base_url="https://models.internal/v1?key=hunter2"), "without a query"),
    ],
)
def test_an_address_or_key_that_cannot_be_used_is_refused_without_showing_it(
    settings: OpenAISettings, problem: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build_client(settings)
    assert problem in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_the_client_takes_nothing_from_the_environment_and_never_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "from-the-environment")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://from-the-environment.example")
    monkeypatch.setenv("HTTPS_PROXY", "http://from-the-environment.example")
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, json={"data": [], "object": "list"})

    async with build_client(
        OpenAISettings(base_url="http://localhost:8000/v1"), httpx2.MockTransport(answer)
    ) as client:
        await client.models.list()
        assert client.max_retries == 0
        assert client._client.trust_env is False
        assert client._client.follow_redirects is False
    assert str(seen[0].url) == "http://localhost:8000/v1/models"
    assert "from-the-environment" not in str(seen[0].headers.raw)
