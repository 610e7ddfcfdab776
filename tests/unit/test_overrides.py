"""A service's own policy in the registry: over the policy file, in one environment, and never set in both."""

from datetime import timedelta
from pathlib import Path

import pytest

from incident.errors import ConfigurationError
from incident.policy import Mode, PolicyBook
from incident.services import parse_registry
from integrations.files import read_policies

REGISTRY = """
[[service]]
name = "payment-api"
source = { kind = "mock", url = "http://127.0.0.1:9" }

[[service]]
name = "payment-api"
environment = "staging"
source = { kind = "mock", url = "http://127.0.0.1:9" }
[service.policy]
"""


def book(place: Path, own: str, policy: str | None = None) -> PolicyBook:
    """The policies of the two services, the second with `own`, and of a policy file."""
    file = place / "policy.toml"
    if policy is not None:
        file.write_text(policy)
    return read_policies(file, parse_registry(REGISTRY + own, "services.toml"), Path("services.toml"))


def refused(place: Path, own: str, policy: str | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        book(place, own, policy)
    return [line.replace(str(place), "") for line in caught.value.lines]


def test_the_registrys_policy_holds_for_its_service_in_its_environment_alone(tmp_path: Path) -> None:
    policies = book(tmp_path, 'mode = "auto"')
    assert policies.of("payment-api", "staging").mode is Mode.AUTO
    assert policies.of("payment-api", "production") == policies.default
    assert policies.default.mode is Mode.ASK


def test_it_goes_over_the_policy_file_at_any_depth_and_inherits_the_rest(tmp_path: Path) -> None:
    own = "[service.policy.recovery]\ntolerance = 0.2\n[service.policy.thresholds]\ncpu_usage = false"
    theirs = """
    approvers = ["ada"]
    [recovery]
    tolerance = 0.1
    [services.payment-api]
    cool_down = "1h"
    [services.payment-api.recovery]
    stable_looks = 5
    """
    policies = book(tmp_path, own, theirs)
    staging, production = (policies.of("payment-api", where) for where in ("staging", "production"))
    assert (staging.recovery.tolerance, staging.recovery.stable_looks, staging.cool_down) == (
        0.2,
        5,
        timedelta(hours=1),
    )
    assert (production.recovery.tolerance, production.recovery.stable_looks) == (0.1, 5)
    assert staging.approvers == ("ada",)


@pytest.mark.parametrize(
    ("own", "line"),
    [
        ("surprise = 1", "services.toml: service[1].policy: surprise: Extra inputs are not permitted"),
        ("services = {}", "services.toml: service[1].policy: services: Extra inputs are not permitted"),
        ("min_confidence = 0.1", "services.toml: service[1].policy: min_confidence: Input should be greater"),
        ('watch = {every = "soon"}', "services.toml: service[1].policy: watch.every: "),
        ('approvers = []\nknown_as = {x = "ada"}', "services.toml: service[1].policy: known_as: expected names"),
    ],
    ids=["unknown", "overrides of others", "too low", "no duration", "unfitting"],
)
def test_what_cannot_be_used_is_refused_with_file_and_key(tmp_path: Path, own: str, line: str) -> None:
    (found,) = refused(tmp_path, own)
    assert found.startswith(line)


def test_what_both_files_set_for_a_service_is_refused_with_both_places(tmp_path: Path) -> None:
    theirs = '[services.payment-api]\nmode = "ask"\n[services.payment-api.watch]\nbad = 1\nof = 2'
    assert refused(tmp_path, 'mode = "auto"\nwatch = {of = 3, every = "10s"}', theirs) == [
        f"services.toml: service[1].policy.{key}: expected it here or in /policy.toml at services.payment-api.{key}, "
        "and it is in both"
        for key in ("mode", "watch.of")
    ]


def test_a_policy_that_is_no_table_is_refused_with_the_registry() -> None:
    with pytest.raises(ConfigurationError, match=r"^services.toml: service\[0\].policy: Input should be a valid dict"):
        parse_registry(REGISTRY.partition("\n\n[[")[0] + "\npolicy = 1", "services.toml")
