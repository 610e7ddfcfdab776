"""Logins: whom a cookie stands for, and for how long."""

from datetime import datetime, timedelta

import jwt
import pytest

from gateway.pages.sessions import LASTS, Session, Sessions
from gateway.tokens import Scope, TokenBook, entry_of, mint
from tests.builders import NOW

KEY = "k" * 32
TOKEN, SHA256 = mint()
EVERYTHING = frozenset(Scope)


def book(*scopes: Scope, name: str = "ada", sha256: str = SHA256) -> TokenBook:
    return TokenBook.parse(entry_of(name, sha256, scopes or EVERYTHING), "tokens.toml")


def sessions(tokens: TokenBook | None = None, key: str = KEY, now: datetime = NOW) -> Sessions:
    return Sessions(key, book() if tokens is None else tokens, lambda: now)


def begun(by: Sessions | None = None) -> str:
    cookie = (by or sessions()).begin(TOKEN)
    assert cookie
    return cookie


def read(cookie: str, by: Sessions | None = None) -> Session:
    session = (by or sessions()).read(cookie)
    assert session
    return session


def forged(key: str = KEY, algorithm: str = "HS256", **changes: object) -> str:
    """A cookie with the claims of a good one, and `changes`."""
    claims = jwt.decode(begun(), KEY, algorithms=["HS256"], options={"verify_aud": False, "verify_exp": False})
    claims.update(changes)
    return jwt.encode({k: v for k, v in claims.items() if v is not None}, key, algorithm=algorithm)


def test_a_token_begins_a_login_that_every_gateway_with_the_key_knows() -> None:
    session = read(begun(), sessions())
    assert (session.caller.name, session.caller.scopes) == ("ada", EVERYTHING)


def test_a_cookie_holds_neither_the_token_nor_its_whole_hash() -> None:
    claims = jwt.decode(begun(), options={"verify_signature": False})
    assert set(claims) == {"aud", "jti", "sub", "scopes", "token", "iat", "exp"}
    assert TOKEN not in str(claims)
    assert SHA256 not in str(claims)


@pytest.mark.parametrize("token", ["", "ict_unknown", SHA256, TOKEN + "x"], ids=["none", "unknown", "hash", "longer"])
def test_no_other_token_begins_a_login(token: str) -> None:
    assert sessions().begin(token) is None


def test_a_token_that_may_not_read_begins_no_login() -> None:
    assert sessions(book(Scope.APPROVE)).begin(TOKEN) is None


def test_a_login_is_over_after_its_time_and_not_before() -> None:
    cookie = begun()
    assert sessions(now=NOW + LASTS - timedelta(seconds=1)).read(cookie)
    assert sessions(now=NOW + LASTS).read(cookie) is None


def test_a_removed_token_ends_its_logins() -> None:
    assert sessions(TokenBook()).read(begun()) is None


def test_another_token_of_the_same_person_does_not_keep_a_login_alive() -> None:
    assert sessions(book(sha256=mint()[1])).read(begun()) is None


def test_a_token_that_went_to_somebody_else_ends_its_logins() -> None:
    assert sessions(book(name="eve")).read(begun()) is None


def test_a_scope_that_was_taken_away_is_gone_at_once() -> None:
    session = read(begun(), sessions(book(Scope.READ)))
    assert session.caller.scopes == {Scope.READ}


def test_a_scope_that_was_added_needs_a_new_login() -> None:
    cookie = begun(sessions(book(Scope.READ)))
    assert not read(cookie, sessions(book(Scope.READ, Scope.APPROVE))).may(Scope.APPROVE)


FORGED = {
    "none": "",
    "nonsense": "nonsense",
    "another key": forged(key="x" * 32),
    "another algorithm": forged(key="k" * 64, algorithm="HS512"),
    "no signature": forged(key="", algorithm="none"),
    "for another": forged(aud="another"),
    "for nobody": forged(aud=None),
    "without an end": forged(exp=None),
    "of nobody": forged(sub=None),
    "without an id": forged(jti=""),
    "of no scope": forged(scopes=["everything"]),
    "more claims": forged(more="claims"),
    "cut off": begun()[:-2],
}


@pytest.mark.parametrize("cookie", FORGED.values(), ids=FORGED)
def test_a_forged_or_altered_cookie_is_no_login(cookie: str) -> None:
    assert sessions().read(cookie) is None


def test_a_form_token_belongs_to_one_login_only() -> None:
    ours = sessions()
    one, other = read(begun()), read(begun())
    assert ours.is_form_token(one, ours.form_token(one))
    assert not ours.is_form_token(one, ours.form_token(other))
    assert not ours.is_form_token(one, "")
    assert not ours.is_form_token(one, "ä")
    assert sessions(key="x" * 32).form_token(one) != ours.form_token(one)
