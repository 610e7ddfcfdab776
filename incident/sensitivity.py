"""How readily a change of the numbers becomes an incident, and how long quiet must last. Pure data, without arrays."""

from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

from incident.model import Duration, Fact


class Sensitivity(Fact):
    """What bounds a detector. What counts as extreme is learnt from healthy history; these say what to make of it."""

    false_opening_every: Duration = Field(
        default=timedelta(hours=100),
        gt=timedelta(0),
        description="healthy time in which one opening is put up with: the shorter the history, the wider its limits",
    )
    least_deviations: float = Field(
        default=4, ge=2, le=50, description="robust standard deviations under which nothing is extreme"
    )
    rows_needed: int = Field(default=2, ge=1, le=60, description="extreme rows that it takes to open an incident")
    rows_within: int = Field(default=2, ge=1, le=60, description="among this many rows; the newest is one of them")
    recent: Duration = Field(
        default=timedelta(hours=1),
        gt=timedelta(0),
        description="how long the numbers must not have been like that already",
    )
    quiet_below: float = Field(
        default=0.35, gt=0, le=1, description="quiet again: under this share of what opens an incident"
    )
    stable_rows: int = Field(
        default=2, ge=1, le=500, description="quiet for as long as this many rows take before an incident has ended"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.rows_needed > self.rows_within:
            raise ValueError("rows_needed: expected at most rows_within")
        return self
