"""Hints to the suites that an unknown suite may have been meant to be."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from buddy_sessions import BuddyClient, BuddyError, NotFoundError, Suite, SuiteKey

_MAX_SUITES = 3
_MIN_SIMILARITY = 0.6  # as difflib.get_close_matches


async def suggest_suites(buddy: BuddyClient, error: NotFoundError) -> None:
    """Add a note to the error of an unknown suite: the suites of its project with similar IDs or names.

    This takes one request. Its errors are ignored.
    """
    if "/unit-tests/suites/" not in error.url:  # of a project
        return
    key = SuiteKey.parse(error.url)
    try:
        suites = await buddy.suites(key.workspace, key.project)
    except BuddyError:
        return
    if not suites or key in [suite.key for suite in suites]:
        return
    similar = _similar_suites(key.suite_id, suites)
    if similar:
        error.add_note(f"did you mean {' or '.join(map(_describe, similar))}?")
    else:
        error.add_note(f"to see the suites of the project, run buddy-sessions suites {key.workspace}/{key.project}")


def _similar_suites(text: str, suites: Sequence[Suite]) -> list[Suite]:
    """Return the suites whose ID, identifier or name is this text; or else is similar, the most similar ones first."""
    scores = {suite.key: _similarity(text, suite) for suite in suites}
    best = max(scores.values())
    similar = [suite for suite in suites if scores[suite.key] >= (1 if best == 1 else _MIN_SIMILARITY)]
    return sorted(similar, key=lambda suite: scores[suite.key], reverse=True)[:_MAX_SUITES]


def _similarity(text: str, suite: Suite) -> float:
    names = filter(None, (suite.id, suite.identifier, suite.name))
    return max(SequenceMatcher(None, text.lower(), name.lower()).ratio() for name in names)


def _describe(suite: Suite) -> str:
    return f"{suite.key} ({suite.name})" if suite.name else str(suite.key)
