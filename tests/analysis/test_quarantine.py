from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import ConfigError, TestKey, parse_quarantine
from buddy_sessions.analysis import QuarantinedTest
from buddy_sessions.analysis.quarantine import find_entries, format_quarantine, unneeded_entries

TODAY = date(2026, 11, 27)


def entry(pattern: str, *, days: int = 1) -> QuarantinedTest:
    return QuarantinedTest(pattern, TODAY + timedelta(days))


def keys(*names: str) -> list[TestKey]:
    return [TestKey(None, None, name) for name in names]


@pytest.mark.parametrize(
    ("days", "is_excused"), [(1, True), (0, True), (-1, False)], ids=["tomorrow", "today", "yesterday"]
)
def test_quarantine_excuses_until_the_end_of_its_last_day(days: int, is_excused: bool) -> None:
    entries = [entry("pa*", days=days)]
    assert unneeded_entries(entries, find_entries(entries, keys("pays")), TODAY) == ([] if is_excused else entries, [])


def test_entries_that_match_no_failing_test_are_unused() -> None:
    entries = [entry("sells"), entry("adds", days=-1), entry("pays"), entry("*")]
    found = find_entries(entries, keys("pays"))
    assert found == {keys("pays")[0]: entries[2:]}
    assert unneeded_entries(entries, found, TODAY) == ([], entries[:2])


def test_entry_with_a_random_id() -> None:
    """It matches a name with another id; unless it matches a whole name."""
    entries = [entry("loads user 3f2a9c1b")]
    assert find_entries(entries, keys("loads user 77d0e4f2")) == {keys("loads user 77d0e4f2")[0]: entries}
    names = "loads user 77d0e4f2", "loads user 3f2a9c1b"
    assert list(find_entries(entries, keys(*names))) == keys(names[1])
    assert find_entries([entry("loads user …")], keys(names[0])) == {}  # it has no id: the text is as it is


encodable = st.text(st.characters(codec="utf-8"))

ENTRY = '[[test]]\nname = "pays"\nuntil = 2026-12-31\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[test]\n", r"not valid TOML: .*line 1"),
        ('[[tests]]\nname = "pays"', r"\[\[test\]\] entries, not 'tests'"),
        ('[test]\nname = "pays"', r"\[\[test\]\] entries, not a single table: write \[\[test\]\]"),
        ('test = ["pays"]', r"write \[\[test\]\]"),
        ("[[test]]\nuntil = 2026-12-31", r"\[\[test\]\] number 1 needs a name"),
        ('[[test]]\nname = ""\nuntil = 2026-12-31', r"number 1 needs a name"),
        ("[[test]]\nname = 7\nuntil = 2026-12-31", r"number 1 \(7\) needs a name"),
        (f'{ENTRY}[[test]]\nname = "sells"', r"number 2 \('sells'\) needs a day .*: write until = 2026-12-31"),
        ('[[test]]\nname = "pays"\nuntil = "2026-12-31"', r"'pays'.* not '2026-12-31': .*without quotes"),
        ('[[test]]\nname = "pays"\nuntil = 2026-12-31T10:00:00', r"'pays'.* not '2026-12-31 10:00:00'"),
        ('[[test]]\nname = "pays"\nuntil = 2026-13-31', r"not valid TOML: .*line 3"),
        (f"{ENTRY}reason = 17", r"'pays'.*reason must be a text, not 17"),
        (f"{ENTRY}exact = 1", r"'pays'.* exact must be true or false, not 1"),
        (f'{ENTRY}resaon = "SHOP-17"', r"'pays'.* unknown field 'resaon': use name, until, reason"),
    ],
)
def test_invalid_file_is_rejected(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_quarantine(text)
    assert "\n" not in str(caught.value)


@given(st.lists(st.builds(QuarantinedTest, encodable.filter(bool), st.dates(), st.none() | encodable, st.booleans())))
def test_entries_are_read_as_they_are_written(entries: list[QuarantinedTest]) -> None:
    assert parse_quarantine(format_quarantine(entries)) == entries


@pytest.mark.parametrize(
    ("pattern", "exact", "is_match"),
    [
        ("tests/test_cart.py > CartTest > adds[1-2]", False, True),
        ("tests/test_cart.py > *", False, True),
        ("*adds[1-?]", False, True),
        ("*adds[*]", False, True),
        ("adds[1-2]", False, False),
        ("tests/test_cart.py", False, False),
        ("*Adds*", False, False),
        ("tests/test_cart.py > CartTest > adds[1-2]", True, True),
        ("tests/test_cart.py > CartTest > adds[1-?]", True, False),
    ],
)
def test_pattern_is_compared_with_the_whole_key(pattern: str, exact: bool, is_match: bool) -> None:
    """Brackets stand for themselves, because the names of parametrised tests have them."""
    key = TestKey("tests/test_cart.py", "CartTest", "adds[1-2]")
    assert QuarantinedTest(pattern, date.max, exact=exact).matches(key) is is_match
    assert bool(find_entries([QuarantinedTest(pattern, date.max, exact=exact)], [key])) is is_match
