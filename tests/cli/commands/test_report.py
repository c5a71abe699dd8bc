"""The command `report`: its page and its digest."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import Call, rows, sync_database
from helpers.html_page import HOSTILE, HtmlPage
from helpers.stores import ABSENCES, query

NOW = datetime.now(UTC)
RUN = "https://github.com/acme/shop/actions/runs/17"

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
        assert message in err
        page = HtmlPage(path.read_text("utf-8"))
        assert page.mistakes == []
        return page

    return render


def finish(suite: FakeSuite, *messages: str | None, hours: float, branch: str = "main", **fields: Any) -> None:
    """Add a session that finished some hours ago: for each message, a test that fails, or passes if it is None."""
    cases = [
        {"name": f"test_{number}", "status": "PASSED"}
        if message is None
        else {"name": f"test_{number}", "status": "FAILED", "type": "ValueError", "message": message}
        for number, message in enumerate(messages)
    ]
    iso = f"{NOW - timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}"
    revision = f"{len(suite.sessions):07}{'c' * 33}"
    defaults = {"create_date": iso, "finish_date": iso, "created_by": {"name": "Ann"}, "revision": revision}
    suite.create(branch, **{"cases": cases, **defaults, **fields})


def section(page: HtmlPage, title: str) -> str:
    """Return the text below a heading, up to the next one; empty if there is no such heading."""
    titles = "Broke since|Got worse since|Red for longer|Recovered|Flaky|Not judged|All suites|Red and green are"
    parts = re.split(f"(?= (?:{titles}) )", page.text.partition(" UTC. ")[2])
    return next((part.strip() for part in parts if part.startswith(f" {title} ")), "")


class TestCauses:
    def test_row_of_all_suites_that_have_it(self, render: Render, fake: FakeBuddy) -> None:
        """With its age, author and commits, the message of one test as it was, and the tests."""
        for project, name, hours in (("shop", "Unit", 5), ("shop", "E2E", 3), ("mail", "Unit", 4), ("mail", "Old", 90)):
            suite = fake.add_suite("acme", project, f"{name}-{project}", name=name)
            finish(suite, None, None, hours=100)
            finish(suite, f"order {hours} is lost", None, hours=hours)
        page = render()
        assert "3 suites broke since yesterday 4 of 4 suites red on their main branch, 1 before. Synced" in page.text
        assert section(page, "Broke since") == (
            "Broke since yesterday 3 suites, 1 cause 3 suites A ValueError: order 4 is lost shop E2E, Unit mail Unit "
            "also in 1 suite that was red before: mail Old 5 h ago by Ann 0000001 shop , 0000001 mail "
            "3 tests mail Unit: test_0 shop E2E: test_0 shop Unit: test_0"
        )
        assert section(page, "Red for longer") == ""
        assert page.text.startswith("3 newly red (shop, mail), 4 of 4 red ")

    def test_suite_that_was_red_and_got_worse(self, render: Render, suite: FakeSuite) -> None:
        finish(suite, None, None, hours=200)
        for hours in (90, 80, 70):
            finish(suite, "lost", None, hours=hours)
        finish(suite, "lost", "no price", hours=2, created_by={"name": "Bo"})
        page = render()
        assert page.text.startswith("1 red suite got worse, 1 of 1 red No suite is newly red, but 1 got worse 1 of 1")
        assert "no price red before, now also for this: shop Backend 2 h ago by Bo" in section(page, "Got worse since")
        assert section(page, "Red for longer") == (
            "Red for longer 1 suite, 1 cause, with the first commit 1 suite B ValueError: lost shop Backend "
            "3 d by Ann 0000001"
        )

    @pytest.mark.parametrize(
        ("cases", "fields", "text"),
        [
            (None, {}, "A The failing tests are not in the database: save them with sync --cases failed shop Backend"),
            ("failed", {"cases": [], "error_message": "exit 137"}, "A No test failed: exit 137 shop"),
            ("failed", {"cases": []}, "A No test failed: Buddy gives no reason shop Backend 1 h"),
            ("failed", {"cases": [], "failed_count": None, "error_count": None}, "A No test failed: Buddy gives no"),
        ],
        ids=["cases were not saved", "session without tests", "and without a reason", "and without counts"],
    )
    def test_suite_without_failing_tests(
        self, render: Render, suite: FakeSuite, cases: str | None, fields: dict[str, Any], text: str
    ) -> None:
        finish(suite, None, hours=3)
        finish(suite, "lost", hours=1, status="ERROR", **fields)
        assert text in section(render(cases=cases), "Broke since")

    @pytest.mark.parametrize(("letters", "text"), [(1, "mail b shop a"), (90, "mail 1, shop 1")])
    def test_long_names_are_counted(self, render: Render, fake: FakeBuddy, letters: int, text: str) -> None:
        for project, name in (("shop", "a"), ("mail", "b")):
            finish(fake.add_suite("acme", project, name, name=letters * name), "lost", hours=1)
        assert text in section(render(), "Broke since").partition("by Ann")[0]

    def test_unknown_causes_are_not_shared(self, render: Render, fake: FakeBuddy) -> None:
        """Otherwise, the commit of one suite would be blamed for all."""
        for project in ("mail", "shop"):
            finish(fake.add_suite("acme", project, "a", name="Unit"), "lost", hours=1)
        assert "2 suites, 2 causes" in section(render(cases=None), "Broke since")

    def test_place_is_one_of_its_project(self, render: Render, fake: FakeBuddy) -> None:
        """A message that says nothing is grouped by the line of the failure. Another project has another such line."""
        for project in ("mail", "shop"):
            finish(fake.add_suite("acme", project, "a", name="Unit"), "assert 1 == 2", hours=1)
        assert "2 suites, 2 causes" in section(render(), "Broke since")

    def test_causes_of_the_same_suites_are_one_row(self, render: Render, fake: FakeBuddy) -> None:
        for name in ("a", "b"):
            finish(fake.add_suite("acme", "shop", name), "lost", "no price", "late", "stuck", hours=1)
        found = section(render(), "Broke since")
        assert (
            "2 suites, 4 causes 2 suites A ValueError: late ValueError: lost ValueError: no price and 1 more cause"
            in found
        )

    def test_test_that_failed_earlier_is_counted_apart(
        self, render: Render, suite: FakeSuite, call: Call, tmp_path: Path
    ) -> None:
        """The page, the digest and `status` count all failing tests, and name the same cause."""
        finish(suite, "slow", None, None, None, hours=9)
        finish(suite, None, None, None, None, hours=8)
        finish(suite, "slow", "no price", "lost", "lost", hours=1)
        found = section(render(), "Broke since")
        assert "1 suite, 2 causes 1 suite A ValueError: lost ValueError: no price shop Backend" in found
        others = "earlier or flaky: test_0 (ValueError: slow)"
        assert f"3 tests, 1 other earlier or flaky shop Backend: test_2, test_3; test_1; {others}" in found
        db = str(tmp_path / "sessions.db")
        _, cause = rows(call("report", "--db", db, "--format", "jsonl").out)
        text = (
            "2 causes, such as ValueError: lost · 1 suite, 3 tests, 1 other earlier or flaky · shop Backend · for 1 h"
        )
        assert cause["text"].startswith(text)
        assert cause["messages"] == ["ValueError: lost", "ValueError: no price"]
        (status,) = rows(call("status", "--db", db, "--why").out)
        assert (status["failing_tests"], status["cause"]) == (4, "(1 of 3 causes) ValueError: lost")

    @pytest.mark.parametrize(
        ("cases", "text", "figures"),
        [
            ("failed", "100 of 130 tests, 100 messages read", (100, 130, 100)),
            (None, "130 tests", (0, 130, 0)),
        ],
    )
    def test_all_failing_tests_are_counted(
        self,
        render: Render,
        suite: FakeSuite,
        call: Call,
        tmp_path: Path,
        cases: Any,
        text: str,
        figures: tuple[int, int, int],
    ) -> None:
        """Also those whose messages were not saved, or which were not saved at all."""
        finish(suite, *["lost"] * 130, hours=1)
        assert text in section(render(cases=cases), "Broke since")
        _, cause = rows(call("report", "--db", str(tmp_path / "sessions.db"), "--format", "jsonl").out)
        assert f" · 1 suite, {text} · " in cause["text"]
        assert (cause["tests"], cause["failing_tests"], cause["messages_read"]) == figures

    def test_flaky_test_is_not_the_first_cause(
        self, fake: FakeBuddy, suite: FakeSuite, call: Call, tmp_path: Path
    ) -> None:
        """Although its message is the first one."""
        for hours, *messages in ((9, None, None), (8, "late", None), (7, None, None), (6, "late", "lost")):
            finish(suite, *messages, hours=hours)
        finish(suite, "late", "lost", hours=5)
        db = tmp_path / "sessions.db"
        sync_database(fake, db, cases="failed")
        _, cause = rows(call("report", "--db", str(db), "--format", "jsonl").out)
        assert cause["text"].startswith("ValueError: lost · 1 suite, 1 test, 1 other earlier or flaky · shop Backend")


HISTORIES: dict[str, tuple[list[Any], str, str]] = {
    "red since the beginning": (
        [(["lost"], hours, {}) for hours in (90, 80)],
        "Red for longer",
        "shop Backend >3 d by Ann 0000000",
    ),
    "recovered": (
        [([None], 90, {}), (["lost"], 60, {}), ([None], 1, {})],
        "Recovered",
        "Recovered 1 shop Backend ✓ 1 h",
    ),
    "author that only GitHub knows": (
        [([None], 2, {}), (["lost"], 1, {"created_by": None, "ci_run_url": RUN, "revision": "beef" * 10})],
        "Broke since",
        "1 h ago beefbee, author on GitHub",
    ),
    "author and CI run that nobody knows": (
        [([None], 2, {}), (["lost"], 1, {"created_by": None, "ci_run_url": None, "revision": "beef" * 10})],
        "Broke since",
        "1 h ago beefbee",
    ),
    "commit that GitHub does not know": (
        [([None], 2, {}), (["lost"], 1, {"created_by": None, "ci_run_url": RUN, "revision": "HEAD"})],
        "Broke since",
        "1 h ago HEAD 1 test",
    ),
}


@pytest.mark.parametrize(("sessions", "title", "text"), HISTORIES.values(), ids=HISTORIES)
def test_history_of_one_suite(sessions: Any, title: str, text: str, render: Render, suite: FakeSuite) -> None:
    for messages, hours, fields in sessions:
        finish(suite, *messages, hours=hours, **fields)
    page = render()
    assert text in section(page, title)
    commit = f"https://github.com/acme/shop/commit/{'beef' * 10}"
    assert (commit in page.values("href")) == ("author on GitHub" in text)


class TestSections:
    def test_flaky_tests_need_the_failing_cases(self, render: Render, suite: FakeSuite) -> None:
        for hours in range(9, 0, -1):
            finish(suite, "slow" if hours % 2 == 0 else None, hours=hours)
        unknown = "ot known of 1 suite: save the failing tests with sync --cases failed"
        page = render(cases=None, message=f"warning: causes and flaky tests are n{unknown}\n")
        assert section(page, "Flaky") == f"Flaky N{unknown}."
        assert section(render(), "Flaky") == (
            "Flaky 1 suite, by worst test: in how many commits it failed shop Backend test_0 4 of 9"
        )

    def test_suites_that_are_not_judged(self, render: Render, fake: FakeBuddy, call: Call, tmp_path: Path) -> None:
        """They are neither red nor green. Those of which only the newest commit is unusual are judged by another."""
        gone, lost, old, other, few, late = (
            fake.add_suite("acme", "shop", name, name=name) for name in ("gone", "lost", "old", "other", "few", "late")
        )
        for each in (gone, lost):
            finish(each, "lost", hours=72)
        finish(old, "lost", hours=400)
        finish(other, "lost", hours=1, branch="7/merge")
        for hours in range(12, 1, -1):
            finish(few, *[None] * 20, hours=hours)
        finish(few, None, hours=1)
        finish(late, None, hours=90)
        db = tmp_path / "sessions.db"
        sync_database(fake, db)
        for each in (*[gone] * ABSENCES, lost):
            fake.suites.pop(each.key, None)
            call("sync", f"acme/shop/{each.key[2]}", "--db", str(db))
        fake.suites.pop(late.key)
        query(db, f"UPDATE suite_rows SET synced_at = '{NOW - timedelta(hours=60):%FT%TZ}' WHERE suite_id = 'late'")
        page = render("--max-age", "300h", cases=None)
        assert page.text.startswith("No suite red, 4 not judged No suite is red On their main branch. Synced")
        found = section(page, "Not judged")
        for text in (
            "Not judged 4, and 2 judged with a remark",
            "deleted 1 shop gone 1 min",
            "missing 1 shop lost 1 min",
            "stale 1 shop old 16 d",
            "not read by later syncs 1 shop late 2 d",
            "no main branch 1 shop other",
            "few tests 1 shop few #12: 1 test ran, at least 20 in each of the 10 commits before",
        ):
            assert text in found


def test_green_suite_that_has_not_run_for_long(render: Render, fake: FakeBuddy, call: Call, tmp_path: Path) -> None:
    """It is green, but perhaps nobody runs it any more; with --max-age, it is stale, or all right."""
    for name, hours in (("idle", 400), ("busy", 300)):
        finish(fake.add_suite("acme", "shop", name, name=name), None, hours=hours)
    page = render()
    assert page.text.startswith("All 2 suites green")
    assert "2 judged" not in page.text
    assert "1 judged with a remark not run for 14 d 1 shop idle 16 d" in page.text
    _, row = rows(call("report", "--db", str(tmp_path / "sessions.db"), "--format", "jsonl").out)
    assert row["text"] == "1 suite judged with a remark, not run for 14 d: shop idle"
    assert "not run" not in render("--max-age", "30d").text


@pytest.mark.parametrize(
    ("options", "text", "message"),
    [
        ((), "All 1 suite green The suite is green On their main branch.", "Wrote "),
        (("--branch", "feature"), "1 suite broke since yesterday 1 of 1 suite red on feature, 0 before.", "Wrote "),
        (("--branch", "mian"), "No suite red, 1 not judged No suite is red On mian.", "warning: no session of branch"),
        (("--branch", "old"), "Nothing newly red, 1 of 1 red Nothing broke since yesterday 1 of 1 suite", "Wrote "),
        (
            ("--branch", "old", "--new-since", "3d"),
            "1 suite broke in the last 3 d 1 of 1 suite red on old, 0 before.",
            "",
        ),
    ],
    ids=["main", "another", "unknown", "red for longer", "another time"],
)
def test_headline(render: Render, suite: FakeSuite, options: tuple[str, ...], text: str, message: str) -> None:
    finish(suite, "lost", hours=50, branch="old")
    finish(suite, None, hours=2)
    finish(suite, "lost", hours=1, branch="feature")
    assert text in render(*options, message=message).text


def test_red_before_is_what_was_red_then(render: Render, fake: FakeBuddy) -> None:
    """Not what has been red since, and has recovered."""
    histories: dict[str, list[tuple[list[str | None], int]]] = {
        "was red": [(["lost"], 60), ([None], 1)],
        "was red, and is again": [(["lost"], 60), ([None], 9), (["lost"], 1)],
        "was green": [([None], 60), (["lost"], 9), ([None], 1)],
        "still red": [(["lost"], 60), (["lost"], 1)],
        "is new": [(["lost"], 9), ([None], 1)],
    }
    for name, sessions in histories.items():
        suite = fake.add_suite("acme", "shop", name.replace(" ", "").replace(",", ""), name=name)
        finish(suite, None, hours=90)
        for messages, hours in sessions:
            finish(suite, *messages, hours=hours)
    page = render()
    assert "2 of 5 suites red on their main branch, 3 before." in page.text
    assert section(page, "Recovered").startswith("Recovered 3 ")


def test_all_commits_of_a_cause_are_named(render: Render, fake: FakeBuddy, call: Call, tmp_path: Path) -> None:
    """Or the first one, and how many are left out; programs get all."""
    for hours, names in ((80, ("Ada", "Bo", "Cleo")), (9, ("Dan", "Eve"))):
        for number, name in enumerate(names):
            suite = fake.add_suite("acme", "shop", name, name=name)
            finish(suite, None, hours=100)
            author = None if name == "Eve" else {"name": name}
            fields: dict[str, Any] = {"created_by": author, "revision": f"{number}{hours:02}abcd{'e' * 33}"}
            finish(suite, *[None] * number, f"of {hours > 9}", hours=hours - number, **fields)
    page = render()
    assert "by Dan 009abcd 109abcd" in section(page, "Broke since")
    assert "by Ada 080abcd and 2 more commits" in section(page, "Red for longer")
    _, new, old = rows(call("report", "--db", str(tmp_path / "sessions.db"), "--format", "jsonl").out)
    assert new["text"].endswith("009abcd by Dan, 109abcd")
    assert old["text"].endswith("080abcd by Ada and 2 more commits")
    assert [[each["author"] for each in row["commits"]] for row in (new, old)] == [
        ["Dan", None],
        ["Ada", "Bo", "Cleo"],
    ]


class TestPage:
    def test_size_has_a_limit(self, render: Render, fake: FakeBuddy, call: Call, tmp_path: Path) -> None:
        """The headline remains, and the page says what is missing."""
        messages = [f"{name} is lost" for name in ("a", "b", "c")]
        for number in range(40):
            suite = fake.add_suite("acme", f"p{number % 7}", f"s{number}", name=f"Suite {number} " + "x" * 180)
            finish(suite, None, hours=50)
            finish(suite, *(messages[number % 3 :] if number < 30 else [None]), hours=2)
        render()
        db, path = tmp_path / "sessions.db", tmp_path / "report.html"
        for size in (path.stat().st_size - 1, 33_000):
            call("report", "--db", str(db), "-o", str(path), "--max-bytes", str(size))
            page = HtmlPage(path.read_text("utf-8"))
            assert path.stat().st_size <= size
            assert page.mistakes == []
            assert "30 suites broke since yesterday 30 of 40 suites red" in page.text
            assert f"Left out, to fit in {size:,} bytes: failing tests" in page.text

    def test_hostile_text_is_only_text(self, render: Render, fake: FakeBuddy) -> None:
        odd = fake.add_suite("acme", "shop", "a%20b", name=f"1{HOSTILE}")
        failure = {"name": f"2{HOSTILE}", "type": HOSTILE, "message": f"3{HOSTILE} {{{{ 7*7 }}}}", "text": HOSTILE}
        case = {"test_group_name": HOSTILE, "classname": '"><b>', "html_url": "javascript:x", "status": "FAILED"}
        author: dict[str, Any] = {"created_by": {"name": f'4"{HOSTILE}'}, "revision": "<b>"}
        finish(odd, hours=2, cases=[{**case, **failure}], html_url=" https://a.example/", **author)
        broken = fake.add_suite("acme", "shop", "b", name='"><img src=x>')
        finish(broken, hours=1, status="ERROR", cases=[], error_message=f"5{HOSTILE}", html_url="data:x", revision=None)
        page = render()
        assert not {"script", "img", "x"} & {tag for tag, _ in page.tags}
        assert [link for link in page.values("href", "a") if not link.startswith("#")] == page.values("src") == []
        assert any(content.startswith("default-src 'none'; ") for content in page.values("content", "meta"))
        start = "a`b``c </details></code> | @everyone [x](javascript:alert(1)) \\u001b[31mred"
        for number in "125":
            assert f"{number}{start}" in page.text
        assert "3a`b``c </details></code> | @everyone" in page.text
        assert f'4"{start}' in page.text
        assert "\\u202e" in page.text
        assert '"><img src=x>' in page.text


def test_database_without_a_suite_is_an_error(fake: FakeBuddy, call: Call, tmp_path: Path) -> None:
    """No page says that all is green."""
    sync_database(fake, tmp_path / "x.db")
    code, out, err = call("report", "--db", str(tmp_path / "x.db"), "-o", str(tmp_path / "x.html"))
    assert (code, out) == (2, "")
    assert err.startswith("error: no suite in ")
    assert not (tmp_path / "x.html").exists()


def test_digest_for_a_chat(fake: FakeBuddy, suite: FakeSuite, call: Call, tmp_path: Path) -> None:
    """A line for the whole, for each cause, for what has recovered, and for what is not judged."""
    fake.add_suite("acme", "mail", "empty", name="Empty")
    finish(suite, None, None, hours=9)
    finish(suite, "order 7 is lost", None, hours=8)
    fixed = fake.add_suite("acme", "shop", "fixed", name="Fixed")
    finish(fixed, "lost", hours=3)
    finish(fixed, None, hours=2)
    finish(fake.add_suite("acme", "shop", "begun"), None, hours=1)  # it has not recovered: it was never red
    sync_database(fake, tmp_path / "x.db", cases="failed")
    code, out, err = call("report", "--db", str(tmp_path / "x.db"), "--format", "jsonl")
    assert (code, err) == (0, "")
    summary, cause, recovered, unknown = rows(out)
    counts = {"suites": 4, "newly_red": 1, "red": 1, "recovered": 1, "not_judged": 1}
    assert summary.items() >= {**counts, "kind": "summary", "text": "1 newly red (shop), 1 of 4 red"}.items()
    assert cause["kind"] == "newly red"
    assert cause["text"] == "ValueError: order 7 is lost · 1 suite, 1 test · shop Backend · for 8 h, 0000001 by Ann"
    assert cause["messages"] == ["ValueError: order 7 is lost"]
    assert cause["suites"] == ["acme/shop/MNbyVedg"]
    assert (cause["also_in"], cause["tests"], cause["is_flaky"], cause["is_since_exact"]) == ([], 1, False, True)
    (commit,) = cause["commits"]
    assert (commit["author"], commit["revision"]) == ("Ann", f"0000001{'c' * 33}")
    assert recovered["text"] == "1 suite recovered: shop Fixed"
    assert (unknown["text"], unknown["reason"]) == ("1 suite not judged, no session: mail Empty", "no session")
