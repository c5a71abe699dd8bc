"""Which sessions of a commit are re-runs of others, and which belong to one round."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias

from ..models import Session, SessionStatus

Sizes: TypeAlias = Sequence[int | None]
"""How many tests each session of a round has; None if that is not known."""

_QUIET = timedelta(hours=1)
"""So long after all sessions of a commit have ended, its next session begins a new round: a scheduled run."""


def split_rounds(sessions: Iterable[Session]) -> list[list[Session]]:
    """Return the sessions, oldest first, in rounds: a round begins an hour after all of the one before had ended."""
    rounds: list[list[Session]] = []
    ended: datetime | None = None  # when all of the last round had ended; None if one has not
    for session in sessions:
        is_later = ended is not None and session.create_date is not None and session.create_date > ended + _QUIET
        if is_later or not rounds:
            rounds.append([session])
            ended = session.finish_date
        else:
            rounds[-1].append(session)
            ended = max(ended, session.finish_date) if ended and session.finish_date else None
    return rounds


def sizes_of(sessions: Iterable[Session]) -> Iterator[int | None]:
    """Yield how many tests each session has; None if that is not known. Skipped ones are left out."""
    return (session.tests_count for session in sessions if session.status != SessionStatus.SKIPPED)


def count_of(sessions: Iterable[Session]) -> int:
    """Return the number of sessions without skipped ones."""
    return len(list(sizes_of(sessions)))


def most_frequent_size(commits: Sequence[Sequence[Session]]) -> int:
    """Return how many sessions most finished commits have; of several numbers, the highest."""
    finished = (each for each in commits if all(session.is_finished for session in each))
    counts = Counter(max(map(count_of, split_rounds(each))) for each in finished)
    return max(counts, key=lambda size: (counts[size], size), default=1)


def without_reruns(
    sessions: Iterable[Session], usual: int, older: Sequence[Sequence[Sizes]]
) -> tuple[list[Session], list[tuple[Session, Session]]]:
    """Return the sessions of a round that count, oldest first, and which red ones were replaced by which.

    Each session above the usual number replaces a red one, the oldest first. The usual number is that of all sessions,
    or that of sessions with about as many tests, in the rounds of `older` commits.
    """
    counted: dict[str, Session] = {}
    replaced: list[tuple[Session, Session]] = []
    seen: list[Session] = []
    for session in sessions:
        seen.append(session)
        red = [each for each in counted.values() if each.is_failing] if session.has_verdict else []
        old = next((each for each in red if _is_rerun(session, each)), None)
        if old is not None and (count_of(seen) > usual or _is_one_too_many(session, seen, older)):
            del counted[old.id]
            replaced.append((old, session))
        counted[session.id] = session
    return list(counted.values()), replaced


def _is_one_too_many(session: Session, seen: Iterable[Session], older: Iterable[Sequence[Sizes]]) -> bool:
    """Return whether each older commit has fewer sessions with about as many tests, and one has some."""
    if not session.tests_count:
        return False

    def count(sizes: Iterable[int | None]) -> int:
        return sum(are_close(size, session.tests_count, 2) for size in sizes)

    usual = max((count(sizes) for rounds in older for sizes in rounds), default=0)
    return 0 < usual < count(sizes_of(seen))


def _is_rerun(later: Session, earlier: Session) -> bool:
    """Return whether a session began after a red one of the same ref had ended, with as many tests.

    A red one in place of a red one changes no verdict, so their numbers of tests may differ.
    """
    if not _began_after(later, earlier):
        return False
    if later.is_failing:
        return True
    if later.tests_count is None or earlier.tests_count is None:
        return False
    return abs(later.tests_count - earlier.tests_count) <= (earlier.failing_count or 0)


def find_repaired(counted: Sequence[Session]) -> list[tuple[Session, Session]]:
    """Return the red sessions that a later green one with at least as many tests repaired, each with that one."""
    green = [session for session in counted if session.status == SessionStatus.SUCCESSFUL]
    pairs: list[tuple[Session, Session]] = []
    for red in [session for session in counted if session.is_failing]:
        repaired = [each for each in green if _began_after(each, red) and _has_all_tests(each, red)]
        pairs += [(red, each) for each in repaired[:1]]
    return pairs


def find_possible_rerun(counted: Sequence[Session]) -> tuple[Session, Session] | None:
    """Return the first session that may have run a red one again, and that one; None if there is none."""
    pairs = ((each, red) for each in reversed(counted) for red in reversed(counted) if red.is_failing)
    return next(((each, red) for each, red in pairs if each is not red and _began_after(each, red)), None)


def _began_after(later: Session, earlier: Session) -> bool:
    """Return whether a session of the same ref began after another one had ended."""
    began, ended = later.create_date, earlier.finish_date
    is_same_ref = (later.ref_type, later.ref_name) == (earlier.ref_type, earlier.ref_name)
    return is_same_ref and began is not None and ended is not None and began >= ended


def _has_all_tests(later: Session, earlier: Session) -> bool:
    counts = later.tests_count, earlier.tests_count
    return counts[0] is not None and counts[1] is not None and counts[0] >= counts[1]


def are_close(count: int | None, other: int | None, percent: int) -> bool:
    """Return whether two numbers of tests are about the same: the smaller is at most so many percent smaller."""
    if count is None or other is None:
        return False
    return min(count, other) * 100 >= max(count, other) * (100 - percent)
