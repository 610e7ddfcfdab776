import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from incident.dossier import Notification
from incident.identifiers import correlation_id
from incident.redaction import MAX_LINE, MAX_TEXT, redact, redact_model, redact_value
from tests.builders import (
    INCIDENT_ID,
    decided_dossier,
    decision,
    degraded_evidence,
    log_line,
    logs,
    notification,
    order,
    snapshot,
)

# Every secret is planted in halves, so that no scanner takes this file for a leak.
KEY_BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" * 3
PEM = "-----BEGIN RSA " + "PRIVATE KEY-----\n{}\n-----END RSA " + "PRIVATE KEY-----"
PLANTED = [
    ("private-key", PEM.format(KEY_BODY), KEY_BODY),
    ("private-key", PEM.format(KEY_BODY).replace("\n", "\\n"), KEY_BODY),
    ("private-key", PEM.format(f"Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC\n\n{KEY_BODY}"), KEY_BODY),
    ("aws-key", "used AKIA" + "IOSFODNN7EXAMPLE for the bucket", "IOSFODNN7EXAMPLE"),
    ("github-token", "cloned with ghp_" + "a1B2" * 9, "a1B2a1B2"),
    ("github-token", "cloned with github_pat_" + "a1B2_" * 6, "a1B2_a1B2"),
    ("slack-token", "posted as xoxb" + "-123456789012-abcdef", "123456789012"),
    ("slack-token", "posted as xapp" + "-1-A012345-abcdef", "A012345"),
    ("slack-webhook", "posted to https://hooks.slack.com/" + "services/T000/B000/XXXXXXXX", "XXXXXXXX"),
    ("openai-key", "asked with sk-" + "proj-abcDEF123456789012345", "abcDEF1234"),
    ("jwt", "session eyJ" + "hbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiIxIn0.c2lnbmF0dXJl", "zdWIiOiIxIn0"),
    ("url-password", "postgres://ada:hunter2@db:5432/pay", "hunter2"),
    ("url-password", "redis://:hunter2@cache:6379/0", "hunter2"),
    ("authorization", "authorization: Basic YWRhOmh1bnRlcjI=", "YWRhOmh1bnRlcjI"),
    ("authorization", '{"Authorization": "token hunter2hunter2"}', "hunter2"),
    ("bearer", "sent Bearer abcdef0123456789", "abcdef0123456789"),
    ("cookie", "Set-Cookie: session=hunter2; HttpOnly", "hunter2"),
    ("secret", "password=hunter2 rejected", "hunter2"),
    ("secret", '{"client_secret": "hunter2"}', "hunter2"),
    ("secret", "DB_PASSWD=hunter2", "hunter2"),
    ("secret", "AWS_SECRET_ACCESS_KEY=hunter2hunter2", "hunter2"),
    ("secret", "routing_key: hunter2", "hunter2"),
    ("secret", "api-key='hunter2'", "hunter2"),
    ("email", "refund for ada.lovelace+pay@example.co.uk failed", "lovelace"),
]
ORDINARY = [
    "",
    "charge refused: upstream timed out after 5000 ms",
    "trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=00f067aa0ba902b7",
    "deployed 2fd4e1c67a2d28fced849ee1bb76e7391b93eb12 (abc1234) to production",
    "GET https://payment-api.example.org:3000/metrics/json?window=5m 200",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "connection pool exhausted: 50/50 in use; tokens: none left in the bucket",
    "at charge (/app/server.js:120:15) [node v22.11.0]",
    "production.payment-api.20261124T140000Z.0badcafe ic-0123456789abcdef0123",
    "retry 3/5 in 200ms, cpu 92.0%, p99 1200ms → 180ms",
    "the secret is out, the password was wrong, and the task-force asks for a token",
    '{"level":"error","msg":"ECONNREFUSED 10.0.0.7:5432","at":"2026-11-24T14:00:00.123Z"}',
]


@pytest.mark.parametrize(("kind", "text", "secret"), PLANTED)
def test_a_planted_secret_is_taken_out_and_its_kind_named(kind: str, text: str, secret: str) -> None:
    assert secret in text
    clean = redact(text)
    assert secret not in clean
    assert f"[REDACTED:{kind}]" in clean


@pytest.mark.parametrize(("kind", "text", "secret"), PLANTED)
def test_a_planted_secret_is_found_within_a_line(kind: str, text: str, secret: str) -> None:
    clean = redact(f"14:00:01 ERROR {text} (retrying)\nnext line")
    assert secret not in clean
    assert f"[REDACTED:{kind}]" in clean
    assert clean.startswith("14:00:01 ERROR ")
    assert clean.endswith("next line")


@pytest.mark.parametrize(("kind", "text", "secret"), PLANTED)
def test_redacting_twice_changes_nothing_more(kind: str, text: str, secret: str) -> None:
    for shown in (text, f"{text} {text}", f"{kind}={text}\n{text}"):
        once = redact(shown)
        assert redact(once) == once
        assert once.count(secret) < shown.count(secret)


pieces = st.sampled_from(
    [text for _, text, _ in PLANTED] + ORDINARY + ["=", ":", "@", "://", '"', "\n", "a@b.c ", "x" * 90]
)


@settings(deadline=None)
@given(st.lists(pieces, max_size=40).map("".join))
def test_redacting_twice_changes_nothing_more_whatever_is_joined(text: str) -> None:
    once = redact(text)
    assert redact(once) == once
    assert len(once) <= max(len(text), 256)


def test_a_private_key_without_its_end_takes_what_follows_with_it() -> None:
    assert redact("loaded -----BEGIN PRIVATE " + f"KEY-----\n{KEY_BODY}\nnext line") == "loaded [REDACTED:private-key]"


@pytest.mark.parametrize("line", ORDINARY)
def test_an_ordinary_line_stays_as_it_is(line: str) -> None:
    assert redact(line) == line


def test_revisions_and_correlation_ids_stay_even_beside_a_secret() -> None:
    revision, wanted = "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12", "da39a3ee5e6b4b0d3255bfef95601890afd80709"
    names = {
        "correlation_id": correlation_id(INCIDENT_ID, "rollback", 2),
        "target_revision": revision,
        "expected_revision": wanted,
    }
    for shown in (order(**names), order(**names, reason=f"password=hunter2 at {revision}")):
        clean = redact_model(shown)
        assert {name: getattr(clean, name) for name in names} == names
        assert "hunter2" not in clean.reason
    for name, value in names.items():
        assert redact(f'"{name}": "{value}", {name}={value}') == f'"{name}": "{value}", {name}={value}'


def test_what_surrounds_a_secret_stays() -> None:
    assert (
        redact("db postgres://ada:hunter2@db:5432/pay is down")
        == "db postgres://[REDACTED:url-password]@db:5432/pay is down"
    )
    assert redact('{"token": "hunter2", "n": 1}') == '{"token": "[REDACTED:secret]", "n": 1}'


@pytest.mark.parametrize(
    "shape",
    [
        "a",
        "a.",
        "a-",
        "a@",
        "a@a.",
        "://a:",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN ",
        "eyJaaaaaaaa.",
        "token",
        "token=",
        "password_",
        "authorization: ",
        "bearer ",
        "cookie:",
        "sk-",
        "[",
        " ",
        "://a:\n",
        "a.\n",
        "-----BEGIN PRIVATE KEY-----\n",
        "a-" * 4000 + "\n",
    ],
)
def test_a_hostile_mebibyte_does_not_stall(shape: str) -> None:
    text = (shape * (2**20 // len(shape) + 1))[: 2**20]
    began = time.process_time()  # so that a busy machine fails no test
    clean = redact(text)
    assert time.process_time() - began < 2
    assert len(clean) <= MAX_TEXT


def test_a_long_line_and_a_long_text_are_cut_and_say_so() -> None:
    line = redact("x" * (MAX_LINE + 1))
    assert len(line) == MAX_LINE
    assert line.endswith("x[CUT]")
    assert redact("x" * MAX_LINE) == "x" * MAX_LINE
    text = redact("x\n" * MAX_TEXT)
    assert len(text) == MAX_TEXT
    assert text.endswith("[CUT]")


@pytest.mark.parametrize("tail", ["", "\n"])
def test_a_text_that_was_cut_is_not_cut_again(tail: str) -> None:
    for shape in ("a@b.c ", "token=abc ", "[x", "://a:b@c "):
        once = redact((shape * MAX_LINE)[: 2 * MAX_LINE] + tail)
        assert redact(once) == once


def test_a_cut_leaves_no_half_a_mark() -> None:
    clean = redact("a@b.c " * 50)
    assert clean.replace("[REDACTED:email] ", "") == "[CUT]"
    assert len(clean) <= 300


def test_a_secret_that_has_its_mark_keeps_it() -> None:
    token = "eyJ" + "hbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiIxIn0.c2lnbmF0dXJl"
    assert redact(f"token={token}") == "token=[REDACTED:jwt]"


def test_a_value_keeps_its_shape_and_its_keys() -> None:
    value = {"password=hunter2": ["token=hunter2", 1, None, True, 0.5, {"x": ("sk-" + "a" * 30,)}]}
    assert redact_value(value) == {
        "password=hunter2": ["token=[REDACTED:secret]", 1, None, True, 0.5, {"x": ["[REDACTED:openai-key]"]}]
    }


def test_a_model_has_every_nested_string_redacted_and_keeps_the_rest() -> None:
    line = log_line(7, "login with password=hunter2 failed")
    seen = degraded_evidence(logs=logs(log_line(6), line))
    clean = redact_model(seen)
    assert clean.logs.lines[1].message == "login with password=[REDACTED:secret] failed"
    redacted = line.model_copy(update={"message": clean.logs.lines[1].message})
    assert clean == seen.model_copy(update={"logs": logs(log_line(6), redacted)})


def test_a_model_without_secrets_is_the_same_object() -> None:
    for model in (degraded_evidence(), decided_dossier(), snapshot()):
        assert redact_model(model) is model


def test_a_whole_dossier_can_be_redacted() -> None:
    leaking = decided_dossier(notifications=[notification(title="refund for ada@example.org failed")])
    clean = redact_model(leaking)
    assert [each.title for each in clean.notifications] == ["refund for [REDACTED:email] failed"]
    assert clean.model_dump(exclude={"notifications"}) == leaking.model_dump(exclude={"notifications"})
    assert isinstance(clean.notifications[0], Notification)


def test_marks_never_make_a_text_too_long_for_its_field() -> None:
    full = decision(summary="a@b.c " * 333 + "x", root_cause_hypothesis="password=abc " * 150)
    clean = redact_model(full)
    assert "a@b.c" not in clean.summary
    assert len(clean.summary) <= 2000
    assert redact_model(clean) is clean


def test_redacting_twice_gives_an_equal_model() -> None:
    class Note(BaseModel):
        text: str

    for _, text, _ in PLANTED:
        once = redact_model(Note(text=text))
        assert redact_model(once) is once
