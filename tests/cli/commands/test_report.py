"""The command `report` and its page."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import Call, rows, sync_database
from helpers.html_page import HtmlPage
from helpers.uploads import GITHUB, RUN

SCRIPT = "<script>alert(1)</script>"
NOW = datetime.now(UTC)

Render = Callable[..., HtmlPage]
"""Syncs the fake server with the failing test cases, and returns the page of the report with these options."""


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    return fake.add_suite("acme", "shop", "MNbyVedg", name="Backend")


@pytest.fixture
def render(call: Call, fake: FakeBuddy, tmp_path: Path) -> Render:
    db, path = tmp_path / "sessions.db", tmp_path / "report.html"

    def render(*options: str, cases: Any = "failed", message: str = "") -> HtmlPage:
        sync_database(fake, db, cases=cases)
        code, out, err = call("report", "--db", str(db), *options, "-o", str(path))
        assert (code, out) == (0, "")
        assert err.startswith(message)
        page = HtmlPage(path.read_text("utf-8"))
        assert page.mistakes == []
        assert all(page.has_caption)
        return page

    return render


def finish(suite: FakeSuite, *messages: str | None, hours: float, branch: str = "main", **fields: Any) -> str:
    """Add a session that finished some hours ago: for each message, a test that fails, or passes if it is None.

    Return when it finished, as the page shows it.
    """
    cases = [
        {"name": f"test_{number}", "status": "PASSED"}
        if message is None
        else {"name": f"test_{number}", "status": "FAILED", "type": "ValueError", "message": message}
        for number, message in enumerate(messages)
    ]
    time = NOW - timedelta(hours=hours)
    iso = f"{time:%Y-%m-%dT%H:%M:%SZ}"
    revision = f"cafecaf{len(suite.sessions):033}"
    defaults = {"create_date": iso, "finish_date": iso, "created_by": {"name": "Ann"}, "revision": revision}
    suite.create(branch, **{"cases": cases, **defaults, **fields})
    return f"{time.day} {time:%b %Y, %H:%M}"


TITLES = ["Newly red", "Still red", "Recovered", "Flaky tests", "Tests did not run", "Not up to date", "No main branch"]


def section(page: HtmlPage, title: str) -> str:
    """Return the text below a heading; the number of suites in the index if there is no such heading."""
    after = page.text.rpartition(f" {title} ")[2]
    return re.split("|".join(f" {each} " for each in [*TITLES, "All suites"]), after)[0]


class TestVerdict:
    def test_other_branches_change_no_verdict(self, render: Render, fake: FakeBuddy) -> None:
        red, green = (fake.add_suite("acme", "shop", name, name=f"{name} suite") for name in ("red", "green"))
        finish(red, "lost", hours=2)
        newest = finish(red, None, hours=1, branch="feature")
        finish(green, None, hours=2)
        finish(green, "lost", hours=1, branch="feature")
        page = render()
        assert "1 of 2 suites is red on their main branch" in page.text
        assert f"the newest passed or failed session is of {newest}; all" in page.text
        assert "red suite acme/shop/red main is red since" in section(page, "Newly red")
        assert "green suite" not in section(page, "Newly red")
        assert "red suite acme/shop/red red main █ 0 % 0 of 1" in page.text
        assert "green suite acme/shop/green green main ▂ 100 % 1 of 1" in page.text
        assert "pull requests: 2" in page.text
        assert re.search("feature green suite shop red #2 .* feature red suite shop green #2", page.text) is not None

    @pytest.mark.parametrize(
        ("options", "verdict", "message"),
        [
            ((), "No suite is red on their main branch", "Wrote "),
            (("--branch", "feature"), "1 of 1 suite is red on feature", "Wrote "),
            (("--all-branches",), "1 of 1 suite is red on any branch", "Wrote "),
            (("--branch", "mian"), "No suite is red on mian", "warning: no session of branch 'mian' in acme/"),
        ],
    )
    def test_branch_can_be_chosen(
        self, render: Render, suite: FakeSuite, options: tuple[str, ...], verdict: str, message: str
    ) -> None:
        finish(suite, None, hours=2)
        finish(suite, "lost", hours=1, branch="feature")
        assert verdict in render(*options, message=message).text


class TestSections:
    def test_newly_red(self, render: Render, suite: FakeSuite) -> None:
        """With the author and the commit of the first red session, and the failing tests of the latest by cause."""
        finish(suite, None, None, None, "lost", hours=30)
        finish(suite, None, hours=29)
        since = finish(suite, "order 7 is lost", hours=5)
        latest: dict[str, Any] = {"created_by": {"name": "Bo"}, "revision": "beef" * 10}
        finish(suite, "order 8 is lost", "order 9 is lost", "no price", "timeout", hours=3, **latest)
        page = render()
        found = section(page, "Newly red")
        assert f"main is red since {since} (#3) by Ann, commit cafecaf. Red for 5h" in found
        assert "on 2 CI runs of main." in found
        assert (
            "4 tests fail in #4, the latest CI run, for 3 causes; compared with the 3 sessions of main before it: "
            "2 new, 1 failing since #3, 1 flaky "
            "ValueError: order <number> is lost test_1 tests/cart/test_total.py > CartTest new "
            "test_0 tests/cart/test_total.py > CartTest failing since #3 "
            "ValueError: no price test_2 tests/cart/test_total.py > CartTest new "
            "ValueError: timeout test_3 tests/cart/test_total.py > CartTest flaky: failed in 1 of the last 3 on main"
        ) in found
        assert "CartTest of Backend shop , flaky: failed in 1 of the last 3 on main" in section(page, "Flaky tests")
        assert section(page, "Still red") == "0"

    def test_what_a_reporter_uploads(self, render: Render, suite: FakeSuite) -> None:
        """No author, but a run. The file is group and class, and Playwright repeats it in the name."""
        file = "e2e/a.spec.js"
        case = {"name": "a.spec.js > Cart > adds", "classname": file, "test_group_name": file, "message": "x"}
        finish(suite, hours=2, cases=[{**case, "status": "FAILED"}], **GITHUB)
        finish(suite, "lost", hours=1, branch="7/merge", **GITHUB)
        page = render()
        assert "(#1), GitHub run 17, commit cafecaf. Red" in page.text
        assert page.values("href", "a").count(RUN) == 2
        assert ": x adds e2e/a.spec.js > Cart" in section(page, "Newly red")

    def test_still_red(self, render: Render, suite: FakeSuite) -> None:
        finish(suite, None, hours=200)
        since = finish(suite, "lost", hours=170)
        for hours in range(48, 36, -1):
            finish(suite, "lost", hours=hours)
        finish(suite, "lost", "no price", hours=1)
        found = section(render(), "Still red")
        assert f"main is red since {since} (#2) by Ann, commit cafecaf. Red for 7d02h, on 14 CI runs of main." in found
        assert "compared with the 10 sessions of main before it: 1 new, 1 failing since #5 or earlier" in found
        assert "no price test_1 tests/cart/test_total.py > CartTest new ValueError: lost test_0 tests" in found

    def test_tests_that_broke_a_busy_branch(self, render: Render, suite: FakeSuite) -> None:
        """More sessions ago than those that a failure is compared with."""
        finish(suite, None, "flaky", hours=7)
        finish(suite, None, hours=6)
        for _ in range(12):
            finish(suite, "lost", hours=5)
        finish(suite, "lost", "flaky", hours=1)
        found = section(render(), "Newly red")
        assert "compared with the 10 sessions of main before it: 1 new, 1 failing since #3 " in found

    def test_pruned_test_cases_prove_nothing(
        self, render: Render, suite: FakeSuite, call: Call, tmp_path: Path
    ) -> None:
        for days in (30, 20, 1):
            finish(suite, "lost", hours=24 * days)
        render()
        assert call("prune", "--db", str(tmp_path / "sessions.db"), "--keep", "25d", "--cases-only")[0] == 0
        found = section(render(), "Still red")
        assert "compared with the 1 session of main before it: 1 failing since #2 or earlier" in found

    def test_recovered(self, render: Render, suite: FakeSuite) -> None:
        finish(suite, None, hours=90)
        red = finish(suite, "lost", hours=60)
        finish(suite, "lost", hours=30)
        green = finish(suite, None, hours=1)
        found = section(render(), "Recovered")
        assert f"main is green since {green} (#4) by Ann, commit cafecaf. It was red since {red} (#2), on 2" in found

    @pytest.mark.parametrize(("since", "title"), [("24h", "Still red"), ("3d", "Newly red")])
    def test_new_since_moves_a_suite_and_no_figure(
        self, render: Render, suite: FakeSuite, since: str, title: str
    ) -> None:
        finish(suite, None, hours=90)
        finish(suite, "lost", hours=48)
        page = render("--new-since", since)
        assert "main is red" in section(page, title)
        assert "red main ▂█ 50 % 1 of 2" in page.text

    def test_figures_name_their_sessions(self, render: Render, suite: FakeSuite) -> None:
        for number in range(30):
            finish(suite, None if number % 10 else "lost", hours=100 - number, duration=60 if number < 10 else 90)
        finish(suite, "lost", hours=1, branch="other", duration=9999)
        finish(suite, hours=1, status="SKIPPED", duration=9999)
        suite.create("main", status="IN_PROGRESS")
        text = render().text
        assert f"green main {'█▂▂▂▂▂▂▂▂▂' * 2} 90 % 18 of 20 before: 90 % 1m30s before: 1m" in text
        assert "of the last 20 passed or failed sessions of the branch, and of the 20 before" in text

    @pytest.mark.parametrize(
        ("cases", "fields", "text"),
        [
            (None, {}, "failing tests of #1 are not in the file: save them with buddy-sessions sync … --cases failed"),
            ("failed", {"status": "ERROR", "cases": [], "error_message": "no runner"}, "session does: no runner"),
        ],
        ids=["cases were not saved", "session without tests"],
    )
    def test_red_suite_without_failing_tests(
        self, render: Render, suite: FakeSuite, cases: str | None, fields: dict[str, Any], text: str
    ) -> None:
        finish(suite, "lost", hours=1, **fields)
        assert text in section(render(cases=cases), "Newly red")

    def test_messages_that_were_not_read_are_no_cause(self, render: Render, suite: FakeSuite) -> None:
        """A sync reads those of 100 tests."""
        finish(suite, None, hours=2)
        finish(suite, *["lost"] * 103, hours=1)
        found = section(render(), "Newly red")
        assert "103 tests fail in #2, the latest CI run, for 1 cause; compared" in found
        assert "The messages of 3 tests were not read: test_" in found

    def test_missing_values(self, render: Render, suite: FakeSuite) -> None:
        names = ("create_date", "finish_date", "created_by", "revision", "ref_name", "ref_type", "html_url", "duration")
        nothing: dict[str, Any] = dict.fromkeys(names)
        finish(suite, "lost", hours=1, **nothing)
        assert "No suite is red" in render().text
        text = render("--all-branches").text
        assert "all branches is red since - (#1). Red on at least 1 CI run of all branches" in text
        assert "red all branches █ 0 % 0 of 1 - " in text

    def test_jobs_of_a_matrix_count_together(self, render: Render, suite: FakeSuite) -> None:
        """As in `status`: one that passes later changes nothing, and one that is running is no verdict."""
        for number, messages in enumerate([(None,), (None,), ("lost",), (None,)]):
            finish(suite, *messages, hours=9 - number, ci_run_url=f"https://ci.example/{number // 2}")
        suite.create("main", ci_run_url="https://ci.example/2")
        page = render()
        assert "main is red since" in section(page, "Newly red")
        assert "1 test fails in #4, #3, the latest CI run" in page.text

    def test_tests_that_did_not_run_change_no_colour(
        self, render: Render, suite: FakeSuite, call: Call, tmp_path: Path
    ) -> None:
        for hours in (4, 3, 2):
            finish(suite, *[None] * 8, hours=hours)
        finish(suite, *[None] * 3, hours=1)
        page = render("--exit-code")
        remark = "3 tests ran, usually 8: 5 did not run"
        assert "No suite is red" in page.text
        assert f"{remark} in #4 of main" in section(page, "Tests did not run")
        db = str(tmp_path / "sessions.db")
        (status,) = rows(call("status", "--db", db, "--exit-code").out)
        assert (status["status"], status["remark"]) == ("green", remark)
        assert f"acme/shop/MNbyVedg: {remark}" in call("status", "--db", db, "--format", "table").out

    def test_suites_that_are_not_up_to_date(
        self, render: Render, fake: FakeBuddy, suite: FakeSuite, call: Call, tmp_path: Path
    ) -> None:
        """They are not red, and have a list of their own: deleted, missing, stale, or not read by later syncs."""
        gone, lost, unread = (fake.add_suite("acme", "shop", name) for name in ("gone", "lost", "unread"))
        for each in (suite, gone, lost, unread):
            finish(each, None if each is suite else "lost", hours=72)
        db = tmp_path / "sessions.db"
        sync_database(fake, db)
        for each in (gone, gone, lost):
            fake.suites.pop(each.key, None)
            call("sync", f"acme/shop/{each.key[2]}", "--db", str(db))
        del fake.suites[unread.key]
        with closing(sqlite3.connect(db)) as connection, connection:
            connection.execute("UPDATE suite_rows SET synced_at = '2026-01-31T10:00:00Z' WHERE suite_id = 'unread'")
        page = render()
        found = section(page, "Not up to date")
        assert re.search(r"acme/shop/gone : deleted: not found since \d", found)
        assert re.search(r"acme/shop/lost : missing: not found since \d", found)
        assert "not read by later syncs: the newest verdict is of" in found
        assert "the last complete sync of 31 Jan 2026, 10:00" in found
        assert "Backend" not in found
        assert "1 of 4 suites is red" in page.text
        assert "All suites 4 " in page.text
        assert "acme/shop/gone deleted" in page.text
        assert "Backend acme/shop/MNbyVedg : stale: the newest verdict is of" in section(
            render("--max-age", "48h"), "Not up to date"
        )

    def test_suite_of_pull_requests_has_no_main_branch(self, render: Render, suite: FakeSuite) -> None:
        finish(suite, "lost", hours=1, branch="7/merge")
        page = render("--exit-code")
        assert "Backend acme/shop/MNbyVedg : its newest 100 sessions tested only" in section(page, "No main branch")
        assert "No suite is red" in page.text


class TestPage:
    def test_index_is_first(self, render: Render, fake: FakeBuddy) -> None:
        for number in range(40):
            suite = fake.add_suite("acme", "shop", f"s{number}", name=f"S{number}")
            finish(suite, "lost" if number < 3 else None, hours=1 + number)
        page = render()
        index = page.text.partition("all times are UTC.")[2]
        assert index.strip().startswith("Newly red 3: S0 shop , S1 shop , S2 shop Still red 0 All suites 40")
        assert page.values("href")[:2] == ["#newly-red", "#red-acme/shop/s0"]
        folded = [attrs for tag, attrs in page.tags if tag == "details" and "open" not in attrs]
        assert len(folded) == 1, "the table of 40 suites"

    def test_size_has_a_limit(self, render: Render, fake: FakeBuddy, call: Call, tmp_path: Path) -> None:
        """As much as fits is shown. The most important parts are left out last, and the page says what is missing."""
        cases: list[dict[str, Any]] = [
            {"name": f"test_{number}", "status": "FAILED", "message": f"{'ab'[number % 2]} is lost"}
            for number in range(9)
        ]
        for number in range(40):
            suite = fake.add_suite("acme", "shop", f"s{number}", name=f"Suite {number}")
            finish(suite, hours=2, cases=cases if number < 30 else [{"name": "x"}])
            finish(suite, None, hours=1, branch="feature")
        render()
        db, path = tmp_path / "sessions.db", tmp_path / "report.html"
        found: list[str] = []
        for size in (path.stat().st_size - 1, 85_000, 60_000, 32_000):
            call("report", "--db", str(db), "-o", str(path), "--max-bytes", str(size))
            assert size - 2_000 < path.stat().st_size <= size
            page = HtmlPage(path.read_text("utf-8"))
            assert page.mistakes == []
            assert "30 of 40 suites are red" in page.text
            found += re.findall(f"Left out, to fit in {size:,} bytes: ([^.]*)", page.text)
            if "suites" not in found[-1]:
                assert page.text.count("main is red since") == 30
                assert {link[1:] for link in page.values("href") if link.startswith("#")} <= {*page.values("id")}
        assert found == [
            "some other branches",
            "other branches, some figures",
            "other branches, figures, some failing tests",
            "other branches, figures, failing tests, some suites",
        ]

    def test_suites_with_one_name_are_told_apart(self, render: Render, fake: FakeBuddy) -> None:
        for project, name in (("shop", "a"), ("shop", "b"), ("other", "c")):
            finish(fake.add_suite("acme", project, name, name="API"), "lost", hours=1)
        for name in ("d", "e"):
            finish(fake.add_suite("acme", "shop", name, name=""), "lost", hours=2)
        assert "Newly red 5: API other , API acme/shop/a , API acme/shop/b , d shop , e shop Still" in render().text

    def test_text_of_the_server_is_escaped(self, render: Render, fake: FakeBuddy) -> None:
        odd = fake.add_suite("acme", "shop", "a%20b", name=f"{SCRIPT}1")
        case = {"name": f"{SCRIPT}2\u202e", "test_group_name": SCRIPT, "classname": '"><b>', "html_url": "javascript:x"}
        failure = {"status": "FAILED", "type": SCRIPT, "message": f"{SCRIPT}3 {{{{ 7*7 }}}}\ny", "text": SCRIPT}
        author: dict[str, Any] = {"created_by": {"name": f'"{SCRIPT}4'}, "revision": "<b>"}
        finish(odd, hours=2, cases=[{**case, **failure}], html_url=" https://a.example/", **author)
        finish(
            odd, None, hours=1, branch=f"{SCRIPT}5", ref_type="TAG", html_url="https://a.example/?a=1&b='>", **author
        )
        broken = fake.add_suite("acme", "shop", "b")
        finish(broken, hours=1, status="ERROR", cases=[], error_message=f"{SCRIPT}6 \u202e\ud800", html_url="data:x")
        page = render()
        assert not {"script", "x"} & {tag for tag, _ in page.tags}
        links = {link for link in page.values("href") if not link.startswith("#")}
        assert links == {"https://a.example/?a=1&b='>"} | {it.html_url for it in fake.suites.values()}
        for text in ("1 acme", f'2\\u202e {SCRIPT} > "><b>', "3 {{ 7*7 }}", "4, commit <b>", "5 ", "6 \\u202e\\ud800"):
            assert f"{SCRIPT}{text}" in page.text

    def test_html_is_accessible_and_loads_nothing(self, render: Render, fake: FakeBuddy, tmp_path: Path) -> None:
        for name in ("a", "b", "c"):
            suite = fake.add_suite("acme", "shop", name).populate(40)
            finish(suite, "lost" if name == "a" else None, hours=0)
        page = render()
        html = (tmp_path / "report.html").read_text("utf-8")
        assert page.has_caption == [True, True]
        assert all(attrs.get("scope") in {"col", "row"} for tag, attrs in page.tags if tag == "th")
        ids = page.values("id")
        assert len(ids) == len(set(ids))
        assert {link.removeprefix("#") for link in page.values("href") if link.startswith("#")} <= {*ids}
        assert {*page.values("aria-labelledby")} <= {*ids}
        levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
        assert levels[:2] == [1, 2]
        assert all(after <= before + 1 for before, after in pairwise(levels))
        assert len(re.findall("https?:", html)) == len([it for it in page.values("href", "a") if it[0] != "#"])
        assert not page.values("src") + page.values("style")
        assert not {"script", "link", "img", "iframe", "object", "base", "form"} & {tag for tag, _ in page.tags}
        assert not re.search(r"url\(|@import|\bon\w+=", html)
        assert "default-src 'none'" in html


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ("--exit-code", 1),
        ("", 0),
        ("--exit-code --branch feature", 0),
        ("--exit-code --branch feature --max-age 30m", 0),
        ("--exit-code --branch feature --max-age 1h", 1),
    ],
)
def test_exit_code(options: str, code: int, fake: FakeBuddy, suite: FakeSuite, call: Call, tmp_path: Path) -> None:
    """As that of `status`."""
    finish(suite, "lost", hours=2)
    finish(suite, None, hours=1.5, branch="feature")
    sync_database(fake, tmp_path / "x.db")
    db = ("--db", str(tmp_path / "x.db"))
    options = options.replace("30m", "2h")
    assert call("report", *db, *options.split(), "-o", str(tmp_path / "x.html")).code == code
    assert call("status", *db, *options.split()).code == code


def test_digest_for_a_chat(fake: FakeBuddy, suite: FakeSuite, call: Call, tmp_path: Path) -> None:
    """A line for each suite with news, red ones first."""
    fake.add_suite("acme", "shop", "empty")
    finish(suite, None, None, hours=9)
    since = finish(suite, "order 7 is lost", None, hours=8)
    finish(suite, "order 7 is lost", "no price", hours=7)
    green, fixed = (fake.add_suite("acme", "shop", name) for name in ("green", "fixed"))
    for each, message in ((green, None), (fixed, "lost")):
        finish(each, message, hours=3)
        finish(each, None, hours=2)
    db = tmp_path / "x.db"
    sync_database(fake, db, cases="failed")
    code, out, err = call("report", "--db", str(db), "--format", "jsonl", "--exit-code")
    assert (code, err) == (1, "")
    red, recovered = rows(out)
    assert (red["key"], red["status"], red["session"], red["since"]) == ("acme/shop/MNbyVedg", "newly red", 3, 2)
    assert (len(red["failing"]), [name.rpartition(" > ")[2] for name in red["new"]]) == (2, ["test_1"])
    assert re.fullmatch(
        r"Backend \(acme/shop/MNbyVedg\): newly red since #2 \(commit cafecaf00000, by Ann, [^)]*\); "
        "2 failing tests, 1 new, 1 failing since #2: ValueError: no price",
        red["text"],
    )
    assert since
    assert (recovered["key"], recovered["status"]) == ("acme/shop/fixed", "recovered")
    assert "recovered since #2 (" in recovered["text"]
    assert recovered["text"].endswith("it was red since #1 or earlier")
    assert call("report", "--db", str(db)).code == 2, "neither a file nor a format"


def test_suites_can_be_selected(render: Render, fake: FakeBuddy) -> None:
    for project, name in (("shop", "a"), ("shop", "b"), ("other", "c")):
        finish(fake.add_suite("acme", project, name, name=f"{name} suite"), None, hours=1)
    text = render("--suite", "acme/shop/a", "https://app.buddy.works/acme/other/unit-tests/c").text
    assert [name in text for name in ("a suite", "b suite", "c suite")] == [True, False, True]
    assert "b suite" in render("--suite", "acme/shop").text
