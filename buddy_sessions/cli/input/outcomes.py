"""How the tests ended: the words of each CI, and exit codes, of one job or of several."""

from __future__ import annotations

import re

from buddy_sessions import ConfigError

_WORDS = {
    "failure": "failure failed fail error errored unstable broken timedout partiallysucceeded succeededwithissues",
    "cancelled": "cancelled canceled cancel aborted terminated",
    "success": "success successful succeeded pass passed ok 0",
    "skipped": "skipped notbuilt notrun manual",
}
"""The words of GitHub, GitLab, CircleCI, Jenkins, Azure, Bitbucket, Travis and Buddy, without case, `_` and `-`. Of
several jobs, the first of these outcomes that one has is that of all."""


def parse_outcome(text: str) -> str:
    """Return how the tests of all jobs ended, whose outcomes are separated by one space: words, or exit codes.

    Raises ConfigError for an unknown word, and for an empty one: the variable of a job may be misspelt.
    """
    outcomes = {_parse_word(word, text) for word in text.split(" ")}
    return next(outcome for outcome in _WORDS if outcome in outcomes)


def _parse_word(text: str, whole: str) -> str:
    word = re.sub("[_-]", "", text.lower())
    if not word:
        empty = "has an empty word" if whole.strip() else "is empty"
        raise ConfigError(
            f"--outcome {empty}: is a variable not set in this step, or the name of a job misspelt? Pass how the tests "
            "of each job ended, separated by one space"
        )
    for outcome, words in _WORDS.items():
        if word in words.split():
            return outcome
    if word.isdecimal():
        return "failure"
    raise ConfigError(
        f"--outcome must be success, failure, cancelled or skipped, or an exit code, not {text!r}; separate those of "
        "several jobs by one space"
    )
