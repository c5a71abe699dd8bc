"""Tests that may fail for a while, from a TOML file."""

from __future__ import annotations

import tomllib
from datetime import date, datetime
from fnmatch import fnmatchcase

from attrs import frozen

from ..errors import ConfigError
from ..models import TestKey

_FIELDS = ("name", "until", "reason")


@frozen
class QuarantinedTest:
    """Tests whose failures are excused until a day.

    Attributes:
        pattern: The tests: the text of a key, such as `tests/test_cart.py > CartTest > adds_discount`. `*` stands for
            any text, `?` for any character.
        until: The last day on which they are excused.
        reason: Why they fail.
    """

    pattern: str
    until: date
    reason: str | None = None

    def matches(self, key: TestKey) -> bool:
        """Return whether this is the test with that key."""
        return fnmatchcase(str(key), self.pattern.replace("[", "[[]"))  # names of parametrised tests contain brackets


def parse_quarantine(text: str) -> list[QuarantinedTest]:
    """Return the entries of a quarantine file, in their order.

    Args:
        text: The content of the file: TOML, with one `[[test]]` for each entry. It has a `name` (`pattern` of a
            `QuarantinedTest`), a day `until`, and perhaps a `reason`.

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
        found = f"not {', '.join(map(repr, document))}" if document else "not a single table"
        raise ConfigError(f"the quarantine must consist of [[test]] entries, {found}: write [[test]] before each test")
    return [_read_entry(number, entry) for number, entry in enumerate(entries, 1)]


def _read_entry(number: int, entry: dict[str, object]) -> QuarantinedTest:
    """Return the entry with that number, from 1."""
    name, until, reason = map(entry.get, _FIELDS)
    where = f"quarantine: [[test]] number {number}" + (f" ({name!r})" if name else "")
    if unknown := [field for field in entry if field not in _FIELDS]:
        raise ConfigError(f"{where} has an unknown field {unknown[0]!r}: use {', '.join(_FIELDS)}")
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{where} needs a name: the text of a test's key, with * for any text")
    if not isinstance(until, date) or isinstance(until, datetime):
        found = f", not {str(until)!r}" if until is not None else ""
        raise ConfigError(
            f"{where} needs a day until which it may fail{found}: write until = 2026-12-31, without quotes"
        )
    if reason is not None and not isinstance(reason, str):
        raise ConfigError(f"{where}: reason must be a text, not {reason!r}")
    return QuarantinedTest(name, until, reason)
