from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import ConfigError, QuarantinedTest, TestKey, parse_quarantine

ENTRY = '[[test]]\nname = "pays"\nuntil = 2026-12-31\n'


def test_entries_keep_their_order() -> None:
    assert parse_quarantine(f'{ENTRY}{ENTRY}reason = "SHOP-17"\n') == [
        QuarantinedTest("pays", date(2026, 12, 31)),
        QuarantinedTest("pays", date(2026, 12, 31), "SHOP-17"),
    ]
    assert parse_quarantine("# none\n") == []


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
        (f'{ENTRY}resaon = "SHOP-17"', r"'pays'.* unknown field 'resaon': use name, until, reason"),
    ],
)
def test_invalid_file_is_rejected(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_quarantine(text)
    assert "\n" not in str(caught.value)


@given(st.text(alphabet="[]ap= \n\"'2-") | st.text())
def test_any_text_is_parsed_or_rejected(text: str) -> None:
    try:
        entries = parse_quarantine(text)
    except ConfigError:
        return
    assert entries == []


@pytest.mark.parametrize(
    ("pattern", "is_match"),
    [
        ("tests/test_cart.py > CartTest > adds[1-2]", True),
        ("tests/test_cart.py > *", True),
        ("*adds[1-?]", True),
        ("*adds[*]", True),
        ("*", True),
        ("adds[1-2]", False),
        ("tests/test_cart.py", False),
        ("*adds1", False),
        ("*Adds*", False),
    ],
)
def test_pattern_is_compared_with_the_whole_key(pattern: str, is_match: bool) -> None:
    """Brackets stand for themselves, because the names of parametrised tests have them."""
    entry = QuarantinedTest(pattern, date.max)
    assert entry.matches(TestKey("tests/test_cart.py", "CartTest", "adds[1-2]")) is is_match
