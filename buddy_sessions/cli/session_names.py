"""The names of sessions in arguments: a URL, `latest`, a relative_id, an ID, or the beginning of a commit's hash."""

from __future__ import annotations

import re

from buddy_sessions import ConfigError, SuiteKey, parse_session_url

from .keys import KeyDefaults, Target, parse_argument

LATEST = "latest"
"""The name of the newest session that says whether a branch is good."""

_RELATIVE_ID = re.compile("#([0-9]{1,18})|([0-9]{1,7})")
_REVISION = re.compile("[0-9a-fA-F]{7,64}")


def parse_session(defaults: KeyDefaults, key: str, session: str | None = None) -> tuple[Target, str | None]:
    """Return the suite of a key, and the name of a session; None if neither `key` nor `session` names one."""
    target, in_key = defaults.parse_target(key), None
    if "://" in key and isinstance(target, SuiteKey):
        target, in_key = parse_argument(parse_session_url, key)
    if session is None:
        return target, None if in_key is None else key
    if in_key is not None:
        raise ConfigError(f"two sessions: {key!r} is the URL of one, so leave out {session!r}")
    return target, parse_session_of(target, session)


def parse_session_of(suite: Target, text: str) -> str:
    """Return the name of a session of a suite. Raises ConfigError for a URL of something else."""
    if "://" in text:
        key, session = parse_argument(parse_session_url, text)
        if key != suite or session is None:
            raise ConfigError(
                f"not a session of {'/'.join(suite)}: {text!r}; write its relative_id or ID, or paste its URL"
            )
    return text


def possible_ids(name: str) -> list[int | str]:
    """Return what a name is if it is a `relative_id` (`#383`, or at most seven digits), and if it is an ID or a URL."""
    if "://" in name:
        return [parse_session_url(name)[1] or name]
    match = _RELATIVE_ID.fullmatch(name)
    relative_ids = [int(match[1] or match[2])] if match else []
    return [*relative_ids, *([] if name.startswith("#") else [name])]


def is_revision(name: str) -> bool:
    """Return whether a name can be the hash of a commit, or its beginning."""
    return _REVISION.fullmatch(name) is not None
