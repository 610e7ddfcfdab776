"""Who may come in: the personal access token, and the tokens that the app is given for an hour."""

import secrets
from datetime import datetime, timedelta
from typing import Any

import jwt
from jwt.types import Options

from tests.standins.github.behaviour import Behaviour
from tests.standins.github.clock import Clock

BOT = "incident-commander[bot]"
USER = "commander"
_LASTS = timedelta(hours=1)
_LONGEST_CLAIM = timedelta(minutes=10)  # "Generating a JSON Web Token (JWT) for a GitHub App"
_DRIFT = timedelta(seconds=60)


class Tokens:
    """The tokens given out since the last reset."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._given: dict[str, datetime] = {}

    def give(self) -> tuple[str, datetime]:
        """A new installation token, and when it expires."""
        token, expires_at = f"ghs_{secrets.token_urlsafe(27)}", self._clock() + _LASTS
        self._given[token] = expires_at
        return token, expires_at

    def owner(self, token: str, behaviour: Behaviour) -> str | None:
        """Whose token it is; None: nobody's, or one that has expired."""
        if secrets.compare_digest(token.encode(), behaviour.token.encode()):
            return USER
        expires_at = self._given.get(token)
        return BOT if expires_at is not None and self._clock() < expires_at else None

    def fault_in_claim(self, token: str, behaviour: Behaviour) -> str | None:
        """What GitHub has against the JSON web token of an app; None: nothing."""
        try:
            claims = _claims(token, behaviour.app_public_key)
        except jwt.PyJWTError:
            return "A JSON web token could not be decoded"
        now = self._clock().timestamp()
        if not claims.get("iss"):
            return "Missing 'issuer' claim ('iss') in assertion"
        issued_at, expires_at = claims.get("iat"), claims.get("exp")
        if not isinstance(issued_at, int) or issued_at > now + _DRIFT.total_seconds():
            return "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
        if not isinstance(expires_at, int) or expires_at <= now:
            return "'Expiration time' claim ('exp') must be a numeric value representing the future time"
        if expires_at > now + _LONGEST_CLAIM.total_seconds():
            return "'Expiration time' claim ('exp') is too far in the future"
        return None


def _claims(token: str, public_key: str | None) -> dict[str, Any]:
    """The claims. Their times are GitHub's to judge, in its own words."""
    header = jwt.get_unverified_header(token)
    if header.get("alg") != "RS256":
        raise jwt.InvalidAlgorithmError("GitHub takes RS256 alone")
    options: Options = {"verify_exp": False, "verify_iat": False, "verify_aud": False}
    if public_key is None:
        options["verify_signature"] = False
    return jwt.decode(token, public_key or "", algorithms=["RS256"], options=options)
