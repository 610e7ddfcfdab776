"""GitHub's REST API as the adapters beside this module need it: authorised, versioned, one page or all of them."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError

from incident.errors import ConfigurationError, PermanentError, TransientError
from integrations.github.app_auth import AppInstallation, Credentials, FixedToken
from integrations.github.refusals import SYSTEM, Need, refusal
from integrations.github.settings import GitHubSettings
from integrations.http import Question, Reply, ask

ANY_SUCCESS = range(200, 300)
AT_ONCE = 5
"""Requests of one look that are under way together; GitHub allows 100 in all and asks for restraint."""

CONFLICT = 409
_UNAUTHORIZED = 401
_Model = TypeVar("_Model", bound=BaseModel)
_Value = TypeVar("_Value")
_Params = Mapping[str, str | int]


class GitHub:
    """One process's connection to GitHub. While a rate limit holds, nothing is sent.

    Args:
        client: from `integrations.http.build_client`.
        settings: whose `problems()` are none.
        clock: the time, aware.

    Raises:
        ConfigurationError: a line for each variable that keeps GitHub from being asked.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        settings: GitHubSettings,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if problems := settings.problems():
            raise ConfigurationError(*problems)
        self._client, self.settings, self.clock = client, settings, clock
        self._url = settings.api_url.rstrip("/")
        self._headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": settings.api_version}
        self._limited_until: datetime | None = None
        self._credentials: Credentials = (
            FixedToken(settings.token)
            if settings.token and settings.token.get_secret_value()
            else AppInstallation(client, settings, self._headers, clock)
        )

    async def get(self, path: str, need: Need, params: _Params | None = None) -> Reply:
        """The answer to GET; its body was JSON.

        Raises:
            TransientError: not reachable, 5xx, a rate limit (with `retry_after`), or no JSON.
            PermanentError: refused; the words say what to do.
        """
        url = httpx.URL(self._url + path, params=dict(params or {}))
        reply = await self._ask(Question("GET", url, answers=ANY_SUCCESS), need)
        if reply.problem:
            raise TransientError(SYSTEM, f"the answer about {need.what} {reply.problem}")
        return reply

    async def pages(self, path: str, need: Need, params: _Params, most: int) -> AsyncIterator[JsonValue]:
        """Each page of a list, at most `most` of them, as GitHub's Link header leads from one to the next.

        Of that header only the query is followed: the address, and with it the token, stays where it belongs.
        """
        for _ in range(most):
            reply = await self.get(path, need, params)
            yield reply.body
            following = httpx.Response(200, headers=reply.headers).links.get("next", {}).get("url")
            if not following:
                return
            params = dict(httpx.URL(following).params)

    async def post(
        self, path: str, need: Need, body: Mapping[str, JsonValue] | None = None, not_after: float | None = None
    ) -> Reply:
        """The answer to POST in 2xx or 409, whatever its body is.

        Args:
            path: under the API's address.
            need: for the words of a refusal.
            body: sent as JSON.
            not_after: see `integrations.http.Question`.

        Raises:
            TransientError: whether it was done is not known; or a rate limit, and it was not.
            PermanentError: refused, and not done.
        """
        answers = {*ANY_SUCCESS, CONFLICT}
        question = Question("POST", self._url + path, body, answers=answers, not_after=not_after)
        return await self._ask(question, need)

    async def _ask(self, question: Question, need: Need) -> Reply:
        now = self.clock()
        if self._limited_until and now < self._limited_until:
            pause = self._limited_until - now
            words = f"a rate limit holds for another {round(pause.total_seconds())} s, so nothing was sent"
            raise TransientError(SYSTEM, words, pause)
        try:
            token = await self._credentials.token()
        except TransientError as error:
            self._heed(error)
            raise
        headers = {**self._headers, "Authorization": f"Bearer {token}"}

        def refused(reply: Reply) -> TransientError | PermanentError:
            return self._refused(reply, need)

        return await ask(self._client, SYSTEM, replace(question, headers=headers, refusal=refused))

    def _refused(self, reply: Reply, need: Need) -> TransientError | PermanentError:
        if reply.status == _UNAUTHORIZED:
            self._credentials.forget()
        error = refusal(reply, need, self.clock())
        if isinstance(error, TransientError):
            self._heed(error)
        return error

    def _heed(self, error: TransientError) -> None:
        if error.retry_after:
            self._limited_until = self.clock() + error.retry_after


def parsed(model: type[_Model], body: JsonValue, what: str) -> _Model:
    """`body` as a `model`; what GitHub adds is left out.

    Raises:
        PermanentError: it is of another shape; names the field, never what stood there.
    """
    return _validated(TypeAdapter(model), body, what)


def parsed_list(model: type[_Model], body: JsonValue, what: str) -> list[_Model]:
    """`body` as a list of `model`; raises as `parsed` does."""
    adapter: TypeAdapter[list[_Model]] = TypeAdapter(list[model])  # type: ignore[valid-type]  # a list of whichever model it is
    return _validated(adapter, body, what)


def _validated(adapter: TypeAdapter[_Value], body: JsonValue, what: str) -> _Value:
    try:
        return adapter.validate_python(body)
    except ValidationError as error:
        first: Any = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the answer"
        raise PermanentError(SYSTEM, f"the answer about {what}: {where} is not as expected ({first['type']})") from None
