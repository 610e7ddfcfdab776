"""What the settings models are called in the environment: `openai.api_key` is `OPENAI__API_KEY`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from incident.errors import ConfigurationError
from incident.model import field_errors

_Settings = TypeVar("_Settings", bound=BaseModel)


@dataclass(frozen=True)
class Variable:
    """One environment variable."""

    name: str
    default: str
    meaning: str


def variables(*models: type[BaseModel]) -> tuple[Variable, ...]:
    """Every environment variable of these models, in the order of their fields; one that several know stands once."""
    return tuple(dict.fromkeys(each for model in models for each in _variables(model, "")))


def from_environment(model: Callable[[], _Settings]) -> _Settings:
    """What `model` reads of this process's environment.

    Raises:
        ConfigurationError: a line for each variable that cannot be used.
    """
    try:
        return model()
    except ValidationError as error:
        raise ConfigurationError(*map(as_variable, field_errors(error))) from error


def as_variable(line: str) -> str:
    """An error's line with the setting's path, `openai.api_key`, spelt as the variable that sets it."""
    path, _, problem = line.partition(": ")
    return f"{path.replace('.', '__').upper()}: {problem}"


def _variables(model: type[BaseModel], prefix: str) -> Iterator[Variable]:
    for name, field in model.model_fields.items():
        variable = f"{prefix}{name}".upper()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _variables(field.annotation, f"{variable}__")
        else:
            yield Variable(variable, _shown(field.default), field.description or "")


def _shown(default: object) -> str:
    if isinstance(default, timedelta):
        return f"{default.total_seconds():g}s"
    return "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
