"""Where incidents are kept."""

from pydantic import BaseModel, ConfigDict, Field


class StoreSettings(BaseModel):
    """Where incidents and remediations are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(
        default="sqlite:///.commander/incidents.db",
        repr=False,  # it may hold a password
        description="SQLAlchemy URL of the database; a SQLite file and its folder are created on first use.",
    )
