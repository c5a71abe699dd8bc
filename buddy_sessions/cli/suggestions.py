"""What an unknown name may have been meant to be: suites, projects and branches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

from buddy_sessions import BuddyClient, BuddyError, NotFoundError, RefType, Session, Suite, SuiteKey

_MAX_SUITES = 3
_MAX_BRANCHES = 8
_MIN_SIMILARITY = 0.6  # as difflib.get_close_matches


async def add_suggestion(buddy: BuddyClient, error: NotFoundError) -> None:
    """Add similar suites, or that the project is unknown, to the error of an unknown suite: one request."""
    key = SuiteKey.parse(error.url)
    project = f"{key.workspace}/{key.project}"
    try:
        suites = await buddy.suites(key.workspace, key.project)
    except NotFoundError:
        error.add_note(f"there is no project {project}, or the token's owner cannot see it: check both names")
    except BuddyError:
        return
    else:
        if suites and key not in [suite.key for suite in suites]:
            list_suites = f"to see the suites of the project, run buddy-sessions suites {project}"
            error.add_note(_suggest_suites(key, suites) or list_suites)


def suggest_in_database(target: Sequence[str], stored: Sequence[Suite]) -> str:
    """Return a question that names the suites of a database that an unknown one may have meant."""
    return _suggest_suites(target, stored) if isinstance(target, SuiteKey) else ""


async def check_branch(buddy: BuddyClient, suite: SuiteKey, branch: str) -> str:
    """Return what `suggest_branches` does for the newest sessions of a suite: one request."""
    return suggest_branches(branch, suite, await buddy.sessions(suite, max_sessions=100).collect())


def suggest_branches(branch: str, suite: SuiteKey, sessions: Iterable[Session]) -> str:
    """Return that a suite has no session of a branch, and which branches its sessions have, the most frequent first."""
    names = [session.ref_name for session in sessions if session.ref_type in {None, RefType.BRANCH}]
    counts = Counter(filter(None, names))
    if branch in counts:
        return ""
    more = f" and {len(counts) - _MAX_BRANCHES} more" if len(counts) > _MAX_BRANCHES else ""
    known = ", ".join(name for name, _ in counts.most_common(_MAX_BRANCHES)) or "no branch"
    return f"no session of branch {branch!r} in {suite}: its latest sessions are of {known}{more}"


def describe_suite(suite: Suite) -> str:
    """Return the key of a suite, and its name if it is known."""
    return f"{suite.key} ({suite.name})" if suite.name else str(suite.key)


def _suggest_suites(key: SuiteKey, suites: Sequence[Suite]) -> str:
    """Return a question that names the suites that an unknown key may have meant; an empty text if there are none."""
    scores = {suite: _similarity(key.suite_id, suite) for suite in suites if suite.key[:2] == key[:2]}
    similar = [suite for suite, score in scores.items() if score >= _MIN_SIMILARITY]
    nearest = sorted(similar, key=lambda suite: scores[suite], reverse=True)[:_MAX_SUITES]
    return _question([describe_suite(suite) for suite in nearest])


def _question(names: Sequence[str]) -> str:
    return f"did you mean {' or '.join(names)}?" if names else ""


def _similarity(text: str, suite: Suite) -> float:
    names = filter(None, (suite.id, suite.identifier, suite.name))
    return max(SequenceMatcher(None, text.lower(), name.lower()).ratio() for name in names)
