"""The charts of a report."""

from __future__ import annotations

import re

import pytest

from buddy_sessions.cli.report.charts import Chart, draw_charts, import_pygal
from buddy_sessions.cli.report.suite_statistics import SuiteStatistics
from helpers.html_page import HtmlPage
from helpers.report_sessions import FAILED, PASSED, statistics


def charts(it: SuiteStatistics) -> list[Chart]:
    return draw_charts(import_pygal(), it)


def test_chart_is_described_in_words() -> None:
    statuses = [PASSED, FAILED, PASSED, PASSED, PASSED, FAILED]
    rate, duration = charts(statistics(statuses, day=[0, 0, 1, 3, 4, 4], duration=[60, 70, 50, 80, 40, 100]))
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
    rate, _ = charts(statistics([PASSED] * 4, day=[0, 1, 3, 4], duration=[1] * 4))
    page = HtmlPage(rate.svg)
    assert page.values("class").count("line reactive nofill") == 2
    assert page.values("class").count("dot reactive tooltip-trigger") == 4
    assert "0 % 0 % 50 % 50 % 100 % 100 % 1 Mar 3 Mar 5 Mar 1 Mar 2026: 100 %, 1 session" in page.text


def test_labels_have_the_year_if_it_changes() -> None:
    rate, _ = charts(statistics([PASSED] * 2, day=[0, 364], duration=[1, 1]))
    assert re.findall("Mar 202[67](?!:)|Feb 202[67](?!:)", HtmlPage(rate.svg).text) == ["Mar 2026", "Feb 2027"]


@pytest.mark.parametrize("durations", [[None, None], [None, 5]])
def test_chart_has_at_least_two_points(durations: list[int | None]) -> None:
    assert len(charts(statistics([PASSED] * 2, day=[0, 1], duration=durations))) == 1
    assert not charts(statistics([PASSED] * 2, day=[0, 0], duration=[1, 1]))


def test_duration_of_zero_can_be_drawn() -> None:
    assert len(charts(statistics([PASSED] * 3, day=[0, 1, 3], duration=[0, 0, 0]))) == 2
