"""What an unknown name may have been meant to be: suites, projects and branches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches

from buddy_sessions import BuddyClient, BuddyError, NotFoundError, RefType, Session, Suite, SuiteKey

_MAX_BRANCHES = 8


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
            error.add_note(suggest_suites(key, suites) or list_suites)


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


def suggest_suites(key: SuiteKey, suites: Iterable[Suite]) -> str:
    """Return a question that names the suites that an unknown key may have meant; an empty text if there are none."""
    of_project = [suite for suite in suites if suite.key[:2] == key[:2]]
    names = {name.lower(): each for each in of_project for name in (each.name, each.identifier, each.id) if name}
    similar = dict.fromkeys(names[name] for name in get_close_matches(key.suite_id.lower(), names))
    return f"did you mean {' or '.join(map(describe_suite, similar))}?" if similar else ""
