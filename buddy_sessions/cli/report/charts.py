"""Line charts as inline SVG, drawn by pygal (the extra `[report]`).

Only the shapes and texts of pygal's SVG are kept, without scripts, styles and IDs. The CSS of the page colours them, so
charts follow its light and dark mode.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element, tostring

from ..extras import import_extra
from ..formatting import format_count, format_duration
from . import formats
from .suite_statistics import Period, SuiteStatistics

_KEPT_TAGS = {"svg", "g", "path", "circle", "text", "title"}
_KEPT_ATTRIBUTES = {"viewBox", "class", "transform", "d", "x", "y", "cx", "cy", "r"}

_DATE_LABELS = 3
"""The number of dates on the x axis. More dates would overlap on a phone."""

_Point = tuple[Period, float | None]  # None interrupts the line
_FormatValue = Callable[[float], str]


class Chart(NamedTuple):
    """A chart: its title, and an `svg` element."""

    title: str
    svg: str


def import_pygal() -> ModuleType:
    """Import pygal, and remove the import hook that it installs for its plug-ins, which are not used here.

    The protocol of the hook is deprecated in Python 3.11 and removed in Python 3.12. Raises ConfigError if the extra
    `[report]` is not installed.
    """
    pygal = import_extra("pygal", extra="report")
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != pygal.__name__]
    return pygal


def draw_charts(pygal: ModuleType, statistics: SuiteStatistics) -> list[Chart]:
    """Return the charts of a suite: pass rates and durations, each only if it has at least two points."""
    charts: list[Chart] = []
    every = formats.period(statistics.period_days)
    rates: list[_Point] = [(period, period.pass_rate.percent) for period in statistics.periods]
    durations: list[_Point] = [(period, period.duration) for period in statistics.periods]
    percent_axis = {"range": (0, 100), "y_labels": [0, 50, 100]}
    for title, points, format_value, axis in (
        (f"Pass rate per {every}", rates, "{:.0f} %".format, percent_axis),
        (f"Median duration per {every}", durations, format_duration, {"include_x_axis": True}),
    ):
        known = [(period, value) for period, value in points if value is not None]
        if len(known) > 1:
            description = f"{title}, {_summary(known, format_value)}. All numbers are in the table below."
            charts.append(Chart(title, _draw_line(pygal, points, description, format_value, axis)))
    return charts


def _summary(known: Sequence[tuple[Period, float]], format_value: _FormatValue) -> str:
    """Return a description of a chart for screen readers."""
    lowest = min(known, key=lambda point: point[1])
    highest = max(known, key=lambda point: point[1])
    first, last, low, high = (
        f"{format_value(value)} on {formats.day(period.start)}"
        for period, value in (known[0], known[-1], lowest, highest)
    )
    return f"from {first} to {last}; lowest {low}, highest {high}"


def _draw_line(
    pygal: ModuleType, points: Sequence[_Point], description: str, format_value: _FormatValue, axis: dict[str, Any]
) -> str:
    """Return a line chart as an `svg` element. `axis` holds pygal's options for the y axis."""
    labels = _date_labels(points)
    step = (len(points) - 1) / (_DATE_LABELS - 1)
    chart = pygal.Line(
        js=[],
        css=[],
        width=440,
        height=210,
        margin=8,
        margin_right=40,  # for half of a date with its year
        style=pygal.style.Style(label_font_size=14, major_label_font_size=14),
        show_legend=False,
        truncate_label=-1,
        x_labels=labels,
        x_labels_major=[labels[round(number * step)] for number in range(_DATE_LABELS)],
        show_minor_x_labels=False,
        allow_interruptions=True,
        dots_size=3,
        value_formatter=format_value,
        min_scale=2,
        max_scale=5,
        **axis,
    )
    values = [
        None if value is None else {"value": value, "tooltip": _tooltip(period, format_value(value))}
        for period, value in points
    ]
    chart.add("", values)
    svg = _clean_copy(chart.render_tree())
    svg.attrib.update({"role": "img", "aria-label": description})
    return tostring(svg, encoding="unicode")


def _date_labels(points: Sequence[_Point]) -> list[str]:
    """Return the first day of each period, without the year if it is the same for all."""
    starts = [period.start for period, _ in points]
    days = [formats.day(start) for start in starts]
    return [day.rpartition(" ")[0] for day in days] if starts[0].year == starts[-1].year else days


def _tooltip(period: Period, value: str) -> str:
    return f"{formats.day(period.start)}: {value}, {format_count(period.pass_rate.finished, 'session')}"


def _clean_copy(drawn: Any) -> Element:
    """Return a copy of an element with only the kept tags and attributes, and without empty groups.

    The title of the whole chart is dropped, because browsers would show it instead of the titles of the points.
    """
    copy = Element(drawn.tag, {name: value for name, value in drawn.attrib.items() if name in _KEPT_ATTRIBUTES})
    copy.text = drawn.text
    for part in drawn:
        if part.tag in _KEPT_TAGS and not (part.tag == "title" and drawn.tag == "svg"):
            kept = _clean_copy(part)
            if part.tag != "g" or len(kept):
                copy.append(kept)
    return copy
