"""What a team's policy file adds to the secrets that are known, and how such a file is read."""

import tomllib
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from incident.errors import ConfigurationError
from incident.kinds import check_name, check_pattern
from incident.model import Fact, field_errors

_KindName = Annotated[str, AfterValidator(check_name)]
_Pattern = Annotated[str, AfterValidator(check_pattern)]


class RedactionPolicy(Fact):
    """What counts as a secret beside the kinds that are known."""

    patterns: dict[_KindName, _Pattern] = Field(
        default={},
        max_length=50,
        description="per kind of a team's own an expression of RE2; its first group, if any, is the secret",
    )


class _RedactionOnly(BaseModel):
    redaction: RedactionPolicy = RedactionPolicy()


def parse_redaction(text: str, where: str) -> RedactionPolicy:
    """What the TOML `text` of a policy says of redaction; whatever else it says is not looked at.

    Raises:
        ConfigurationError: a line for each key of it that cannot be used.
    """
    try:
        return _RedactionOnly.model_validate(read_toml(text, where)).redaction
    except ValidationError as error:
        raise ConfigurationError(*field_errors(error, where)) from error


def read_toml(text: str, where: str) -> dict[str, Any]:
    """What the TOML `text` holds.

    Raises:
        ConfigurationError: it is none; the line begins with `where`.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{where}: not TOML: {error}") from error
