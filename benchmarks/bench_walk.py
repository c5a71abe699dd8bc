"""What is lost and repeated while a list moves, by the loops that people write and by the certified walk.

A model, so that it is exact: each number follows from the seeds. Writes `walk.svg` beside this file.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from buddy_sessions.walk import ServerTraits, Walk, Window
from listing import Listing, PlainWalk
from svg import Bar, chart

PLACES = 2_000
PER_PAGE = 50
WALKS = 40

CHURN = {  # created and deleted after each request, on average
    "none": (0.0, 0.0),
    "+1 created": (1.0, 0.0),
    "0.5 deleted": (0.0, 0.5),
    "+1 created, 0.5 deleted": (1.0, 0.5),
    "+20 created": (20.0, 0.0),
}

WALKERS: dict[str, Callable[[], Walk | PlainWalk]] = {
    "plain": lambda: PlainWalk(per_page=PER_PAGE),
    "plain + dedupe": lambda: PlainWalk(per_page=PER_PAGE, dedupe=True),
    "4 ahead + dedupe": lambda: PlainWalk(per_page=PER_PAGE, dedupe=True, read_ahead=4),
    "certified": lambda: Walk(per_page=PER_PAGE, traits=ServerTraits()),
    "certified, 4 ahead": lambda: Walk(per_page=PER_PAGE, traits=ServerTraits(), read_ahead=4),
}


class Result(NamedTuple):
    """What an average walk lost, repeated and cost."""

    lost: float
    repeated: float
    requests: float


def some(mean: float, chance: random.Random) -> int:
    """Return how many of a rare event there are between two requests: a Poisson number."""
    count, product = 0, chance.random()
    while product > math.exp(-mean):
        count += 1
        product *= chance.random()
    return count


def run(walk: Walk | PlainWalk, created: float, deleted: float, chance: random.Random) -> Result:
    """Walk a list of `PLACES` sessions that changes after each request; pages in flight are served in any order."""
    listing = Listing(range(1, PLACES + 1))
    yielded: list[int] = []
    served: dict[Window, object] = {}
    requests = 0
    while not walk.done:
        wanted = list(walk.wanted())
        pages = {window: served[window] for window in wanted if window in served}
        for window in chance.sample(wanted, len(wanted)):
            if window not in pages:
                pages[window] = listing.read(window)
                requests += 1
                listing.create(some(created, chance))
                for _ in range(some(deleted, chance)):
                    listing.delete(chance.randrange(len(listing.numbers)))
        served = pages
        step = walk.feed(served.pop(wanted[0]))  # type: ignore[arg-type]  # what `read` gave
        yielded += [session.relative_id for session in step.sessions]
    return Result(len(listing.stable - set(yielded)), len(yielded) - len(set(yielded)), requests)


def average(results: list[Result]) -> Result:
    """Return the mean of each figure."""
    return Result(*(sum(figures) / len(results) for figures in zip(*results, strict=True)))


def measure() -> dict[str, dict[str, Result]]:
    """Return the result of each walker under each churn."""
    return {
        churn: {
            name: average([run(make(), *rates, random.Random(seed)) for seed in range(WALKS)])
            for name, make in WALKERS.items()
        }
        for churn, rates in CHURN.items()
    }


def table(results: dict[str, dict[str, Result]]) -> str:
    """Return the results as text."""
    lines = [
        f"\nA moving list: {PLACES} sessions, {PER_PAGE} a page, means of {WALKS} walks: lost / repeated / requests"
    ]
    lines.append(f"  {'churn per request':<25}" + "".join(f"{name:>24}" for name in WALKERS))
    for churn, row in results.items():
        cells = (f"{one.lost:.1f} / {one.repeated:.1f} / {one.requests:.1f}" for one in row.values())
        lines.append(f"  {churn:<25}" + "".join(f"{cell:>24}" for cell in cells))
    return "\n".join(lines)


COLOURS = {
    "plain": "#8c959f",
    "plain + dedupe": "#bf8700",
    "4 ahead + dedupe": "#cf222e",
    "certified, 4 ahead": "#1a7f37",
}


def picture(results: dict[str, dict[str, Result]]) -> str:
    """Return a bar chart of what is wrong in an average walk: sessions lost, and sessions repeated."""
    most = max(one.lost for row in results.values() for one in row.values())
    groups: dict[str, list[Bar]] = {}
    for churn, row in list(results.items())[1:]:
        groups[churn] = []
        for name, colour in COLOURS.items():
            lost, repeated, _ = row[name]
            cut = lost + repeated > most  # the longest would dwarf all others
            told = [f"{value:.0f} {what}" for value, what in ((lost, "lost"), (repeated, "repeated")) if value >= 0.5]
            said = ", ".join(told + ["bar cut"] * cut) or "nothing"
            groups[churn].append(Bar(colour, said, lost / most, repeated / most))
    title = f"Wrong in one walk over {PLACES} sessions, {PER_PAGE} a page, while the list moves (per request)"
    return chart(title, groups, legend=COLOURS)


def main() -> None:
    """Print the table and draw the picture."""
    results = measure()
    print(table(results))
    Path(__file__).with_name("walk.svg").write_text(picture(results))


if __name__ == "__main__":
    main()
