"""The gateway as Temporal's codec server: who may have payloads decrypted, and what a browser lets pages do."""

import base64

import httpx
import pytest
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload

from integrations.codec import EncryptionCodec
from integrations.temporal import TemporalSettings
from tests.contract.gateway_desk import FakeDesk, Gate, settings

KEY, EVIL = b"k" * 32, b"e" * 32
UI = "https://temporal.example"
TEXT = b'"the pool is empty"'
PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=TEXT)


def _gate(keys: str | None = f"old={base64.b64encode(KEY).decode()}") -> Gate:
    temporal = TemporalSettings(codec_keys=SecretStr(keys) if keys else None, ui_url=f"{UI}/some/where")
    return Gate(
        FakeDesk(),
        settings=settings(secure_cookies=False, session_key="s" * 32).model_copy(update={"temporal": temporal}),
    )


GATE = _gate()


@pytest.fixture(autouse=True)
def anew() -> None:
    GATE.reset()


def _json(*payloads: Payload) -> dict[str, object]:
    """As protobuf's JSON has them, and the Web UI sends them."""
    return {
        "payloads": [
            {
                "metadata": {name: base64.b64encode(value).decode() for name, value in each.metadata.items()},
                "data": base64.b64encode(each.data).decode(),
            }
            for each in payloads
        ]
    }


async def _sealed(key: bytes = KEY) -> Payload:
    (sealed,) = await EncryptionCodec({"old": key}).encode([PLAIN])
    return sealed


async def _decoded(client: httpx.AsyncClient, *payloads: Payload) -> httpx.Response:
    return await client.post("/codec/decode", json=_json(*payloads), headers={"X-Namespace": "default"})


async def test_what_a_worker_encrypted_is_decrypted_in_its_order() -> None:
    async with GATE.client() as ada:
        answer = await _decoded(ada, await _sealed(), PLAIN)
    assert (answer.status_code, answer.json()) == (200, _json(PLAIN, PLAIN))


async def test_what_is_encrypted_here_a_worker_decrypts() -> None:
    async with GATE.client() as ada:
        answer = await ada.post("/codec/encode", json=_json(PLAIN))
    assert TEXT not in answer.content
    (got,) = answer.json()["payloads"]
    sealed = Payload(
        metadata={name: base64.b64decode(value) for name, value in got["metadata"].items()},
        data=base64.b64decode(got["data"]),
    )
    assert await EncryptionCodec({"old": KEY}).decode([sealed]) == [PLAIN]


@pytest.mark.parametrize(("path", "who"), [("/codec/decode", "reader"), ("/codec/encode", "operator")])
async def test_each_way_asks_for_its_scope(path: str, who: str) -> None:
    for name in ("reader", "operator", "approver"):
        async with GATE.client(getattr(GATE.people, name)) as client:
            answer = await client.post(path, json=_json(PLAIN))
        assert answer.status_code == (200 if name == who else 403)


async def test_nobody_reads_without_a_token() -> None:
    async with GATE.client(None) as nobody:
        answer = await _decoded(nobody, await _sealed())
    assert answer.status_code == 401
    assert b"pool" not in answer.content


async def test_what_cannot_be_decrypted_is_refused_with_the_reason() -> None:
    async with GATE.client() as ada:
        answer = await _decoded(ada, await _sealed(EVIL))
        odd = await ada.post("/codec/decode", json={"payloads": [{"data": "no base64"}]})
    assert answer.status_code == 422
    assert "did not encrypt" in answer.json()["errors"][0]
    assert (odd.status_code, odd.json()["errors"]) == (422, ["body.payloads: expected metadata and data in base64"])


async def test_pages_of_the_web_ui_may_read_the_answer_and_no_others() -> None:
    for origin, allowed in ((UI, UI), ("https://evil.example", None), ("null", None)):
        asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,x-namespace"}
        async with GATE.client(None, Origin=origin) as browser:
            asked = await browser.options("/codec/decode", headers=asks)
        async with GATE.client(GATE.people.ada, Origin=origin) as browser:
            answer = await _decoded(browser, PLAIN)
        assert asked.headers.get("access-control-allow-origin") == allowed
        assert answer.headers.get("access-control-allow-origin") == allowed
    async with GATE.client(GATE.people.ada, Origin=UI) as browser:
        assert "access-control-allow-origin" not in (await browser.get("/whoami")).headers


async def _logged_in(who: str) -> httpx.Cookies:
    """The cookies of a browser in which `who` has logged in to the pages."""
    async with GATE.client(None, Origin="http://gateway") as browser:
        entered = await browser.post("/ui/login", data={"token": getattr(GATE.people, who)})
        assert entered.status_code == 303, entered.text
        return browser.cookies


@pytest.mark.parametrize(
    ("who", "origin", "path", "status"),
    [
        ("reader", UI, "/codec/decode", 200),
        ("reader", "https://evil.example", "/codec/decode", 401),
        ("reader", "null", "/codec/decode", 401),
        ("reader", "", "/codec/decode", 401),
        ("ada", UI, "/codec/encode", 401),
    ],
    ids=["the Web UI", "another site", "no site", "not said", "encrypting"],
)
async def test_a_login_is_good_for_reading_from_a_page_of_the_web_ui_alone(
    who: str, origin: str, path: str, status: int
) -> None:
    async with GATE.client(None, **({"Origin": origin} if origin else {})) as browser:
        browser.cookies = await _logged_in(who)
        answer = await browser.post(path, json=_json(await _sealed()))
    assert answer.status_code == status
    assert (answer.json() == _json(PLAIN)) is (status == 200)


async def test_the_web_ui_may_send_the_login_along_and_a_login_that_is_over_is_none() -> None:
    async with GATE.client(None, Origin=UI) as browser:
        asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-namespace"}
        asked = await browser.options("/codec/decode", headers=asks)
        browser.cookies.set("commander", "forged")
        answer = await _decoded(browser, PLAIN)
    assert asked.headers["access-control-allow-credentials"] == "true"
    assert answer.status_code == 401


async def test_without_keys_there_is_no_codec_server() -> None:
    async with _gate(None).client() as ada:
        assert (await _decoded(ada, PLAIN)).status_code == 404
