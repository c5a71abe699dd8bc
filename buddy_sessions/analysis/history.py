"""What one test did in the commits of a branch."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from itertools import takewhile

from attrs import frozen

from ..errors import ConfigError
from ..models import Session, TestCase, TestKey, sort_key
from .commits import TestedCommit
from .same_tests import form_of, strip_ids

_NAMED = 10
"""The maximum number of tests that an error names."""


@frozen(kw_only=True)
class TestOutcome:
    """The outcome of a test in a commit.

    Attributes:
        commit: The commit.
        session: The newest session in which it failed; or else that of the commit.
        case: What it did there; None if only failing tests were read, and it is none of them: it did not fail.
    """

    __test__ = False  # pytest must not collect it

    commit: TestedCommit
    session: Session
    case: TestCase | None

    @property
    def is_failing(self) -> bool:
        """Whether the test failed or ended with an error."""
        return self.case is not None and self.case.is_failing


@frozen(kw_only=True)
class TestHistory:
    """The outcomes of a test in the commits of a branch.

    Attributes:
        key: The test.
        branch: The branch.
        outcomes: What it did in each commit, newest first. They end where it began to fail, if that is longer ago.
        may_have_older: Whether there may be older commits that were not read.
        unread: Red sessions whose failing tests cannot be read completely: their commits are left out.
    """

    __test__ = False

    key: TestKey
    branch: str
    outcomes: Sequence[TestOutcome]
    may_have_older: bool
    unread: Sequence[Session] = ()

    @property
    def is_failing(self) -> bool | None:
        """Whether the test fails now; None if that is not known."""
        return self.outcomes[0].is_failing if self.outcomes else None

    @property
    def streak(self) -> list[TestOutcome]:
        """The newest commits in which it did the same, newest first."""
        return list(takewhile(lambda outcome: outcome.is_failing == self.is_failing, self.outcomes))

    @property
    def before(self) -> TestOutcome | None:
        """What it did in the commit before the streak; None if that is not known."""
        older = self.outcomes[len(self.streak) :]
        return older[0] if older else None


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

    If there is none, the note says what was searched. `kind` is that of the keys.
    """
    matches = find_tests(keys, text)
    if len(matches) == 1:
        return matches[0]
    if not matches:
        error = ConfigError(f"no test is named {str(text)!r}: write a part of the name that is shown")
        error.add_note(f"searched: {searched}")
        raise error
    more = f"; the first {_NAMED} are" if len(matches) > _NAMED else ""
    error = ConfigError(f"{text!r} fits {len(matches):,} {kind}: write more of the name{more}")
    for key in sorted(matches, key=sort_key)[:_NAMED]:
        error.add_note(str(key))
    raise error
