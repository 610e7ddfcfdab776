"""The OpenAPI document: it tells the truth, to a generator of requests as to a reader."""

import base64
from typing import Any

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from pydantic import SecretStr
from schemathesis import Case
from schemathesis.checks import CHECKS, load_all_checks

from gateway.documents import INCIDENT
from incident.dossier import Stage
from integrations.temporal import TemporalSettings
from tests import builders
from tests.contract.gateway_desk import KEYS, FakeDesk, Gate
from tests.contract.gateway_desk import settings as gateway_settings

load_all_checks()
KEY = SecretStr(f"key={base64.b64encode(bytes(32)).decode()}")
GATE = Gate(FakeDesk(), settings=gateway_settings().model_copy(update={"temporal": TemporalSettings(codec_keys=KEY)}))
DOCUMENT = GATE.app.openapi()
schema = schemathesis.openapi.from_asgi("/openapi.json", GATE.app)
OPERATIONS = [
    pytest.param(path, method, id=f"{method.upper()} {path}")
    for path, methods in DOCUMENT["paths"].items()
    for method in methods
]
OPEN_TO_ANYONE = {"/healthz", "/readyz", "/metrics"}
EXAMPLES = 8
HOLDS: list[Any] = [
    CHECKS.get_one(name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
        "unsupported_method",
    )
]


@pytest.fixture(autouse=True)
def incident() -> None:
    """The incident that the document's examples speak of is open."""
    GATE.reset()
    assert isinstance(GATE.desk, FakeDesk)
    GATE.desk.add(incident_id=INCIDENT, stage=Stage.AWAITING_DECISION)


def _bearer(path: str) -> str:
    source = path.rpartition("/")[2]
    return KEYS.get(f"{source}_secret", GATE.people.ada) if path.startswith("/webhooks/") else GATE.people.ada


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_request_makes_it_fail_or_answer_otherwise_than_it_says(case: Case[Any]) -> None:
    case.headers["Authorization"] = f"Bearer {_bearer(case.path)}"
    if (case.query or {}).get("wait") in range(1, 31):
        case.query["wait"] = 0
    case.call_and_validate(checks=HOLDS)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
async def test_nobody_comes_in_without_a_token_or_with_one_that_is_good_for_nothing_here(
    path: str, method: str
) -> None:
    filled = path.replace("{incident_id}", builders.INCIDENT_ID)
    for token in (None, "ict_" + "A" * 43):
        async with GATE.client(token) as client:
            answer = await client.request(method, filled)
        expected = (200,) if path in OPEN_TO_ANYONE else (401,)
        assert answer.status_code in expected
    if path not in OPEN_TO_ANYONE:
        assert "401" in DOCUMENT["paths"][path][method]["responses"]


def _examples(place: dict[str, Any]) -> list[Any]:
    """The examples of a body or an answer; none where it has no content."""
    found = []
    for content in place.get("content", {}).values():
        found += [content["example"]] if "example" in content else []
        found += [each["value"] for each in content.get("examples", {}).values()]
    return found


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_body_and_every_answer_has_an_example_that_holds_to_its_schema(path: str, method: str) -> None:
    operation = DOCUMENT["paths"][path][method]
    places = [operation["requestBody"]] if "requestBody" in operation else []
    places += [answer for answer in operation["responses"].values() if "content" in answer]
    assert places
    for place in places:
        examples = _examples(place)
        assert examples
        for schema_, example in (
            (each.get("schema", {}), one) for each in place["content"].values() for one in examples
        ):
            jsonschema.validate(example, {**schema_, "components": DOCUMENT["components"]})


def test_the_document_names_what_each_token_must_be_good_for_and_loads_nothing_from_elsewhere() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]
    assert set(schemes) == {"read", "operate", "approve", "any", "alertmanager", "grafana"}
    assert all(scheme["scheme"] == "bearer" for scheme in schemes.values())
    assert DOCUMENT["paths"]["/incidents"]["post"]["security"] == [{"operate": []}]
    assert not any(path.startswith("/ui") for path in DOCUMENT["paths"])
