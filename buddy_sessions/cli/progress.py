"""What the command line tells of a harvest, while it goes on and at its end."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from buddy_sessions import BuddyClient, BuddyError, Harvest, RateLimit

from .output import Output, count, length, one_line
from .targets import Targets

_FAILURES_SHOWN = 20
_TICK = 0.25  # seconds between two looks at what is going on
_PACE = 5.0  # seconds that requests a second are counted over


@dataclass
class Reading:
    """A harvest, and what is to be told of it."""

    buddy: BuddyClient
    targets: Targets
    harvest: Harvest
    thing: str = "session"
    """What it finds."""
    started: float = field(default_factory=time.monotonic)
    samples: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])
    """When so many requests had been sent."""
    limit: RateLimit | None = None
    """What the last answer said of the rate limit, and when it was seen first."""
    limit_seen: datetime = field(default_factory=lambda: datetime.now(UTC))

    @contextmanager
    def shown(self, messages: Output, *, shown: bool) -> Iterator[None]:
        """Show what is going on, for as long as the block lasts."""

        async def tick() -> None:
            while True:
                show(self.line())
                await asyncio.sleep(_TICK)

        with messages.progress(shown=shown) as show:
            ticking = asyncio.create_task(tick())
            try:
                yield
            finally:
                ticking.cancel()

    def line(self) -> str:
        """Return what is going on, the most telling first, for it may be cut."""
        stats, more = self.harvest.stats, "" if self.targets.complete else "+"
        failed = len(self.failures())
        pace, waiting = f"{self._pace():.0f} requests/s", self._waiting_until()
        parts = (
            f"{stats.suites + stats.failed:,}/{len(self.targets.known):,}{more} suites",
            f"{failed:,} failed" if failed else "",
            f"waiting until {waiting:%H:%M:%S}" if waiting else pace,
            count(stats.sessions, self.thing),
            self._allowance(),
        )
        return " · ".join(filter(None, parts))

    def spent(self) -> str:
        """Return what was read, and what it cost."""
        stats = self.harvest.stats
        failed = len(self.failures())
        again = f" ({stats.retries} repeated)" if stats.retries else ""
        return (
            f"{count(stats.suites, 'suite')}, {f'{failed:,} failed, ' if failed else ''}"
            f"{count(stats.sessions, self.thing)}, "
            f"{count(self._requests(), 'request')}{again} in {length(time.monotonic() - self.started)}"
        )

    def tell(self, messages: Output, *, hint: str, resumes: bool) -> None:
        """Say what was read, a hint, and what was not read.

        Args:
            messages: Where.
            hint: One more line; none where it is empty.
            resumes: Whether to tell how the rest of a suite that failed is read.
        """
        messages.say((self.spent(), "dim"))
        if hint:
            messages.say((one_line(hint), "dim"))
        failures: dict[str, list[str]] = {}
        for name, error in self.failures().items():
            rest = f"; read in part, the rest: list {name} --start {error.cursor}" if resumes and error.cursor else ""
            failures.setdefault(f"{error}{rest}", []).append(name)
        for text, names in list(failures.items())[:_FAILURES_SHOWN]:
            more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
            messages.say(("failed", "bold red"), f": {one_line(f'{names[0]}{more}: {text}')}")
        if len(failures) > _FAILURES_SHOWN:
            left = sum(len(names) for names in list(failures.values())[_FAILURES_SHOWN:])
            messages.say(f"and {left:,} more")

    def failures(self) -> dict[str, BuddyError]:
        """Return the error of each suite, and of each project, that has failed."""
        return {**self.targets.failures, **{str(suite): error for suite, error in self.harvest.failures.items()}}

    def _requests(self) -> int:
        return self.harvest.stats.requests + self.targets.listings

    def _pace(self) -> float:
        """Return requests a second, of late."""
        now, requests = time.monotonic(), self._requests()
        self.samples.append((now, requests))
        while self.samples[0][0] < now - _PACE:
            self.samples.popleft()
        then, before = self.samples[0]
        return (requests - before) / max(now - then, _TICK)

    def _allowance(self) -> str:
        limit = self.buddy.rate_limit
        if limit is None or limit.remaining is None:
            return ""
        return f"{limit.remaining:,}{'' if limit.limit is None else f' of {limit.limit:,}'} left"

    def _waiting_until(self) -> datetime | None:
        """Return until when the rate limit holds everything, by this machine's clock; None where it does not."""
        limit, now = self.buddy.rate_limit, datetime.now(UTC)
        if limit is not self.limit:
            self.limit, self.limit_seen = limit, now
        if limit is None or limit.remaining != 0 or limit.reset_at is None or limit.retry_after is None:
            return None
        until = self.limit_seen + timedelta(seconds=min(limit.retry_after, 86_400))
        return until.astimezone() if until > now else None
