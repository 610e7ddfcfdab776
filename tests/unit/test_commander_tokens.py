"""Tokens as they are made: shown once, kept as hashes, and nothing else in the file changes."""

import stat
import threading
from pathlib import Path

import pytest

from commander.__main__ import run
from commander.login import Login, prepare, token_name
from commander.tokens import grant
from gateway.settings import GatewaySettings
from gateway.tokens import Scope, TokenBook
from incident.errors import ConfigurationError

WRITTEN = """# The night shift.
[[token]]
name = "ada" # until May
sha256 = "{ada}"
scopes = ["read", "approve"]

# Kestra's.
[[ token ]]
scopes = ["operate"]
name = "kestra"
sha256 = "{kestra}"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.toml"


def _book(file: Path) -> TokenBook:
    return TokenBook.parse(file.read_text(), str(file))


def _mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def _written(file: Path) -> str:
    text = WRITTEN.format(ada="a" * 64, kestra="b" * 64)
    file.write_text(text)
    return text


def test_a_token_is_known_to_the_gateway_and_stands_nowhere_in_the_file(file: Path) -> None:
    token = grant(file, "ada", [Scope.READ, Scope.APPROVE])
    caller = _book(file).find(token)
    assert caller is not None
    assert (caller.name, caller.scopes) == ("ada", frozenset({Scope.READ, Scope.APPROVE}))
    assert token not in file.read_text()
    assert _mode(file) == 0o600
    assert [each.name for each in file.parent.iterdir()] == ["tokens.toml"]


def test_what_others_wrote_stays_as_it_is(file: Path) -> None:
    text = _written(file)
    file.chmod(0o644)
    token = grant(file, "ben", [Scope.READ])
    assert file.read_text().startswith(text)
    assert _book(file).find(token) is not None
    assert _mode(file) == 0o600


def test_a_name_that_has_a_token_keeps_it_unless_it_is_to_be_replaced(file: Path) -> None:
    text = _written(file)
    with pytest.raises(ConfigurationError, match="ada has a token already; --replace makes that one invalid"):
        grant(file, "ada", [Scope.READ])
    assert file.read_text() == text


@pytest.mark.parametrize(("name", "other"), [("ada", "kestra"), ("kestra", "ada")])
def test_a_token_that_is_replaced_is_known_no_more_and_the_others_are(file: Path, name: str, other: str) -> None:
    _written(file)
    token = grant(file, name, [Scope.OPERATE], replace=True)
    assert sorted(each.name for each in _book(file).entries) == ["ada", "kestra"]
    assert {each.name: each.sha256[0] for each in _book(file).entries}[other] == other[0].replace("k", "b")
    caller = _book(file).find(token)
    assert caller is not None
    assert (caller.name, caller.scopes) == (name, frozenset({Scope.OPERATE}))
    assert "# The night shift." in file.read_text()


def test_a_name_without_a_token_may_be_said_to_replace_one(file: Path) -> None:
    assert _book_after(file, "ada").find(grant(file, "ben", [Scope.READ], replace=True)) is None
    assert [each.name for each in _book(file).entries] == ["ada", "ben"]


def _book_after(file: Path, name: str) -> TokenBook:
    grant(file, name, [Scope.READ])
    return _book(file)


def test_tables_that_are_written_otherwise_are_left_to_a_person(file: Path) -> None:
    one = f'{{ name = "ada", sha256 = "{"a" * 64}", scopes = ["read"] }}'
    other = one.replace("ada", "ben").replace("a" * 64, "b" * 64)
    text = f"token = [{one}, {other}]\n"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=r"expected \[\[token\]\] tables; remove those of ada by hand"):
        grant(file, "ada", [Scope.READ], replace=True)
    with pytest.raises(ConfigurationError):
        grant(file, "cleo", [Scope.READ])
    assert file.read_text() == text


@pytest.mark.parametrize("text", ["][", 'token = "none"', '[[token]]\nname = "ada"\n', "\udcff"])
def test_a_file_that_cannot_be_used_is_named_and_left_alone(file: Path, text: str) -> None:
    file.write_text(text, errors="surrogateescape")
    before = file.read_bytes()
    with pytest.raises(ConfigurationError, match=r"tokens\.toml: "):
        grant(file, "ben", [Scope.READ])
    assert file.read_bytes() == before


@pytest.mark.parametrize("name", ["", "two words", "slack:T1/U2", 'a"\n[[token]]', "x" * 65])
def test_a_name_that_the_gateway_would_not_take_is_refused_before_anything_is_written(file: Path, name: str) -> None:
    with pytest.raises(ConfigurationError):
        grant(file, name, [Scope.READ])
    assert not file.exists()


def test_where_nothing_can_be_written_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        grant(tmp_path / "file" / "tokens.toml", "ada", [Scope.READ])


def test_a_link_stays_one(tmp_path: Path, file: Path) -> None:
    link = tmp_path / "link.toml"
    file.write_text("")
    link.symlink_to(file)
    token = grant(link, "ada", [Scope.READ])
    assert link.is_symlink()
    assert _book(file).find(token) is not None


def test_none_is_lost_where_many_are_made_at_once(file: Path) -> None:
    threads = [threading.Thread(target=grant, args=(file, f"person{number}", [Scope.READ])) for number in range(12)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(_book(file).entries) == 12


def test_the_command_prints_the_token_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["token", "ada"]) == 0
    out, err = capsys.readouterr()
    caller = _book(tmp_path / "tokens.toml").find(out.removesuffix("\n"))
    assert caller is not None
    assert (caller.scopes, err) == (frozenset({Scope.READ}), "")


def test_the_command_takes_scopes_and_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["token", "ada", "--scope", "operate", "--scope", "approve", "--file", "others.toml"]) == 0
    caller = _book(tmp_path / "others.toml").find(capsys.readouterr().out.strip())
    assert caller is not None
    assert caller.scopes == {Scope.OPERATE, Scope.APPROVE}
    monkeypatch.setenv("GATEWAY__TOKENS_FILE", "others.toml")
    assert run(["token", "ada"]) == 2
    assert run(["token", "ada", "--replace"]) == 0


def _caller_of(login: Login) -> str:
    caller = TokenBook.parse(login.tokens_file.read_text(), "").find(login.token_file.read_text().strip())
    assert caller is not None
    assert caller.scopes == frozenset(Scope)
    return caller.name


def test_the_first_up_makes_a_login_and_the_next_keeps_it(tmp_path: Path) -> None:
    first = prepare(tmp_path / "up", "ada")
    kept = first.token_file.read_text(), first.tokens_file.read_text(), first.session_key
    second = prepare(tmp_path / "up", "ada")
    assert _caller_of(second) == "ada"
    assert (second.token_file.read_text(), second.tokens_file.read_text(), second.session_key) == kept
    assert {_mode(each) for each in (tmp_path / "up").iterdir()} == {0o600}
    settings = GatewaySettings.model_validate({"session_key": second.session_key})
    assert settings.problems() == ()


def test_a_token_that_was_lost_or_is_known_no_more_is_made_anew(tmp_path: Path) -> None:
    login = prepare(tmp_path, "ada")
    other = grant(login.tokens_file, "ben", [Scope.READ])
    login.token_file.unlink()
    assert _caller_of(prepare(tmp_path, "ada")) == "ada"
    grant(login.tokens_file, "ada", [Scope.READ], replace=True)
    assert _caller_of(prepare(tmp_path, "ada")) == "ada"
    assert TokenBook.parse(login.tokens_file.read_text(), "").find(other) is not None


def test_scopes_that_somebody_took_away_stay_away(tmp_path: Path) -> None:
    login = prepare(tmp_path, "ada")
    narrowed = login.tokens_file.read_text().replace(', "approve"', "")
    login.tokens_file.write_text(narrowed)
    assert prepare(tmp_path, "ada").tokens_file.read_text() == narrowed
    assert '"approve"' not in narrowed


def test_another_user_gets_a_token_of_their_own(tmp_path: Path) -> None:
    prepare(tmp_path, "ada")
    login = prepare(tmp_path, "ben")
    assert (login.name, _caller_of(login)) == ("ben", "ben")


@pytest.mark.parametrize(
    ("user", "name"),
    [("ada", "ada"), ("Ada Lovelace", "Ada-Lovelace"), (".ada", "ada"), ("CORP\\ada", "CORP-ada"), ("é", "me")],
)
def test_any_users_name_becomes_one_that_a_token_may_have(tmp_path: Path, user: str, name: str) -> None:
    assert token_name(user) == name
    assert _caller_of(prepare(tmp_path, user)) == name
