"""Counts the sessions that the usual loops and this package lose and repeat while a list changes.

A model without a network: every number follows from the seeds. Writes `moving_list.svg` next to this file;
not with `--quick`, which does a tenth of the reads.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import report
from buddy_sessions import Session
from buddy_sessions._paging.pacing import ServerTraits, Window
from buddy_sessions._paging.reconciler import Reconciler
from buddy_sessions._paging.selection import ReadSpec
from helpers.fake_list import FakeList, NaiveReader
from svg import Bar, chart

SESSIONS = 2_000
PER_PAGE = 50
RUNS = 4 if report.QUICK else 40

CHANGES = {  # created and deleted per request, on average
    "none": (0.0, 0.0),
    "+1 created": (1.0, 0.0),
    "0.5 deleted": (0.0, 0.5),
    "+1 created, 0.5 deleted": (1.0, 0.5),
    "+20 created": (20.0, 0.0),
}

READERS: dict[str, Callable[[], Reconciler | NaiveReader]] = {
    "usual loop": lambda: NaiveReader(per_page=PER_PAGE),
    "with a set of ids": lambda: NaiveReader(per_page=PER_PAGE, deduplicates=True),
    "4 at once, with a set": lambda: NaiveReader(per_page=PER_PAGE, deduplicates=True, read_ahead=4),
    "this package": lambda: Reconciler(ReadSpec(), per_page=PER_PAGE, traits=ServerTraits()),
    "this package, 4 ahead (default)": lambda: Reconciler(
        ReadSpec(), per_page=PER_PAGE, traits=ServerTraits(), read_ahead=4
    ),
}

COLOURS = {
    "usual loop": "#8c959f",
    "with a set of ids": "#bf8700",
    "4 at once, with a set": "#cf222e",
    "this package, 4 ahead (default)": "#1a7f37",
}


class Result(NamedTuple):
    """The sessions that an average read lost and repeated, and its requests."""

    lost: float
    repeated: float
    requests: float

    def __str__(self) -> str:
        return f"{self.lost:.1f} / {self.repeated:.1f} / {self.requests:.1f}"


def poisson(mean: float, chance: random.Random) -> int:
    """Return a random number with a Poisson distribution."""
    count, product = 0, chance.random()
    while product > math.exp(-mean):
        count += 1
        product *= chance.random()
    return count


def read(reader: Reconciler | NaiveReader, created: float, deleted: float, chance: random.Random) -> Result:
    """Read a list that changes after each request. Requests in flight are served in random order."""
    sessions = FakeList(range(1, SESSIONS + 1))
    yielded: list[int] = []
    pages: dict[Window, tuple[Session, ...]] = {}
    requests = 0
    while not reader.is_done:
        windows = list(reader.windows())
        pages = {window: pages[window] for window in windows if window in pages}
        for window in chance.sample(windows, len(windows)):
            if window not in pages:
                pages[window] = sessions.read(window)
                requests += 1
                sessions.create(poisson(created, chance))
                for _ in range(poisson(deleted, chance)):
                    sessions.delete(chance.randrange(len(sessions.numbers)))
        result = reader.accept_page(pages.pop(windows[0]))
        yielded += [session.relative_id for session in result.sessions]
    return Result(len(sessions.stable - set(yielded)), len(yielded) - len(set(yielded)), requests)


def average_read(make_reader: Callable[[], Reconciler | NaiveReader], created: float, deleted: float) -> Result:
    """Return the means of several reads."""
    results = [read(make_reader(), created, deleted, random.Random(seed)) for seed in range(RUNS)]
    return Result(*(sum(numbers) / RUNS for numbers in zip(*results, strict=True)))


def draw(results: dict[str, dict[str, Result]]) -> str:
    """Return a bar chart of the sessions lost and repeated."""
    scale = max(one.lost for row in results.values() for one in row.values())
    groups: dict[str, list[Bar]] = {}
    for change, row in list(results.items())[1:]:
        groups[change] = []
        for name, colour in COLOURS.items():
            lost, repeated, _ = row[name]
            texts = [f"{value:.0f} {kind}" for value, kind in ((lost, "lost"), (repeated, "repeated")) if value >= 0.5]
            if lost + repeated > scale:
                texts.append("bar cut")  # otherwise, it would dwarf all others
            groups[change].append(Bar(colour, ", ".join(texts) or "none", lost / scale, repeated / scale))
    title = f"Errors in one read of {SESSIONS:,} sessions, {PER_PAGE} per page, by changes per request"
    return chart(title, groups, legend=COLOURS)


def main() -> None:
    """Print the table and draw the chart."""
    results = {
        change: {name: average_read(make_reader, *means) for name, make_reader in READERS.items()}
        for change, means in CHANGES.items()
    }
    title = f"A moving list of {SESSIONS:,} sessions, {PER_PAGE} per page, means of {RUNS} reads: "
    columns = {name: "{" + name + "}" for name in READERS}
    report.table(f"{title}lost / repeated / requests, by changes per request", columns, results)
    if not report.QUICK:
        Path(__file__).with_name("moving_list.svg").write_text(draw(results))


if __name__ == "__main__":
    main()
