"""Which tests are the same: in other sessions, if their names contain random ids, and those that a text names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches

from ..errors import ConfigError, NoVerdictError
from ..models import TestCase, TestKey, sort_key

_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_HEX = r"(?:0x)?(?=[0-9]*[a-fA-F])[0-9a-fA-F]{8,}"
_ID = re.compile(rf"(?<![0-9A-Za-z])(?:{_DATE}|{_UUID}|{_HEX})(?![0-9A-Za-z])")
_MAX_NAMED = 10
"""The maximum number of tests that an error names."""


def strip_ids(text: str) -> str:
    """Return a text with … in place of UUIDs, long hexadecimal numbers and ISO times."""
    return _ID.sub("…", text)


def form_of(key: TestKey) -> TestKey | None:
    """Return a key without ids; None if it has none."""
    form = TestKey(key.group and strip_ids(key.group), key.classname and strip_ids(key.classname), strip_ids(key.name))
    return None if form == key else form


def match_tests(
    sessions: Sequence[Collection[TestKey]], commits: Sequence[Sequence[Collection[TestKey]]]
) -> list[set[TestKey]]:
    """Return for each commit which failing tests of these sessions failed in it, too.

    Names are compared whole, and without ids for what no whole name matches: each failing test of one session of the
    commit matches one of each of these sessions. A name that two sessions share has fixed parameters, and is never
    matched so.
    """
    counts = Counter(key for keys in [*sessions, *(each for commit in commits for each in commit)] for key in set(keys))

    def random_forms(keys: Collection[TestKey]) -> list[tuple[TestKey, TestKey]]:
        once = sorted((key for key in keys if counts[key] == 1), key=sort_key)
        return [(key, form) for key in once if (form := form_of(key)) is not None]

    numbered: list[tuple[TestKey, TestKey, int]] = []
    for keys in sessions:
        seen: Counter[TestKey] = Counter()
        for key, form in random_forms(keys):
            seen[form] += 1
            numbered.append((key, form, seen[form]))
    matches: list[set[TestKey]] = []
    for commit in commits:
        failed = {key for keys in commit for key in keys}
        most: Counter[TestKey] = Counter()
        for keys in commit if numbered else ():
            most |= Counter(form for _, form in random_forms(keys))
        whole = {key for keys in sessions for key in keys if key in failed}
        matches.append(whole | {key for key, form, number in numbered if number <= most[form]})
    return matches


def same_key(key: TestKey, sessions: Mapping[TestKey, int]) -> TestKey:
    """Return what the names of one test have in common: all but random ids.

    `sessions` says in how many sessions each name failed: one of several has fixed parameters, and no ids.
    """
    return (form_of(key) if sessions.get(key, 0) <= 1 else None) or key


def without_same(cases: Iterable[TestCase], others: Iterable[TestCase]) -> tuple[TestCase, ...]:
    """Return the cases of the tests that are not among the others."""
    own = tuple(cases)
    (same,) = match_tests([{case.key for case in own}], [[{case.key for case in others}]])
    return tuple(case for case in own if case.key not in same)


def is_whole_name(key: TestKey, text: TestKey | str) -> bool:
    """Return whether a text is the name of a test, or its whole key, and not a part of it."""
    if isinstance(text, TestKey):
        return key == text or form_of(key) == (form_of(text) or text)
    return " ".join(text.split()) in {" ".join(name.split()) for name in (str(key), key.name)}


def find_tests(keys: Collection[TestKey], text: TestKey | str) -> list[TestKey]:
    """Return the tests that a text names: those with this key or name, or else those whose keys contain it.

    White space of any length is one space, as where names are shown. In a part, upper and lower case are the same, and
    … stands for any text, because the middle of a long name is not shown. If no name fits, random ids are left out.
    """
    keys = list(keys)
    if isinstance(text, TestKey):
        return [key for key in keys if key == text] or [key for key in keys if form_of(key) == (form_of(text) or text)]
    if exact := [key for key in keys if is_whole_name(key, text)]:
        return exact
    names = {key: " ".join(str(key).split()) for key in keys}
    wanted = " ".join(text.split())
    part = re.compile(".*".join(map(re.escape, wanted.split("…", 1))), re.IGNORECASE)
    return [key for key, name in names.items() if part.search(name)] or [
        key for key, name in names.items() if strip_ids(wanted) != wanted and strip_ids(wanted) in strip_ids(name)
    ]


def find_test(keys: Collection[TestKey], text: TestKey | str, *, searched: str, kind: str = "failing tests") -> TestKey:
    """Return the only test that a text names. Raises ConfigError, with the names as notes, if there are several.

    If there is none, NoVerdictError: its notes name a similar test, and what was searched. `kind` is that of the keys.
    """
    matches = find_tests(keys, text)
    if len(matches) == 1:
        return matches[0]
    if not matches:
        advice = "pass a part of the name that is shown as {test}"
        missing = NoVerdictError(f"no test is named {str(text)!r}", advice=advice)
        names = {name.casefold(): key for key in keys for name in (str(key), key.name)}
        for name in get_close_matches(str(text).casefold(), names, n=1):
            missing.add_note(f"did you mean {names[name]}?")
        missing.add_note(f"searched: {searched}")
        raise missing
    more = f", the first {_MAX_NAMED} of which are below" if len(matches) > _MAX_NAMED else ""
    error = ConfigError(f"{text!r} fits {len(matches):,} {kind}{more}", advice="pass more of the name as {test}")
    for key in sorted(matches, key=sort_key)[:_MAX_NAMED]:
        error.add_note(str(key))
    raise error
