"""What all functions have in common."""

from __future__ import annotations

import doctest
import importlib
from typing import Any

import pytest

from buddy_sessions import (
    ConfigError,
    analysis,
    flaky_tests,
    slowest_tests,
)


@pytest.mark.parametrize(
    ("module", "examples"),
    [("", 5), (".baseline", 4), (".branches", 4), (".causes", 4), (".history", 4), (".quarantine", 2)],
)
def test_examples_of_docstrings_run(module: str, examples: int) -> None:
    results = doctest.testmod(importlib.import_module(analysis.__name__ + module))
    assert results.attempted >= examples
    assert results.failed == 0


class TestAllFunctions:
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
