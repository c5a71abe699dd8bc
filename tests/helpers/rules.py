"""The rules by which commits are judged, on sessions as the API sends them: what a client and a store must say.

The rules are written a second time, as plainly as possible, and share no code with the package. The lists are complete
and readable here: what follows from lists that were cut is not in this module.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

Row = dict[str, Any]
Cases = Callable[[str], Sequence[Row]]
"""Returns the test cases of a session by its ID."""
Test = tuple[str | None, str | None, str]
"""Group, class and name of a test."""

MAIN: Final = "*"
"""The main branch of a suite, whatever its name."""
COMPARED = 10
WHOLE_SUITE = 100
ENOUGH = 0.9


def failed(row: Row) -> int:
    return (row.get("failed_count") or 0) + (row.get("error_count") or 0)


def is_finished(row: Row) -> bool:
    if has_unknown_status(row):
        return row.get("finish_date") is not None or failed(row) > 0
    return bool(row["status"] != "IN_PROGRESS")


def has_unknown_status(row: Row) -> bool:
    return row["status"] not in {"SUCCESSFUL", "ERROR", "SKIPPED", "IN_PROGRESS"}


def is_red(row: Row) -> bool:
    if row["status"] in {"SUCCESSFUL", "SKIPPED"} or not is_finished(row):
        return False
    return row["status"] == "ERROR" or failed(row) > 0


def has_verdict(row: Row) -> bool:
    return row["status"] == "SUCCESSFUL" or is_red(row)


def is_crash(row: Row) -> bool:
    """Return whether it is red, and counts no failing test."""
    return is_red(row) and not failed(row)


def is_outage(row: Row) -> bool:
    """Return whether more than half of at least 20 tests failed."""
    total = row.get("tests_count") or 0
    return is_red(row) and total >= 20 and failed(row) > total / 2


def created(row: Row) -> datetime | None:
    return datetime.fromisoformat(row["create_date"]) if row.get("create_date") else None


def ended(row: Row) -> datetime | None:
    return datetime.fromisoformat(row["finish_date"]) if row.get("finish_date") else None


def was_killed(row: Row, now: datetime | None) -> bool:
    """Return whether it has been in progress for a day."""
    began, is_running = created(row), row["status"] == "IN_PROGRESS"
    return is_running and now is not None and began is not None and now - began >= timedelta(days=1)


def run_of(row: Row) -> str | None:
    url: str = row.get("ci_run_url") or ""
    return url if url.startswith("http") else None


def commit_of(row: Row) -> str:
    """Return what the sessions of one tested commit have in common."""
    return row.get("revision") or run_of(row) or row.get("execution_id") or row["id"]


def of_branch(rows: Iterable[Row], branch: str, *, is_main: bool = False) -> list[Row]:
    return [row for row in rows if row.get("ref_name") == branch and (not is_main or row.get("ref_type") == "BRANCH")]


def oldest_first(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: int(row["relative_id"]))


def tests_ran(rows: Iterable[Row]) -> int | None:
    """Return how many tests ran in the sessions that passed or failed; None if that is not known."""
    counts = [(row.get("tests_count"), row.get("skipped_count") or 0) for row in rows if has_verdict(row)]
    known = [count - skipped for count, skipped in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def began_after(later: Row, red: Row) -> bool:
    """Return whether a session of the same ref began after a red one had ended, as far as its fields say."""
    began, end = created(later), ended(red)
    is_same_ref = all(later.get(field) == red.get(field) for field in ("ref_type", "ref_name"))
    return is_same_ref and began is not None and end is not None and began >= end


def replaces(later: Row, red: Row) -> bool:
    """Return whether a session is the re-run of a red one, as far as its fields say."""
    count, red_count = later.get("tests_count"), red.get("tests_count")
    is_as_large = None not in {count, red_count} and abs((count or 0) - (red_count or 0)) <= failed(red)
    return began_after(later, red) and (is_red(later) or is_as_large)


def without_replaced(rows: Sequence[Row], usual: int, older: Sequence[Commit] = ()) -> list[Row]:
    """Leave out the red sessions that a re-run replaced. Only those above the usual number are re-runs."""
    left: list[Row] = []
    for index, row in enumerate(rows):
        so_far = rows[: index + 1]
        usual_of_class = max((count_alike(row, each) for commit in older for each in commit.rounds), default=0)
        is_above = count_of(so_far) > usual or 0 < usual_of_class < count_alike(row, so_far)
        if is_above and has_verdict(row):
            old = [each for each in left if is_red(each) and replaces(row, each)][:1]
            left = [each for each in left if each not in old]
        left.append(row)
    return left


def count_of(rows: Iterable[Row]) -> int:
    return len([row for row in rows if row["status"] != "SKIPPED"])


def count_alike(row: Row, others: Iterable[Row]) -> int:
    """Return how many sessions have about as many tests as a session: 2 % more or less."""
    counted = [each for each in others if each["status"] != "SKIPPED"]
    count = row.get("tests_count") or 0
    return len([each for each in counted if count and is_close(each.get("tests_count"), count, 0.98)])


def is_close(count: int | None, other: int | None, share: float) -> bool:
    """Return whether the smaller number is at least a share of the larger one."""
    return count is not None and other is not None and min(count, other) >= round(share * max(count, other), 6)


def rounds_of(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the sessions by round: a round begins more than an hour after all of the one before have ended."""
    rounds: list[list[Row]] = []
    for row in rows:
        began = created(row)
        ends = [end for each in (rounds[-1] if rounds else []) if (end := ended(each)) is not None]
        have_ended = bool(rounds) and len(ends) == len(rounds[-1])
        if not rounds or (have_ended and began is not None and began > max(ends) + timedelta(hours=1)):
            rounds.append([])
        rounds[-1].append(row)
    return rounds


@dataclass(frozen=True)
class Commit:
    """A tested commit: its sessions, oldest first, those that count, and those of each round without re-runs."""

    rows: list[Row]
    counted: list[Row]
    rounds: list[list[Row]]

    @property
    def size(self) -> int:
        return max(map(count_of, self.rounds))

    @property
    def name(self) -> str:
        return commit_of(self.rows[0])

    @property
    def has_verdict(self) -> bool:
        return any(map(has_verdict, self.rows))

    @property
    def says_how_many(self) -> bool:
        """Whether it says how many tests there are: they have ended, and none was killed or cut short."""
        return (
            all(map(is_finished, self.rows))
            and not any(is_crash(row) or has_unknown_status(row) for row in self.counted)
            and bool(tests_ran(self.counted))
        )

    @property
    def was_outage(self) -> bool:
        """Whether more than half of at least 20 tests failed in each red session."""
        red = [row for row in self.rows if is_red(row)]
        return bool(red) and all(map(is_outage, red))

    def is_failing(self, fewest: int | None) -> bool | None:
        if any(map(is_red, self.counted)):
            return True
        if not all(map(is_finished, self.counted)) or not any(map(has_verdict, self.counted)):
            return None
        if any(map(has_unknown_status, self.counted)):
            return None
        count = tests_ran(self.counted)
        return None if lacks_tests(count, fewest) or (count is None and fewest is not None) else False


def commit_by_rounds(rows: Sequence[Row], older: Sequence[Commit], now: datetime | None) -> Commit:
    """A later round with as many sessions and about as many tests replaces what counted before it, others are added.

    After a crash, one with about as many tests as an older commit is enough.
    """
    living = [row for row in rows if not was_killed(row, now)]
    rounds = [without_replaced(each, usual_size(older), older) for each in rounds_of(living)] or [[]]
    counted = rounds[0]
    for later in rounds[1:]:
        if any(map(is_red, later)) or all(map(is_finished, later)):
            count = tests_ran(later)
            is_same = is_close(count, tests_ran(counted), 0.9)
            if any(map(is_crash, counted)):
                wholes = [tests_ran(commit.counted) for commit in older if commit.says_how_many]
                is_same = is_same or any(is_close(count, whole, 0.9) for whole in wholes)
            counted = later if is_same and count_of(later) >= count_of(counted) else counted + later
    return Commit(list(rows), counted, rounds)


def commits_of(rows: Iterable[Row], now: datetime | None) -> list[Commit]:
    """Return the tested commits of a branch, newest first. The first session of a commit says when it was tested."""
    groups: dict[str, list[Row]] = {}
    for row in oldest_first(rows):
        groups.setdefault(commit_of(row), []).append(row)
    commits: list[Commit] = []
    for group in groups.values():
        commits.insert(0, commit_by_rounds(group, [each for each in commits if each.has_verdict][:COMPARED], now))
    return commits


def usual_size(older: Iterable[Commit]) -> int:
    return max([commit.size for commit in older if commit.has_verdict][:COMPARED], default=1)


def fewest_tests(older: Iterable[Commit], unit: str = "commit") -> int | None:
    """Return the fewest tests of the commits before, of their CI runs, or of their sessions."""
    counts: list[int | None] = []
    for commit in [commit for commit in older if commit.has_verdict][:COMPARED]:
        parts: dict[str, list[Row]] = {}
        for row in commit.counted if commit.says_how_many else []:
            names = {"commit": "", "session": row["id"], "CI run": run_of(row) or row.get("execution_id") or ""}
            parts.setdefault(names[unit], []).append(row)
        counts += map(tests_ran, parts.values())
    return min(filter(None, counts), default=None)


def fewest_in_status(older: Iterable[Commit]) -> int | None:
    """Return the fewest tests of the commits before that are not red; of all, if there are no others."""
    compared = [commit for commit in older if commit.has_verdict][:COMPARED]
    fewest = fewest_tests(commit for commit in compared if not any(map(is_red, commit.counted)))
    return fewest_tests(compared) if fewest is None else fewest


def lacks_tests(count: int | None, fewest: int | None) -> bool:
    return count is not None and (count == 0 or (fewest is not None and count < ENOUGH * fewest))


def main_branch(rows: Sequence[Row]) -> str | None:
    newest = oldest_first(rows)[-WHOLE_SUITE:]
    first, rest = ("main", "master"), ("trunk", "develop", "mainline", "default")
    last = created(newest[-1]) if newest else None
    lately = [row for row in rows if not last or not (date := created(row)) or last - date <= timedelta(days=90)]
    choices = [(newest, first), (lately, first), (newest, rest)]
    found = (name for listed, names in choices for name in names if of_branch(listed, name, is_main=True))
    return next(found, None)


def commits_of_branch(rows: Sequence[Row], branch: str | None, now: datetime | None) -> list[Commit]:
    name = main_branch(rows) if branch == MAIN else branch
    return commits_of(of_branch(rows, name, is_main=branch == MAIN), now) if name else []


class Status(NamedTuple):
    """Whether a branch is red, the commits that decide and that began it, and the IDs of the sessions that count."""

    is_failing: bool | None
    commit: str | None = None
    since: str | None = None
    is_since_exact: bool = False
    counted: tuple[str, ...] = ()


def status(rows: Sequence[Row], branch: str = MAIN, *, now: datetime | None = None) -> Status:
    """Judge a branch by its newest commit that has a verdict. Without `now`, no session was killed."""
    commits = commits_of_branch(rows, branch, now)
    verdicts = [commit.is_failing(fewest_in_status(commits[index + 1 :])) for index, commit in enumerate(commits)]
    decided = [index for index, verdict in enumerate(verdicts) if verdict is not None]
    if not decided:
        return Status(None)
    verdict = verdicts[decided[0]]
    other = [index for index in decided if verdicts[index] != verdict]
    streak = [index for index in decided if not other or index < other[0]]
    newest, oldest = commits[streak[0]], commits[streak[-1]]
    is_exact = streak[-1] + 1 in other[:1]
    return Status(verdict, newest.name, oldest.name, is_exact, tuple(row["id"] for row in newest.counted))


class Verdict(NamedTuple):
    """Whether what is judged may pass, and why not; each failing test: new, known, earlier, quarantined or retried."""

    passes: bool | None
    reason: str
    novelty: dict[Test, str]


def failing_cases(cases: Cases, row: Row) -> list[Row]:
    """Return the failing cases of a red session; any other has none."""
    return [case for case in cases(row["id"]) if is_red(row) and case["status"] in {"FAILED", "ERROR"}]


def key_of(case: Row) -> Test:
    return case.get("test_group_name"), case.get("classname"), case["name"]


def lists_fewer(cases: Cases, row: Row) -> bool:
    """Return whether a red session lists fewer failing cases than it counts."""
    listed = {(case.get("test_group_id"), case["id"]) for case in failing_cases(cases, row)}
    return is_red(row) and len(listed) < failed(row)


def select(rows: Iterable[Row], name: str, after: datetime | None) -> list[Row]:
    """Return the sessions of a commit, of a CI run, or one by its ID, without those that this attempt ran again."""
    named = oldest_first(row for row in rows if name in {row["id"], row.get("revision"), row.get("ci_run_url")})
    if after is None:
        return named
    return [row for row in named if (is_finished(row) and not is_red(row)) or is_since(row, after)]


def is_since(row: Row, after: datetime | None, *, if_unknown: bool = True) -> bool:
    """Return whether it was created since an attempt began."""
    if after is None:
        return True
    return if_unknown if (moment := created(row)) is None else moment >= after


def without_repaired(rows: Sequence[Row]) -> list[Row]:
    """Leave out the red sessions that a later green one repaired, if all tests ended well."""
    return [row for row in rows if not (is_red(row) and any(repairs(later, row) for later in rows))]


def repairs(later: Row, red: Row) -> bool:
    count, red_count = later.get("tests_count"), red.get("tests_count")
    has_all = count is not None and red_count is not None and count >= red_count
    return later["status"] == "SUCCESSFUL" and has_all and began_after(later, red)


def novelties(
    cases: Cases, counted: Iterable[Row], base: Iterable[Commit], quarantine: Collection[Test], outcome: str | None
) -> dict[Test, str]:
    red = [[row for row in commit.rows if is_red(row) and not is_outage(row)] for commit in base]
    failed_in = [{key_of(case) for row in rows for case in failing_cases(cases, row)} for rows in red]
    found: dict[Test, str] = {}
    for row in counted:
        passed = {key_of(case) for case in cases(row["id"]) if case["status"] == "PASSED"}
        for test in {key_of(case) for case in failing_cases(cases, row)}:
            places = [index for index, tests in enumerate(failed_in) if test in tests]
            if test in quarantine:
                found[test] = "quarantined"
            elif places:
                found[test] = "known" if places[0] == 0 else "earlier"
            elif outcome == "success" and test in passed:
                found.setdefault(test, "retried")
            else:
                found[test] = "new"
    return found


def gate(
    rows: Sequence[Row],
    cases: Cases,
    name: str,
    *,
    baseline: str | None = MAIN,
    outcome: str | None = None,
    after: datetime | None = None,
    quarantine: Collection[Test] = (),
    now: datetime | None = None,
) -> Verdict:
    """Judge a commit, a CI run or one session, compared with the branch `baseline`; None: compared with nothing.

    A whole commit that is compared with nothing is what it is in the status of its branch.
    """
    named = [row for row in select(rows, name, after) if not was_killed(row, now)]
    judged, first = {commit_of(row) for row in named}, min((row["relative_id"] for row in named), default=0)
    before = [each for each in commits_of_branch(rows, baseline, now) if each.rows[0]["relative_id"] < first]
    older = [each for each in before if each.has_verdict and each.name not in judged]
    base = [each for each in older[: 2 * COMPARED] if not each.was_outage][:COMPARED]

    succeeded, is_failure = outcome == "success", outcome == "failure"
    counted = without_repaired(named) if succeeded else named
    if baseline is None and outcome is None and after is None and named:
        selected = select(rows, name, None)
        own = commits_of([row for row in rows if row.get("ref_name") == selected[-1].get("ref_name")], now)
        counted = next((each.counted for each in own if each.rows == selected and each.name == name), counted)
    novelty = novelties(cases, counted, base, quarantine, outcome)
    is_new = "new" in novelty.values()
    crashes = [row for row in counted if is_crash(row) and not failing_cases(cases, row)]
    known_crashes = {row.get("error_message") for row in (base[0].counted if base else []) if is_crash(row)}
    is_crash_new = any(row.get("error_message") not in known_crashes for row in crashes)
    count, is_run = tests_ran(counted), all(row.get("ci_run_url") == name for row in named)
    unit = "session" if any(row["id"] == name for row in named) else "CI run" if is_run else "commit"
    fewest = fewest_tests(base, unit)
    base_lists_fewer = any(lists_fewer(cases, row) and not is_outage(row) for each in base for row in each.rows)
    lists_less = any(lists_fewer(cases, row) for row in counted)
    has_any = any(map(has_verdict, counted))
    has_row_since = any(is_since(row, after, if_unknown=False) for row in named)
    is_new_suite = len(rows) < WHOLE_SUITE and (baseline == MAIN or main_branch(rows) in {None, baseline})

    table: list[tuple[bool, bool | None, str]] = [  # the first row that applies
        (not has_any and is_failure, False, "the tests failed, and no session did"),
        (not has_any, None, "no session passed or failed"),
        (not (is_failure or succeeded or has_row_since), None, "nothing since"),
        (baseline is not None and not older and not is_new_suite, None, "nothing to compare with"),
        (bool(older) and not base, None, "only outages to compare with"),
        (is_new and base_lists_fewer, None, "the baseline lists fewer failing tests than it counts"),
        (is_new, False, "a failing test is new"),
        (is_crash_new and not succeeded, False, "failed without a failing test"),
        (lists_less and not succeeded, None, "fewer failing tests are listed than counted"),
        (not all(map(is_finished, counted)), None, "unfinished"),
        (any(has_unknown_status(row) and not is_red(row) for row in counted), None, "a status is not known"),
        (is_failure and not novelty and not crashes, False, "the tests failed, but no test did"),
        (count == 0, False, "no test ran"),
        (count is None and fewest is not None and not succeeded, None, "it is not known how many tests ran"),
        (lacks_tests(count, fewest) and not succeeded, False, "too few tests ran"),
        (True, True, "" if base else "nothing to compare with yet"),
    ]
    return next(Verdict(passes, reason, novelty) for applies, passes, reason in table if applies)
