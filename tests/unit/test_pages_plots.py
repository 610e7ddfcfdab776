"""The plots: what is not known is a gap, and the picture runs nothing and loads nothing."""

import re
import sys
from collections.abc import Sequence
from datetime import timedelta
from xml.etree.ElementTree import Element, fromstring

import pytest

from gateway.pages.plots import plot
from incident.evidence import Metric
from incident.recovery import Look
from incident.verifying import RecoveryLimits
from tests import builders
from tests.builders import NOW
from tests.e2e.pages_office import Desktop

INCIDENT = f"/ui/incidents/{builders.INCIDENT_ID}"
SVG = "{http://www.w3.org/2000/svg}"
BEFORE = builders.look(seen=builders.degraded_evidence())


def looks(*error_rates: float | None) -> Sequence[Look]:
    """A look every minute, at these error rates in percent."""
    return [
        builders.look({"error_rate": rate}, at=NOW + timedelta(minutes=minute))
        for minute, rate in enumerate(error_rates, start=1)
    ]


def drawn(metric: Metric, since: Sequence[Look], before: Look = BEFORE) -> Element:
    return fromstring(plot(metric, before, since, RecoveryLimits()))  # noqa: S314 - made here


def values(picture: Element, series: int) -> list[str]:
    """The values that a series has dots for, each with its minute."""
    dots = picture.findall(f".//{SVG}g[@class='series serie-{series} color-{series}']//{SVG}desc[@class='value']")
    return [dot.text or "" for dot in dots]


def strokes(picture: Element, series: int) -> int:
    """How many unbroken lines a series is drawn in."""
    return len(picture.findall(f".//{SVG}g[@class='series serie-{series} color-{series}']/{SVG}path"))


def test_the_value_before_and_those_since_are_drawn_in_the_units_that_people_read() -> None:
    picture = drawn(Metric.ERROR_RATE, looks(5.0, 0.5))
    assert values(picture, 0) == ["0.0: 15.5"]
    assert values(picture, 1) == ["1.0: 5", "2.0: 0.5"]
    assert picture.findtext(f"{SVG}defs/{SVG}title") or picture.findtext(f"{SVG}title") == "error rate, %"


def test_an_unknown_value_is_a_gap_and_never_zero() -> None:
    picture = drawn(Metric.ERROR_RATE, looks(5.0, 4.0, None, 1.0, 0.5))
    assert values(picture, 1) == ["1.0: 5", "2.0: 4", "4.0: 1", "5.0: 0.5"]
    assert strokes(picture, 1) == 2
    assert strokes(drawn(Metric.ERROR_RATE, looks(5.0, 4.0, 3.0)), 1) == 1


def test_where_nothing_is_known_nothing_is_drawn() -> None:
    blind = builders.look({"cpu_usage": None})
    picture = drawn(Metric.CPU_USAGE, [blind, blind], blind)
    assert values(picture, 0) == values(picture, 1) == []
    assert "nothing is known" in "".join(picture.itertext())


def test_the_limit_of_recovery_is_drawn_where_there_is_one() -> None:
    assert "recovered under 1.0%" in "".join(drawn(Metric.ERROR_RATE, looks(1.0)).itertext())
    assert "recovered under 200ms" in "".join(drawn(Metric.P99_LATENCY, looks(1.0)).itertext())
    assert "recovered" not in "".join(drawn(Metric.CPU_USAGE, looks(1.0)).itertext())


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("since", [[], looks(1.0), looks(None, None)], ids=["no look", "one look", "unreadable"])
def test_a_plot_runs_nothing_and_loads_nothing(metric: Metric, since: Sequence[Look]) -> None:
    text = plot(metric, BEFORE, since, RecoveryLimits())
    picture = fromstring(text)  # noqa: S314 - made here
    tags = {each.tag.removeprefix(SVG) for each in picture.iter()}
    assert not tags & {"script", "foreignObject", "image", "a", "use", "iframe"}
    assert not [name for each in picture.iter() for name in each.attrib if name.startswith("on") or "href" in name]
    assert re.findall(r"https?://[^\"' ]*|url\(|@import|<\?|<!--", text) == ["http://www.w3.org/2000/svg"]


def test_equal_looks_give_equal_pictures() -> None:
    assert plot(Metric.ERROR_RATE, BEFORE, looks(1.0), RecoveryLimits()) == plot(
        Metric.ERROR_RATE, BEFORE, looks(1.0), RecoveryLimits()
    )


def test_the_library_leaves_no_finder_of_modules_behind() -> None:
    assert [finder for finder in sys.meta_path if not hasattr(finder, "find_spec")] == []


async def test_a_plot_is_served_as_a_picture_that_may_do_nothing() -> None:
    async with Desktop(snapshots=[builders.snapshot()]).visitor("ben") as ben:
        served = await ben.get(f"{INCIDENT}/plots/error_rate.svg?looks=2")
    assert served.headers["content-type"].startswith("image/svg+xml")
    policy = served.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "script" not in policy
    assert served.text.startswith("<svg")


@pytest.mark.parametrize("metric", ["nonsense", "..%2ferror_rate", "ERROR_RATE"])
async def test_there_is_no_plot_of_what_is_no_metric(metric: str) -> None:
    async with Desktop(snapshots=[builders.snapshot()]).visitor("ben") as ben:
        assert (await ben.get(f"{INCIDENT}/plots/{metric}.svg")).status_code == 404


async def test_there_is_no_plot_before_anything_was_measured() -> None:
    async with Desktop(dossiers=[builders.dossier()]).visitor("ben") as ben:
        assert (await ben.get(f"{INCIDENT}/plots/error_rate.svg")).status_code == 404
