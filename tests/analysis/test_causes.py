"""Failures of eleven tools in `failures/`, labelled with their causes: those that the rules were tuned on, and others.

The same cause: a person would expect to fix them with one change. The failures in `held_out` were written after the
rules; move them to `tuned` before changing a rule because of one of them, and write others.
"""

from __future__ import annotations

import math
import random
import time
import tomllib
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import Failure, TestCase, TestKey, TestStatus
from buddy_sessions.analysis import group_failures
from buddy_sessions.analysis.causes import normalise
from helpers.recordings import RECORDINGS, cases_of

FAILURES = Path(__file__).parent / "failures"
FIXTURES = Path(__file__).parent.parent / "fixtures"


def failed(name: str = "pays", group: str | None = None, **fields: Any) -> TestCase:
    failure = Failure(kind="failure", **fields) if fields else None
    return TestCase(id=name, name=name, status=TestStatus.FAILED, test_group_name=group, failure=failure)


def labelled_cases(path: Path) -> list[tuple[str, TestCase]]:
    """Return the failures of one project with their causes."""
    labelled = []
    for index, row in enumerate(tomllib.loads(path.read_text(encoding="utf-8"))["failure"]):
        group = row["test"].partition(" > ")[0]
        text = row.get("text", "").strip() or None  # as the JUnit XML is read
        case = failed(f"{path.stem} {index}", group, type=row.get("type"), message=row.get("message"), text=text)
        labelled.append((row["cause"], case))
    return labelled


def groups_of(cases: list[TestCase]) -> dict[str, int]:
    """Return the index of the group of each case."""
    return {case.id: index for index, group in enumerate(group_failures(cases)) for case in group.cases}


def recorded_cases() -> list[tuple[str, TestCase]]:
    """Return the different failures that Buddy's reporters uploaded with their causes, of all recordings."""
    causes: dict[tuple[str, str], str] = {}
    for row in tomllib.loads((FIXTURES / "causes.toml").read_text(encoding="utf-8"))["cause"]:
        cause = row.pop("name")
        causes |= {(recording, name): cause for recording, tests in row.items() for name in tests}
    labelled: list[tuple[str, TestCase]] = []
    seen: set[tuple[TestKey, Failure]] = set()
    for recording in RECORDINGS:
        for case in cases_of(recording):
            if case.failure is None or not (case.failure.message or case.failure.text):
                continue
            if (case.key, case.failure) not in seen:
                seen.add((case.key, case.failure))
                name = f"{recording} {len(seen)}"
                cause = causes.pop((recording, f"{case.name} {case.status}"), None)
                cause = cause or causes.pop((recording, case.name), name)
                labelled.append((cause, attrs.evolve(case, id=name)))
    assert not causes, "causes.toml names tests that do not fail"
    return labelled


def pair_f1(projects: Iterable[list[tuple[str, TestCase]]]) -> float:
    """Return how well the pairs of cases with the same cause are found, in each project by itself."""
    right = wrong = 0
    for labelled in projects:
        groups = groups_of([case for _, case in labelled])
        for (cause, case), (other_cause, other) in combinations(labelled, 2):
            is_same, is_found = cause == other_cause, groups[case.id] == groups[other.id]
            right += is_same and is_found
            wrong += is_same != is_found
    return 2 * right / (2 * right + wrong)


@pytest.mark.parametrize(("folder", "least"), [("tuned", 0.95), ("held_out", 0.85)])
def test_cases_with_the_same_cause_are_grouped(folder: str, least: float) -> None:
    assert pair_f1(map(labelled_cases, (FAILURES / folder).glob("*.toml"))) >= least


def test_recorded_failures_are_grouped() -> None:
    """Of each recording by itself; and of all of them together, although each runner words failures in its own way."""
    cases = recorded_cases()
    recordings: dict[str, list[tuple[str, TestCase]]] = {}
    for cause, case in cases:
        recordings.setdefault(case.id.split()[0], []).append((cause, case))
    assert pair_f1(recordings.values()) >= 0.85
    assert pair_f1([cases]) >= 0.78


CORPUS = [case for path in sorted(FAILURES.rglob("*.toml")) for _, case in labelled_cases(path)]


_REPEATED = r"' 'a! / /a a/ \ . a. 1. @ a@ a.a@ : a: 1: [ [a a+ +a a1 1-"


@pytest.mark.parametrize("piece", _REPEATED.split())
def test_time_grows_with_the_length(piece: str) -> None:
    """Ten times as much text takes about ten times as long; with a quadratic rule it would be a hundred times."""

    def seconds(length: int) -> float:
        text, best = (piece * length)[:length] + "!", math.inf
        for _ in range(3):
            start = time.process_time()
            normalise(text)
            best = min(best, time.process_time() - start)
        return best

    assert seconds(20_000) < 40 * seconds(2_000)


@given(st.lists(st.sampled_from(CORPUS), max_size=12), st.randoms(use_true_random=False))
def test_order_of_cases_changes_nothing(cases: list[TestCase], shuffler: random.Random) -> None:
    groups = group_failures(iter(cases))
    sizes = [len(group.cases) for group in groups]
    assert sizes == sorted(sizes, reverse=True)
    assert sorted(map(repr, cases)) == sorted(repr(case) for group in groups for case in group.cases)
    shuffler.shuffle(cases)
    assert group_failures(cases) == groups


def test_cases_without_a_message_are_one_group() -> None:
    cases = [failed("a"), failed("c", message="order 8 is lost"), failed("b", message=""), failed("d", "test_d.py")]
    unread, lost = group_failures(cases)
    assert (unread.type, unread.template, [case.name for case in unread.cases]) == (None, "", ["a", "b", "d"])
    assert (lost.template, [case.name for case in lost.cases]) == ("order <number> is lost", ["c"])


def test_cases_that_do_not_fail_are_ignored() -> None:
    statuses = [TestStatus.PASSED, TestStatus.SKIPPED, TestStatus("TIMED_OUT")]
    assert group_failures([attrs.evolve(failed(message="m"), status=status) for status in statuses]) == []
