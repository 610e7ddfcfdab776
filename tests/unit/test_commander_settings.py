"""Which token is presented to which gateway."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from commander.settings import CommanderSettings
from incident.errors import ConfigurationError

KEPT = "ict_kept-by-up-0123456789"
OWN = "ict_of-a-person-0123456789"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(KEPT + "\n")
    return file


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:8080/base"])
def test_a_gateway_on_this_machine_is_presented_the_token_that_up_left(kept: Path, url: str) -> None:
    assert CommanderSettings(url=url).bearer(kept) == KEPT


@pytest.mark.parametrize("url", ["https://commander.example", "http://10.0.0.7:8080", "http://127.0.0.1.example"])
def test_no_other_gateway_is(kept: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match="COMMANDER__TOKEN: expected your token at "):
        CommanderSettings(url=url).bearer(kept)


def test_a_token_of_ones_own_goes_before_it(kept: Path) -> None:
    assert CommanderSettings(token=SecretStr(OWN)).bearer(kept) == OWN


def test_without_any_the_text_says_who_makes_one_and_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"`commander token`; --direct goes past it"):
        CommanderSettings().bearer(tmp_path / "none")


@pytest.mark.parametrize("content", ["", "short", "ict_with a gap-0123456789", "ict_é-0123456789-0123456789"])
def test_a_file_without_a_token_is_named_and_not_shown(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        CommanderSettings().bearer(file)
    assert "token" in str(caught.value)
    assert not content or content not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read \(IsADirectoryError\); or set COMMANDER__TOKEN"):
        CommanderSettings().bearer(tmp_path)


@pytest.mark.parametrize(
    "url", ["", "commander.example", "ftp://commander.example", "http://", "http://a b", "http://a:x", "http://a?x=1"]
)
def test_an_address_that_cannot_be_used_is_a_problem(url: str) -> None:
    assert [line.partition(":")[0] for line in CommanderSettings(url=url).problems()] == ["COMMANDER__URL"]


@pytest.mark.parametrize("url", ["https://commander.example", "http://localhost:8080", "https://a.example/base/"])
def test_one_that_can_be_used_is_none(url: str) -> None:
    assert CommanderSettings(url=url).problems() == ()
