from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import FlakyTest, TestKey, flaky_tests
from helpers.case_histories import Run, case, history, merged, sequences_of_runs


def model_flaky_tests(runs: list[Run], window: int, changes: int) -> list[FlakyTest]:
    """Look at one test at a time, and at one session at a time."""
    found = []
    for key in {one.key for run in runs for one in run}:
        seen, count, failed, last = 0, 0, 0, None
        for number in range(max(0, len(runs) - window), len(runs)):
            statuses = {str(case.status) for case in runs[number] if case.key == key} - {"SKIPPED"}
            if not statuses:
                continue
            status = next(s for s in ("ERROR", "FAILED", "TIMED_OUT", "ABORTED", "PASSED") if s in statuses)
            seen += 1
            failed += status in {"ERROR", "FAILED"}
            count += last not in {None, status}
            last = status
        if count >= changes:
            found.append(FlakyTest(key=key, changes=count, failed=failed, runs=seen))
    return found


class TestFlakyTests:
    @pytest.mark.parametrize(
        ("statuses", "changes", "failed", "runs"),
        [
            ("PFPF", 3, 2, 4),
            ("PFPP", None, 1, 4),
            ("PSFSPSF", 3, 2, 4),
            ("P F P F", 3, 2, 4),
            ("FEFE", 3, 4, 4),
            ("PTPT", 3, 0, 4),
            ("PFPFFFFFFF", 3, 8, 10),
            ("PFPFFFFFFFF", None, 0, 0),
            ("PFPFSSSSSSS", None, 0, 0),
            ("", None, 0, 0),
        ],
    )
    def test_three_changes_in_ten_sessions_are_flaky(
        self, statuses: str, changes: int | None, failed: int, runs: int
    ) -> None:
        """The window counts sessions, including those in which the test did not run."""
        flaky = (
            [FlakyTest(key=TestKey(None, None, "pays"), changes=changes, failed=failed, runs=runs)] if changes else []
        )
        assert flaky_tests(history(statuses)) == flaky

    def test_most_changes_come_first(self) -> None:
        runs = merged(history("PFPFF", "b"), history("PFPFF", "a"), history("PFPFP", "c"))
        assert [(test.key.name, test.changes) for test in flaky_tests(runs)] == [("c", 4), ("a", 3), ("b", 3)]

    def test_equal_tests_are_sorted_by_group_and_class(self) -> None:
        keys = [("", "a"), (None, "b"), ("a", None), ("a", ""), (None, None)]
        runs = [
            [case(status, test_group_name=group, classname=classname) for group, classname in keys] for status in "PF"
        ]
        found = [(test.key.group, test.key.classname) for test in flaky_tests(runs, changes=1)]
        assert found == [(None, None), ("", "a"), (None, "b"), ("a", ""), ("a", None)]

    @given(sequences_of_runs, st.integers(1, 9), st.integers(1, 4))
    def test_model(self, runs: list[Run], window: int, changes: int) -> None:
        flaky = flaky_tests(runs, window=window, changes=changes)
        expected = model_flaky_tests(runs, window, changes)
        assert {test.key: test for test in flaky} == {test.key: test for test in expected}
        assert len(flaky) == len(expected)
        assert [test.changes for test in flaky] == sorted((test.changes for test in expected), reverse=True)
