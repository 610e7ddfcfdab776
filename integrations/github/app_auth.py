"""Who the commander is on GitHub: a token, or the installation of a GitHub App, whose tokens last an hour."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

import httpx
import jwt
from pydantic import AwareDatetime, BaseModel, SecretStr, ValidationError

from incident.errors import ConfigurationError, PermanentError, TransientError
from integrations.github.refusals import SYSTEM, Need, refusal
from integrations.github.settings import GitHubSettings
from integrations.http import Question, Reply, ask

RENEW_BEFORE = timedelta(minutes=5)
"""How long before its end an installation token is replaced: no request is made with one that ends on its way."""
_BACKDATED = timedelta(seconds=60)
"""GitHub's own advice against clocks that differ ("Generating a JSON Web Token (JWT) for a GitHub App")."""
_JWT_LASTS = timedelta(minutes=9)
"""GitHub takes at most 10 minutes."""
_CREATED = 201


class Credentials(Protocol):
    """Gives the token that a request carries."""

    async def token(self) -> str:
        """The token, valid for some minutes at least.

        Raises:
            TransientError: GitHub could not be asked for one.
            PermanentError: GitHub gives none.
        """
        ...

    def forget(self) -> None:
        """Called where GitHub did not take the token: the next one is a new one, if there can be one."""
        ...


class FixedToken:
    """A token that somebody made by hand."""

    def __init__(self, secret: SecretStr) -> None:
        self._secret = secret

    async def token(self) -> str:
        """The token."""
        return self._secret.get_secret_value()

    def forget(self) -> None:
        """Nothing: there is no other."""


class _InstallationToken(BaseModel):
    token: SecretStr
    expires_at: AwareDatetime


class AppInstallation:
    """A GitHub App's installation; its token is renewed five minutes before it ends, once however many ask.

    Args:
        client: from `integrations.http.build_client`.
        settings: with app_id, installation_id and a private key.
        headers: what every request to GitHub carries.
        clock: the time, aware.

    Raises:
        ConfigurationError: the private key cannot be read, or is no RSA key in PEM.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        settings: GitHubSettings,
        headers: dict[str, str],
        clock: Callable[[], datetime],
    ) -> None:
        self._client, self._headers, self._clock = client, headers, clock
        self._app_id = settings.app_id
        self._url = f"{settings.api_url.rstrip('/')}/app/installations/{settings.installation_id}/access_tokens"
        self._key = settings.key()
        self._renewing = asyncio.Lock()
        self._current: _InstallationToken | None = None
        try:
            self._signed()
        except (ValueError, TypeError, jwt.PyJWTError) as error:
            raise ConfigurationError(
                f"GITHUB__PRIVATE_KEY: expected an RSA private key in PEM without a passphrase ({type(error).__name__})"
            ) from None  # the cause may show parts of the key

    async def token(self) -> str:
        """The installation's token, which lasts five minutes at least."""
        async with self._renewing:
            if self._current is None or self._current.expires_at - self._clock() <= RENEW_BEFORE:
                self._current = await self._fresh()
            return self._current.token.get_secret_value()

    def forget(self) -> None:
        """The next token is a new one."""
        self._current = None

    async def _fresh(self) -> _InstallationToken:
        headers = {**self._headers, "Authorization": f"Bearer {self._signed()}"}
        question = Question("POST", self._url, json={}, headers=headers, answers={_CREATED}, refusal=self._refused)
        reply = await ask(self._client, SYSTEM, question)
        if reply.problem:
            raise TransientError(SYSTEM, f"the answer with the installation's token {reply.problem}")
        try:
            return _InstallationToken.model_validate(reply.body)
        except ValidationError:
            raise PermanentError(SYSTEM, "the answer holds no installation token") from None  # it may hold half of one

    def _refused(self, reply: Reply) -> TransientError | PermanentError:
        what = "such installation of the App: check GITHUB__APP_ID, GITHUB__INSTALLATION_ID and GITHUB__PRIVATE_KEY"
        return refusal(reply, Need(what, "the installation", "an installation"), self._clock())

    def _signed(self) -> str:
        now = self._clock()
        claims = {"iat": now - _BACKDATED, "exp": now + _JWT_LASTS, "iss": self._app_id}
        return jwt.encode(claims, self._key, algorithm="RS256")
