import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from incident.dossier import Notification
from incident.identifiers import correlation_id
from incident.kinds import NAMES
from incident.redaction import MAX_LINE, MAX_TEXT, redact, redact_model, redact_value, redacting_by
from mock_service import logbook
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
    ("secret", 'password="correct horse battery"', "horse"),
    ("secret", '{"msg": "{\\"password\\": \\"hunter2\\"}"}', "hunter2"),
    ("secret", r'{"password": "hun\"ter2"}', "ter2"),
    ("secret", "PGPASSWORD => hunter2", "hunter2"),
    ("secret", "psql --password hunter2", "hunter2"),
    ("secret", "<db:Password>hunter2</db:Password>", "hunter2"),
    ("secret", "GET /pay?access_token=hunter2&amount=5", "hunter2"),
    ("secret", "sshpass passphrase: hunter2", "hunter2"),
    ("email", "refund for ada.lovelace+pay@example.co.uk failed", "lovelace"),
    ("aws-key", "assumed ASIA" + "IOSFODNN7EXAMPLE", "IOSFODNN7EXAMPLE"),
    ("aws-secret", "AWS_SECRET_ACCESS_KEY=" + "wJalrXUtnFEMI/K7MDENG" + "/bPxRfiCYEXAMPLEKEY", "K7MDENG"),
    ("aws-secret", '{"SecretAccessKey": "wJalrXUtnFEMI/' + 'K7MDENG/bPxRfiCYEXAMPLEKEY"}', "K7MDENG"),
    ("gcp-key", "maps key AIza" + "SyA-1234567890_abcdefghijklmnopqrst", "1234567890"),
    ("gcp-token", "got ya29." + "a0AfH6SMBx-1234567890", "a0AfH6SMBx"),
    ("gcp-token", "client GOCSPX" + "-abcdefghijklmnopqrstuvwxyz12", "abcdefghij"),
    ("gcp-service-account", '"private_key_id": "' + "0123456789" * 4 + '"', "0123456789"),
    ("azure-key", "DefaultEndpointsProtocol=https;AccountName=pay;AccountKey=" + "abCD" * 21 + "==;", "abCDabCD"),
    ("azure-key", "Endpoint=sb://pay/;SharedAccessKey=" + "abCD" * 10 + "=", "abCDabCD"),
    ("azure-sas", "https://pay.example/x?sv=2024&sig=" + "abCD1" * 8 + "%3D&se=1", "abCD1abCD1"),
    ("azure-secret", "AADSTS " + "abc8Q" + "~" + "abcdefghijklmnopqrstuvwxyz012345", "abcdefghij"),
    ("gitlab-token", "pushed with glpat" + "-abcDEF123456789_-xyz", "abcDEF1234"),
    ("slack-webhook", "https://hooks.slack.com/" + "triggers/T000/123/XXXXXXXX", "XXXXXXXX"),
    ("discord-webhook", "https://discord.com/api/" + "webhooks/123456/abcDEF-xyz", "abcDEF"),
    ("telegram-token", "bot 123456789:" + "AAabcdefghijklmnopqrstuvwxyz1234567", "abcdefghij"),
    ("anthropic-key", "asked with sk-" + "ant-api03-abcDEF123456789012345", "abcDEF1234"),
    ("hugging-face-token", "hf_" + "abcDEF1234" * 3, "abcDEF1234"),
    ("pagerduty-key", "enqueued with R0" + "ABCDE12345" * 3, "ABCDE12345"),
    ("pagerduty-key", "https://events.pagerduty.com/integration/" + "0123abcd" * 4 + "/enqueue", "0123abcd"),
    ("pagerduty-token", "said Token token=" + "y_NbAkKc66ryYTWUXYEu", "NbAkKc66"),
    ("pagerduty-token", "with u+" + "wNbAkKc66ryYTWUXYE now", "NbAkKc66"),
    ("pagerduty-token", "with pdus" + "+_0XBPWQQ_0123456789abcdef", "0XBPWQQ"),
    ("stripe-key", "charged by sk_" + "live_abcDEF1234567890", "abcDEF1234"),
    ("stripe-key", "hook whsec" + "_abcDEF1234567890abcd", "abcDEF1234"),
    ("npm-token", "published by npm_" + "abcDEF1234" * 3 + "abcdef", "abcDEF1234"),
    ("pypi-token", "uploaded by pypi-" + "AgEIcHlwaS5vcmc" + "abcDEF1234" * 5, "abcDEF1234"),
    ("docker-token", "pulled by dckr" + "_pat_abcDEF1234567890abcd", "abcDEF1234"),
    ("sendgrid-key", "mailed by SG." + "abcDEF1234567890abcdef." + "abcDEF1234" * 4, "abcDEF1234"),
    ("twilio-key", "called by SK" + "0123456789abcdef" * 2, "0123456789abcdef"),
    ("grafana-token", "read by glsa_" + "abcDEF12" * 4 + "_0123abcd", "abcDEF12"),
    ("vault-token", "unsealed by hvs." + "abcDEF1234" * 3, "abcDEF1234"),
    ("digitalocean-token", "by dop" + "_v1_" + "0123456789abcdef" * 4, "0123456789abcdef"),
    ("commander-token", "Authorized by ict" + "_abcDEF1234567890abcDEF1234567890abcDEF123456", "abcDEF1234"),
    ("kestra-webhook", "POST /api/v1/main/executions/webhook/ops/incident/hunter2key 200", "hunter2key"),
    ("jwt", "eyJ" + "hbGciOiJkaXIi.." + "c2lnbmF0dXJl.Y2lwaGVydGV4dA.dGFn", "Y2lwaGVydGV4dA"),
    ("signature", "?X-Amz-Signature=" + "0123456789abcdef" * 4, "0123456789abcdef"),
    ("authorization", "Proxy-Authorization: Digest hunter2hunter2", "hunter2"),
    ("authorization", "authorization=GenieKey hunter2-hunter2", "hunter2"),
    ("basic", "sent Basic YWRhOmh1bnRlcjI=", "YWRhOmh1bnRlcjI"),
    ("cookie", "cited as log:session=Zk3Vw8TnLm5XrPbYd2HsJfC7", "Zk3Vw8TnLm5XrPbYd2HsJfC7"),
    ("cookie", "/pay;jsessionid=hunter2hunter2?x=1", "hunter2"),
    ("url-password", "postgres://ada:hunter2@db.example.com/pay", "hunter2"),
    ("url-password", "amqp://ada:hun@ter2@mq.example.com", "ter2"),
    ("card", "charged 4111111111111111 twice", "4111111111111111"),
    ("card", "charged 5555-5555-5555-4444 twice", "5555-5555"),
    ("card", "charged 3782 822463 10005 twice", "822463"),
    ("card", "charged 4111 1111 1111 1111", "1111 1111"),
    ("iban", "to DE89370400440532013000 today", "370400440532"),
    ("iban", "to GB82 WEST 1234 5698 7654 32 EUR", "1234 5698"),
    ("iban", "to NO93 8601 1117 947 NOK", "8601 1117"),
    ("iban", "to PL61 1090 1014 0000 0712 1981 2874 PLN", "0712 1981"),
]
TWINS = [
    "-----BEGIN CERTIFICATE-----\n" + "MIIBxTCCAWug" * 5 + "\n-----END CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----",
    "0123456789abcdef" * 4,
    "0123456789ABCDEF" * 4,
    "AKIA is how such a key begins, AKIAIOSFODNN7",
    "secret_key = none",
    "AIza is no key",
    "gh_pages ghp_short github_pat_short",
    "glpat-short",
    "xox is a game, xoxb-short",
    "hooks.slack.com answered 200",
    "sk-short and risk-assessment-of-the-payment-service",
    "hf_short",
    "R0 ROUTING0123456789",
    "u_payment_worker_007 and y_axis_of_the_charts",
    "sk_live_ and sk_test_short",
    "npm_config_registry=x, npm_short",
    "pypi-mirror",
    "SG.short.short",
    "SKU 0123456789abcdef",
    "hvs.short",
    "ict_short",
    "/executions/webhook",
    "eyJhbGciOi is the head of one",
    "https://example.org:3000/a@b and https://ada@example/x",
    "signature=valid",
    "authorization was given; the bearer of bad news",
    "Basic authentication, Basic YWRh",
    "a cookie jar",
    "session=expired-for-this-user",
    "token: none, password=null, secret: missing, api_key: ***",
    "tokens: 512, max_tokens=4096, token_count: 12",
    "passwords are hashed; --password-file",
    "ada@localhost and @example.org",
    "order 4111111111111112, at 1763990400123, in 1763990400123456789 ns",
    "0.4111111111111111 and 4111111111111111.5 and 1.4111111111111111",
    "build 1234 5678 9012 3456",
    "DE89370400440532013001 and XX89370400440532013000",
    "uuid 4111a111-1111-4111-8111-111111111111",
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


HOSTILE = [
    *("a", "a.", "a-", "a@", "a@a.", "://a:", "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "eyJaaaaaaaa.", "token"),
    *("token=", "password_", "authorization: ", "bearer ", "cookie:", "sk-", "[", " ", "1", "4111 ", "DE89 ", "A"),
    *("[REDACTED:", "[REDACTED:secret]", "[CUT]", "\u200b", "é", "\U0001f600", "\\", '"', "<token>", "--token "),
    *("://a:\n", "a.\n", "-----BEGIN PRIVATE KEY-----\n", "a-" * 4000 + "\n", "a@b.c ", "://a:b@c ", "token=abc "),
]


@pytest.mark.parametrize("shape", HOSTILE, ids=[ascii(shape[:30]) for shape in HOSTILE])
def test_a_hostile_mebibyte_is_capped_and_what_is_planted_before_and_after_it_leaves_with_none(shape: str) -> None:
    secret = "ghp_" + "a1B2" * 9
    flood = (shape * (2**20 // len(shape) + 1))[: 2**20]
    clean = redact(f"{secret} {flood} {secret}")
    assert secret not in clean
    assert "a1B2a1B2" not in clean
    assert len(clean) <= MAX_TEXT
    assert max(map(len, clean.split("\n"))) <= MAX_LINE
    assert redact(clean) == clean


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


def test_a_private_key_that_came_line_by_line_is_taken_out_too() -> None:
    line = "q7Zt0mX4" * 8
    assert redact(line) == "[REDACTED:private-key]"
    assert redact(f"loaded\n{line}\n{line}") == "loaded\n[REDACTED:private-key]\n[REDACTED:private-key]"
    assert redact(f"digest {line}") == f"digest {line}"


def test_every_kind_is_planted() -> None:
    assert {kind for kind, _, _ in PLANTED} == NAMES
    assert len(NAMES) >= 20


@pytest.mark.parametrize("text", TWINS)
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    assert redact(text) == text


def _healthy() -> Iterator[str]:
    """What a healthy service writes: the mock's lines plain and as JSON, with ids, times and numbers of all sorts."""
    lines = [*logbook.QUIET, *(line for pair in logbook.DATABASE for line in pair)]
    for n in range(2000):
        line = lines[n % len(lines)]
        at = f"2026-11-24T14:{n // 60 % 60:02}:{n % 60:02}.{n % 1000:03}Z"
        trace = f"{n * 0x9E3779B97F4A7C15 % 2**64:016x}{n * 0xC2B2AE3D27D4EB4F % 2**64:016x}"
        yield f"{at} {line.level} {line.message} trace_id={trace} span={trace[:16]} id: {trace[:8]}-{trace[8:12]}"
        yield json.dumps({"at": at, "level": line.level, "message": line.message, **line.metadata, "error": line.error})
        yield f"10.0.{n % 256}.7:{n + 1024} GET /api/payment/{n * 7919} {n % 1000} {n / 7} {trace.upper()}"
        yield f"ns={1763990400000000000 + n * 1234567891} pool {n % 50}/50, tokens={n}, key={trace[:12]}"


def test_a_healthy_log_has_no_false_mark() -> None:
    wrong = [line for line in _healthy() if redact(line) != line]
    assert wrong == []
    together = "\n".join(_healthy())[: MAX_TEXT // 2]
    assert redact(together) == together


HIDDEN = ["\u200b", "\u00ad", "\u202e", "\U000e0041", "\ufe0f", "\x00", "\x1b", "\ud800"]


@pytest.mark.parametrize("hidden", HIDDEN, ids=ascii)
def test_nothing_unseen_hides_a_secret(hidden: str) -> None:
    token = "ghp_" + "a1B2" * 9
    assert redact(f"with {hidden.join(token)}") == "with [REDACTED:github-token]"


def test_a_secret_at_a_cut_is_taken_out_whole() -> None:
    token = "ghp_" + "a1B2" * 9
    for before in range(MAX_LINE - 60, MAX_LINE + 3):
        clean = redact(" " * before + token + " more")
        assert "a1B2" not in clean
        assert len(clean) <= MAX_LINE
    for before in range(MAX_TEXT - 60, MAX_TEXT + 3, 7):
        text = ("x" * 63 + "\n") * (before // 64)
        assert "a1B2" not in redact(text + " " * (before % 64) + token + " more")


KEY, OTHER = b"k" * 32, b"o" * 32


def test_with_a_key_equal_secrets_have_equal_marks_and_others_have_not() -> None:
    with redacting_by(KEY, {}):
        one, again, two = (redact(f"password={each}") for each in ("hunter2", "hunter2", "hunter3"))
        beside = redact('{"token": "hunter2"}')
        assert redact(one) == one
        assert redact(redact_value([one, two])[1]) == two
    assert one == again != two
    assert one.startswith("password=[REDACTED:secret:")
    assert beside == '{"token": "' + one.removeprefix("password=") + '"}'
    with redacting_by(OTHER, {}):
        assert redact("password=hunter2") not in {one, two}
        assert redact(one) == one, "a mark of another process stays"


def test_without_a_key_a_mark_names_its_kind_only() -> None:
    assert redact("password=hunter2") == "password=[REDACTED:secret]"


def test_where_a_replay_must_say_the_same_the_key_is_not_used() -> None:
    with redacting_by(KEY, {}):
        assert redact("password=hunter2", keyed=False) == "password=[REDACTED:secret]"


def test_a_teams_own_patterns_are_taken_out_as_well_and_only_within() -> None:
    patterns = {"badge": r"\bB-[0-9]{6}\b", "room": r"room ([A-Z][0-9]{3})", "greeting": "Grüße, (.+)"}
    text = "B-123456 entered room A101\nGrüße, Zoë é"
    with redacting_by(None, patterns):
        clean = redact(text)
        assert clean == "[REDACTED:badge] entered room [REDACTED:room]\nGrüße, [REDACTED:greeting]"
        model = redact_model(decided_dossier(notifications=[notification(title=text)]))
        assert model.notifications[0].title.startswith("[REDACTED:badge]")
    assert redact(text) == text


@pytest.mark.parametrize("text", ["[REDACTED:jwt]hunter2", "[REDACTED:jwt:0123abcd]hunter2", "[CUT]hunter2"])
def test_a_mark_that_somebody_wrote_hides_nothing_beside_it(text: str) -> None:
    clean = redact(f"password={text} x")
    assert "hunter2" not in clean
    assert redact(clean) == clean


secrets_of_all_kinds = st.sampled_from([(text, secret) for _, text, secret in PLANTED if "\n" not in text])
noise = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Z", "Cf", "Cc"]), max_size=30)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.lists(st.tuples(noise, secrets_of_all_kinds), min_size=1, max_size=5), noise, st.sampled_from([None, KEY]))
def test_no_planted_secret_survives_whatever_stands_around_it(
    planted: list[tuple[str, tuple[str, str]]], tail: str, key: bytes | None
) -> None:
    text = "\n".join(f"{before}\n{text}" for before, (text, _) in planted) + f"\n{tail}"
    with redacting_by(key, {}):
        clean = redact(text)
        assert redact(clean) == clean
    for _, (_, secret) in planted:
        assert secret not in clean


@settings(derandomize=True)
@given(st.text(max_size=200))
def test_redacting_any_text_twice_changes_nothing_more(text: str) -> None:
    assert redact(redact(text)) == redact(text)
