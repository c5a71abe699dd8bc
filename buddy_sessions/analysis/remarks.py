"""Why there is a verdict, or none, as values with a kind. All their texts are made here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeAlias, get_args

from attrs import frozen

from .._base.figures import format_count
from ..errors import BuddyError
from ..models import Session

Failing: TypeAlias = Literal[
    "new failure", "no failing test", "outcome", "ended early", "no upload", "no test ran", "few tests"
]
"""Why a gate fails."""
Unknown: TypeAlias = Literal[
    "unfinished",
    "few sessions",
    "no session",
    "unknown status",
    "no count",
    "incomplete list",
    "incomplete cases",
    "no baseline",
]
"""Why there is no verdict."""
Noted: TypeAlias = Literal[
    "running",
    "killed",
    "rerun",
    "maybe rerun",
    "ignored",
    "no session",
    "no branch",
    "few tests",
    "unknown count",
    "no count",
    "unknown status",
    "green with failures",
    "outage",
    "new suite",
    "crash",
    "incomplete cases",
    "incomplete list",
    "retries unknown",
]


CHECK_UPLOAD = "check the upload: BUDDY_UT_TOKEN, the suite, and the commit or CI run"
"""What to do if tests have ended, and there is no session of them."""


@frozen
class Remark:
    """Something unusual, or something that was left out, excused, or could not be checked. `str(remark)` is a text.

    Attributes:
        kind: What it is about.
        sessions: The sessions that it is about; of a re-run, the later one first.
        numbers: Its figures, in the order of the text.
        detail: What comes from elsewhere, such as a name.
        error: Why something cannot be read, and what a user can do; None if nothing failed.
    """

    kind: Literal[Failing, Unknown, Noted]
    sessions: Sequence[Session] = ()
    numbers: Sequence[int] = ()
    detail: str = ""
    error: BuddyError | None = None

    def __str__(self) -> str:
        return self.describe(str)

    def describe(self, describe_error: Callable[[BuddyError], str]) -> str:
        """Return the text, in which the error is described in another way."""
        return _describe(self, describe_error)


@frozen
class Reason(Remark):
    """The reason why a gate fails, or why there is no verdict. `str(reason)` is a text. See `Remark`."""

    @property
    def fails(self) -> bool:
        """Whether a gate fails; False if there is no verdict."""
        return self.kind in get_args(Failing)


def name_sessions(sessions: Sequence[Session]) -> str:
    """Return the first 10 of these sessions, and how many more there are: `#12, #11 and 3 more`."""
    names = ", ".join(f"#{session.relative_id}" for session in sessions[:10])
    return f"{names} and {len(sessions) - 10:,} more" if len(sessions) > 10 else names


def remarks_text(remarks: Iterable[Remark]) -> str:
    """Return remarks as one text; empty for none."""
    return "; ".join(map(str, remarks))


def crash_text(session: Session) -> str:
    """Return that a session failed without a failing test, and why."""
    message = f": {session.error_message}" if session.error_message else ""
    return f"#{session.relative_id} failed without a failing test{message}"


_TEXTS = {
    "outcome": "the tests failed, {detail}",
    "ended early": "the tests failed, and {names} did not finish",
    "no upload": "the tests failed, but no session of them was found",
    "no test ran": "no test ran in {names}",
    "unknown count": "the number of tests is not known: whether all ran was not checked",
    "no count": "the number of tests is not known: whether all ran cannot be said",
    "unknown status": "{names} has the status {detail}, which is not known",
    "unfinished": "{names} did not finish",
    "running": "{names} is running",
    "maybe rerun": "#{0.relative_id} began after #{1.relative_id} had failed: perhaps it was run again",
    "no branch": "{names} has no branch, so no other gate is compared with it: check ref_name in its upload",
    "outage": "not compared with {names}, because most tests failed there",
    "new suite": "nothing to compare with yet: each failure counts",
    "retries unknown": "retries are not known: only failing tests were saved",
}
"""The texts that only the sessions, their names and the detail are put into. The others are in `_describe`."""


def _describe(about: Remark, describe_error: Callable[[BuddyError], str]) -> str:  # noqa: PLR0911 - one for each kind
    names, numbers, detail = name_sessions(about.sessions), about.numbers, about.detail
    match about.kind:
        case "new failure":
            return format_count(numbers[0], detail)
        case "no failing test" | "crash":
            return ", ".join(filter(None, (crash_text(about.sessions[0]), detail)))
        case "few tests":
            ran, fewest, *_ = numbers
            of_which = f"{names}: " if names else ""
            before = f", at least {fewest:,} in {detail} before" if fewest else ""
            return f"{of_which}{format_count(ran, 'test')} ran{before}"
        case "green with failures":
            return f"{names} passed, but counts {format_count(numbers[0], 'failing test')}"
        case "few sessions":
            return f"only {numbers[0]:,} of {format_count(numbers[1], 'session')} exist ({names})"
        case "killed":
            return f"{names} never finished: that run was killed" + ("" if numbers[0] else "; run it again")
        case "rerun":
            later, red = (f"#{session.relative_id}" for session in about.sessions)
            return f"the red {red} does not count: {detail}" if detail else f"{later} replaced {red}: it was run again"
        case "ignored":
            began = "was ignored, because it" if len(about.sessions) == 1 else "were ignored, because they"
            return f"{names} {began} began before this attempt"
        case "no session" | "incomplete list" | "incomplete cases" | "no baseline":
            return ": ".join(filter(None, (detail, describe_error(about.error) if about.error is not None else "")))
    return _TEXTS[about.kind].format(*about.sessions, names=names, detail=detail)
