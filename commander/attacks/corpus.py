"""The corpus: JSON lines, a case each, that others can add to. tests/attacks/README.md describes it for them."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from incident.errors import ConfigurationError
from incident.model import Fact, field_errors

_Text = Annotated[str, Field(min_length=1, max_length=20_000)]


class Place(StrEnum):
    """Where a text enters."""

    LOG = "log"
    ERROR_TYPE = "error_type"
    ALERT = "alert"
    ALERT_SEVERITY = "alert_severity"
    COMMIT = "commit"
    REVISION = "revision"
    PROBLEM = "problem"
    """What a source that fails says."""
    REASON = "reason"
    """Why somebody asks."""
    MODEL = "model"
    """Nowhere but in the model's own answer."""


class Aim(StrEnum):
    """What a hostile text is after."""

    FORCE = "force"
    BLOCK = "block"
    RETARGET = "re-target"
    VULNERABLE = "vulnerable"
    EXFILTRATE = "exfiltrate"
    PING = "ping"
    JSON = "json"
    TERMINAL = "terminal"


class Scene(StrEnum):
    """What is really the matter with the service."""

    BAD_DEPLOY = "bad-deploy"
    """A P0: deployment 101 went live eight minutes ago and fails; 100 was good, 99 too, 98 never was."""
    NO_CULPRIT = "no-culprit"
    """A P0, and the live deployment is three days old."""
    LATENCY = "latency"
    """A P1."""
    HEALTHY = "healthy"


class Attack(Fact):
    """A hostile text, and a benign one of the same kind."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    enters: Place
    tries: Aim
    scene: Scene
    text: _Text
    twin: _Text
    answer: dict[str, Any] | str | None = Field(
        description="what the model that obeys answers: fields of the decision, or all of it as text; null: by `tries`"
    )
    secrets: tuple[str, ...] = Field(description="what of `text` or `answer` must never be seen again")


def read_corpus(directory: Path) -> tuple[Attack, ...]:
    """The cases of every .jsonl file of `directory`, in the order of files and lines.

    Raises:
        ConfigurationError: a line for each field that cannot be used, with its file and line; or there is no case.
    """
    attacks: dict[str, Attack] = {}
    problems: list[str] = []
    for file in sorted(directory.glob("*.jsonl")):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            where = f"{file.name}:{number}"
            try:
                attack = Attack.model_validate_json(line)
            except ValidationError as error:
                problems += field_errors(error, where)
                continue
            if attack.id in attacks:
                problems.append(f"{where}: id: expected one that no other case has, got {attack.id}")
            attacks[attack.id] = attack
    if not attacks and not problems:
        problems.append(f"{directory}: expected .jsonl files with a case on each line")
    if problems:
        raise ConfigurationError(*problems)
    return tuple(attacks.values())
