"""What all functions have in common."""

from __future__ import annotations

import doctest
import importlib

import pytest

from buddy_sessions import (
    analysis,
)


@pytest.mark.parametrize(
    ("module", "examples"),
    [("", 5), (".baseline", 4), (".branches", 4), (".causes", 4), (".history", 4), (".quarantine", 2)],
)
def test_examples_of_docstrings_run(module: str, examples: int) -> None:
    results = doctest.testmod(importlib.import_module(analysis.__name__ + module))
    assert results.attempted >= examples
    assert results.failed == 0
