"""A stateful stand-in for Slack: its Web API, an incoming webhook, Socket Mode, and people who press buttons.

    with running_slack() as slack:                   # in this process, on a port of its own
        settings = slack.settings()                  # a bot's, with buttons
        slack.faults(limited(7), broken(times=2), accepted_then_cut())
        ...
        (message,) = slack.messages()
        status = slack.press(message.ts, "approve", url=f"{gateway}/slack/interactivity")

It refuses what Slack refuses. `python -m tests.standins.slack --port N` serves the same;
`SlackStandin("http://127.0.0.1:N")` is its hand.
"""

from tests.standins.slack.client import SlackStandin, running_slack
from tests.standins.slack.faults import accepted_then_cut, broken, error, hanging, html, limited, reset, said
from tests.standins.slack.records import EnvelopeEntry, Ephemeral, Message, RequestEntry
from tests.standins.slack.world import (
    APP_TOKEN,
    BOT_TOKEN,
    CHANNEL,
    SIGNING_SECRET,
    TEAM,
    WEBHOOK,
    Person,
)

__all__ = [
    "APP_TOKEN",
    "BOT_TOKEN",
    "CHANNEL",
    "SIGNING_SECRET",
    "TEAM",
    "WEBHOOK",
    "EnvelopeEntry",
    "Ephemeral",
    "Message",
    "Person",
    "RequestEntry",
    "SlackStandin",
    "accepted_then_cut",
    "broken",
    "error",
    "hanging",
    "html",
    "limited",
    "reset",
    "running_slack",
    "said",
]
