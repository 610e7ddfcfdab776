"""What the mock service is started with; the only module here that reads the environment."""

from datetime import timedelta
from enum import Enum

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class Profile(Enum):
    """How the service behaves."""

    STEADY = "steady"
    LIVE = "live"


class MockServiceSettings(BaseSettings):
    """Settings of `python -m mock_service`, each from the environment variable MOCK_<FIELD>, the port from PORT."""

    model_config = SettingsConfigDict(
        env_prefix="MOCK_",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        validate_by_name=True,
        validate_by_alias=True,
    )

    port: int = Field(default=3000, ge=1, le=65535, validation_alias="PORT", description="TCP port to listen on.")
    host: str = Field(
        default="127.0.0.1", min_length=1, description="Address to listen on; control calls carry no auth."
    )
    profile: Profile = Field(
        default=Profile.LIVE,
        description="`steady` answers the seed contract's constants; `live` simulates noise, ramps and late alerts.",
    )
    seed: int = Field(default=0, description="Seed of the noise and of which payments fail.")
    ramp_seconds: float = Field(
        default=4,
        ge=0,
        le=300,
        allow_inf_nan=False,
        description="Live: seconds a deployment or chaos takes to show fully.",
    )
    alert_after_seconds: float = Field(
        default=3,
        ge=0,
        le=300,
        allow_inf_nan=False,
        description="Live: seconds a breach lasts before its alert fires, and a good value before it resolves.",
    )

    @property
    def ramp(self) -> timedelta:
        """`ramp_seconds` as a duration."""
        return timedelta(seconds=self.ramp_seconds)

    @property
    def alert_after(self) -> timedelta:
        """`alert_after_seconds` as a duration."""
        return timedelta(seconds=self.alert_after_seconds)


class SettingsError(ValueError):
    """The environment holds a value that the service cannot run on; the text names the variable, on one line."""


def load_settings() -> MockServiceSettings:
    """Settings from the environment, or SettingsError."""
    try:
        return MockServiceSettings()
    except ValidationError as exc:
        problems = [f"{_variable(error['loc'])}: {error['msg']}" for error in exc.errors()]
        raise SettingsError("; ".join(problems).replace("\n", " ")) from exc


def _variable(location: tuple[int | str, ...]) -> str:
    name = str(location[0]) if location else "settings"
    return name if name.isupper() else f"MOCK_{name}".upper()
