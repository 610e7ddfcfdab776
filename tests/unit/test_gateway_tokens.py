"""Tokens: whose they are, what they are good for, and that none can be learnt from what is kept."""

import hashlib
import re
from pathlib import Path

import pytest
import structlog

from gateway.__main__ import read_tokens
from gateway.tokens import PREFIX, Caller, Scope, TokenBook, entry_of, hash_of, mint
from incident.errors import ConfigurationError

WHERE = "tokens.toml"


def _book(*names: str) -> tuple[TokenBook, list[str]]:
    minted = [mint() for _ in names]
    text = "\n".join(entry_of(name, sha256, [Scope.READ]) for name, (_, sha256) in zip(names, minted, strict=True))
    return TokenBook.parse(text, WHERE), [token for token, _ in minted]


def test_a_token_has_256_bits_begins_as_all_do_and_is_known_by_its_hash() -> None:
    token, sha256 = mint()
    assert re.fullmatch(re.escape(PREFIX) + r"[A-Za-z0-9_-]{43}", token)
    assert sha256 == hashlib.sha256(token.encode()).hexdigest() == hash_of(token)
    assert len({mint()[0] for _ in range(50)}) == 50


def test_every_token_of_a_book_is_its_holders() -> None:
    book, tokens = _book("ada", "grace", "kestra")
    assert [book.find(each) for each in tokens] == [
        Caller(name=name, scopes=frozenset({Scope.READ}), fingerprint=hash_of(token)[:16])
        for name, token in zip(("ada", "grace", "kestra"), tokens, strict=True)
    ]


def test_what_is_nobodys_is_nobodys() -> None:
    book, (token,) = _book("ada")
    for other in ("", PREFIX, token[:-1], token + "x", token.upper(), hash_of(token), "é\udcff", "x" * 100_000):
        assert book.find(other) is None
    assert TokenBook().find(token) is None


def test_a_fingerprint_names_a_token_only_while_the_book_has_it() -> None:
    book, (token, _) = _book("ada", "grace")
    caller = book.find(token)
    assert caller is not None
    assert book.fingerprinted(caller.fingerprint) == caller
    assert TokenBook().fingerprinted(caller.fingerprint) is None
    for other in ("", caller.fingerprint[:-1], hash_of(token), "0" * 16, "é" * 16):
        assert book.fingerprinted(other) is None


def test_a_caller_may_do_what_the_token_says_and_nothing_beside() -> None:
    caller = Caller(name="ada", scopes=frozenset({Scope.APPROVE}))
    assert [scope for scope in Scope if caller.may(scope)] == [Scope.APPROVE]


def test_one_person_may_hold_two_tokens() -> None:
    book, tokens = _book("ada", "ada")
    assert [caller.name for each in tokens if (caller := book.find(each))] == ["ada", "ada"]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"name": "slack:T024/U061"}, "token[0].name: "),
        ({"name": ""}, "token[0].name: "),
        ({"name": "a" * 65}, "token[0].name: "),
        ({"sha256": "c0ffee"}, "token[0].sha256: "),
        ({"sha256": "G" * 64}, "token[0].sha256: "),
        ({"scopes": []}, "token[0].scopes: "),
        ({"scopes": ["admin"]}, "token[0].scopes[0]: "),
        ({"expires": "never"}, "token[0].expires: "),
    ],
)
def test_an_entry_that_cannot_be_used_is_named_without_what_stands_in_it(entry: dict[str, object], said: str) -> None:
    whole = {"name": "ada", "sha256": "c0ffee" * 10 + "0000", "scopes": ["read"], **entry}
    lines = "".join(f"{key} = {value!r}\n".replace("'", '"') for key, value in whole.items())
    with pytest.raises(ConfigurationError) as caught:
        TokenBook.parse(f"[[token]]\n{lines}", WHERE)
    (line,) = caught.value.lines
    assert line.startswith(f"{WHERE}: {said}")
    assert "c0ffee" not in line
    assert "GGG" not in line


def test_a_missing_key_and_what_is_no_toml_are_named_without_the_line() -> None:
    with pytest.raises(ConfigurationError, match=r"token\[0\]\.sha256: Field required"):
        TokenBook.parse('[[token]]\nname = "ada"\nscopes = ["read"]\n', WHERE)
    with pytest.raises(ConfigurationError) as caught:
        TokenBook.parse(f'sha256 = "{"c0ffee" * 10}\n', WHERE)
    assert str(caught.value) == f"{WHERE}: not TOML"
    with pytest.raises(ConfigurationError, match="tokens: "):
        TokenBook.parse("[[tokens]]\n", WHERE)


def test_one_token_of_two_people_is_refused() -> None:
    _, sha256 = mint()
    text = entry_of("ada", sha256, [Scope.READ]) + entry_of("grace", sha256, [Scope.APPROVE])
    with pytest.raises(ConfigurationError, match="twice: ada, grace") as caught:
        TokenBook.parse(text, WHERE)
    assert sha256 not in str(caught.value)


def test_an_entry_is_written_only_where_it_would_be_read() -> None:
    _, sha256 = mint()
    text = entry_of("ada", sha256, [Scope.APPROVE, Scope.READ])
    assert text == f'[[token]]\nname = "ada"\nsha256 = "{sha256}"\nscopes = ["read", "approve"]\n'
    for name in ('ada"\n[[token]]', "", "a:b"):
        with pytest.raises(ConfigurationError):
            entry_of(name, sha256, [Scope.READ])
    with pytest.raises(ConfigurationError):
        entry_of("ada", sha256, [])


def test_an_empty_file_knows_nobody() -> None:
    assert TokenBook.parse("", WHERE) == TokenBook()


def test_without_a_file_nobody_is_known_and_the_log_says_so(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        assert read_tokens(tmp_path / WHERE) == TokenBook()
    assert [entry["event"] for entry in logs] == ["gateway.no_tokens"]


def test_a_file_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path) -> None:
    for content in (b"\xff", b"[[token]]\nname = 7\n"):
        (tmp_path / WHERE).write_bytes(content)
        with pytest.raises(ConfigurationError):
            read_tokens(tmp_path / WHERE)
    with pytest.raises(ConfigurationError, match="IsADirectoryError"):
        read_tokens(tmp_path)


def test_the_log_names_whose_tokens_are_known_and_no_hash(tmp_path: Path) -> None:
    _, sha256 = mint()
    (tmp_path / WHERE).write_text(entry_of("ada", sha256, [Scope.READ]))
    with structlog.testing.capture_logs() as logs:
        assert read_tokens(tmp_path / WHERE).entries
    assert [entry["names"] for entry in logs] == [["ada"]]
    assert sha256 not in str(logs)
