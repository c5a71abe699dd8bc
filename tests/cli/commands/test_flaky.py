"""The command `flaky`. Which tests are flaky, and of which sessions, is in tests/analysis and tests/questions."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions import BuddyClient, parse_quarantine
from buddy_sessions.analysis import Judgement
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import Call, Source, rows

SUITE = "acme/shop/a"
STATUSES = {"P": "PASSED", "F": "FAILED", "E": "ERROR", "S": "SKIPPED"}
FLAKY, BROKEN, GREEN, ONCE = (letter * 40 for letter in "abcd")


def add_runs(suite: FakeSuite, **histories: str) -> None:
    """Add sessions of 62 seconds with one test for each history, such as `P-F`: oldest first, - for no test."""
    for statuses in zip(*histories.values(), strict=True):
        cases: list[dict[str, Any]] = [
            {"name": name, "status": STATUSES[letter], **({} if letter in "PS" else {"message": "x"})}
            for name, letter in zip(histories, statuses, strict=True)
            if letter != "-"
        ]
        suite.create(cases=cases, duration=62)


@pytest.fixture
def flaky(suite: FakeSuite) -> None:
    histories = {"alternates": "PFPFPFPFPFPF", "errors": "PPPPPPSP-EPE", "broken": "PPPPPPPPFFFF"}
    add_runs(suite, **histories, earlier="PFPFPPPPPPPP")


@pytest.mark.usefixtures("flaky")
class TestFlaky:
    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ("--last 12", ["alternates", "earlier", "errors"]),
            ("--flips 1", ["alternates", "broken", "errors", "earlier"]),
            ("--limit 1", ["alternates"]),
            ("--last 1", []),
        ],
    )
    def test_options_select_tests(self, arguments: str, expected: list[str], call: Call) -> None:
        code, out, err = call("flaky", SUITE, *arguments.split())
        assert (code, [row["name"] for row in rows(out)], err) == (0, expected, "")


def test_failing_tests_that_cannot_be_read(suite: FakeSuite, call: Call) -> None:
    """No session is left to look at."""
    suite.create(status="ERROR", tests_count=50, failed_count=3, cases=[{"name": "pays", "status": "FAILED"}])
    code, out, err = call("flaky", SUITE, "--branch", "main", "--format", "table")
    assert (code, out) == (0, f"{SUITE}, branch main\n\n0 flaky tests in 0 commits\n")
    assert "left out 1 session, #1" in err


class TestRunAgain:
    """`pays` failed in a job of a commit, and passed when that was run again. `adds` was broken by a commit."""

    @pytest.fixture(autouse=True)
    def retested(self, suite: FakeSuite) -> None:
        jobs = ((GREEN, ""), (FLAKY, "pays"), (FLAKY, ""), (BROKEN, "adds"), (ONCE, ""))
        for hour, (revision, failing) in enumerate(jobs):
            dates = {"create_date": f"2026-01-01T1{hour}:00:00Z", "finish_date": f"2026-01-01T1{hour}:30:00Z"}
            cases = [{"name": name, "status": "FAILED" if name == failing else "PASSED"} for name in ("pays", "adds")]
            suite.create(revision=revision, cases=cases, duration=5, **dates)

    def test_rows(self, source: Source, call: Call) -> None:
        code, out, err = call("flaky", SUITE, *source())
        (row,) = rows(out)
        assert (code, row["name"], row["revisions"], row["flips"], err) == (0, "pays", [FLAKY], 0, "")
        assert (row["branch"], row["oldest"], row["newest"]) == ("main", 1, 5)

    def test_texts(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "80")
        table = call("flaky", SUITE, "--format", "table").out
        assert [line.rstrip() for line in table.splitlines()] == [
            f"{SUITE}, branch main",
            "FLIPS  FAILED  TEST",
            "    0  0 of 4  tests/cart/test_total.py > CartTest > pays",
            "               passed when it was run again on commit aaaaaaa, alone made 1",
            "               session fail",
            "",
            "1 flaky test in 4 commits, #1 to #5",
            "1 session failed only because of them: 5s",
        ]
        markdown = call("flaky", SUITE, "--format", "markdown").out
        assert "passed when it was run again on commit aaaaaaa, alone made 1 session fail\n" in markdown


class TestQuarantine:
    NAMES = ("adds", "a[1*2]", "a[1+2]", "is it?", 'say "x" \\ \x7f \n \u2028 é', "*")

    def test_round_trip(self, suite: FakeSuite, fake: FakeBuddy, call: Call, tmp_path: Path) -> None:
        """Each entry excuses its own test: of those with almost the same name, only the flaky one."""
        add_runs(suite, **{name: "PPPP" if name == "a[1+2]" else "PFPF" for name in self.NAMES})
        code, out, err = call("flaky", SUITE, "--format", "quarantine", "--until", "14d")
        assert (code, err) == (0, "")
        entries = parse_quarantine(out)
        expected = {name: name in {"a[1*2]", "is it?", "*"} for name in self.NAMES if name != "a[1+2]"}
        assert {entry.pattern.rpartition(" > ")[2]: entry.exact for entry in entries} == expected
        assert {entry.reason for entry in entries} == {"failed in 2 of 4 commits of branch main"}
        today = datetime.now(UTC).date()
        assert {entry.until - today for entry in entries} <= {timedelta(days=14), timedelta(days=13)}

        path = tmp_path / "quarantine.toml"
        path.write_text(out, encoding="utf-8")
        suite.create("fix", cases=[{"name": name, "status": "FAILED"} for name in self.NAMES])

        async def judge() -> Judgement:
            async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
                return await buddy.judge(SUITE, 5, quarantine=parse_quarantine(path.read_text(encoding="utf-8")))

        novelties = {test.case.name: test.novelty for test in asyncio.run(judge()).tests}
        assert novelties == {name: "new" if name == "a[1+2]" else "quarantined" for name in self.NAMES}
