"""Stored sessions: a state of a session with its test cases, which never changes. No HTTP."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from .case_history import CaseHistory
from .cases import Case, group_cases
from .data import Session


@attrs.frozen(eq=False)
class StoredSession(Mapping[str, Any]):
    """A session in the API's JSON, read-only, with its test cases. A change of the session replaces it.

    Attributes:
        listed: The test cases that a test listed, by ID as text; None if they are generated on demand.
    """

    _fields: Session
    listed: Mapping[str, Case] | None = attrs.field(repr=False)
    _history: CaseHistory = attrs.field(repr=False)

    def __getitem__(self, field: str) -> Any:
        return self._fields[field]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def copy(self) -> Session:
        """Return the session as a new dict."""
        return dict(self._fields)

    def cases_by_id(self) -> Mapping[str, Case]:
        """Return all test cases by ID as text. Those that are generated have no `data`."""
        if self.listed is not None:
            return self.listed
        return {str(case["id"]): case for case in self._history.cases(self)}

    def cases(self, *, status: str | None = None, group_id: str | None = None) -> Sequence[Case]:
        """Return the test cases; do not change them.

        Args:
            status: Only test cases with this status.
            group_id: Only test cases of the group with this ID, as text.
        """
        cases = self._history.cases(self) if self.listed is None else self.listed.values()
        return [
            case
            for case in cases
            if (status is None or case["status"] == status)
            and (group_id is None or str(case["test_group_id"]) == group_id)
        ]

    def case(self, case_id: str) -> Case:
        """Return a copy of one test case, with `data`.

        Args:
            case_id: The ID as text, also if it is a number in the API's JSON.

        Raises:
            KeyError: There is no such test case.
        """
        case = self.cases_by_id()[case_id]
        return dict(case) if "data" in case else {**case, "data": self._history.data(self, case)}

    def test_groups(self) -> list[dict[str, Any]]:
        """Return the test groups."""
        return group_cases(self, self.cases())


Snapshot: TypeAlias = tuple[StoredSession, ...]
"""The sessions of a suite at one time, read-only, newest first."""
