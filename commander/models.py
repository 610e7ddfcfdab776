"""The model that a command asks, as the settings name it, with instructions of ours or of one's own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from openai import AsyncOpenAI

from incident.errors import ConfigurationError
from integrations.files import read_redaction
from integrations.openai import build_client, parse_instructions
from integrations.openai.instructions import INSTRUCTIONS
from integrations.redaction import redacting
from integrations.variables import as_variable
from worker.settings import Settings


def text_of(path: Path) -> str:
    """What the file holds.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read ({type(error).__name__})") from error


def instructions_of(prompt: Path | None) -> str:
    """The instructions in the file; ours where there is none.

    Raises:
        ConfigurationError: it cannot be read, or lacks what a decision needs.
    """
    return INSTRUCTIONS if prompt is None else parse_instructions(text_of(prompt), str(prompt))


@asynccontextmanager
async def asked_model(settings: Settings) -> AsyncIterator[AsyncOpenAI]:
    """The way to the model that the settings name; what a team calls a secret is kept from it.

    Raises:
        ConfigurationError: they name none that can be asked.
    """
    try:
        client = build_client(settings.openai)
    except ConfigurationError as error:
        raise ConfigurationError(*map(as_variable, error.lines)) from error
    with redacting(settings.redaction, read_redaction(settings.policy_file)):
        async with client:
            yield client
