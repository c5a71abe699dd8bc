"""The sessions that arguments name: by a URL, `latest`, a relative_id, an ID, a commit's hash, or a CI run's URL."""

from __future__ import annotations

import re

from buddy_sessions import MAIN, ConfigError, Main, SuiteKey, parse_session_url
from buddy_sessions._base.validate import REVISION

from .keys import KeyDefaults, Target

LATEST = "latest"
"""The name of the newest session that says whether a branch is good."""

_RELATIVE_ID = re.compile("#([0-9]{1,18})|([0-9]{1,7})")
_HASH_LENGTH = 40  # digits of a whole hash, which no ID has


def parse_session(defaults: KeyDefaults, key: str, session: str | None = None) -> tuple[Target, str | None]:
    """Return the suite of a key, and the name of a session; None if neither `key` nor `session` names one."""
    target = defaults.parse_target(key)
    is_session = "://" in key and isinstance(target, SuiteKey) and parse_session_url(key)[1] is not None
    if session is None:
        return target, key if is_session else None
    if is_session:
        raise ConfigError(f"two sessions: {key!r} is the URL of one, so leave out {session!r}")
    return target, parse_session_of(target, session)


def choose_latest(name: str | None, branch: str | Main | None) -> str:
    """Return the name of a session: by default, the latest of a branch. Raises ConfigError for a branch of another."""
    if name not in {None, LATEST} and branch is not MAIN:
        raise ConfigError("--branch selects the latest session: leave it out, or do not name a session")
    return LATEST if name is None else name


def parse_session_of(suite: Target, text: str) -> str:
    """Return the name of a session of a suite. Raises ConfigError for the URL of another suite, or of no session."""
    if "://" in text and not is_run_url(text):
        key, session = parse_session_url(text)
        if session is None or key != suite:
            raise ConfigError(
                f"not a session of {'/'.join(suite)}: {text!r}; write its relative_id or ID, or paste its URL"
            )
    return text


def possible_ids(name: str) -> list[int | str]:
    """Return the `relative_id` (`#383`, or at most seven digits) and the ID that a name or a URL can be."""
    if is_run_url(name):
        return []
    if "://" in name:
        return [parse_session_url(name)[1] or name]
    match = _RELATIVE_ID.fullmatch(name)
    relative_ids = [int(match[1] or match[2])] if match else []
    is_id = not name.startswith("#") and not (is_revision(name) and len(name) >= _HASH_LENGTH)
    return [*relative_ids, *([name] if is_id else [])]


def is_run_url(name: str) -> bool:
    """Return whether a name is the URL of a CI run: one that names no suite."""
    if "://" not in name:
        return False
    try:
        parse_session_url(name)
    except ValueError:
        return True
    return False


def is_revision(name: str) -> bool:
    """Return whether a name can be the hash of a commit, or its beginning."""
    return REVISION.fullmatch(name) is not None
