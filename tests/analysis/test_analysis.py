"""What all functions have in common."""

from __future__ import annotations

import doctest
import importlib
import random
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import (
    Comparison,
    ConfigError,
    FlakyTest,
    SlowTest,
    TestStatus,
    analysis,
    compare,
    flaky_tests,
    slowest_tests,
)
from helpers.case_histories import Run, runs_of_cases, sequences_of_runs


def results_of(runs: Sequence[Run], **arguments: Any) -> tuple[list[FlakyTest], list[SlowTest], list[Comparison]]:
    """Return what each function says of the sessions, pairwise for `compare`."""
    comparisons = [compare(old, new) for old in runs for new in runs]
    return flaky_tests(runs, changes=1, **arguments), slowest_tests(runs), comparisons


@pytest.mark.parametrize(
    ("module", "examples"),
    [("", 5), (".baseline", 4), (".branches", 4), (".causes", 4), (".conflicts", 4), (".quarantine", 2)],
)
def test_examples_of_docstrings_run(module: str, examples: int) -> None:
    results = doctest.testmod(importlib.import_module(analysis.__name__ + module))
    assert results.attempted >= examples
    assert results.failed == 0


class TestAllFunctions:
    @given(sequences_of_runs, runs_of_cases, st.randoms(use_true_random=False))
    def test_skipped_cases_change_nothing(self, runs: list[Run], others: Run, shuffler: random.Random) -> None:
        expected = results_of(runs)
        for other in others:
            run = shuffler.choice(runs or [[]])
            run.insert(shuffler.randint(0, len(run)), attrs.evolve(other, status=TestStatus.SKIPPED))
        assert results_of(runs) == expected

    @given(sequences_of_runs, st.randoms(use_true_random=False))
    def test_order_of_cases_changes_nothing(self, runs: list[Run], shuffler: random.Random) -> None:
        expected = results_of(runs)
        for run in runs:
            shuffler.shuffle(run)
        assert results_of(runs) == expected

    @given(sequences_of_runs)
    def test_iterables_can_be_used_once(self, runs: list[Run]) -> None:
        assert flaky_tests(iter([iter(run) for run in runs]), changes=1) == flaky_tests(runs, changes=1)
        assert slowest_tests(iter([iter(run) for run in runs])) == slowest_tests(runs)
        for run in runs:
            assert compare(iter(run), iter(runs[0])) == compare(run, runs[0])

    def test_no_sessions_have_no_tests(self) -> None:
        assert results_of([]) == ([], [], [])
        nothing = Comparison(newly_failing=[], fixed=[], still_failing=[], added=[], removed=[], slower=[])
        assert results_of([[], []]) == ([], [], [nothing] * 4)

    @pytest.mark.parametrize(
        ("function", "argument"),
        [
            (flaky_tests, {"window": 0}),
            (flaky_tests, {"window": True}),
            (flaky_tests, {"window": 2.0}),
            (flaky_tests, {"changes": 0}),
            (flaky_tests, {"changes": None}),
            (slowest_tests, {"threshold": -0.1}),
            (slowest_tests, {"threshold": float("nan")}),
            (slowest_tests, {"threshold": float("inf")}),
            (slowest_tests, {"threshold": "1"}),
        ],
        ids=lambda value: str(value) if isinstance(value, dict) else value.__name__,
    )
    def test_invalid_argument_is_rejected(self, function: Any, argument: dict[str, Any]) -> None:
        (name,) = argument
        with pytest.raises(ConfigError, match=name):
            function([], **argument)
