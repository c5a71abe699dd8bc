"""Records which pages of a giant suite are requested in advance while a harvest or a sync reads many suites."""

from __future__ import annotations

import asyncio

from buddy_sessions.testing import FakeBuddy, RecordedRequest


def overlapping_requests(fake: FakeBuddy, *, latency: float) -> list[int]:
    """Return a list that grows with each request for the suite `giant` that arrives while another one is in flight.

    Its items are the numbers of requests for other suites so far. The requests for `giant` take `latency` seconds, and
    all others take none.
    """
    overlaps: list[int] = []
    in_flight = others = 0

    async def on_request(request: RecordedRequest) -> None:
        nonlocal in_flight, others
        if "/giant/" not in request.path:
            others += 1
            return
        if in_flight:
            overlaps.append(others)
        in_flight += 1
        await asyncio.sleep(latency)
        in_flight -= 1

    fake.latency = 0
    fake.on_request = on_request
    return overlaps
