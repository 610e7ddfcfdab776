"""Logins: who somebody is, by a signed cookie. Nothing is kept; gateways with the same key know the same logins."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import jwt
from pydantic import Field, SecretStr, ValidationError

from gateway.tokens import Caller, Scope, TokenBook
from incident.model import Fact

LASTS = timedelta(hours=12)
"""One shift; then the token is asked for again."""
LEAST_KEY = 32
"""Bytes of a key for HMAC-SHA256: at least the hash's own length (RFC 7518 §3.2)."""
_ALGORITHM = "HS256"
_AUDIENCE = "incident-commander-pages"
_ID_BYTES = 16


class Session(Fact):
    """One login."""

    id: str = Field(description="tells it from every other login of the same person")
    caller: Caller
    expires: datetime

    def may(self, scope: Scope) -> bool:
        """Whether who is logged in may do that."""
        return self.caller.may(scope)


class _Claims(Fact):
    aud: str
    jti: str = Field(pattern=r"^[A-Za-z0-9_-]{16,64}$")
    sub: str
    scopes: frozenset[Scope]
    token: str = Field(description="the fingerprint of the token that was presented")
    iat: int
    exp: int


def cookie_name(*, secure: bool) -> str:
    """Where a login stands; over HTTPS browsers take that name for this host alone."""
    return "__Host-commander" if secure else "commander"


def build_sessions(key: SecretStr | None, tokens: TokenBook, clock: Callable[[], datetime]) -> "Sessions | None":
    """The logins that `key` signs; `None`: there is no key, or one that is too short."""
    text = key.get_secret_value() if key else ""
    return Sessions(text, tokens, clock) if len(text.encode()) >= LEAST_KEY else None


class Sessions:
    """Begins logins and knows them again.

    Args:
        key: signs the cookies; the same in every gateway.
        tokens: the tokens of now: what is not among them any more ends its logins.
        clock: the time.
    """

    def __init__(self, key: str, tokens: TokenBook, clock: Callable[[], datetime]) -> None:
        self._key = key.encode()
        self._tokens = tokens
        self._clock = clock

    def begin(self, token: str) -> str | None:
        """The cookie of a new login with that token; `None`: the token is nobody's, or may not read."""
        caller = self._tokens.find(token)
        if caller is None or not caller.may(Scope.READ):
            return None
        now = int(self._clock().timestamp())
        claims = _Claims(
            aud=_AUDIENCE,
            jti=secrets.token_urlsafe(_ID_BYTES),
            sub=caller.name,
            scopes=caller.scopes,
            token=caller.fingerprint,
            iat=now,
            exp=now + int(LASTS.total_seconds()),
        )
        return jwt.encode(claims.model_dump(mode="json"), self._key, algorithm=_ALGORITHM)

    def read(self, cookie: str) -> Session | None:
        """The login of that cookie; `None`: forged, over, or its token is not known any more.

        It may what both the cookie and the token's entry of now allow.
        """
        claims = self._claims(cookie)
        if claims is None or claims.exp <= self._clock().timestamp():
            return None
        caller = self._tokens.fingerprinted(claims.token)
        if caller is None or caller.name != claims.sub:
            return None
        still = Caller(name=caller.name, scopes=caller.scopes & claims.scopes, fingerprint=caller.fingerprint)
        return Session(id=claims.jti, caller=still, expires=datetime.fromtimestamp(claims.exp, UTC))

    def form_token(self, session: Session) -> str:
        """What every form of that login carries: another site can neither read it nor make it."""
        return hmac.new(self._key, f"form:{session.id}".encode(), hashlib.sha256).hexdigest()

    def is_form_token(self, session: Session, presented: str) -> bool:
        """Whether `presented` is that login's, compared in constant time."""
        return hmac.compare_digest(self.form_token(session).encode(), presented.encode("utf-8", "replace"))

    def _claims(self, cookie: str) -> _Claims | None:
        # The times are judged by the clock that was given, not by the library's.
        try:
            claims = jwt.decode(
                cookie,
                self._key,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            return _Claims.model_validate_json(json.dumps(claims))
        except (jwt.InvalidTokenError, ValidationError):
            return None
