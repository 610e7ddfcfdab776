"""integrations/egress.py and the clients that it holds: what no setting names is asked for nothing."""

import ast
import gzip
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import httpx2
import pytest
from pydantic import BaseModel, SecretStr

from incident.errors import PermanentError, TransientError
from incident.services import parse_registry
from integrations.egress import Egress, ForbiddenHostError, addresses, build_guarded_client, within
from integrations.http import HttpSettings, fetch_json
from integrations.openai import OpenAIAnalyst, OpenAISettings
from integrations.openai import build_client as build_openai_client
from integrations.openai.client import MAX_REPLY
from integrations.slack.api import SlackApi
from tests import builders
from tests.fakes import InMemoryStore
from tests.unit.test_house import ROOT, modules
from worker.settings import Settings

NAMED = {
    "services.toml": ["http://payment-api.internal:3000/base", "https://[::1]"],
    "GITHUB__API_URL": ["https://G.example"],
}
REGISTRY = parse_registry(
    """
    [[service]]
    name = "payment-api"
    source = { kind = "mock", url = "http://payment-api.internal:3000" }
    logs = { kind = "mock", url = "https://logs.internal/" }
    deployments = { kind = "github", repository = "acme/payment-api" }
    """,
    "services.toml",
)
SERVER = OpenAISettings(base_url="http://models.internal:8000/v1", model="standin-model")


@pytest.mark.parametrize(
    "url",
    [
        "http://payment-api.internal:3000/",
        "http://PAYMENT-API.internal:3000/elsewhere?x=1#y",
        "https://g.example",
        "https://g.example:443/api",
        "https://[::1]/",
    ],
)
def test_what_a_setting_names_may_be_asked_whatever_the_path(url: str) -> None:
    Egress(NAMED).check(httpx.URL(url))


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("http://evil.example/x", "http://evil.example:80"),
        ("https://payment-api.internal:3000", "https://payment-api.internal:3000"),
        ("http://payment-api.internal", "http://payment-api.internal:80"),
        ("http://payment-api.internal:3001", "http://payment-api.internal:3001"),
        ("http://payment-api.internal:3000@evil.example/", "http://evil.example:80"),
        ("http://payment-api.internal.evil.example:3000/", "http://payment-api.internal.evil.example:3000"),
        ("https://notg.example", "https://notg.example:443"),
        ("https://sub.g.example", "https://sub.g.example:443"),
        ("https://g.example.", "https://g.example.:443"),
        ("http://169.254.169.254/latest/meta-data/", "http://169.254.169.254:80"),
        ("file:///etc/passwd", "file://:0"),
    ],
)
def test_anything_else_is_refused_by_host_port_and_scheme(url: str, where: str) -> None:
    with pytest.raises(ForbiddenHostError) as refused:
        Egress(NAMED).check(httpx.URL(url))
    assert str(refused.value) == (
        f"egress: nothing is sent to {where}, which no setting names; services.toml or GITHUB__API_URL would allow it"
    )


async def test_a_refusal_names_the_host_and_no_key_of_the_address() -> None:
    url = "http://user:s3cret@evil.example/s3cret?key=s3cret"
    reached: list[httpx.Request] = []

    def wire(request: httpx.Request) -> httpx.Response:
        reached.append(request)
        return httpx.Response(200, json={})

    async with build_guarded_client(HttpSettings(), Egress(NAMED), httpx.MockTransport(wire)) as client:
        with pytest.raises(PermanentError, match=r"http://evil\.example:80") as refused:
            await fetch_json(client, "vendor", "GET", url)
        await fetch_json(client, "vendor", "GET", "https://g.example/fine")

    assert "s3cret" not in str(refused.value)
    assert [request.url.host for request in reached] == ["g.example"]


def test_what_is_no_address_allows_nothing() -> None:
    nothing = Egress({"X": ["", "payment-api", "http://", "http://[", "ftp://g.example"]})
    for url in ("http://payment-api", "ftp://g.example", "http://localhost"):
        with pytest.raises(ForbiddenHostError):
            nothing.check(httpx.URL(url))


def test_every_endpoint_of_the_registry_is_named_by_it() -> None:
    assert addresses(REGISTRY) == ("http://payment-api.internal:3000", "https://logs.internal/")


def test_an_address_is_known_by_its_name_however_deep_it_stands() -> None:
    class Peer(BaseModel):
        url: str
        runbook: str

    class Registry(BaseModel):
        peers: tuple[Peer, ...]
        urls: list[str]
        token_url: str | None = None

    peer = Peer(url="http://a.example", runbook="http://wiki.example")
    registry = Registry(peers=(peer, peer), urls=["http://b.example", "http://c.example"])
    assert set(addresses(registry)) == {"http://a.example", "http://b.example", "http://c.example"}


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://payment-api.internal:3000/metrics", True),
        ("https://logs.internal/logs", True),
        ("https://api.github.com/repos", True),
        ("https://events.pagerduty.com/v2/enqueue", True),
        ("https://hooks.slack.com/services/T1/B1/x", True),
        ("https://github.com/acme", False),
        ("https://commander.example/ui", False),
        ("https://api.openai.com/v1", False),
        ("http://127.0.0.1:7233", False),
    ],
)
def test_the_worker_asks_what_its_settings_and_the_registry_name_and_links_are_only_shown(
    url: str,
    allowed: bool,  # noqa: FBT001 - a table
) -> None:
    slack = {"webhook_url": SecretStr("https://hooks.slack.com/services/T1/B1/x")}
    only = Settings.model_validate({"slack": slack, "public_url": "https://commander.example"}).destinations(REGISTRY)
    try:
        only.check(httpx.URL(url))
    except ForbiddenHostError:
        assert not allowed
    else:
        assert allowed


def test_every_client_of_ours_is_guarded() -> None:
    unguarded = {
        str(path.relative_to(ROOT))
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "integrations.http"
        if "build_client" in {each.name for each in node.names}
    }
    assert unguarded == {"integrations/egress.py"}, "build it with build_guarded_client"


async def test_the_models_client_asks_its_own_server_only() -> None:
    reached: list[httpx2.Request] = []

    def wire(request: httpx2.Request) -> httpx2.Response:
        reached.append(request)
        return httpx2.Response(200, json={})

    async with build_openai_client(SERVER, httpx2.MockTransport(wire)) as client:
        with pytest.raises(ForbiddenHostError, match=r"https://evil\.example:443.*OPENAI__BASE_URL"):
            await client.get("https://evil.example/v1/models", cast_to=object)
        await client.get("/models", cast_to=object)

    assert [str(request.url) for request in reached] == ["http://models.internal:8000/v1/models"]


class Flood(httpx2.AsyncByteStream):
    """A reply without an end, and how much of it was taken."""

    def __init__(self) -> None:
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.sent += 65_536
            yield b" " * 65_536


async def decide(answer: httpx2.Response) -> None:
    async with build_openai_client(SERVER, httpx2.MockTransport(lambda _: answer)) as client:
        await OpenAIAnalyst(client, SERVER, InMemoryStore()).decide(builders.case())


async def test_no_more_of_a_reply_is_read_than_any_answer_takes() -> None:
    flood = Flood()
    with pytest.raises(TransientError, match=r"^openai: the answer is larger than 4194304 bytes$"):
        await decide(httpx2.Response(200, stream=flood))
    assert flood.sent <= MAX_REPLY + 65_536


async def test_a_reply_is_not_unpacked() -> None:
    packed = gzip.compress(b" " * 10_000_000)
    with pytest.raises(TransientError, match="the connection failed or broke off"):
        await decide(httpx2.Response(200, stream=httpx2.ByteStream(packed), headers={"Content-Encoding": "gzip"}))


async def test_slacks_client_asks_its_own_api_only() -> None:
    api = SlackApi("http://127.0.0.1:9/api/", "xoxb-0123456789", timedelta(seconds=1))
    with pytest.raises(ForbiddenHostError, match=r"https://hooks\.slack\.com:443.*SLACK__API_URL"):
        await api.write("https://hooks.slack.com/actions/T1/1/x", {})
    with pytest.raises(TransientError, match="cannot be reached"):
        await api.write("chat.postMessage", {})
    await api.close()


@pytest.mark.parametrize(
    ("url", "is_within"),
    [
        ("wss://wss-primary.slack.com/link/?ticket=1", True),
        ("wss://slack.com/link", True),
        ("wss://notslack.com/link", False),
        ("wss://slack.com.evil.example/link", False),
        ("wss://slack.com@evil.example/link", False),
        ("wss://evil.example/slack.com", False),
        ("nonsense", False),
    ],
)
def test_a_socket_stays_beneath_slacks_own_host(url: str, is_within: bool) -> None:  # noqa: FBT001 - a table
    assert within(url, "https://slack.com/api/") is is_within
