"""Hints to the suites that an unknown suite may have been meant to be."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from buddy_sessions import BuddyClient, BuddyError, NotFoundError, Suite, SuiteKey

_MAX_SUITES = 3
_MIN_SIMILARITY = 0.6  # as difflib.get_close_matches


def concerns_suite(error: NotFoundError) -> bool:
    """Return whether a suite, or something in it, was not found; not a project."""
    return "/unit-tests/suites/" in error.url


async def add_suggestion(buddy: BuddyClient, error: NotFoundError) -> None:
    """Add a note to the error of an unknown suite: the suites of its project with similar IDs or names.

    This takes one request. Its errors are ignored.
    """
    key = SuiteKey.parse(error.url)
    try:
        suites = await buddy.suites(key.workspace, key.project)
    except BuddyError:
        return
    if suites and key not in [suite.key for suite in suites]:
        list_suites = f"to see the suites of the project, run buddy-sessions suites {key.workspace}/{key.project}"
        error.add_note(suggest_suites(key, suites) or list_suites)


def suggest_suites(key: SuiteKey, suites: Sequence[Suite]) -> str:
    """Return a question that names the suites that an unknown key may have meant; an empty text if there are none.

    They are suites of the same project, whose ID, identifier or name is the unknown ID, or is similar.
    """
    scores = {suite: _similarity(key.suite_id, suite) for suite in suites if suite.key[:2] == key[:2]}
    required = 1 if 1 in scores.values() else _MIN_SIMILARITY
    similar = [suite for suite, score in scores.items() if score >= required]
    nearest = sorted(similar, key=lambda suite: scores[suite], reverse=True)[:_MAX_SUITES]
    return f"did you mean {' or '.join(map(_describe, nearest))}?" if nearest else ""


def _similarity(text: str, suite: Suite) -> float:
    names = filter(None, (suite.id, suite.identifier, suite.name))
    return max(SequenceMatcher(None, text.lower(), name.lower()).ratio() for name in names)


def _describe(suite: Suite) -> str:
    return f"{suite.key} ({suite.name})" if suite.name else str(suite.key)
