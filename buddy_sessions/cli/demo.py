"""The commands that need no account: `serve` runs a fake Buddy, `demo` reads one while its lists move."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Annotated, NoReturn

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.padding import Padding
from rich.table import Table

from buddy_sessions import BuddyClient, ConfigError, Session, SessionStore, SuiteKey

from .options import NATURAL, POSITIVE
from .output import Output, count
from .progress import Reading
from .tables import SuiteSummary, grid
from .targets import Targets

if TYPE_CHECKING:
    from buddy_sessions.testing import FakeSuite, RecordedRequest

_QUESTION = """\
SELECT suite_id, ref_name AS branch, count(*) AS sessions,
       sum(status = 'ERROR') AS failed, max(duration) AS longest
FROM sessions WHERE finish_date > '2025' GROUP BY suite_id, branch
ORDER BY failed DESC LIMIT 5"""

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


async def demo(*, db: Path | None = None) -> None:
    """Show what this does, with no account: harvest a fake Buddy into a SQLite file while new sessions arrive.

    Args:
        db: The file to make; one among the temporary files unless given.
    """
    from buddy_sessions.testing import FakeBuddy  # noqa: PLC0415 - other commands need no server

    path = _new_path(db)
    output, messages = Output(), Output(stderr=True)
    fake = FakeBuddy(seed=50, latency=0.1)
    suites = fake.add_demo_suites()
    before = {session["id"] for suite in suites for session in suite.sessions}
    chance = random.Random(fake.seed)  # noqa: S311 - nothing secret

    def on_request(request: RecordedRequest) -> None:
        if chance.random() < _ARRIVALS:
            _, _, workspace, _, project, _, _, suite_id, _ = request.path.split("/")
            _begin(fake.suites[workspace, project, suite_id], chance)

    fake.on_request = on_request
    output.say("Six suites of a fake Buddy, harvested into a file while new sessions arrive:\n")
    async with fake, BuddyClient(fake.token, base_url=fake.base_url, per_page=25) as buddy, SessionStore(path) as store:
        keys = [SuiteKey(*suite.key) for suite in suites]
        read, spent = await _harvest(store, buddy, keys, messages)
        fake.on_request = None
        _, spent_again = await _harvest(store, buddy, keys, messages)
        summary = SuiteSummary()
        for key in keys:
            summary.write(await store.sessions(key), key)
    summary.print_to(output)
    ids = [session.id for session in read]
    output.say(
        f"\n{spent}: of the {len(before):,} that were there\n"
        f"before, {len(before.difference(ids))} were missed, and {len(ids) - len(set(ids))} came twice."
        f"\nAgain, for what is new: {spent_again}.\n"
    )
    output.say("It is all in a SQLite file, to be asked anything:\n")
    output.say(f'  sqlite3 {path} "\n{indent(_QUESTION, "    ")}"\n')
    output.print(Padding(_answer(path), (0, 0, 0, 4), expand=False))
    output.say(
        "\nNow yours, with a personal access token that has the scope UNIT_TEST_INFO:\n"
        "  export BUDDY_TOKEN=…\n"
        "  buddy-sessions harvest WORKSPACE/PROJECT --db sessions.db\n"
        "  buddy-sessions list WORKSPACE/PROJECT/SUITE_ID"
    )


def _new_path(path: Path | None) -> Path:
    if path is not None and path.exists():
        raise ConfigError(f"{str(path)!r} is there already: the demo makes a file of its own")
    return path or Path(tempfile.mkdtemp(prefix="buddy-sessions-"), "demo.db")


async def _harvest(
    store: SessionStore, buddy: BuddyClient, keys: list[SuiteKey], messages: Output
) -> tuple[list[Session], str]:
    """Return what is new or has changed, and what that has cost."""
    async with store.harvest(buddy, keys) as harvest:
        reading = Reading(buddy, Targets(buddy, map(str, keys), None), harvest)
        with reading.shown(messages, shown=True):
            sessions = [session async for _, session in harvest]
    return sessions, f"{count(len(sessions), 'session')} in {count(harvest.stats.requests, 'request')}"


def _answer(path: Path) -> Table:
    """Return what the file says to the question."""
    with closing(sqlite3.connect(path)) as connection:
        answer = connection.execute(_QUESTION)
        table = grid(*(name for name, *_ in answer.description))
        for row in answer:
            table.add_row(*map(str, row))
    return table


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
