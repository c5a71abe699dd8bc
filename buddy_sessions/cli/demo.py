"""The commands that need no account: `serve` runs a fake Buddy, `demo` reads one while its lists move."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, NoReturn

from cyclopts import Parameter
from cyclopts.validators import Number

from buddy_sessions import BuddyClient, Session, SessionPaginator, SuiteKey

from .options import NATURAL, POSITIVE
from .output import Output, count
from .tables import SessionTable, WalkRow, walk_table

if TYPE_CHECKING:
    from buddy_sessions.testing import FakeSuite, RecordedRequest

_ARRIVALS = 0.25
"""The share of the requests that find a new session in their suite."""


async def serve(
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 0,
    seed: int = 0,
    sessions: Annotated[int | None, NATURAL] = None,
    live: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
    latency: Annotated[float, NATURAL] = 0.0,
    rate_limit: Annotated[int | None, POSITIVE] = None,
    largest_page: Annotated[int | None, POSITIVE] = None,
    refuse_above: Annotated[int | None, POSITIVE] = None,
) -> None:
    """Serve a fake Buddy with believable suites, until Ctrl-C.

    The only line on stdout is the export that points any client here.

    Args:
        host: Where to listen. Plain http takes a token no further than this machine.
        port: The port; 0 takes a free one.
        seed: What chance starts from.
        sessions: One suite of exactly so many sessions, instead of six of up to 400.
        live: Let a new session arrive every so many seconds.
        latency: Seconds before each answer.
        rate_limit: Requests a minute; more are answered with 429.
        largest_page: Bring a larger per_page down to this.
        refuse_above: Answer a larger per_page with 400.
    """
    from buddy_sessions.testing import FakeBuddy  # noqa: PLC0415 - other commands need no server

    fake = FakeBuddy(
        host=host,
        port=port,
        seed=seed,
        latency=latency,
        rate_limit=rate_limit,
        largest_page=largest_page,
        refuse_above=refuse_above,
    )
    if sessions is None:
        suites = fake.add_demo_suites()
    else:
        suites = [fake.add_suite("acme", "storefront", "MNbyVedg").populate(sessions)]
    async with fake:
        output, messages = Output(), Output(stderr=True)
        messages.say(f"A fake Buddy is at {fake.base_url} until Ctrl-C. In another terminal:")
        output.say(f"export BUDDY_API_URL={fake.base_url} BUDDY_TOKEN={fake.token}")
        key = SuiteKey(*suites[0].key)
        messages.say(f"buddy-sessions suites {key.workspace}/{key.project}")
        messages.say(f"buddy-sessions list {key}")
        await (asyncio.Event().wait() if live is None else _keep_moving(suites, every=live, seed=seed))


async def demo() -> None:
    """Show what this does, with no account: read six suites of a fake Buddy while new sessions arrive."""
    from buddy_sessions.testing import FakeBuddy  # noqa: PLC0415 - other commands need no server

    output, messages = Output(), Output(stderr=True)
    fake = FakeBuddy(seed=50, latency=0.1)
    suites = fake.add_demo_suites()
    known = {session["id"] for suite in suites for session in suite.sessions}
    chance = random.Random(fake.seed)  # noqa: S311 - nothing secret

    def on_request(request: RecordedRequest) -> None:
        if chance.random() < _ARRIVALS:
            _, _, workspace, _, project, _, _, suite_id, _ = request.path.split("/")
            _begin(fake.suites[workspace, project, suite_id], chance)

    fake.on_request = on_request
    output.say("Six suites of a fake Buddy, read all at once while new sessions arrive:\n")
    async with fake, BuddyClient(fake.token, base_url=fake.base_url, per_page=25) as buddy:
        walks = [buddy.sessions(*suite.key) for suite in suites]
        with messages.progress() as show:
            read = await asyncio.gather(*(_read(walk, lambda: show(_spent(walks))) for walk in walks))
        fake.on_request = None
        later = [
            buddy.sessions(*suite.key, since=sessions[0].relative_id)
            for suite, sessions in zip(suites, read, strict=True)
        ]
        new = await asyncio.gather(*(walk.collect() for walk in later))
    rows = [
        WalkRow(SuiteKey(*suite.key), walk.stats.requests, old, fresh)
        for suite, walk, old, fresh in zip(suites, walks, read, new, strict=True)
    ]
    output.print(walk_table(rows, now=datetime.now(UTC)))
    ids = [session.id for row in rows for session in row.read]
    output.say(
        f"\n{_spent(walks)}. Of the {len(known):,} that were there before,\n"
        f"{len(known.difference(ids))} were missed, and {len(ids) - len(set(ids))} came twice.\n"
        f"Asked again for what is new: {_spent(later)}.\n"
    )
    SessionTable(output, title=f"{rows[0].suite}, the latest").write([*new[0], *read[0]][:10])
    output.say(
        "\nNow yours, with a personal access token that has the scope UNIT_TEST_INFO:\n"
        "  export BUDDY_TOKEN=…\n"
        "  buddy-sessions suites WORKSPACE/PROJECT\n"
        "  buddy-sessions list WORKSPACE/PROJECT/SUITE_ID"
    )


async def _read(walk: SessionPaginator, tell: Callable[[], None]) -> list[Session]:
    sessions: list[Session] = []
    async with aclosing(walk.pages()) as pages:
        async for page in pages:
            sessions += page.sessions
            tell()
    return sessions


def _spent(walks: list[SessionPaginator]) -> str:
    sessions, requests = (sum(getattr(walk.stats, name) for walk in walks) for name in ("sessions", "requests"))
    return f"{count(sessions, 'session')} in {count(requests, 'request')}"


async def _keep_moving(suites: Sequence[FakeSuite], *, every: float, seed: int) -> NoReturn:
    """Let a session begin, and the one before it end, every so many seconds in one of the suites."""
    chance = random.Random(seed)  # noqa: S311 - nothing secret
    while True:
        await asyncio.sleep(every)
        suite = chance.choice(suites)
        for session in suite.page(1, 1)["sessions"]:
            if session["status"] == "IN_PROGRESS":
                suite.finish(session["id"], status="ERROR" if chance.random() < 0.1 else "SUCCESSFUL")
        _begin(suite, chance)


def _begin(suite: FakeSuite, chance: random.Random) -> None:
    """Let a session begin, by someone and on a branch that were there lately."""
    lately = suite.page(1, 30)["sessions"]
    model = chance.choice(lately) if lately else {}
    fields = ("created_by", "ci_provider", "ref_type", "ref_name")
    suite.create(**{name: model[name] for name in fields if name in model})
