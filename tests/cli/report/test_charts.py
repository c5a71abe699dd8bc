"""The charts of a report."""

from __future__ import annotations

import pytest

from buddy_sessions.cli.report.charts import draw_charts, draw_sparkline
from helpers.html_page import HtmlPage
from helpers.report_sessions import FAILED, PASSED, SKIPPED, statistics


def test_chart_is_described_in_words() -> None:
    statuses = [PASSED, FAILED, PASSED, PASSED, PASSED, FAILED]
    rate, duration = draw_charts(statistics(statuses, day=[0, 0, 1, 3, 4, 4], duration=[60, 70, 50, 80, 40, 100]))
    assert (rate.title, duration.title) == ("Pass rate per day", "Median duration per day")
    assert HtmlPage(rate.svg).tags[0][1]["role"] == "img"
    assert HtmlPage(rate.svg).values("aria-label")[0] == (
        "Pass rate per day, from 50 % on 1 Mar 2026 to 50 % on 5 Mar 2026; "
        "lowest 50 % on 1 Mar 2026, highest 100 % on 2 Mar 2026. All numbers are in the table below."
    )
    assert HtmlPage(duration.svg).values("aria-label")[0] == (
        "Median duration per day, from 1m05s on 1 Mar 2026 to 1m10s on 5 Mar 2026; "
        "lowest 50s on 2 Mar 2026, highest 1m20s on 4 Mar 2026. All numbers are in the table below."
    )


def test_line_is_interrupted_where_there_are_no_sessions() -> None:
    rate, _ = draw_charts(statistics([PASSED, PASSED, FAILED, PASSED], day=[0, 1, 3, 4], duration=[1] * 4))
    page = HtmlPage(rate.svg)
    assert page.values("d") == [
        "M64 14h368M64 86h368M64 158h368",
        "M64 14L156 14M340 158L432 14",
        "M64 14h0M156 14h0M340 158h0M432 14h0",
    ]
    assert page.text == "100 % 0 % 1 Mar 2026 5 Mar 2026"


def test_labels_are_escaped() -> None:
    _, duration = draw_charts(statistics([PASSED] * 2, day=[0, 1], duration=[0.0001, 0.0001]))
    assert "<text " in duration.svg
    assert ">&lt;1ms</text>" in duration.svg
    assert "highest &lt;1ms on" in duration.svg


def test_sparkline_is_low_for_passed_and_high_for_failed_sessions() -> None:
    page = HtmlPage(draw_sparkline([FAILED, PASSED, SKIPPED, PASSED]))
    assert page.tags[0][1] == {"class": "spark", "viewbox": "0 0 80 16", "aria-hidden": "true"}
    paths = [(attrs["class"], attrs["d"]) for tag, attrs in page.tags if tag == "path"]
    assert paths == [("bad", "M78.5 16v-16"), ("good", "M74.5 16v-6M66.5 16v-6"), ("other", "M70.5 16v-2")]


@pytest.mark.parametrize("durations", [[None, None], [None, 5]])
def test_chart_has_at_least_two_points(durations: list[int | None]) -> None:
    assert len(draw_charts(statistics([PASSED] * 2, day=[0, 1], duration=durations))) == 1
    assert not draw_charts(statistics([PASSED] * 2, day=[0, 0], duration=[1, 1]))
