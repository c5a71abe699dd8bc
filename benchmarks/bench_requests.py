"""Counts the requests of a harvest and of three syncs, for 1,000 suites of each kind and length.

Kinds: complete lists, lists with holes (5 % of the sessions were deleted), and lists whose old sessions retention has
deleted. The usual loop, "the next page until a short one", is the baseline. What is missing, also below the end of a
list, is believed the second time: so the second sync asks once more, and from the third on, an unchanged suite costs
one request.

Writes `results.json` next to this file; not with `--quick`, which reads a hundredth of the suites.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import report
from buddy_sessions import BuddyClient, SessionStore, SuiteKey
from buddy_sessions.testing import FakeBuddy

SUITES = 10 if report.QUICK else 1_000
SIZES = (20, 100, 101, 250)
PER_PAGE = 100
KINDS = ("complete", "holes", "truncated")
FURTHER = 3.1
"""The promised maximum of further requests for a suite. An end above number 1 costs one; two if its page is full; three
if it is as long as a page that the server may have cut."""


def add_suites(fake: FakeBuddy, kind: str, size: int) -> list[SuiteKey]:
    """Add suites of `size` sessions each."""
    keys = [SuiteKey("acme", "shop", f"suite{number}") for number in range(SUITES)]
    for number, key in enumerate(keys):
        suite = fake.add_suite(*key)
        relative_id = 5_000 if kind == "truncated" else 0
        for index in range(size):
            relative_id += 2 if kind == "holes" and (index + number) % 20 == 0 else 1
            suite.create(status="SUCCESSFUL", relative_id=relative_id)
    return keys


async def count_requests(kind: str, size: int) -> dict[str, float]:
    """Return the requests per suite of each kind of read."""
    counts: dict[str, float] = {"usual loop": size // PER_PAGE + 1}
    with tempfile.TemporaryDirectory() as folder:
        async with FakeBuddy() as fake, SessionStore(Path(folder) / "sessions.db") as store:
            keys = add_suites(fake, kind, size)
            for name in ("harvest", "first sync", "second sync", "third sync"):
                fake.requests.clear()
                async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
                    stream = buddy.harvest(keys) if name == "harvest" else store.sync(buddy, keys)
                    async with stream as harvest:
                        sessions = len([session async for _, session in harvest])
                assert sessions == (0 if name in {"second sync", "third sync"} else size * SUITES)
                counts[name] = len(fake.requests) / SUITES
    return counts


async def main() -> None:
    """Count, print the results, and save them."""
    counts = {f"{kind}, {size}": await count_requests(kind, size) for kind in KINDS for size in SIZES}
    names = ("usual loop", "harvest", "first sync", "second sync", "third sync")
    report.table(
        f"Requests per suite, {SUITES:,} suites, {PER_PAGE} sessions per page",
        {name: f"{{{name}:.3f}}" for name in names},
        counts,
    )
    harvests = [values["harvest"] - values["usual loop"] for values in counts.values()]
    syncs = [values["first sync"] - values["usual loop"] for values in counts.values()]
    print()
    checks = [
        report.check_limit("harvest, further requests per suite", max(harvests), "at most", FURTHER),
        report.check_limit("first sync, further requests per suite", max(syncs), "at most", FURTHER + 0.1),
        report.check_limit(
            "third sync, requests per suite",
            max(values["third sync"] for values in counts.values()),
            "at most",
            1.001,
        ),
    ]
    report.save("requests", {"machine": report.machine(), "requests": counts, "limits": checks})


if __name__ == "__main__":
    asyncio.run(main())
