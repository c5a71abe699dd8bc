"""Tests that may fail until a day."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from fnmatch import translate

from attrs import frozen

from ..errors import ConfigError
from ..models import TestKey
from .same_tests import strip_ids

_FIELDS = ("name", "until", "reason", "exact")


@frozen
class QuarantinedTest:
    """Tests whose failures are excused until a day.

    Attributes:
        pattern: The tests: the text of a key, such as `tests/test_cart.py > CartTest > adds_discount`. `*` stands for
            any text, `?` for any character.
        until: The last day on which they are excused.
        reason: Why they fail.
        exact: Whether `*` and `?` stand for themselves.
    """

    pattern: str
    until: date
    reason: str | None = None
    exact: bool = False

    def matches(self, key: TestKey) -> bool:
        """Return whether this is the test with that key."""
        return _compile(self).match(str(key)) is not None


def _compile(entry: QuarantinedTest) -> re.Pattern[str]:
    """Return the pattern of an entry: "[" stands for itself, because names of parametrised tests have it."""
    return re.compile(rf"{re.escape(entry.pattern)}\Z" if entry.exact else translate(entry.pattern.replace("[", "[[]")))


def validate_quarantine(entries: Sequence[QuarantinedTest]) -> Sequence[QuarantinedTest]:
    """Return the entries of a quarantine. Passing the name or the text of the file is a common mistake."""
    if not isinstance(entries, Sequence) or not all(isinstance(each, QuarantinedTest) for each in entries):
        raise ConfigError(f"quarantine must be a list of QuarantinedTest, as of parse_quarantine, not {entries!r}")
    return entries


def find_entries(
    quarantine: Sequence[QuarantinedTest], keys: Iterable[TestKey]
) -> dict[TestKey, list[QuarantinedTest]]:
    """Return the entries that match a test, in their order, for each test that has some.

    An entry that matches no whole name matches one without its random ids.
    """
    patterns = [(entry, _compile(entry)) for entry in quarantine]
    texts = {key: str(key) for key in keys}
    matches = {key: [entry for entry, pattern in patterns if pattern.match(text)] for key, text in texts.items()}
    matches = {key: entries for key, entries in matches.items() if entries}
    used = {id(entry) for entries in matches.values() for entry in entries}
    forms: dict[str, list[QuarantinedTest]] = {}
    for entry in quarantine:
        form = strip_ids(entry.pattern)
        if form != entry.pattern and id(entry) not in used:
            forms.setdefault(form, []).append(entry)
    rest = {key: strip_ids(text) for key, text in texts.items() if key not in matches}
    return matches | {key: forms[form] for key, form in rest.items() if form in forms}


def unneeded_entries(
    quarantine: Sequence[QuarantinedTest], matches: Mapping[TestKey, Sequence[QuarantinedTest]], day: date
) -> tuple[list[QuarantinedTest], list[QuarantinedTest]]:
    """Return the entries whose last day is over, of those in `matches` of `find_entries`; and those that match none."""
    matching = {id(entry) for entries in matches.values() for entry in entries}
    expired = [entry for entry in quarantine if id(entry) in matching and entry.until < day]
    return expired, [entry for entry in quarantine if id(entry) not in matching]


def parse_quarantine(text: str) -> list[QuarantinedTest]:
    """Return the entries of a quarantine file, in their order.

    Args:
        text: The content of the file: TOML, with one `[[test]]` for each entry. It has a `name` (`pattern` of a
            `QuarantinedTest`), a day `until`, and perhaps a `reason`, and `exact`.

    Raises:
        ConfigError: The text is not TOML, or an entry lacks a field, or has an unknown or an invalid one.

    Example:
        >>> (entry,) = parse_quarantine('''
        ... [[test]]
        ... name = "tests/test_cart.py > *"
        ... until = 2026-12-31
        ... reason = "SHOP-17"
        ... ''')
        >>> entry.matches(TestKey("tests/test_cart.py", "CartTest", "adds_discount")), str(entry.until)
        (True, '2026-12-31')
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the quarantine is not valid TOML: {error}") from None
    entries = document.pop("test", [])
    if document or not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        wrong = f"not {', '.join(map(repr, document))}" if document else "not a single table"
        raise ConfigError(f"the quarantine must consist of [[test]] entries, {wrong}: write [[test]] before each test")
    return [_read_entry(number, entry) for number, entry in enumerate(entries, 1)]


def format_quarantine(entries: Iterable[QuarantinedTest]) -> str:
    """Return the text of a file with these entries, as `parse_quarantine` reads it."""
    return "\n".join(
        f"[[test]]\nname = {_toml_text(entry.pattern)}\n"
        + ("exact = true\n" if entry.exact else "")
        + f"until = {entry.until}\n"
        + (f"reason = {_toml_text(entry.reason)}\n" if entry.reason is not None else "")
        for entry in entries
    )


def _toml_text(text: str) -> str:
    """Return a text as TOML writes it: as in JSON, but TOML also forbids the control character DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _read_entry(number: int, entry: dict[str, object]) -> QuarantinedTest:
    """Return the entry with this number: 1 is the first one."""
    name, until, reason, exact = map(entry.get, _FIELDS)
    where = f"quarantine: [[test]] number {number}" + (f" ({name!r})" if name else "")
    if unknown := [field for field in entry if field not in _FIELDS]:
        raise ConfigError(f"{where} has an unknown field {unknown[0]!r}: use {', '.join(_FIELDS)}")
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{where} needs a name: the text of a test's key, with * for any text")
    if not isinstance(until, date) or isinstance(until, datetime):
        wrong = f", not {str(until)!r}" if until is not None else ""
        raise ConfigError(
            f"{where} needs a day until which it may fail{wrong}: write until = 2026-12-31, without quotes"
        )
    if reason is not None and not isinstance(reason, str):
        raise ConfigError(f"{where}: reason must be a text, not {reason!r}")
    if exact is not None and not isinstance(exact, bool):
        raise ConfigError(f"{where}: exact must be true or false, not {exact!r}")
    return QuarantinedTest(name, until, reason, exact=bool(exact))
