"""Bad input to the command line: one clear line, exit 2, no traceback."""

import json
from pathlib import Path

import jsonschema
import pytest

from commander.__main__ import run

UNREACHABLE = "127.0.0.1:9"
GATEWAY = f"http://{UNREACHABLE}"
CANARY = "ict_a-canary-that-nobody-may-see"
REGISTRY = """
[[service]]
name = "payment-api"
source = { kind = "mock", url = "http://127.0.0.1:9" }
"""
INCIDENT = "production.payment-api.20261124T140000Z.0123abcd"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEMPORAL__ADDRESS", UNREACHABLE)
    monkeypatch.setenv("COMMANDER__URL", GATEWAY)
    monkeypatch.setenv("COMMANDER__TOKEN", CANARY)
    (tmp_path / "services.toml").write_text(REGISTRY)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("run", "checkout", "--direct"),
            "services.toml: no service 'checkout' in environment 'production'; known: payment-api",
        ),
        (("run", "payment-api", "--environment", "staging", "--direct"), "no service 'payment-api' in environment"),
        (
            ("run", "payment-api", "--direct"),
            f"temporal: cannot be reached at {UNREACHABLE} (setting TEMPORAL__ADDRESS)",
        ),
        (("demo", "--scenario", "flood"), "'flood' is not one of 'bad-deploy'"),
        (("demo", "--fast"), "No such option: --fast"),
        (("dance",), "No such command 'dance'"),
        (("show", "42"), "not an incident id: '42'; expected <environment>.<service>."),
        (("show", INCIDENT, "--direct"), "temporal: cannot be reached"),
        (("schema", "weather"), "'weather' is not one of 'snapshot'"),
        (("incidents", "--limit", "0"), "--limit"),
        (
            ("cancel", INCIDENT, "--reason", "x" * 501, "--direct"),
            "reason: String should have at most 500 characters",
        ),
        (("label", INCIDENT, "fine"), "'fine' is not one of 'good'"),
        (("label", "42", "good"), "not an incident id: '42'"),
        (("label", INCIDENT, "good", "--note", "x" * 501, "--direct"), "note: String should have at most 500"),
        (("label", INCIDENT, "good", "--direct"), "temporal: cannot be reached"),
        (("change", "payment-api", "--kind", "deployment"), "'deployment' is not one of 'config_change'"),
        (("change", "payment-api", "--at", "soon"), "--at: expected a duration such as 7d, or a date, got 'soon'"),
        (("change", "payment-api", "--id", "two words", "--direct"), "id: String should match pattern"),
        (("change", "payment-api", "--at", "8d ago", "--direct"), "at: expected at most 7 days ago"),
        (("changes", "checkout", "--direct"), "services.toml: no service 'checkout' in environment 'production'"),
        (("token", "two words"), "two words: token[0].name: String should match pattern"),
        (("token", "ada", "--scope", "everything"), "'everything' is not one of 'read'"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_two(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run(arguments)
    out, err = capsys.readouterr()
    assert status == 2
    assert said in err
    assert err.startswith("commander: ")
    assert (err.count("\n"), out) == (1, "")


THROUGH_THE_GATEWAY = [
    ("run", "payment-api"),
    ("incidents",),
    ("show", INCIDENT),
    ("follow", INCIDENT),
    ("approve", INCIDENT),
    ("deny", INCIDENT),
    ("cancel", INCIDENT),
    ("label", INCIDENT, "good"),
    ("change", "payment-api"),
    ("changes", "payment-api"),
    ("stop",),
    ("release",),
]


@pytest.mark.parametrize("arguments", [each for each in THROUGH_THE_GATEWAY if each[0] != "follow"])
def test_a_dead_gateway_is_one_line_that_says_where_it_was_sought_and_how_to_go_past_it(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    status = run(arguments)
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert err == (
        f"commander: gateway: cannot be reached at {GATEWAY} (setting COMMANDER__URL); --direct goes past it\n"
    )


@pytest.mark.parametrize("arguments", THROUGH_THE_GATEWAY)
def test_without_a_token_no_command_goes_through_the_gateway(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COMMANDER__TOKEN")
    assert run(arguments) == 2
    assert f"COMMANDER__TOKEN: expected your token at {GATEWAY}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("approve", INCIDENT),
        ("deny", INCIDENT),
        ("cancel", INCIDENT),
        ("label", INCIDENT, "good"),
        ("change", "payment-api"),
        ("stop", "payment-api"),
    ],
)
def test_nobody_names_themselves_to_the_gateway(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*arguments, "--as", "ada"]) == 2
    assert capsys.readouterr().err == "commander: --as: only with --direct; otherwise your token says who you are\n"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("COMMANDER__URL", "commander.example", "COMMANDER__URL: expected an address that begins with https://"),
        ("COMMANDER__URL", "https://ada:pw@commander.example", "COMMANDER__URL: expected an address"),
        ("COMMANDER__TOKEN", "ict_canary with a\nbreak", "COMMANDER__TOKEN: expected a token as `commander token`"),
        ("COMMANDER__TOKEN", "ict_canaryé-and-more-of-it", "COMMANDER__TOKEN: expected a token as `commander token`"),
    ],
)
def test_an_address_or_token_that_cannot_be_used_is_named_and_not_shown(
    variable: str, value: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    assert run(["incidents"]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert value not in err
    assert "canary" not in err


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("policy.toml", "min_confidence = 0", "policy.toml: min_confidence: Input should be greater than or equal"),
        ("policy.toml", "max_looks = 0", "policy.toml: max_looks: Input should be greater than or equal to 1"),
        ("policy.toml", 'settle = "soon"', "policy.toml: settle: "),
        ("policy.toml", "[services.checkout]", "policy.toml: services.checkout: expected a service of the registry"),
        ("policy.toml", "][", "policy.toml: not TOML"),
        ("services.toml", "version = 1", "services.toml: service: Field required"),
        ("services.toml", '[[service]]\nname = "Payment API"', "services.toml: service[0].name"),
    ],
)
def test_a_malformed_file_is_named_with_its_key_and_what_was_expected(
    file: str,
    text: str,
    said: str,
    home: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (home / file).write_text(text)
    status = run(["run", "payment-api", "--direct"])
    err = capsys.readouterr().err
    assert status == 2
    assert said in err
    assert err.count("\n") == 1


def test_a_setting_that_cannot_be_used_is_named_as_the_variable_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKER__DRAIN", "5")
    assert run(["incidents", "--direct"]) == 2
    assert 'WORKER__DRAIN: expected a duration with its unit, such as "30s"' in capsys.readouterr().err


def test_incidents_says_so_when_the_open_ones_are_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["incidents", "--direct"]) == 1
    assert "open incidents are not known: temporal: cannot be reached" in capsys.readouterr().err


def test_doctor_says_of_each_system_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    for system in ("temporal", "store", "services", "analyst", "payment-api metrics", "gateway", "chat", "pager"):
        assert system in said
    assert "TEMPORAL__ADDRESS" in said


@pytest.mark.parametrize("name", ["snapshot", "decision", "policy", "evidence"])
def test_every_published_schema_is_a_schema(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema", name]) == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(capsys.readouterr().out))


def test_without_a_command_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    assert "doctor" in capsys.readouterr().out


def test_settings_lists_those_of_the_worker_the_gateway_and_the_command_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["settings"]) == 0
    rows = capsys.readouterr().out.splitlines()
    for variable in ("WORKER__DRAIN", "GATEWAY__TOKENS_FILE", "COMMANDER__TOKEN", "HTTP__READ_TIMEOUT"):
        assert len([row for row in rows if row.startswith(f"| `{variable}` |")]) == 1


def test_a_change_that_was_told_is_listed_with_who_told_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["changes", "payment-api", "--direct"]) == 0
    assert capsys.readouterr().out == "nobody told of a change\n"
    telling = ["change", "payment-api", "pool \x1b[2Jfrom 20 to 10", "--id", "4711", "--at", "10m ago"]
    assert run([*telling, "--as", "ada", "--direct"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert told.startswith("4711: configuration change of payment-api at ")
    assert told.endswith("pool [2Jfrom 20 to 10, says ada")
    assert run(["changes", "payment-api", "--direct"]) == 0
    listed = " ".join(capsys.readouterr().out.split())
    for part in ("4711", "config_change", "ada", "pool"):
        assert part in listed
    assert "\x1b" not in listed
