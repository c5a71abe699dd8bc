"""How the tests ended, in the words of any CI."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from buddy_sessions import ConfigError

TestsOutcome: TypeAlias = Literal["success", "failure", "cancelled", "skipped"]

_WORDS: dict[TestsOutcome, str] = {
    "success": "success successful succeeded pass passed ok 0",
    "failure": "failure failed fail error errored unstable broken timedout partiallysucceeded succeededwithissues",
    "cancelled": "cancelled canceled cancel aborted terminated",
    "skipped": "skipped notbuilt notrun manual",
}
"""The words of GitHub, GitLab, CircleCI, Jenkins, Azure, Bitbucket, Travis and Buddy, without case and separators."""


def parse_outcome(text: str) -> TestsOutcome:
    """Return how the tests ended: a word, or an exit code. Raises ConfigError for an empty or an unknown word."""
    word = re.sub(r"[\s_-]", "", text.lower())
    if not word:
        raise ConfigError(
            "--outcome is empty: pass how the tests ended; of GitHub, steps.ID.outcome with the id of their step, or "
            "needs.JOB.result"
        )
    for outcome, words in _WORDS.items():
        if word in words.split():
            return outcome
    if word.isdecimal():
        return "failure"
    raise ConfigError(f"--outcome must be success, failure, cancelled or skipped, or an exit code, not {text!r}")
