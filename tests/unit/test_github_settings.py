"""Who the commander is on GitHub: a token or an App, and each error names the variable."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from incident.errors import ConfigurationError
from integrations.github import GitHub, GitHubSettings
from tests.unit.github_double import Script, client

APP = {"app_id": "Iv23", "installation_id": 7, "private_key": "PEM"}


@pytest.fixture(scope="module")
def pem() -> str:
    key = rsa.generate_private_key(65537, 2048)
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return encoded.decode()


def _problems(**settings: object) -> tuple[str, ...]:
    return GitHubSettings.model_validate(settings).problems()


def _refused(**settings: object) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as raised:
        GitHub(client(Script()), GitHubSettings.model_validate(settings))
    return raised.value.lines


@pytest.mark.parametrize("settings", [{"token": "ghs_x"}, APP, {**APP, "private_key": None, "private_key_file": "k"}])
def test_a_token_or_an_app_is_enough(settings: dict[str, object]) -> None:
    assert _problems(**settings) == ()


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ["GITHUB__TOKEN"]),
        ({"token": ""}, ["GITHUB__TOKEN"]),
        ({"token": "x", "app_id": "1"}, ["GITHUB__TOKEN"]),
        ({"token": "x", "private_key_file": "k"}, ["GITHUB__TOKEN"]),
        ({"token": "two words"}, ["GITHUB__TOKEN"]),
        ({"token": "x\n"}, ["GITHUB__TOKEN"]),
        ({"token": "tökén"}, ["GITHUB__TOKEN"]),
        ({"app_id": "1"}, ["GITHUB__INSTALLATION_ID", "GITHUB__PRIVATE_KEY"]),
        ({"installation_id": 7}, ["GITHUB__APP_ID", "GITHUB__PRIVATE_KEY"]),
        ({"private_key": "PEM"}, ["GITHUB__APP_ID", "GITHUB__INSTALLATION_ID"]),
        ({**APP, "private_key_file": "k"}, ["GITHUB__PRIVATE_KEY"]),
        ({"token": "x", "api_url": "ftp://x"}, ["GITHUB__API_URL"]),
        ({"token": "x", "api_url": "https://ada:hunter2@x"}, ["GITHUB__API_URL"]),
        ({"token": "x", "api_url": "https://x?key=hunter2"}, ["GITHUB__API_URL"]),
        ({"token": "x", "web_url": "https://[bad"}, ["GITHUB__WEB_URL"]),
        ({"api_url": "x"}, ["GITHUB__API_URL", "GITHUB__TOKEN"]),
    ],
)
def test_each_problem_names_its_variable_and_no_secret(settings: dict[str, object], names: list[str]) -> None:
    lines = _problems(**settings)

    assert [line.partition(": ")[0] for line in lines] == names
    assert "hunter2" not in "".join(lines)
    assert _refused(**settings) == lines


def test_the_key_may_lie_in_a_file_or_have_its_line_breaks_spelt(pem: str, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text(pem)

    for given in ({"private_key": pem}, {"private_key": pem.replace("\n", "\\n")}, {"private_key_file": path}):
        assert GitHubSettings.model_validate(given).key() == pem


def test_a_key_that_cannot_be_used_is_refused_without_being_shown(pem: str, tmp_path: Path) -> None:
    app = {"app_id": "1", "installation_id": 7}
    (line,) = _refused(**app, private_key=pem.replace("MII", "XXX"))
    assert line.startswith("GITHUB__PRIVATE_KEY: expected an RSA private key in PEM")
    assert pem.splitlines()[3] not in line

    (line,) = _refused(**app, private_key_file=tmp_path / "none.pem")
    assert line == "GITHUB__PRIVATE_KEY_FILE: cannot be read (FileNotFoundError)"

    binary = tmp_path / "key.der"
    binary.write_bytes(b"\xff\xfe")
    (line,) = _refused(**app, private_key_file=binary)
    assert line == "GITHUB__PRIVATE_KEY_FILE: cannot be read (UnicodeDecodeError)"


def test_secrets_are_not_shown() -> None:
    shown = repr(GitHubSettings.model_validate({"token": "hunter2", "private_key": "hunter2"}))
    assert "hunter2" not in shown
