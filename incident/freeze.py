"""Freeze windows: times in which nothing is done without a person."""

from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from incident.model import Fact, Moment


class Weekday(StrEnum):
    """A day of the week."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


class Freeze(Fact):
    """One window: from one moment until another, or at the same hours of every week."""

    name: str = Field(default="", max_length=100, description="such as `year end`; people read it")
    begins: Moment | None = Field(default=None, description="for a window of its own: from here")
    ends: Moment | None = Field(default=None, description="for a window of its own: until here")
    days: tuple[Weekday, ...] = Field(default=(), description="for weekly hours: the days on which they begin")
    daily_from: time | None = Field(default=None, description="for weekly hours: `22:00`")
    daily_until: time | None = Field(default=None, description="for weekly hours; not later than daily_from: next day")
    timezone: str = Field(default="UTC", description="of the weekly hours, such as Europe/Berlin")

    @field_validator("begins", "ends", "daily_from", "daily_until", mode="before")
    @classmethod
    def _is_no_number(cls, value: object) -> object:
        if isinstance(value, int | float):
            raise ValueError("expected a time, not a number")  # noqa: TRY004 - pydantic wants a ValueError
        return value

    @field_validator("daily_from", "daily_until")
    @classmethod
    def _has_no_offset(cls, value: time | None) -> time | None:
        if value is not None and value.tzinfo is not None:
            raise ValueError("expected a time of day, such as 22:00, without an offset: `timezone` says whose")
        return value

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, OSError, ValueError) as error:
            raise ValueError("expected an IANA time zone, such as UTC or Europe/Berlin") from error
        return value

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        own = self.begins is not None and self.ends is not None
        weekly = bool(self.days) and self.daily_from is not None and self.daily_until is not None
        stray = (self.begins or self.ends) if weekly else (self.days or self.daily_from or self.daily_until)
        if own is weekly or stray:
            raise ValueError("expected either begins and ends, or days, daily_from and daily_until")
        if self.begins and self.ends and self.begins >= self.ends:
            raise ValueError("begins: expected a moment before ends")
        return self

    def holds(self, now: datetime) -> bool:
        """Whether `now` lies in the window; its end does not."""
        if self.begins and self.ends:
            return self.begins <= now < self.ends
        local = now.astimezone(ZoneInfo(self.timezone))
        return any(self._began(local, back) for back in (0, 1))

    def _began(self, local: datetime, days_back: int) -> bool:
        """Whether the hours that began that many days before `local`'s day hold `local`."""
        if self.daily_from is None or self.daily_until is None:  # pragma: no cover - the validator sees to it
            return False
        day = local.date() - timedelta(days=days_back)
        over_midnight = self.daily_until <= self.daily_from
        begins = datetime.combine(day, self.daily_from, local.tzinfo)
        ends = datetime.combine(day + timedelta(days=over_midnight), self.daily_until, local.tzinfo)
        return list(Weekday)[day.weekday()] in self.days and begins <= local < ends

    @property
    def words(self) -> str:
        """The window, in words."""
        if self.begins and self.ends:
            when = f"{self.begins:%Y-%m-%d %H:%M:%SZ} to {self.ends:%Y-%m-%d %H:%M:%SZ}"
        else:
            when = f"{', '.join(self.days)} {self.daily_from} to {self.daily_until} {self.timezone}"
        return f"{self.name} ({when})" if self.name else when
