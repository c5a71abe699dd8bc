"""Charts as SVG to stand inside a page, drawn by pygal, the extra `[report]`.

Of what pygal draws only shapes and texts are kept: no script, no style, no id. The page's own style gives the colours,
so that charts follow its light and dark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element, tostring

from . import words
from .figures import Figures, Period
from .output import count, length

_TAGS = {"svg", "g", "path", "circle", "text", "title"}
_ATTRIBUTES = {"viewBox", "class", "transform", "d", "x", "y", "cx", "cy", "r"}

_LABELS = 3
"""More dates than this run into each other on a phone."""


class Chart(NamedTuple):
    """A chart, and what stands above it."""

    title: str
    svg: str
    """An `svg` element."""


class _Point(NamedTuple):
    """A point of a chart; where it has no value, the line is broken."""

    label: str
    value: float | None
    text: str
    """What is shown where the mouse rests on it."""


def charts_of(figures: Figures, pygal: ModuleType) -> Iterator[Chart]:
    """Make the charts of a suite: none where all is of one period."""
    every = words.times(figures.days)
    shares = [None if it.share.percent is None else float(it.share.percent) for it in figures.periods]
    durations = [it.duration for it in figures.periods]
    for title, values, written in (
        (f"Pass rate per {every}", shares, lambda value: f"{value:.0f} %"),
        (f"Median duration per {every}", durations, length),
    ):
        known = [(value, it) for value, it in zip(values, figures.periods, strict=True) if value is not None]
        if len(known) > 1:
            points = list(_points(figures.periods, values, written))
            says = f"{title}, {_summary(known, written)}. All numbers are in the table below."
            svg = _line_chart(pygal, points, says=says, written=written, percent=values is shares)
            yield Chart(title, svg)


def _points(
    periods: Sequence[Period], values: Sequence[float | None], written: Callable[[float], str]
) -> Iterator[_Point]:
    one_year = periods[0].first.year == periods[-1].first.year
    for value, period in zip(values, periods, strict=True):
        name = words.day(period.first)
        text = "" if value is None else f"{name}: {written(value)}, {count(period.share.ended, 'session')}"
        yield _Point(name.rpartition(" ")[0] if one_year else name, value, text)


def _summary(known: Sequence[tuple[float, Period]], written: Callable[[float], str]) -> str:
    """Return in words what a chart shows at a glance."""
    (first, begin), (last, end) = known[0], known[-1]
    (least, low), (most, high) = min(known, key=_value), max(known, key=_value)
    return (
        f"from {written(first)} on {words.day(begin.first)} to {written(last)} on {words.day(end.first)}; "
        f"lowest {written(least)} on {words.day(low.first)}, highest {written(most)} on {words.day(high.first)}"
    )


def _value(known: tuple[float, Period]) -> float:
    return known[0]


def _line_chart(
    pygal: ModuleType, points: Sequence[_Point], *, says: str, written: Callable[[float], str], percent: bool = False
) -> str:
    """Return a chart as an `svg` element.

    Args:
        pygal: The library.
        points: Two or more points, from left to right.
        says: What stands for the chart where it is not seen.
        written: Makes the labels of the axis.
        percent: Whether the axis goes from 0 to 100; otherwise from 0 to what is needed.
    """
    labels = [point.label for point in points]
    step = (len(points) - 1) / (_LABELS - 1)
    chart = pygal.Line(
        js=[],
        css=[],
        width=440,
        height=210,
        margin=8,
        margin_right=40,  # half a date with its year
        style=pygal.style.Style(label_font_size=14, major_label_font_size=14),
        show_legend=False,
        truncate_label=-1,
        x_labels=labels,
        x_labels_major=[labels[round(number * step)] for number in range(_LABELS)],
        show_minor_x_labels=False,
        allow_interruptions=True,
        dots_size=3,
        value_formatter=written,
        min_scale=2,
        max_scale=5,
        **{"range": (0, 100), "y_labels": [0, 50, 100]} if percent else {"include_x_axis": True},
    )
    chart.add("", [None if it.value is None else {"value": it.value, "tooltip": it.text} for it in points])
    svg = _kept(chart.render_tree())
    svg.attrib.update({"role": "img", "aria-label": says})
    return tostring(svg, encoding="unicode")


def _kept(drawn: Any) -> Element:
    """Return a copy of what may stand in the page. A title of the whole would cover those of the points."""
    copy = Element(drawn.tag, {name: value for name, value in drawn.attrib.items() if name in _ATTRIBUTES})
    copy.text = drawn.text
    for part in drawn:
        if part.tag in _TAGS and not (part.tag == "title" and drawn.tag == "svg"):
            kept = _kept(part)
            if part.tag != "g" or len(kept):
                copy.append(kept)
    return copy
