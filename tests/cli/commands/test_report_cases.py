"""The test cases on the page of a report."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import Call, sync_database
from helpers.html_page import HtmlPage

ADVICE = "save them: buddy-sessions sync … --cases failed. With --cases all, flaky and slow tests are listed, too."

Render = Callable[..., str]
"""Syncs the fake server with this scope of cases, and returns the HTML of the report with these options."""


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    return fake.add_suite("acme", "shop", "MNbyVedg")


@pytest.fixture
def render(call: Call, fake: FakeBuddy, tmp_path: Path) -> Render:
    db, page = tmp_path / "sessions.db", tmp_path / "report.html"

    def render(cases: Any, *options: str) -> str:
        sync_database(fake, db, cases=cases)
        assert call("report", "--db", str(db), *options, "-o", str(page)).code == 0
        return page.read_text("utf-8")

    return render


def finish(suite: FakeSuite, number: int, *, branch: str = "main", **results: str) -> dict[str, Any]:
    """Add a finished session of a day in March. `results` are statuses of tests, or messages of failures."""
    cases = [
        {"name": name, "status": result}
        if result in {"PASSED", "SKIPPED", "ERROR"}
        else {"name": name, "status": "FAILED", "message": result}
        for name, result in results.items()
    ]
    date = f"2026-03-{number:02}T10:00:00Z"
    return suite.create(branch, cases=cases, create_date=date, finish_date=date)


def test_failing_tests_are_shown_with_the_session_since_which_they_fail(suite: FakeSuite, render: Render) -> None:
    finish(suite, 1, adds="PASSED", removes="expected 1", pays="PASSED")
    since = finish(suite, 2, adds="expected 2", removes="PASSED", pays="PASSED")
    finish(suite, 3, branch="other", adds="PASSED")
    newest = finish(suite, 4, adds="expected 3", removes="expected 4", pays="PASSED")
    html = render("failed")
    page = HtmlPage(html)
    assert page.mistakes == []
    assert all(page.has_caption)
    assert ADVICE not in page.text
    assert (
        "Failing now The tests that fail in #4, the newest finished session, and since when they have been failing on "
        "main Test Failing since "
        "removes tests/cart/test_total.py > CartTest expected 4 4 Mar 2026 (#4), 1 session "
        "adds tests/cart/test_total.py > CartTest expected 3 2 Mar 2026 (#2), 2 sessions "
    ) in page.text
    assert f'<a href="{newest["html_url"]}" rel="noreferrer">adds</a>' in html
    assert f'2 Mar 2026</span> (<span class="nowrap"><a href="{since["html_url"]}" rel="noreferrer">#2</a>' in html
    assert "Flaky tests" not in page.text
    assert "Slowest tests" not in page.text
    assert "Flaky and slow tests To find them, save all test cases: buddy-sessions sync … --cases all" in page.text


def test_page_without_cases_says_how_to_save_them(suite: FakeSuite, render: Render) -> None:
    finish(suite, 1, adds="expected 1")
    text = HtmlPage(render(None)).text
    assert text.count(ADVICE) == 1
    assert "Failing now" not in text


def test_flaky_and_slow_tests_are_shown_if_all_cases_were_saved(suite: FakeSuite, render: Render) -> None:
    for number in range(1, 12):
        finish(suite, number, adds="PASSED" if number % 2 else "expected 1", removes="PASSED")
    suite.add_cases(suite.sessions[0]["id"], [{"name": "removes", "time": 75}])
    text = HtmlPage(render("all")).text
    assert "in the latest 10 sessions Test Changes Failed adds tests/cart/test_total.py > CartTest 9 5 of 10" in text
    assert "In the latest 10 sessions Test Median Slowest adds tests/cart/test_total.py > CartTest 0.1s 0.1s" in text
    assert "removes tests/cart/test_total.py > CartTest 0.1s 1m15s" in text


def test_overview_counts_flaky_tests(fake: FakeBuddy, suite: FakeSuite, render: Render) -> None:
    others = [fake.add_suite("acme", "shop", name) for name in ("fine", "weak")]
    for number in range(1, 6):
        result = "PASSED" if number % 2 else "expected 1"
        finish(suite, number, adds=result, removes=result)
        finish(others[0], number, adds="PASSED")
        finish(others[1], number, adds=result)
    assert not re.search("[0-9] flaky|with flaky", HtmlPage(render("failed")).text)
    page = HtmlPage(render("all"))
    assert page.mistakes == []
    assert "3 suites not failing, 2 with flaky tests" in page.text
    assert "acme/shop/MNbyVedg 2 flaky tests 60 % passed" in page.text
    assert "acme/shop/weak 1 flaky test 60 % passed" in page.text
    assert "acme/shop/fine 100 % passed" in page.text
    finish(suite, 6, adds="PASSED", removes="expected 1")
    text = HtmlPage(render("all")).text
    assert "2 suites not failing, 1 with flaky tests" in text
    assert "acme/shop/MNbyVedg 2 flaky tests 6 Mar 2026 (#6), 1 session" in text


def test_text_of_test_cases_is_escaped(suite: FakeSuite, render: Render) -> None:
    script = "<script>alert(1)</script>"
    case = {"name": f"{script}\u202e_x", "test_group_name": script, "classname": '"><b>', "html_url": "javascript:x"}
    for number in range(1, 6):
        status = {"status": "FAILED", "message": f"{script}\n{{{{ 7*7 }}}} " + "y " * 200} if number % 2 else {}
        date = f"2026-03-{number:02}T10:00:00Z"
        suite.create(cases=[{**case, **status}], create_date=date, finish_date=date)
    page = HtmlPage(render("all"))
    assert page.mistakes == []
    assert not {"script", "b"} & {tag for tag, _ in page.tags}
    assert not [link for link in page.values("href") if link.startswith("javascript")]
    assert f'{script}\\u202e_x {script} > "><b> {script} {{{{ 7*7 }}}} y y ' in page.text
    assert f'{script}\\u202e_x {script} > "><b> 4 3 of 5' in page.text
    message = re.search(r"7\*7 \}\} ([y ]+…)", page.text)
    assert message is not None
    assert len(message[1]) < 160
