"""How a process redacts: by a key of the settings or of its own, and by the patterns of the policy."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from incident.errors import ConfigurationError
from incident.policy import parse_policy
from incident.redaction import redact
from incident.secrets_policy import RedactionPolicy, parse_redaction
from integrations.files import read_redaction
from integrations.redaction import RedactionSettings, redacting

LEAK = "password=hunter2"
SHARED = RedactionSettings(key=SecretStr("k" * 32))
NOTHING_MORE = RedactionPolicy()


def _marked(settings: RedactionSettings) -> str:
    with redacting(settings, NOTHING_MORE):
        assert redact(LEAK) == redact(LEAK)
        return redact(LEAK)


def test_two_processes_of_one_key_mark_alike() -> None:
    assert _marked(SHARED) == _marked(SHARED)


def test_without_a_key_each_process_has_its_own() -> None:
    assert len({_marked(RedactionSettings()) for _ in range(3)}) == 3


def test_after_it_all_is_as_before() -> None:
    with redacting(SHARED, NOTHING_MORE), redacting(SHARED, RedactionPolicy(patterns={"leak": "hunter."})):
        pass
    assert redact(LEAK) == "password=[REDACTED:secret]"


@pytest.mark.parametrize("key", ["", "k" * 31])
def test_a_key_that_is_too_short_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigurationError) as caught, redacting(RedactionSettings(key=SecretStr(key)), NOTHING_MORE):
        pass
    assert str(caught.value) == "REDACTION__KEY: expected at least 32 bytes"


def test_a_policys_patterns_are_taken_out() -> None:
    text = "[redaction.patterns]\nbadge = '\\bB-[0-9]{6}\\b'\n[services.payment-api]\nmode = \"auto\""
    policy = parse_redaction(text, "policy.toml")
    assert parse_policy(text, "policy.toml", ["payment-api"]).redaction == policy
    with redacting(SHARED, policy):
        assert redact("B-123456 came").startswith("[REDACTED:badge:")


@pytest.mark.parametrize(
    ("line", "field", "expected"),
    [
        ("badge = '['", "badge", "missing ]"),
        ("badge = '(?=B)'", "badge", "invalid perl operator"),
        ("badge = '(B)\\1'", "badge", "invalid escape sequence"),
        ("badge = '(?:a{1000}){1000}'", "badge", "invalid repetition size"),
        ("badge = ''", "badge", "expected an expression of 1 to 1000 characters"),
        ("badge = '[0-9]*'", "badge", "expected an expression that does not match the empty text"),
        ("badge = 'REDACTED'", "badge", "expected an expression that matches no mark"),
        ("badge = 7", "badge", "valid string"),
        ("'Badge 7' = 'B'", "Badge 7.[key]", "expected a name of at most 30 lower-case letters, digits and hyphens"),
        ("jwt = 'B'", "jwt.[key]", "expected a name that no known kind has"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused_by_its_name(line: str, field: str, expected: str) -> None:
    text = f"[redaction.patterns]\n{line}"
    for parse in (parse_redaction, lambda text, where: parse_policy(text, where, [])):
        with pytest.raises(ConfigurationError) as caught:
            parse(text, "policy.toml")
        (problem,) = caught.value.lines
        assert problem.startswith(f"policy.toml: redaction.patterns.{field}: ")
        assert expected in problem


def test_a_process_that_needs_no_more_of_the_policy_looks_at_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    assert read_redaction(file) == NOTHING_MORE
    file.write_text('mode = "surprise"\n[redaction.patterns]\nbadge = "B-[0-9]+"')
    assert read_redaction(file).patterns == {"badge": "B-[0-9]+"}
    file.write_text("][")
    with pytest.raises(ConfigurationError, match="not TOML"):
        read_redaction(file)
