"""Strategies for random sessions of a suite, as unlike a real CI as possible: for laws that hold for every history.

Few commits, refs, tests and times, so that sessions meet in every way; values at the edges of the rules; fields that
are missing. `benchmarks/histories` has histories like real ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from attrs import evolve, frozen
from hypothesis import strategies as st

from buddy_sessions import Session, TestCase
from buddy_sessions._decoding.converter import case_from_dict, session_from_dict
from helpers.rules import MAIN, Row, Test, is_red

START = datetime(2026, 3, 1, tzinfo=UTC)
BRANCHES = ("main", "master", "develop", "feature/x")
TESTS: tuple[Test, ...] = (
    ("a.test.js", "a.test.js", "pays"),
    ("a.test.js", "a.test.js", "ships"),
    (None, None, "pays"),
)
OUTAGE = 20
"""The number of tests of which more than half have to fail, so that a session is an outage."""


class History:
    """Sessions of one suite with their test cases, both as the API sends them and as models.

    Attributes:
        rows: The sessions, newest first. Every field is there, some are None.
        cases_by_session: The test cases of each session, by its ID.
    """

    def __init__(self, rows: list[Row], cases_by_session: dict[str, list[Row]]) -> None:
        self.rows = rows
        self.cases_by_session = cases_by_session

    def __repr__(self) -> str:
        lines = [f"{len(self.rows)} sessions, newest first:"]
        for row in self.rows:
            known = {field: value for field, value in row.items() if value is not None}
            tests = [f"{case['status']} {case['id']}" for case in self.cases_by_session[row["id"]]]
            lines.append(f"  {known} {tests}")
        return "\n".join(lines)

    def cases(self, session: str) -> Sequence[Row]:
        return self.cases_by_session[session]

    @cached_property
    def sessions(self) -> list[Session]:
        return [session_from_dict(row) for row in self.rows]

    def models_of_cases(self, session: str) -> list[TestCase]:
        return [case_from_dict(case) for case in self.cases_by_session[session]]

    @property
    def now(self) -> datetime:
        """A time after the last session."""
        return max(datetime.fromisoformat(row["create_date"] or START.isoformat()) for row in self.rows)


@frozen(kw_only=True)
class Mood:
    """What sessions are like; each history has one of a few."""

    statuses: Sequence[str] = ("SUCCESSFUL",) * 5 + ("ERROR",) * 4 + ("IN_PROGRESS", "SKIPPED", "QUEUED")
    counts: Sequence[int] = (10,) * 6 + (9, 8, 30, OUTAGE, 0)
    absent: Sequence[tuple[str, ...]] = ((),)
    """Fields that a session lacks."""
    tests: Sequence[Test] = TESTS
    """Those that fail."""
    is_complete: Sequence[bool] = (True,)
    """Whether all failing cases are listed."""


MOODS = [
    Mood(),
    Mood(statuses=["SUCCESSFUL"] * 8 + ["ERROR", "IN_PROGRESS", "SKIPPED"], counts=[10]),
    Mood(
        absent=[()] * 9
        + [
            ("create_date",),
            ("finish_date",),
            ("create_date", "finish_date"),
            ("tests_count", "failed_count", "skipped_count", "error_count"),
            ("failed_count",),
            ("revision",),
            ("revision", "ci_run_url"),
            ("revision", "ci_run_url", "execution_id"),
            ("ci_run_url",),
        ]
    ),
    Mood(statuses=["SUCCESSFUL", "ERROR"], counts=[OUTAGE], is_complete=[True] * 4 + [False]),
    Mood(statuses=["SUCCESSFUL"] + ["ERROR"] * 4, is_complete=[True, False]),
]
_pauses = st.sampled_from([0, 0, 1, 5, 30, 60, 61, 71, 24 * 60])  # in minutes; 60 begin no new round
_durations = st.sampled_from([0, 1, 10, 60])


@st.composite
def _rows(
    draw: st.DrawFn, mood: Mood, number: int, created: datetime, ref: tuple[str, str], revision: str
) -> tuple[Row, list[Row]]:
    status = draw(st.sampled_from(mood.statuses))
    count = draw(st.sampled_from(mood.counts))
    failing: list[Row] = []
    may_fail = status != "SUCCESSFUL" or draw(st.integers(0, 9)) == 9  # a green one lists what was tried again
    if may_fail and count == OUTAGE and draw(st.booleans()):
        names = [f"test {index}" for index in range(draw(st.sampled_from([OUTAGE // 2, OUTAGE // 2 + 1])))]
        failing = [_case((None, None, name), "FAILED") for name in names]
    elif may_fail:
        chosen = draw(st.lists(st.sampled_from(mood.tests), unique=True, max_size=min(2, count)))
        failing = [_case(test, draw(st.sampled_from(["FAILED", "FAILED", "ERROR"]))) for test in chosen]
    passing = [_case(test, "PASSED", attempt=2) for test in draw(st.lists(st.sampled_from(TESTS), max_size=1))]
    is_complete = draw(st.sampled_from(mood.is_complete))
    ended = created + timedelta(minutes=draw(_durations))
    fields: dict[str, Any] = {
        "id": f"s{number}",
        "relative_id": number,
        "status": status,
        "create_date": created.isoformat(),
        "finish_date": None if status == "IN_PROGRESS" else ended.isoformat(),
        "ci_provider": "GITHUB_ACTION",
        "ci_run_url": f"https://ci/{draw(st.sampled_from([revision, revision, number]))}",
        "revision": revision,
        "ref_type": ref[0],
        "ref_name": ref[1],
        "execution_id": draw(st.sampled_from([None, f"execution-{revision}"])),
        "error_message": draw(st.sampled_from([None, None, "Out of memory"])) if status == "ERROR" else None,
        "tests_count": count,
        "failed_count": sum(case["status"] == "FAILED" for case in failing),
        "error_count": sum(case["status"] == "ERROR" for case in failing),
        "skipped_count": draw(st.sampled_from([0, 0, 0, 1])) if count > len(failing) else 0,
    }
    for field in draw(st.sampled_from(mood.absent)):
        fields[field] = "undefined/actions" if field == "ci_run_url" and draw(st.booleans()) else None
    return fields, [*failing[: None if is_complete else -1], *passing]


def _case(test: Test, status: str, *, attempt: int = 1) -> Row:
    group, classname, name = test
    case_id = f"{group}/{name}/{attempt}"
    fields = {"test_group_name": group, "test_group_id": f"group {group}", "classname": classname, "time": 0.5}
    return {"id": case_id, "name": name, "status": status, **fields}


@st.composite
def histories(draw: st.DrawFn, *, max_sessions: int = 24) -> History:
    """Return a strategy for histories of at most `max_sessions`."""
    pairs = [BRANCHES[:1], ("main", "feature/x"), ("master", "feature/x"), BRANCHES[2:], BRANCHES]
    branches = draw(st.sampled_from(pairs))
    mood = draw(st.sampled_from(MOODS))
    newest_counts = draw(st.sampled_from([mood.counts, [10, 9], [8]]))  # 9 of 10 tests are enough, 8 are not
    per_commit = draw(st.sampled_from([1, 1, 2, 3, 4]))
    count = draw(st.integers(1, max_sessions))
    number, created = 0, START
    rows: list[Row] = []
    cases: dict[str, list[Row]] = {}

    for index in range(count):
        number += draw(st.sampled_from([1] * 9 + [2]))
        created += timedelta(minutes=draw(_pauses))
        older = draw(st.sampled_from([0] * 8 + [1, 2]))  # sometimes, an older commit is tested again
        commit = max(0, index // per_commit - older)
        usual = branches[commit % 5 % len(branches) // 2]
        branch = draw(st.sampled_from([usual] * 3 + list(branches)))
        ref = draw(st.sampled_from([("BRANCH", branch)] * 9 + [("PULL_REQUEST", branch)]))
        is_newest = index >= count - per_commit
        row, listed = draw(
            _rows(evolve(mood, counts=newest_counts) if is_newest else mood, number, created, ref, f"abcdef{commit:02}")
        )
        rows.append(row)
        cases[row["id"]] = listed
    return History(rows[::-1], cases)


@st.composite
def long_histories(draw: st.DrawFn) -> History:
    """Return a strategy for green commits of main, but for the newest one, and one that is ten or eleven before it."""
    ordinary = Mood(statuses=["SUCCESSFUL"], counts=[10])
    fails = Mood(statuses=["ERROR"], counts=[10], tests=TESTS[:1])
    is_small = Mood(statuses=["SUCCESSFUL"], counts=[8])
    special = draw(st.sampled_from([fails, is_small]))
    count, old = 12, draw(st.sampled_from([0, 1]))
    rows: list[Row] = []
    cases: dict[str, list[Row]] = {}
    for index in range(count):
        mood = special if index in {old, count - 1} else ordinary
        created = START + timedelta(hours=2 * index)
        row, cases[f"s{index + 1}"] = draw(_rows(mood, index + 1, created, ("BRANCH", "main"), f"abcdef{index:02}"))
        rows.append(row)
    return History(rows[::-1], cases)


@st.composite
def questions(draw: st.DrawFn, history: History) -> dict[str, Any]:
    """Return a strategy for what a gate can be asked about a history: the arguments of `rules.gate`."""
    newest = history.rows[:5]
    names = [row[field] for row in history.rows for field in ("revision", "ci_run_url", "id") if row[field]]
    red = [row["revision"] or row["id"] for row in history.rows if is_red(row)][:5]
    dates = sorted({row["create_date"] for row in newest if row["create_date"]})
    return {
        "name": draw(st.sampled_from(red or names) | st.sampled_from(names)),
        "baseline": draw(st.sampled_from([MAIN, MAIN, MAIN, *BRANCHES, None])),
        "outcome": draw(st.sampled_from([None, "success", "failure"])),
        "after": draw(st.none() | st.sampled_from(dates).map(datetime.fromisoformat)) if dates else None,
        "quarantine": draw(st.lists(st.sampled_from(TESTS), max_size=1)),
    }
