"""How this process redacts: the key of its marks, and the policy's patterns."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from incident.errors import ConfigurationError
from incident.redaction import redacting_by
from incident.secrets_policy import RedactionPolicy

_LEAST = 32
"""Bytes of a key for HMAC-SHA256: at least the hash's own length (RFC 7518 §3.2)."""


class RedactionSettings(BaseModel):
    """How secrets are marked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: SecretStr | None = Field(
        default=None,
        description="Gives equal secrets equal marks, the same in every process, at least 32 bytes; left out, each "
        "process has one of its own while it runs.",
    )


@contextmanager
def redacting(settings: RedactionSettings, policy: RedactionPolicy) -> Iterator[None]:
    """Within it this process redacts by these settings and the policy's patterns.

    Raises:
        ConfigurationError: the key is too short to be one.
    """
    key = secrets.token_bytes(_LEAST) if settings.key is None else settings.key.get_secret_value().encode()
    if len(key) < _LEAST:
        raise ConfigurationError(f"REDACTION__KEY: expected at least {_LEAST} bytes")
    with redacting_by(key, policy.patterns):
        yield
