"""How thorough the tests are: the variable `TESTS`, which the sessions of `noxfile.py` set."""

from __future__ import annotations

import os

QUICK, THOROUGH, LONG = "quick", "thorough", "long"
EFFORT = os.environ.get("TESTS") or THOROUGH


def repeats(*, quick: int, thorough: int, long: int | None = None) -> int:
    """Return how often a test repeats its work. `long` is that of `thorough`, unless it is given."""
    return {QUICK: quick, THOROUGH: thorough, LONG: long or thorough}[EFFORT]
