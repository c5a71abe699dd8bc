"""CI runs: the sessions that one run of a pipeline or workflow uploads. They have one verdict together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import Protocol, TypeVar

from attrs import frozen

from ..models import Session

_NAMED = 10
"""The maximum number of sessions that a text names."""


@frozen
class CIRun:
    """The sessions of one CI run, such as one for each job of a matrix, newest first."""

    sessions: Sequence[Session]
    deciding: Sequence[Session]
    """The newest of them: as many as a CI run usually has. They replace older ones, whose jobs were run again."""

    @property
    def is_failing(self) -> bool | None:
        """Whether a deciding session is failing; None while one is unfinished, or if none passed or failed."""
        are_finished = all(session.is_finished for session in self.deciding)
        if not are_finished or not any(session.has_verdict for session in self.deciding):
            return None
        return any(session.is_failing for session in self.deciding)

    @property
    def session(self) -> Session:
        """The newest deciding session that is failing, or else that passed; if there is none, the newest session."""
        failing = [session for session in self.deciding if session.is_failing]
        return (failing or [session for session in self.deciding if session.has_verdict] or self.sessions)[0]


class _HasVerdict(Protocol):
    @property
    def is_failing(self) -> bool | None: ...

    @property
    def session(self) -> Session: ...


_Run = TypeVar("_Run", bound=_HasVerdict)


@frozen
class Streak:
    """The newest CI runs of a branch that have the same verdict."""

    first: Session
    """The session of the oldest of them, see `CIRun.session`."""
    length: int
    """The number of CI runs."""
    before: Session | None
    """The session of the CI run before the first one; None if it is not known: then the streak may be longer."""

    def __str__(self) -> str:
        """Return since when: `#380`, or `#380 or earlier`."""
        return f"#{self.first.relative_id}" + ("" if self.before is not None else " or earlier")


def newest_first(sessions: Iterable[Session]) -> list[Session]:
    """Return sessions by descending `relative_id`."""
    return sorted(sessions, key=lambda session: session.relative_id, reverse=True)


def find_ci_runs(sessions: Iterable[Session], *, is_complete: bool = True) -> list[CIRun]:
    """Return the CI runs of sessions, newest first: the one with the newest session is the newest.

    Sessions with the same `ci_run_url` are one CI run. Without a `ci_run_url`, those with the same `execution_id` are;
    without this, those with the same `revision`. A session with none of these is a CI run of its own.

    `usual_size` of the CI runs before the newest one says how many sessions of each decide. If there is only one CI
    run, all its sessions do. The sessions are those of one suite, usually of one branch, in any order. If the list was
    not read to its end (`is_complete`), further sessions of its oldest CI run may follow, so that one does not count.
    """
    groups: dict[tuple[str, str], list[Session]] = {}
    for session in newest_first(sessions):
        groups.setdefault(run_identity(session), []).append(session)
    found = list(groups.values())
    usual = usual_size(found[1 : None if is_complete else -1] or found[:1])
    return [CIRun(group, group[:usual]) for group in found]


def usual_size(runs: Iterable[Sequence[Session]]) -> int:
    """Return the number of sessions that a CI run usually has: the lower median; 1 without CI runs."""
    sizes = sorted(map(len, runs))
    return sizes[(len(sizes) - 1) // 2] if sizes else 1


def newest_streak(runs: Sequence[_Run], belongs: Callable[[_Run], bool] | None = None) -> Streak:
    """Return the newest CI runs that belong together: by default, those with the verdict of the newest one.

    `runs` are CI runs, or what one test did in them: newest first, each with a verdict. At least the newest one belongs
    to the streak.
    """
    same = list(takewhile(belongs or (lambda run: run.is_failing == runs[0].is_failing), runs))
    return Streak(same[-1].session, len(same), runs[len(same)].session if len(same) < len(runs) else None)


def ci_runs_since(runs: Sequence[CIRun], session: Session) -> list[CIRun]:
    """Return the newest CI runs, down to that of a session. If it was deleted, these are the runs that are newer."""
    of_session = [run for run in runs if any(each.id == session.id for each in run.sessions)]
    lowest_id = of_session[0].sessions[0].relative_id if of_session else session.relative_id + 1
    return [run for run in runs if run.sessions[0].relative_id >= lowest_id]


def run_identity(session: Session) -> tuple[str, str]:
    """Return what the sessions of one CI run have in common."""
    for name in ("ci_run_url", "execution_id", "revision"):
        if value := getattr(session, name):
            return name, value
    return "id", session.id


def name_sessions(sessions: Sequence[Session]) -> str:
    """Return the first 10 of these sessions, and how many more there are: `#12, #11 and 3 more`."""
    names = ", ".join(f"#{session.relative_id}" for session in sessions[:_NAMED])
    return f"{names} and {len(sessions) - _NAMED:,} more" if len(sessions) > _NAMED else names
