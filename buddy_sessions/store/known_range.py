"""`KnownRange`: up to which `relative_id`s the database has every session of a suite. Pure."""

from __future__ import annotations

from datetime import datetime

from attrs import evolve, frozen

Interval = tuple[int, int]
"""The lowest and the highest of some `relative_id`s, both included."""

ALL_NUMBERS: Interval = (1, 2**63 - 1)


@frozen(kw_only=True)
class KnownRange:
    """The `relative_id`s of which the database has every existing session, except what was pruned.

    Attributes:
        main: The known range itself; None before the first sync.
        upper: The range above `main` that a catch-up had read when it was interrupted. The next sync continues there.
        older_than: All sessions below `main` were created before this time; None if that is unknown.
    """

    main: Interval | None = None
    upper: Interval | None = None
    older_than: datetime | None = None

    def contains(self, number: int) -> bool:
        """Return whether a `relative_id` is in one of the ranges."""
        return any(each is not None and each[0] <= number <= each[1] for each in (self.main, self.upper))

    def extend(self, read: Interval) -> KnownRange:
        """Return what is known after a range was read without a gap.

        If it overlaps a known range, it extends that: a page was compared with both. Otherwise it becomes `main` or,
        above `main`, `upper`, if there is none yet. A third range is not kept.
        """
        if self.main is None:
            return evolve(self, main=read)
        parts = [self.main] if self.upper is None else [self.main, self.upper]
        touched = [each for each in parts if each[0] <= read[1] and read[0] <= each[1]]
        joined = min(low for low, _ in (read, *touched)), max(high for _, high in (read, *touched))
        if self.main in touched:
            return evolve(self, main=joined, upper=None if self.upper in touched else self.upper)
        if touched or (self.upper is None and read[0] > self.main[1]):
            return evolve(self, upper=joined)
        return self

    def up_to(self, highest: int) -> KnownRange:
        """Return what is known up to a `relative_id`."""
        main, upper = (
            (each[0], min(each[1], highest)) if each is not None and each[0] <= highest else None
            for each in (self.main, self.upper)
        )
        return KnownRange(main=main, upper=upper, older_than=self.older_than) if main else NOTHING_KNOWN


NOTHING_KNOWN = KnownRange()
"""What is known before the first sync."""
