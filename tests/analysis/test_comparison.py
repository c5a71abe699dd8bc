from __future__ import annotations

import pytest
from hypothesis import given

from buddy_sessions import TestKey, compare
from helpers.case_histories import LETTERS, Run, case, history, names, runs_of_cases, timed

LISTS = ("newly_failing", "fixed", "still_failing", "added", "removed", "slower")


class TestCompare:
    @pytest.mark.parametrize(
        ("old", "new", "lists"),
        [
            ("P", "F", {"newly_failing"}),
            ("F", "P", {"fixed"}),
            ("F", "E", {"still_failing"}),
            ("E", "T", {"fixed"}),
            (" ", "P", {"added"}),
            (" ", "F", {"added", "newly_failing"}),
            ("F", " ", {"removed"}),
            ("F", "S", {"removed"}),
        ],
    )
    def test_lists_of_a_test(self, old: str, new: str, lists: set[str]) -> None:
        (old_run, new_run) = history(old + new)
        comparison = compare(old_run, new_run)
        assert {name for name in LISTS if getattr(comparison, name)} == lists
        for name in lists:
            (listed,) = getattr(comparison, name)
            assert listed is (old_run if name == "removed" else new_run)[0]

    @pytest.mark.parametrize(
        ("old", "new", "is_slower"),
        [
            (1, 2, True),
            (1, 1.999, False),
            (0.05, 0.15, True),
            (0.05, 0.149, False),
            (None, 5, False),
            (5, None, False),
        ],
    )
    def test_slower_is_twice_as_long_and_a_tenth_of_a_second_longer(
        self, old: float | None, new: float | None, is_slower: bool
    ) -> None:
        (old_run, new_run) = timed(old, new)
        assert compare(old_run, new_run).slower == ([(old_run[0], new_run[0])] if is_slower else [])

    def test_lists_are_sorted_by_key(self) -> None:
        old = [case("F", name, time=0) for name in "dbca"]
        new = [case("P", name, time=1) for name in "cdab"]
        comparison = compare(old, new)
        assert names(comparison.fixed) == list("abcd")
        assert [old.name + new.name for old, new in comparison.slower] == ["aa", "bb", "cc", "dd"]
        assert names(compare(old, []).removed) == names(compare([], new).added) == list("abcd")
        assert names(compare([], old).newly_failing) == names(compare(old, old).still_failing) == list("abcd")

    @pytest.mark.parametrize(
        ("statuses", "worst"),
        [("PFP", "F"), ("FEF", "E"), ("EFT", "E"), ("TFT", "F"), ("PTP", "T"), ("ATA", "T"), ("SPS", "P")],
    )
    def test_cases_with_one_key_have_the_worst_status(self, statuses: str, worst: str) -> None:
        """Of two unknown statuses, it is the last one in alphabetical order."""
        (added,) = compare([], [case(status, id=str(number)) for number, status in enumerate(statuses)]).added
        assert added.status == LETTERS[worst]

    @given(runs_of_cases, runs_of_cases)
    def test_model(self, old: Run, new: Run) -> None:
        expected: dict[str, set[TestKey]] = {name: set() for name in LISTS}
        for key in {one.key for one in old + new}:
            before, after = ([c for c in run if c.key == key and c.status != "SKIPPED"] for run in (old, new))
            failed, fails = ({"FAILED", "ERROR"} & {str(c.status) for c in cases} != set() for cases in (before, after))
            was, now = ([c.time for c in cases if c.time is not None] for cases in (before, after))
            is_slower = bool(was and now) and max(now) >= 2 * max(was) and max(now) - max(was) >= 0.1 - 5e-7
            verdicts = (
                fails and not failed,
                failed and not fails and bool(after),
                failed and fails,
                bool(after and not before),
                bool(before and not after),
                is_slower,
            )
            for name, verdict in zip(LISTS, verdicts, strict=True):
                expected[name] |= {key} if verdict else set()
        comparison = compare(old, new)
        for name in LISTS[:-1]:
            assert {listed.key for listed in getattr(comparison, name)} == expected[name]
        assert {before.key for before, _ in comparison.slower} == expected["slower"]
        assert all(before.key == after.key for before, after in comparison.slower)
