"""Checks of arguments, and of installed extras: each function returns what is valid, or raises `ConfigError`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar, get_args
from urllib.parse import unquote

from ..errors import ConfigError
from ..models import Cursor, Session, SessionRef, Suite, SuiteKey, SuiteRef, TestCase, TestStatus, parse_session_url

_S = TypeVar("_S")
_T = TypeVar("_T")
_Suites = TypeVar("_Suites")

LATEST = "latest"
"""The name of the commit that says whether a branch is red."""
REVISION = re.compile("[0-9a-fA-F]{7,64}")
"""The hash of a commit, or its beginning."""


def validate_suite(suite: SuiteRef) -> SuiteKey:
    """Return the key of a suite. Of a URL, only the names are used, never its host."""
    if isinstance(suite, SuiteKey):
        return suite
    if isinstance(suite, Suite):
        return suite.key
    if not isinstance(suite, str):
        raise ConfigError(f"not a suite: {suite!r}; pass a Suite, its key, 'workspace/project/suite_id' or a URL")
    try:
        return SuiteKey.parse(suite)
    except ValueError as error:
        text, names = str(error), suite.split("/")
        if len(names) == 2 and all(names):
            text = f"a project, not a suite: {suite!r}; pass those of buddy.suites{(*names,)}"
        raise ConfigError(text) from None


def validate_key(suite: SuiteRef) -> SuiteKey:
    """Return the key of a suite, whose names can be sent in a URL."""
    key = validate_suite(suite)
    for what, name in zip(SuiteKey._fields, key, strict=True):
        validate_name(what, name)
    return key


def validate_name(what: str, name: str) -> str:
    """Return a name that stays one segment of a URL's path, even if a proxy decodes it twice."""
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{what} must be a name, not {name!r}")
    for text in (name, unquote(name)):
        is_path = text in {".", ".."} or "/" in text or "\\" in text or text[1:] == ":"  # C: is a drive
        if is_path or not text.isprintable():
            raise ConfigError(f"{what} {name!r} is not a valid name: it cannot be one segment of a URL's path")
    return name


def validate_session(session: Session | str) -> str:
    """Return the ID of a session, which can be sent in a URL."""
    return validate_name("session", session.id if isinstance(session, Session) else session)


def validate_session_ref(session: SessionRef, suite: SuiteKey) -> Session | str | int:
    """Return a session of a suite, or its ID, or its `relative_id`. An ID can be sent in a URL."""
    if session == LATEST:
        raise ConfigError(
            f"{LATEST!r} is a commit, not one session: ask judge or tests, or pass a relative_id, id or URL"
        )
    if isinstance(session, int):
        return validate_int("session", session)
    if isinstance(session, Session):
        validate_session(session)
        return session
    if not isinstance(session, str):
        raise ConfigError(f"not a session: a {type(session).__name__}; pass a Session, its relative_id, id or URL")
    if "://" in session:
        key, session_id = validate_suite(session), parse_session_url(session)[1]
        if key != suite or session_id is None:
            raise ConfigError(f"not a session of {suite}: {session!r}; pass its relative_id, id or URL")
        return validate_name("session", session_id)
    match = re.fullmatch("#([1-9][0-9]{0,17})", session)
    return int(match[1]) if match else validate_name("session", session)


def validate_case(case: TestCase) -> tuple[str, str]:
    """Return the IDs of the group and of the test case. They can be any text, because a client quotes them."""
    if not isinstance(case, TestCase):
        raise ConfigError(f"not a test case: {case!r}; pass a TestCase, such as one of client.cases")
    if not case.id or not case.test_group_id:
        raise ConfigError(f"the test case {case.name!r} has no id or no test_group_id: list the cases again")
    return validate_utf8("case.test_group_id", case.test_group_id), validate_utf8("case.id", case.id)


def validate_status(status: TestStatus | str | None) -> TestStatus | None:
    """Return a status of test cases. Buddy may add some, so any name in upper case is accepted."""
    if status is None:
        return None
    if not isinstance(status, str) or not status or status != status.upper():
        raise ConfigError(f"status must be a TestStatus, such as {', '.join(TestStatus)}, not {status!r}")
    return TestStatus(validate_utf8("status", status))


def validate_word(name: str, value: _T, words: object) -> _T:
    """Return one of the words of a `Literal`. `name` is that of the argument."""
    if value not in get_args(words):
        raise ConfigError(f"{name} must be {' or '.join(map(repr, get_args(words)))}, not {value!r}")
    return value


def validate_group(text: str) -> tuple[str, str | None]:
    """Return the workspace and the project, or None, that a text names in place of a list of suites."""
    names = text.split("/")
    if len(names) > 2:
        raise ConfigError(
            f"suites must be a list of suites, or the text 'workspace' or 'workspace/project', not {text!r}"
        )
    for what, name in zip(SuiteKey._fields, names, strict=False):
        validate_name(what, name)
    return names[0], names[1] if len(names) > 1 else None


def validate_suites(suites: _Suites) -> _Suites:
    """Return an iterable of suites, which is not asynchronous. Passing a single suite is a common mistake."""
    if isinstance(suites, str | SuiteKey) or not isinstance(suites, Iterable):
        given = "a Suite: pass [suite]" if isinstance(suites, Suite) else repr(suites)
        raise ConfigError(f"suites must be an iterable of suites, such as a list, not {given}")
    return suites


def validate_branch(branch: str | None, name: str = "branch") -> str | None:
    """Return a branch name that can be sent in a URL, or None for all sessions. `name` is that of the argument."""
    if branch is None:
        return None
    if branch == "*":  # Git forbids it in names
        raise ConfigError(f"{name}: '*' is no branch: pass None for all sessions")
    if not isinstance(branch, str) or not branch:
        raise ConfigError(f"{name} must be the name of a branch, or None for all sessions, not {branch!r}")
    return validate_utf8(name, branch)


def validate_revision(revision: str | None) -> str | None:
    """Return the hash of a commit, or its beginning, in lower case; None for any commit."""
    if revision is None:
        return None
    if not isinstance(revision, str) or not REVISION.fullmatch(revision):
        raise ConfigError(f"revision must be at least 7 digits of the hash of a commit, not {revision!r}")
    return revision.lower()


def validate_run_url(url: str | None) -> str | None:
    """Return the URL of a CI run, or None for any run."""
    if url is not None and (not isinstance(url, str) or "://" not in url):
        raise ConfigError(f"run_url must be the URL of a CI run, not {url!r}")
    return url


def validate_utf8(name: str, text: str) -> str:
    """Return a text that can be encoded in UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{name} {text!r} contains a lone surrogate") from None
    return text


def validate_cursor(cursor: Cursor | None, name: str = "cursor") -> Cursor | None:
    """Return a cursor, or None for the newest session. `name` is that of the argument."""
    if cursor is None:
        return None
    if not isinstance(cursor, Cursor):
        raise ConfigError(f"{name} must be a Cursor, not {cursor!r}; Cursor.parse reads one from text")
    validate_int(f"{name}.lowest_id", cursor.lowest_id)
    validate_int(f"{name}.offset", cursor.offset, minimum=0)
    return cursor


def validate_by_suite(name: str, values: Mapping[Any, _S] | None, check: Callable[[str, _S], _T]) -> dict[SuiteKey, _T]:
    """Return a mapping of suites by their keys, with the checked values. `name` is that of the argument."""
    if values is not None and not isinstance(values, Mapping):
        raise ConfigError(f"{name} must be a mapping, such as {{suite: …}}, not {values!r}")
    checked: dict[SuiteKey, _T] = {}
    for suite, value in (values or {}).items():
        key = validate_key(suite)
        if key in checked:
            raise ConfigError(f"{name} names {key} twice: leave one out")
        checked[key] = check(f"{name} of {key}", value)
    return checked


def validate_since(since: datetime | None, name: str = "since") -> datetime | None:
    """Return an aware time, or None. `name` is that of the argument."""
    if since is not None and (not isinstance(since, datetime) or since.tzinfo is None):
        raise ConfigError(f"{name} must be a datetime with a time zone, such as datetime.now(UTC), not {since!r}")
    return since


def validate_after(after: int | datetime | None) -> int | datetime | None:
    """Return a `relative_id` or an aware time, after which sessions are meant; None for all."""
    if after is None or isinstance(after, datetime):
        return validate_since(after, "after")
    return validate_int("after", after, minimum=0)


def validate_age(name: str, age: timedelta) -> timedelta:
    """Return an age that can be subtracted from the current time."""
    if not isinstance(age, timedelta) or not timedelta() < age < timedelta(days=365_000):
        raise ConfigError(f"{name} must be a timedelta above zero, such as timedelta(days=90), not {age!r}")
    return age


def validate_int(name: str, value: object, *, minimum: int = 1) -> int:
    """Return a whole number that is at least `minimum`."""
    if type(value) is not int or value < minimum:  # a bool is an int, too
        raise ConfigError(f"{name} must be a whole number of at least {minimum}, not {value!r}")
    return value


def validate_seconds(name: str, value: object, *, zero_allowed: bool = False) -> float:
    """Return a number of seconds: finite, and above zero unless zero is allowed."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        is_allowed = math.isfinite(value) and (value > 0 or (value == 0 and zero_allowed))
        if is_allowed:
            return float(value)
    raise ConfigError(f"{name} must be a number of seconds{'' if zero_allowed else ' above 0'}, not {value!r}")


def validate_share(name: str, value: object) -> float:
    """Return a share: a number from 0.0 to 1.0."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise ConfigError(f"{name} must be a number from 0.0 to 1.0, not {value!r}")


def import_extra(name: str, *, extra: str) -> ModuleType:
    """Return the module of a library that `extra` installs. Raises ConfigError if it is not installed, or too old."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"{name.partition('.')[0]} is not installed: run pip install '.[{extra}]' in the clone of buddy_sessions"
        ) from error
