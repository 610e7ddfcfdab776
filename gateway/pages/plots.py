"""One metric before and since, as a picture: an SVG document that runs nothing and loads nothing."""

import sys
from collections.abc import Sequence
from xml.etree.ElementTree import Element

import pygal  # type: ignore[import-untyped]  # it ships no types
from pygal.style import Style  # type: ignore[import-untyped]  # the same

from incident.evidence import Metric, Unit
from incident.recovery import Look
from incident.verifying import RecoveryLimits

# pygal leaves a finder of modules behind, for plots of its own that are not installed here, of a kind that Python 3.12
# passes over and that makes 3.11 warn at every import that looks further.
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != pygal.__name__]

HEADERS = {
    # The picture's own style sheet stands in it; opened by itself, it may do nothing else.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
}
_STYLE = Style(
    background="transparent",
    plot_background="transparent",
    foreground="#1b1f24",
    foreground_strong="#1b1f24",
    foreground_subtle="#57606a",
    colors=("#b42318", "#0b5cad", "#1a7f37"),
    font_family="system-ui, sans-serif",
    title_font_size=15,
    legend_font_size=12,
    label_font_size=11,
    major_label_font_size=11,
)
_QUIET = "inline: .axis .guide.line { stroke-opacity: .25 }"
_DARK = (
    "inline: @media (prefers-color-scheme: dark) {"
    " .graph, text, .title, .legends .legend text, .axis text { fill: #e6edf3 !important }"
    " .axis .line, .axis .guide.line { stroke: #8b949e !important }"
    " .color-0, .color-0 a:visited { stroke: #ff8f85; fill: #ff8f85 }"
    " .color-1, .color-1 a:visited { stroke: #79b8ff; fill: #79b8ff }"
    " .color-2, .color-2 a:visited { stroke: #56d364; fill: #56d364 } }"
)
_DASHED = {"width": 2, "dasharray": "6, 4"}


def plot(metric: Metric, before: Look, looks: Sequence[Look], limits: RecoveryLimits) -> str:
    """`metric` over the minutes since `before`, with the limit under which it counts as recovered, if it has one.

    A value that is not known is a gap. Nothing but names, numbers and times of our own stands in the picture.
    """
    chart = pygal.XY(
        css=["file://style.css", "file://graph.css", _QUIET, _DARK],
        js=[],
        style=_STYLE,
        title=f"{metric.value.replace('_', ' ')}{_unit(metric)}",
        x_title="minutes since the incident opened",
        width=640,
        height=320,
        max_scale=5,
        margin=8,
        margin_bottom=20,
        stroke_style={"width": 3},
        legend_at_bottom_columns=3,
        no_prefix=True,
        disable_xml_declaration=True,
        allow_interruptions=True,
        show_only_major_dots=False,
        dots_size=4,
        legend_at_bottom=True,
        include_x_axis=True,
        x_value_formatter=lambda minutes: f"{minutes:.1f}",
        value_formatter=lambda value: f"{value:g}",
        no_data_text="nothing is known",
        truncate_legend=-1,
    )
    since = [((look.at - before.at).total_seconds() / 60, _shown(metric, look)) for look in looks]
    chart.add("when it opened", [(0.0, _shown(metric, before))], stroke=False)
    chart.add("since", since)
    limit = _limit(metric, limits)
    if limit is not None:
        scaled = _scaled(metric, limit)
        end = max((minutes for minutes, _ in since), default=1.0)
        chart.add(
            f"recovered under {metric.show(limit)}",
            [(0.0, scaled), (end, scaled)],
            show_dots=False,
            stroke_style=_DASHED,
        )
    chart.add_xml_filter(_without_scripts)
    return str(chart.render(is_unicode=True))


def _limit(metric: Metric, limits: RecoveryLimits) -> float | None:
    return {Metric.ERROR_RATE: limits.error_rate_below, Metric.P99_LATENCY: limits.p99_below}.get(metric)


def _shown(metric: Metric, look: Look) -> float | None:
    value = look.values.get(metric)
    return None if value is None else _scaled(metric, value)


def _scaled(metric: Metric, value: float) -> float:
    return round(value * 100, 4) if metric.unit is Unit.RATIO else value


def _unit(metric: Metric) -> str:
    return {Unit.RATIO: ", %", Unit.MILLISECONDS: ", ms", Unit.PER_SECOND: ", per second", Unit.COUNT: ""}[metric.unit]


def _without_scripts(root: Element) -> Element:
    """The picture without what pygal tells a script of its own, and without its notes on when it was made."""
    for parent in root.iter():
        for child in list(parent):
            tag: object = child.tag  # a comment's is no text
            if not isinstance(tag, str) or tag.rpartition("}")[2] == "script":
                parent.remove(child)
    return root
