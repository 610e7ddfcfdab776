"""How Temporal is spoken to, by the settings alone; and what `python -m worker.promote` takes."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from temporalio.service import TLSConfig

from incident.errors import ConfigurationError
from integrations.temporal import TemporalSettings
from worker.promote import main
from worker.settings import WorkerSettings
from workflows.names import DEPLOYMENT

CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
KEY = b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    (tmp_path / "tls.crt").write_bytes(CERTIFICATE)
    return tmp_path / "tls.crt"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    (tmp_path / "tls.key").write_bytes(KEY)
    return tmp_path / "tls.key"


def test_by_default_it_is_spoken_to_plainly() -> None:
    assert TemporalSettings().transport() is False


@pytest.mark.parametrize(
    "settings",
    [TemporalSettings(tls=True), TemporalSettings(api_key=SecretStr("k"))],
)
def test_tls_and_an_api_key_trust_whom_the_system_trusts(settings: TemporalSettings) -> None:
    assert settings.transport() == TLSConfig()


def test_a_name_an_authority_or_a_client_certificate_imply_tls(certificate: Path, key: Path) -> None:
    assert TemporalSettings(tls_server_name="temporal.example").transport() == TLSConfig(domain="temporal.example")
    assert TemporalSettings(tls_ca_file=certificate).transport() == TLSConfig(server_root_ca_cert=CERTIFICATE)
    client = TemporalSettings(tls_cert_file=certificate, tls_key_file=key).transport()
    assert client == TLSConfig(client_cert=CERTIFICATE, client_private_key=KEY)


@pytest.mark.parametrize("variable", ["tls_ca_file", "tls_cert_file", "tls_key_file"])
def test_a_file_that_cannot_be_read_or_is_not_pem_names_its_variable(
    variable: str, certificate: Path, key: Path, tmp_path: Path
) -> None:
    right = TemporalSettings(tls_ca_file=certificate, tls_cert_file=certificate, tls_key_file=key)
    missing, empty = tmp_path / "nowhere.pem", tmp_path / "empty.pem"
    empty.write_bytes(b"")
    for wrong, said in ((missing, "cannot be read (FileNotFoundError)"), (empty, "expected PEM"), (tmp_path, "cannot")):
        with pytest.raises(ConfigurationError) as refused:
            right.model_copy(update={variable: wrong}).transport()
        assert str(refused.value).startswith(f"TEMPORAL__{variable.upper()}: {said}")


def test_half_a_client_certificate_names_the_other_half(certificate: Path, key: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^TEMPORAL__TLS_KEY_FILE: expected the key of TEMPORAL__TLS_CERT_FI"):
        TemporalSettings(tls_cert_file=certificate).transport()
    with pytest.raises(ConfigurationError, match=r"^TEMPORAL__TLS_CERT_FILE: expected the certificate of TEMPORAL__T"):
        TemporalSettings(tls_key_file=key).transport()


@pytest.mark.parametrize("secret", ["two words", "line\nbreak", "schlüssel"])
def test_an_api_key_that_no_header_takes_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        TemporalSettings(api_key=SecretStr(secret)).transport()
    assert str(refused.value) == "TEMPORAL__API_KEY: expected one word of ASCII characters"


def test_builds_are_versions_of_the_deployment_that_the_server_has_always_known() -> None:
    assert WorkerSettings().deployment == DEPLOYMENT


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ramp", "101"], "argument --ramp: expected 0 to 100"),
        (["--ramp", "-1"], "argument --ramp: expected 0 to 100"),
        (["--ramp", "nan"], "argument --ramp: expected 0 to 100"),
        (["--ramp", "half"], "argument --ramp: expected 0 to 100"),
        (["--within", "soon"], "argument --within: expected a duration such as 90s or 2m"),
        (["--within", "5"], "argument --within: expected a duration such as 90s or 2m"),
        (["2"], "unrecognized arguments: 2"),
    ],
)
def test_what_promote_does_not_understand_it_refuses_before_it_asks_anybody(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert capsys.readouterr().err.endswith(f"{said}\n")
