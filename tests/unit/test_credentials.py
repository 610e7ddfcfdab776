import pytest
from pydantic import SecretStr

from integrations.credentials import Credentials, SourceCredentials


def _given(token: str, username: str = "") -> Credentials:
    return Credentials(token=SecretStr(token), username=username)


def test_without_any_nothing_is_sent() -> None:
    assert dict(Credentials().headers()) == {}
    assert SourceCredentials().problems() == ()


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "ü", "tab\t"])
def test_a_token_that_no_header_can_hold_is_named_and_not_repeated(token: str) -> None:
    (line,) = SourceCredentials(json_lines=_given(token)).problems()
    assert line == "JSON_LINES__TOKEN: expected one word of ASCII characters"


def test_a_password_may_be_any_text() -> None:
    given = _given("two wörds", "ada")
    assert given.problems("LOKI__") == ()
    assert given.headers()["Authorization"].isascii()


@pytest.mark.parametrize("username", ["a:b", "a\nb"])
def test_a_username_that_cannot_be_told_from_its_password_is_refused(username: str) -> None:
    assert _given("x", username).problems("LOKI__") == ("LOKI__USERNAME: expected a name without a colon",)


def test_no_secret_is_shown() -> None:
    assert "s3cret" not in repr(SourceCredentials(loki=_given("s3cret")))
