"""Names with random ids: which failing tests are the same in another session."""

from __future__ import annotations

import pytest

from buddy_sessions import TestKey
from buddy_sessions.analysis.same_tests import match_tests, same_key, strip_ids


def keys(text: str) -> set[TestKey]:
    return {TestKey("a.test.js", None, name) for name in text.split()}


def names(tests: set[TestKey]) -> str:
    return " ".join(sorted(test.name for test in tests))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("loads 1b4e28ba-2fa1-11d2-883f-0016d3cca427", "loads …"),
        ("loads user_3f2a9c1b once", "loads user_… once"),
        ("parses[2024-02-29T10:00:00.5Z]", "parses[…]"),
        ("parses 2024-02-29 10:00", "parses …"),
        ("at 0x7ffd5e8c1a20", "at …"),
        *[(name, name) for name in ("adds 12345678", "facade", "deadbee", "2024-02-29", "x3f2a9c1b0", "effective")],
    ],
)
def test_ids(name: str, expected: str) -> None:
    assert strip_ids(name) == expected


@pytest.mark.parametrize(
    ("sessions", "commits", "expected"),
    [
        pytest.param(["pays"], [["pays"]], ["pays"], id="whole names"),
        pytest.param(["a[3f2a9c1b]"], [["a[77d0e4f2]"]], ["a[3f2a9c1b]"], id="another id"),
        pytest.param(["a[3f2a9c1b]"], [["b[77d0e4f2]"]], [""], id="another test"),
        pytest.param(["a[3f2a9c1b] a[5f2a9c1b]"], [["a[77d0e4f2]"]], ["a[3f2a9c1b]"], id="one matches one"),
        pytest.param(["a[3f2a9c1b] a[5f2a9c1b]"], [["a[77d0e4f2]", "a[8]"]], ["a[3f2a9c1b]"], id="of one session"),
        pytest.param(["a[3f2a9c1b]", "a[5f2a9c1b]"], [["a[77d0e4f2]"]], ["a[3f2a9c1b] a[5f2a9c1b]"], id="two jobs"),
        pytest.param(
            ["p[2024-03-10T02:00]"],
            [["p[2024-02-29T02:00]"], ["p[2024-02-29T02:00]"]],
            ["", ""],
            id="a name of two sessions has fixed parameters",
        ),
        pytest.param(
            ["p[2024-03-10T02:00] p[2024-02-29T02:00]"],
            [["p[2024-02-29T02:00]"]],
            ["p[2024-02-29T02:00]"],
            id="a whole name is matched first",
        ),
    ],
)
def test_match(sessions: list[str], commits: list[list[str]], expected: list[str]) -> None:
    found = match_tests(list(map(keys, sessions)), [list(map(keys, commit)) for commit in commits])
    assert list(map(names, found)) == expected


def test_names_of_one_test() -> None:
    """A name of several sessions has fixed parameters."""
    (name,) = keys("a-3f2a9c1b")
    assert [same_key(name, {name: count}).name for count in (0, 1, 2)] == ["a-…", "a-…", "a-3f2a9c1b"]
