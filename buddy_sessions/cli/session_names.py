"""The sessions that arguments name: by ID, by number, or by URL."""

from __future__ import annotations

from buddy_sessions import ConfigError, SuiteKey, parse_session_url

from .keys import KeyDefaults, parse_argument


def parse_session(defaults: KeyDefaults, key: str, session: str | None) -> tuple[SuiteKey, str | None]:
    """Return the suite of a key, and the ID or number of a session; None if neither `key` nor `session` names one.

    Raises ConfigError if the key is invalid, or if both name a session.
    """
    suite, in_key = parse_argument(parse_session_url, key) if "://" in key else (defaults.parse_suite(key), None)
    if session is None:
        return suite, in_key
    if in_key is not None:
        raise ConfigError(f"two sessions: {key!r} is the URL of one, so leave out {session!r}")
    return suite, parse_session_of(suite, session)


def parse_session_of(suite: SuiteKey, text: str) -> str:
    """Return the ID or number of a session of a suite. `text` is that, or the URL of the session.

    Raises ConfigError if it is another URL.
    """
    if "://" not in text:
        return text
    key, session = parse_argument(parse_session_url, text)
    if key != suite or session is None:
        raise ConfigError(f"not a session of {suite}: {text!r}; write its ID or number, or paste its URL")
    return session
