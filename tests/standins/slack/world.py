"""Who and what there is at the stand-in: one workspace, its channel, its app and its people."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

TEAM = "T0STANDIN1"
OTHER_TEAM = "T0STRANGE1"
CHANNEL = "C0STANDIN1"
ARCHIVED_CHANNEL = "C0ARCHIVED"
FOREIGN_CHANNEL = "C0FOREIGN1"
"""One that the app is not in."""
BOT_USER = "U0BOTUSER1"
BOT_TOKEN = "xoxb-standin-0123456789"  # noqa: S105 - opens nothing but the stand-in
APP_TOKEN = "xapp-standin-0123456789"  # noqa: S105 - the same
SIGNING_SECRET = "standin0" * 4
WEBHOOK = f"/services/{TEAM}/B0STANDIN1/standinstandin"
SCOPES = ("channels:history", "chat:write", "users:read")


class Person(StrEnum):
    """One of each kind that may press a button."""

    MEMBER = "U0MEMBER01"
    ANOTHER = "U0MEMBER02"
    GUEST = "U0GUEST001"
    STRANGER = "U0STRANGE1"
    BOT = "U0BOT00001"
    DEACTIVATED = "U0GONE0001"


def people() -> Mapping[str, dict[str, Any]]:
    """Everybody as `users.info` tells of them."""
    return {
        Person.MEMBER: _person(Person.MEMBER),
        Person.ANOTHER: _person(Person.ANOTHER),
        Person.GUEST: _person(Person.GUEST, is_restricted=True),
        Person.STRANGER: _person(Person.STRANGER, team_id=OTHER_TEAM, is_stranger=True),
        Person.BOT: _person(Person.BOT, is_bot=True),
        # Slack leaves most of a deactivated account out.
        Person.DEACTIVATED: {"id": Person.DEACTIVATED, "team_id": TEAM, "deleted": True, "is_bot": False},
    }


def _person(user: str, **changes: object) -> dict[str, Any]:
    rights = dict.fromkeys(("is_admin", "is_owner", "is_restricted", "is_ultra_restricted", "is_bot"), False)
    return {"id": user, "team_id": TEAM, "name": user.lower(), "deleted": False, **rights, **changes}
