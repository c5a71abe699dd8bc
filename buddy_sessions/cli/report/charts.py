"""Charts as inline SVG: a few paths and labels each, so that a page with a thousand suites opens quickly.

The CSS of the page colours them, so charts follow its light and dark mode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

from buddy_sessions import SessionStatus

from . import formats
from .suite_statistics import RECENT, Period, SuiteStatistics

_WIDTH, _HEIGHT = 440, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 432, 14, 158  # the area of the line
_BAR, _BAR_STEP, _BARS_HEIGHT = 3, 4, 16

_Point = tuple[Period, float | None]  # None interrupts the line
_FormatValue = Callable[[float], str]

_BARS = {SessionStatus.SUCCESSFUL: ("good", 6), SessionStatus.ERROR: ("bad", 16)}  # class and height
_OTHER_BAR = ("other", 2)


class Chart(NamedTuple):
    """A chart: its title, and an `svg` element."""

    title: str
    svg: str


def draw_charts(statistics: SuiteStatistics) -> list[Chart]:
    """Return the charts of a suite: pass rates and durations, each only if it has at least two points."""
    every = formats.period(statistics.timeline.days)
    rates: list[_Point] = [(period, period.pass_rate.percent) for period in statistics.timeline.periods]
    durations: list[_Point] = [(period, period.duration) for period in statistics.timeline.periods]
    highest_duration = max((duration for _, duration in durations if duration is not None), default=0)
    charts = [
        _draw_chart(f"Pass rate per {every}", rates, 100, formats.percent),
        _draw_chart(f"Median duration per {every}", durations, highest_duration, formats.duration),
    ]
    return [chart for chart in charts if chart is not None]


def draw_sparkline(statuses: Sequence[SessionStatus]) -> str:
    """Return one bar per session as an `svg` element, the newest on the right: low if it passed, high if it failed.

    `statuses` are those of at most `RECENT` sessions, newest first.
    """
    paths: dict[str, str] = {}
    for number, status in enumerate(statuses):
        name, height = _BARS.get(status, _OTHER_BAR)
        x = (RECENT - number) * _BAR_STEP - _BAR / 2
        paths[name] = f"{paths.get(name, '')}M{x:g} {_BARS_HEIGHT}v-{height}"
    bars = "".join(f'<path class="{name}" d="{path}"/>' for name, path in sorted(paths.items()))
    view = f"0 0 {RECENT * _BAR_STEP} {_BARS_HEIGHT}"
    return f'<svg class="spark" viewBox="{view}" aria-hidden="true">{bars}</svg>'


def _draw_chart(title: str, points: Sequence[_Point], highest: float, format_value: _FormatValue) -> Chart | None:
    """Return a line chart with a y axis from 0 to `highest`; None if it has fewer than two points."""
    known = [(period, value) for period, value in points if value is not None]
    if len(known) < 2:
        return None
    description = f"{title}, {_summary(known, format_value)}. All numbers are in the table below."
    return Chart(title, _draw_line(points, highest, description, format_value))


def _summary(known: Sequence[tuple[Period, float]], format_value: _FormatValue) -> str:
    """Return a description of a chart for screen readers."""
    lowest = min(known, key=lambda point: point[1])
    highest = max(known, key=lambda point: point[1])
    first, last, low, high = (
        f"{format_value(value)} on {formats.day(period.start)}"
        for period, value in (known[0], known[-1], lowest, highest)
    )
    return f"from {first} to {last}; lowest {low}, highest {high}"


def _draw_line(points: Sequence[_Point], highest: float, description: str, format_value: _FormatValue) -> str:
    """Return a line chart as an `svg` element, with a y axis from 0 to `highest`."""
    middle = (_TOP + _BOTTOM) // 2
    width = _RIGHT - _LEFT
    grid = "".join(f"M{_LEFT} {y}h{width}" for y in (_TOP, middle, _BOTTOM))
    line = dots = ""
    command = "M"
    for number, (_, value) in enumerate(points):
        if value is None:
            command = "M"
            continue
        x = _LEFT + width * number / (len(points) - 1)
        y = _BOTTOM - (_BOTTOM - _TOP) * value / (highest or 1)
        place = f"{x:.4g} {y:.4g}"
        line += f"{command}{place}"
        dots += f"M{place}h0"  # with round ends, a line of no length is a dot
        command = "L"
    labels = [
        (_LEFT - 8, _TOP + 5, "end", format_value(highest)),
        (_LEFT - 8, _BOTTOM + 5, "end", format_value(0)),
        (_LEFT, _HEIGHT - 8, "start", formats.day(points[0][0].start)),
        (_RIGHT, _HEIGHT - 8, "end", formats.day(points[-1][0].start)),
    ]
    texts = "".join(
        f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>' for x, y, anchor, text in labels
    )
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(description)}">'
        f'<path class="grid" d="{grid}"/><path class="line" d="{line}"/><path class="dots" d="{dots}"/>{texts}</svg>'
    )
