from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import (
    BaselineComparison,
    ConfigError,
    QuarantinedTest,
    TestKey,
    compare_to_baseline,
    parse_quarantine,
)
from buddy_sessions.analysis.baseline import format_quarantine
from helpers.case_histories import Run, case, history, names, runs_of_cases, sequences_of_runs

LISTS = ("new", "known", "flaky", "quarantined")
TODAY = date(2026, 11, 27)


def lists_of(comparison: BaselineComparison) -> dict[str, list[str]]:
    """Return the names of the tests in the lists that are not empty."""
    return {name: names(found) for name in LISTS if (found := getattr(comparison, name))}


def entry(pattern: str, *, days: int = 1) -> QuarantinedTest:
    return QuarantinedTest(pattern, TODAY + timedelta(days))


@pytest.mark.parametrize(
    ("baseline", "status", "verdict", "failed_in"),
    [
        ("PPP", "F", "new", 0),
        ("PSTP", "E", "new", 0),
        ("", "F", "new", 0),
        ("   ", "F", "new", 0),
        ("PPF", "F", "known", 1),
        ("FEE", "F", "known", 3),
        ("FPF", "E", "known", 2),
        ("FPP", "F", "flaky", 1),
        ("FES", "F", "flaky", 2),
        ("FF ", "F", "flaky", 2),
        ("FFF", "P", None, 0),
        ("FFF", "S", None, 0),
        ("FFF", "T", None, 0),
    ],
)
def test_verdict_of_a_test(baseline: str, status: str, verdict: str | None, failed_in: int) -> None:
    """The baseline is written oldest session first."""
    comparison = compare_to_baseline(history(baseline), [case(status)])
    assert lists_of(comparison) == ({verdict: ["pays"]} if verdict else {})
    assert comparison.failed_in == ({TestKey(None, None, "pays"): failed_in} if verdict else {})


@pytest.mark.parametrize("baseline", ["P", "F", "FP"])
@pytest.mark.parametrize(
    ("days", "is_excused"), [(1, True), (0, True), (-1, False)], ids=["tomorrow", "today", "yesterday"]
)
def test_quarantine_excuses_until_the_end_of_its_last_day(baseline: str, days: int, is_excused: bool) -> None:
    entries = [entry("pa*", days=days)]
    comparison = compare_to_baseline(history(baseline), [case("F")], quarantine=entries, today=TODAY)
    assert (lists_of(comparison) == {"quarantined": ["pays"]}) is is_excused
    assert comparison.expired == ([] if is_excused else entries)
    assert comparison.unused == []


def test_day_is_today_in_utc() -> None:
    today = datetime.now(UTC).date()
    entries = [QuarantinedTest("pays", today + timedelta(1)), QuarantinedTest("sells", today - timedelta(1))]
    comparison = compare_to_baseline([], [case("F"), case("F", "sells")], quarantine=entries)
    assert lists_of(comparison) == {"new": ["sells"], "quarantined": ["pays"]}
    assert comparison.expired == entries[1:]


def test_entries_that_no_failing_test_matches_are_unused() -> None:
    entries = [entry("sells"), entry("adds", days=-1), entry("pays"), entry("*")]
    comparison = compare_to_baseline([], [case("F"), case("P", "sells")], quarantine=iter(entries), today=TODAY)
    assert (comparison.expired, comparison.unused) == ([], entries[:2])


def test_sessions_of_one_commit_are_judged_together() -> None:
    """A test fails if it fails in one of them. It is listed once, with its worst case."""
    sessions = [case("F", id="1"), case("E", id="2"), case("P", id="3"), case("P", "adds"), case("F", "adds")]
    comparison = compare_to_baseline(history("P"), sessions)
    assert [(listed.name, listed.id) for listed in comparison.new] == [("adds", "adds"), ("pays", "2")]


entries_of_any_day = st.lists(
    st.builds(entry, st.sampled_from(["a", "b", "g > *", "*", "x"]), days=st.integers(-1, 1)), max_size=4
)


@given(sequences_of_runs, runs_of_cases, entries_of_any_day)
def test_each_failing_test_has_one_verdict(baseline: list[Run], new: Run, quarantine: list[QuarantinedTest]) -> None:
    arguments: dict[str, Any] = {"quarantine": quarantine, "today": TODAY}
    comparison = compare_to_baseline(baseline, new, **arguments)
    failing = {one.key for one in new if one.is_failing}
    listed = [one.key for name in LISTS for one in getattr(comparison, name)]
    assert sorted(listed, key=repr) == sorted(failing, key=repr)
    assert comparison.failed_in.keys() == failing
    assert {one.key for one in comparison.new} <= {key for key, count in comparison.failed_in.items() if not count}
    only_failing = [[one for one in run if one.is_failing] for run in [*baseline, new]]
    assert compare_to_baseline(only_failing[:-1], iter(only_failing[-1]), **arguments) == comparison


encodable = st.text(st.characters(codec="utf-8"))

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


def test_exact_name_matches_only_itself() -> None:
    entry = QuarantinedTest("adds[1*?]", date.max, exact=True)
    assert [name for name in ("adds[1*?]", "adds[1*2]") if entry.matches(TestKey(None, None, name))] == ["adds[1*?]"]


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


def test_large_quarantine_is_fast() -> None:
    """200 entries, 10,000 failing tests: about a second (20 seconds if each entry makes the text of each key)."""
    failing = [case("F", f"test number {number} of the cart") for number in range(10_000)]
    entries = [entry(f"test *number {number}? of*") for number in range(200)]
    start = process_time()
    comparison = compare_to_baseline([], failing, quarantine=entries, today=TODAY)
    assert process_time() - start < 4
    assert len(comparison.quarantined) == 1990
    assert comparison.excused_by[comparison.quarantined[0].key] in entries
