"""Who pressed a button, and whether that person may answer here at all; whom the policy names, it does not know."""

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from incident.errors import ConfigurationError
from incident.model import Fact
from integrations.slack.api import SlackApi
from integrations.slack.blocks import plain
from integrations.slack.literal import literal
from integrations.slack.presses import Press
from integrations.slack.replies import RefusedError
from integrations.slack.settings import SlackSettings, secret

LOOKS_WITHIN = timedelta(seconds=1)
"""Slack waits three seconds for the answer to a press, and the workflow must be asked in them as well."""
KEEPS = timedelta(seconds=60)
"""How long what Slack says of a person is kept; an account closed since then counts for so long."""
SCOPES = ("chat:write", "users:read")
"""What the app must be allowed to; and channels:history or groups:history, to see what was posted already."""

_HISTORY = ("channels:history", "groups:history")
_MAX_KEPT = 1_000
_MAX_TOLD = 1_000
_UNKNOWN = frozenset({"user_not_found", "user_not_visible", "users_not_found"})


class Checked(Fact):
    """Whom Slack takes us for."""

    team: str
    team_name: str = ""
    user: str
    scopes: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """The scopes that the app lacks."""
        lacking = [each for each in SCOPES if each not in self.scopes]
        return (*lacking, *(() if {*_HISTORY} & {*self.scopes} else (" or ".join(_HISTORY),)))


class Directory:
    """The people of one workspace.

    Args:
        settings: with a bot token.
        clock: as `time.monotonic`.

    Raises:
        ConfigurationError: the settings cannot be used.
    """

    def __init__(self, settings: SlackSettings, clock: Callable[[], float] = time.monotonic) -> None:
        problems = settings.problems()
        if problems or not settings.by_bot:
            raise ConfigurationError(*(problems or ("SLACK__BOT_TOKEN: expected a bot token",)))
        self._settings, self._clock = settings, clock
        within = min(LOOKS_WITHIN, settings.timeout)
        token = secret(settings.bot_token)
        self._quick = SlackApi(settings.api_url, token, within)
        self._api = SlackApi(settings.api_url, token, settings.timeout)
        self._kept: dict[str, tuple[float, str]] = {}

    async def objection(self, press: Press) -> str:
        """Why whoever pressed may not answer here; empty: this person may, if the policy names them.

        Raises:
            TransientError: Slack cannot be asked. Then nobody knows, and the answer must not count.
            PermanentError: Slack refuses the question; the same.
        """
        if not self._settings.team or press.team != self._settings.team:
            return "The button was pressed in another workspace."
        if press.stranger or press.user_team not in {"", self._settings.team}:
            return "People of other workspaces cannot answer."
        if press.channel != self._settings.channel:
            return "The button was pressed in another channel."
        return await self._of(press.user)

    async def tell(self, press: Press, text: str) -> None:
        """Tells whoever pressed, and nobody else, in the channel where the button is. Raises as `SlackChat.post`."""
        said = literal(text, _MAX_TOLD) or "-"
        blocks = [{"type": "section", "text": plain(said)}]
        where = {"channel": press.channel, "user": press.user}
        await self._api.write(
            "chat.postEphemeral", {"parse": "none", "link_names": False, "text": said, "blocks": blocks, **where}
        )

    async def check(self) -> Checked:
        """Whom Slack takes us for, and what we may do. Raises as `SlackChat.post`."""
        answer = await self._api.write("auth.test", {})
        scopes = str(answer.headers.get("x-oauth-scopes", ""))
        return Checked(
            team=str(answer.body.get("team_id", "")),
            team_name=literal(str(answer.body.get("team", "")), _MAX_TOLD),
            user=str(answer.body.get("user_id", "")),
            scopes=tuple(sorted(each.strip() for each in scopes.split(",") if each.strip())),
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._quick.close()
        await self._api.close()

    async def _of(self, user: str) -> str:
        now = self._clock()
        at, known = self._kept.get(user, (None, ""))
        if at is not None and now - at < KEEPS.total_seconds():
            return known
        try:
            answer = await self._quick.read("users.info", user=user)
        except RefusedError as error:
            if error.code not in _UNKNOWN:
                raise
            return "Slack does not know who pressed the button."
        objection = _objection(answer.body.get("user"), user, self._settings.team)
        if len(self._kept) >= _MAX_KEPT:
            self._kept.clear()
        self._kept[user] = now, objection
        return objection


def _objection(told: object, user: str, team: str) -> str:
    """Against a person as Slack describes them; what it leaves open counts against them."""
    person: Mapping[str, Any] = told if isinstance(told, dict) else {}
    if person.get("id") != user:
        return "Slack does not know who pressed the button."
    checks = (
        (person.get("deleted") is False, "The account is deactivated."),
        (person.get("is_bot") is False and user != "USLACKBOT", "A bot cannot answer."),
        (not person.get("is_stranger") and person.get("team_id") == team, "People of other workspaces cannot answer."),
        (
            person.get("is_restricted") is False and person.get("is_ultra_restricted") is False,
            "Guests cannot answer.",
        ),
    )
    return next((words for holds, words in checks if not holds), "")
