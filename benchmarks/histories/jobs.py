"""The jobs of a CI run: what their tests upload, and when."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from helpers.rules import Row

Ending = Literal["normal", "crashed", "cancelled", "killed", "skipped", "lost", "silent"]
"""How a job ends: closed by its tests; as ERROR without a failing test; as PASSED with half of its tests; never;
SKIPPED; without any session; as PASSED although it failed, because a file could not be loaded or uploaded."""


@dataclass
class Job:
    """A job of a CI run, which uploads one session. Times are minutes after the run began."""

    tests: Sequence[str]
    failing: frozenset[str] = frozenset()
    start: float = 0
    minutes: float = 6
    ending: Ending = "normal"
    unloaded: frozenset[str] = frozenset()
    """Tests that the session does not list."""
    retried: frozenset[str] = frozenset()
    """Tests that failed, and passed when they were tried again in the same session."""
    fields: Row = field(default_factory=dict)
    """Fields of the session that replace the usual ones."""
    shift: timedelta = timedelta()
    """By how much the clock of this job is wrong."""
    row: Row | None = None

    @property
    def outcome(self) -> str:
        """How the CI says that the job ended."""
        if self.ending == "cancelled":
            return "cancelled"
        has_failed = self.failing or self.ending in {"crashed", "killed", "silent"}
        return "failure" if has_failed else "success"

    @property
    def is_red(self) -> bool:
        """Whether its session says that something is broken."""
        return self.ending == "crashed" or (self.ending == "normal" and bool(self.failing))

    def open(self, row: Row, now: datetime) -> None:
        """Create the session."""
        unfinished = {name: value for name, value in self.fields.items() if name != "status" and "count" not in name}
        counts = dict.fromkeys(("tests_count", "failed_count", "skipped_count", "error_count"), 0)
        created = (now + self.shift).isoformat()
        self.row = row | {"status": "IN_PROGRESS", "create_date": created, "finish_date": None} | counts | unfinished

    def close(self, now: datetime) -> list[Row]:
        """Finish the session, if it is ever closed; return its test cases."""
        if self.row is None or self.ending == "killed":
            return []
        listed = [test for test in self.tests if test not in self.unloaded]
        if self.ending in {"cancelled", "crashed", "skipped"}:
            listed = listed[: {"cancelled": len(listed) // 2, "crashed": len(listed) // 10, "skipped": 0}[self.ending]]
        failing = [test for test in listed if test in self.failing and self.ending == "normal"]
        tried = [test for test in listed if test in self.retried]
        is_red = bool(failing or tried) or self.ending == "crashed"
        status = "SKIPPED" if self.ending == "skipped" else "ERROR" if is_red else "SUCCESSFUL"
        self.row |= {
            "status": status,
            "finish_date": (now + self.shift).isoformat(),
            "tests_count": len(listed) + len(tried),
            "failed_count": len(failing) + len(tried),
            **self.fields,
        }
        cases = [_case(test, "FAILED", 1) for test in [*failing, *tried]]
        return cases + [_case(test, "PASSED", 2) for test in listed if test not in failing]


def _case(test: str, status: str, attempt: int) -> Row:
    group, _, _ = test.partition(" > ")
    names = {"name": test, "test_group_name": group, "test_group_id": group, "classname": group}
    return {"id": f"{test} {attempt}", "status": status, "time": 0.1, **names}


def make_tests(count: int, package: str = "shop") -> list[str]:
    """Return the names of tests, ten in a file."""
    return [f"{package}/part{index // 10}.test.js > works {index}" for index in range(count)]


def parallel(parts: Sequence[Sequence[str]], rng: random.Random | None = None) -> list[Job]:
    """Return jobs that run at the same time."""
    jitter = rng.random if rng else (lambda: 0.5)
    return [Job(part, start=jitter(), minutes=4 + 4 * jitter()) for part in parts]


def sequential(parts: Sequence[Sequence[str]], pause: float = 1) -> list[Job]:
    """Return jobs that run one after the other."""
    return [Job(part, start=index * (6 + pause)) for index, part in enumerate(parts)]


def uploaded_at_end(parts: Sequence[Sequence[str]]) -> list[Job]:
    """Return jobs whose results a last job uploads one after the other."""
    return [Job(part, start=8 + index / 10, minutes=0.05) for index, part in enumerate(parts)]


def shards(names: Sequence[str], count: int) -> list[Sequence[str]]:
    return [names[index::count] for index in range(count)]
