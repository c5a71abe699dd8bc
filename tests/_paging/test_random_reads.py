"""Many random reads, compared with an oracle that knows which sessions existed all the time.

A client reads several lists, with any page size, branch and limit, in one go or with resumes. Its server is honest, or
has one fault. A verified read may lose nothing, but for the exceptions of the guide (`_paging/README.md`).
"""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from attrs import define, field

from buddy_sessions import Cursor, RefType, Session, SessionStatus, UnstableListingError
from buddy_sessions._paging.pacing import ServerLimits, Window
from buddy_sessions._paging.reconciler import Reconciler
from buddy_sessions._paging.selection import ReadSpec
from helpers.effort import repeats

HONEST = {"none", "cap"}
CLIENTS = repeats(quick=40, thorough=400, long=4000)


@define
class RandomServer:
    """A list that changes before each request: bursts of new sessions, deletions anywhere or at the end, retention."""

    random: Random
    fault: str
    cap: int | None
    hidden: float
    churn: float
    rows: list[Session] = field(factory=list)
    snapshots: list[list[Session]] = field(factory=list)
    cache: dict[tuple[Window, str | None], tuple[int, list[Session]]] = field(factory=dict)
    retained: int = 10**9
    requests: int = 0
    newest_shown: int = 10**9
    _highest: int = 0
    _created: int = 0

    def fill(self) -> None:
        """Replace the list by another one."""
        random = self.random
        self.rows.clear()
        self.cache.clear()
        self.snapshots.clear()
        self._highest, self.retained = random.choice([0, 0, 500]), 10**9
        self.create(random.choice([0, random.randrange(30), random.randrange(400)]))
        if random.random() < 0.3:
            self.retained = max(len(self.rows) - random.choice([0, 1, 20]), 1)

    def create(self, count: int) -> None:
        random = self.random
        for _ in range(count):
            self._highest += 1 if random.random() < 0.97 else random.randrange(2, 30)
            self._created += 1
            session = Session(
                id=f"{self._created}",
                relative_id=self._highest,
                status=SessionStatus.SUCCESSFUL,
                ref_type=RefType.BRANCH,
                ref_name=random.choice(["main", "main", "dev"]),
            )
            self.rows.insert(0, session)

    def is_listed(self, row: Session, branch: str | None) -> bool:
        return row.ref_name in (branch or row.ref_name, None) and not self.is_hidden(row)

    def is_hidden(self, row: Session) -> bool:
        return int(row.id) * 2654435761 % 1000003 < self.hidden * 1000003

    def read(self, window: Window, branch: str | None) -> list[Session]:
        self.requests += 1
        if self.random.random() < self.churn:
            self._change()
        rows = self._rows(window, branch)
        self.newest_shown = min(self.newest_shown, rows[0].relative_id if rows else 0)
        rows = [row for row in rows if branch in (None, row.ref_name)]
        size = min(window.per_page, self.cap or window.per_page)
        page = rows[(window.page - 1) * size : window.page * size]
        return [row for row in page if not self.is_hidden(row)]

    def _change(self) -> None:
        random = self.random
        match random.randrange(5):
            case 0 | 1:
                self.create(random.choice([1, 1, 1, 5, 30]))
            case 2 | 3:
                for _ in range(min(random.choice([1, 1, 3, 20]), len(self.rows))):
                    self.rows.pop(random.randrange(len(self.rows)))
            case _:
                del self.rows[-random.choice([1, 1, 10]) :]
        del self.rows[self.retained :]
        if self.fault == "restart" and random.random() < 0.05:
            self.rows, self._highest = [], 0
            self.create(random.randrange(1, 60))

    def _rows(self, window: Window, branch: str | None) -> list[Session]:
        """Return the list from which a response is cut: the replica may be outdated, or a cache."""
        self.snapshots = [*self.snapshots[-20:], self.rows.copy()]
        if self.fault == "lag":
            return self.random.choice([self.rows, self.rows, self.random.choice(self.snapshots)])
        if self.fault == "cache":
            since, rows = self.cache.get((window, branch), (-100, []))
            if since < self.requests - 10:
                since, rows = self.cache[window, branch] = self.requests, self.rows.copy()
            return rows
        return self.rows


@define
class Read:
    """One read, and its oracle."""

    server: RandomServer
    limits: ServerLimits
    branch: str | None
    found: list[Session] = field(factory=list)
    verified: bool = True
    is_complete: bool = False
    is_proved: bool = False
    stable: dict[str, Session] = field(factory=dict)  # listed, and not deleted since the read has begun

    def run(self, random: Random, max_sessions: int | None) -> None:
        """Read the list, perhaps in several parts."""
        self.stable = {row.id: row for row in self.server.rows if self.server.is_listed(row, self.branch)}
        cursor: Cursor | None = None
        while True:
            spec = ReadSpec(
                branch=self.branch, cursor=cursor, max_sessions=max_sessions, check_end=random.random() < 0.2
            )
            per_page = random.choice([random.randrange(1, 9), random.randrange(1, 251), 20, 100, 100])
            reader = Reconciler(spec, per_page=per_page, limits=self.limits, read_ahead=random.choice([1, 1, 4, 16]))
            pages = random.randrange(1, 12) if max_sessions is None and random.random() < 0.3 else 10**9
            cursor = self._read_part(reader, random, pages) or cursor
            self.verified &= reader.verified
            self.is_complete = reader.is_complete
            if reader.is_done:
                return

    def _read_part(self, reader: Reconciler, random: Random, pages: int) -> Cursor | None:
        """Read some pages, each response at a random time after its request; return the new position."""
        served: dict[Window, list[Session]] = {}
        cursor: Cursor | None = None
        while not reader.is_done and (pages := pages - 1) >= 0:
            windows = reader.windows(random.choice([1, 3, 10**9]))
            for window in random.sample(windows, len(windows)):
                if window not in served and (window == windows[0] or random.random() < 0.7):
                    served[window] = self.server.read(window, self.branch)
                    alive = {row.id for row in self.server.rows}
                    self.stable = {key: row for key, row in self.stable.items() if key in alive}
            result = reader.accept_page(served.pop(windows[0]))
            served = {window: page for window, page in served.items() if window in windows}
            self.found += result.sessions
            if result.sessions and reader.verified:
                cursor = Cursor(result.sessions[-1].relative_id, result.offset + len(result.sessions))
            self.is_proved = result.proven_range is not None and result.proven_range[0] == 1
        return cursor

    def missed(self) -> list[Session]:
        """Return what the read has lost."""
        found = {session.id for session in self.found}
        lowest = 0 if self.is_complete else self.found[-1].relative_id if self.found else 10**9
        rows = (row for row in self.stable.values() if lowest <= row.relative_id <= self.server.newest_shown)
        return [row for row in rows if row.id not in found]


def read_lists(seed: int, fault: str) -> Counter[str]:
    """Read several lists with one client; return how often each thing has happened."""
    random = Random(seed)
    hidden = random.choice([0.01, 0.1, 0.4, 0.7, 0.9]) if fault == "hidden" else 0
    cap = random.choice([20, 30, 50, 100]) if fault == "cap" else None
    server = RandomServer(random, fault, cap, hidden, churn=random.choice([0, 0.1, 0.5, 1]) if not hidden else 0)
    limits, counts = ServerLimits(), Counter[str]()
    for _ in range(3):
        server.fill()
        server.newest_shown = 10**9
        branch = "main" if random.random() < 0.2 and not hidden else None
        read = Read(server, limits, branch)
        try:
            read.run(random, random.choice([None, None, None, random.randrange(1, 60)]))
        except UnstableListingError:
            counts["unstable"] += 1
            continue
        numbers = [session.relative_id for session in read.found]
        counts["reads"] += 1
        counts["unverified"] += not read.verified
        counts["repeated"] += read.verified and numbers != sorted(set(numbers), reverse=True)
        is_lost = read.verified and bool(read.missed())
        counts["lost"] += is_lost and read.is_proved
        counts["lost after a trusted end"] += is_lost and not read.is_proved
    counts["distrust"] = limits.rows_follow_short_pages
    return counts


@pytest.mark.parametrize("fault", ["none", "cap", "restart", "lag", "cache"])
def test_verified_reads_lose_and_repeat_nothing(fault: str) -> None:
    counts: Counter[str] = sum((read_lists(seed, fault) for seed in range(CLIENTS)), Counter())
    assert (counts["lost"], counts["lost after a trusted end"], counts["repeated"]) == (0, 0, 0), counts
    assert counts["unstable"] <= counts["reads"] / 100
    if fault in HONEST:
        assert (counts["unverified"], counts["distrust"]) == (0, 0)


def test_reads_of_lists_with_hidden_rows_repeat_nothing() -> None:
    """Few lose sessions: where whole pages are hidden, or after a short list has earned the trust."""
    counts: Counter[str] = sum((read_lists(seed, "hidden") for seed in range(CLIENTS)), Counter())
    assert counts["repeated"] == 0
    assert counts["lost"] <= counts["reads"] / 50
    assert counts["lost after a trusted end"] <= counts["reads"] / 10
