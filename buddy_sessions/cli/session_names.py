"""The sessions that arguments name: by relative_id, by ID, or by URL."""

from __future__ import annotations

import re

from buddy_sessions import ConfigError, SuiteKey, parse_session_url

from .keys import KeyDefaults, Target, parse_argument

_RELATIVE_ID = re.compile("#([0-9]{1,18})|([0-9]{1,7})")


def parse_session(defaults: KeyDefaults, key: str, session: str | None = None) -> tuple[Target, str | None]:
    """Return the suite of a key, and the name of a session; None if neither `key` nor `session` names one."""
    target, in_key = defaults.parse_target(key), None
    if "://" in key and isinstance(target, SuiteKey):
        target, in_key = parse_argument(parse_session_url, key)
    if session is None:
        return target, in_key
    if in_key is not None:
        raise ConfigError(f"two sessions: {key!r} is the URL of one, so leave out {session!r}")
    return target, parse_session_of(target, session)


def parse_session_of(suite: Target, text: str) -> str:
    """Return the name of a session of a suite. `text` is that, or the URL of the session."""
    if "://" not in text:
        return text
    key, session = parse_argument(parse_session_url, text)
    if key != suite or session is None:
        raise ConfigError(
            f"not a session of {'/'.join(suite)}: {text!r}; write its relative_id or ID, or paste its URL"
        )
    return session


def relative_id_of(name: str) -> int | None:
    """Return the relative_id that a name is: `#383`, or at most seven digits; None for another name."""
    match = _RELATIVE_ID.fullmatch(name)
    return None if match is None else int(match[1] or match[2])
