"""Slack: the channel that people read, and their answers by buttons."""

from integrations.slack.chat import SlackChat
from integrations.slack.directory import Checked, Directory
from integrations.slack.presses import Press, UnusablePressError, read_form, read_press
from integrations.slack.settings import SlackSettings
from integrations.slack.signature import ForgedError, verify
from integrations.slack.socket_mode import SocketMode
from integrations.slack.webhook import SlackWebhook

__all__ = [
    "Checked",
    "Directory",
    "ForgedError",
    "Press",
    "SlackChat",
    "SlackSettings",
    "SlackWebhook",
    "SocketMode",
    "UnusablePressError",
    "read_form",
    "read_press",
    "verify",
]
