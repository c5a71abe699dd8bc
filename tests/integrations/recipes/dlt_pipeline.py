"""Load the sessions of a project, and their failing tests, into DuckDB with dlt. Set BUDDY_TOKEN.

A run reads each suite from its newest session down to the oldest one that the last run saw unfinished, and loads the
failing tests of finished sessions. dlt saves this position together with the rows, so the next run repeats a run that
was killed. A suite that cannot be read is read again by the next run; the others are loaded. Deletions, and changes of
finished sessions, are not loaded. Exit codes: 0 done, 1 something could not be read.
"""

import asyncio
import json
import sys
from itertools import chain

import dlt

from buddy_sessions import BuddyClient, BuddyError, to_dict

WORKSPACE, PROJECT = "acme", "storefront"
SUITE = ["workspace", "project", "suite_id"]
CASES = dlt.mark.make_hints(
    table_name="cases",
    write_disposition="merge",
    merge_key=[*SUITE, "session_id"],  # the cases of a session that is read again are replaced
    columns={"time": {"data_type": "double"}},  # the first one may be a whole number
)


def row(suite, model, **names):
    """Return a session or a test case as a row. Half a surrogate pair, which JSON allows and dlt does not, becomes ?"""
    fields = {**suite._asdict(), **names, **to_dict(model)}
    return json.loads(json.dumps(fields, ensure_ascii=False).encode(errors="replace"))


async def failing_tests(buddy, suite, session, errors):
    """Return the rows of the failing tests of a session."""
    if not session.is_finished or (session.failed_count, session.error_count) == (0, 0):
        return []
    try:
        return [row(suite, case, session_id=session.id) for case in await buddy.failures(suite, session, details=True)]
    except BuddyError as error:
        errors[suite] = error
        return []


@dlt.resource(write_disposition="merge", primary_key=[*SUITE, "id"], columns={"duration": {"data_type": "double"}})
async def sessions(errors):
    """Yield rows of both tables. Add the suites that cannot be read to `errors`."""
    positions = dlt.current.resource_state().setdefault("positions", {})
    async with BuddyClient.from_env() as buddy:
        after = {suite.key: positions.get(str(suite.key), 0) for suite in await buddy.suites(WORKSPACE, PROJECT)}
        next_after = dict(after)
        async with buddy.harvest(after, after=after, on_failure="collect") as harvest:  # the keys are the suites
            async for page in harvest.pages():
                suite = page.suite
                yield [row(suite, session) for session in page.sessions]
                lists = await asyncio.gather(*(failing_tests(buddy, suite, one, errors) for one in page.sessions))
                yield dlt.mark.with_hints(list(chain.from_iterable(lists)), CASES, create_table_variant=True)
                for session in page.sessions:  # newest first
                    if not session.is_finished:
                        next_after[suite] = session.relative_id - 1
                    elif next_after[suite] == after[suite]:
                        next_after[suite] = session.relative_id
                if page.is_last and page.proven_range and suite not in errors:
                    positions[str(suite)] = next_after[suite]
    errors.update(harvest.failures)


if __name__ == "__main__":
    errors = {}
    print(dlt.pipeline("buddy", destination="duckdb", dataset_name="ci").run(sessions(errors)))
    for suite, error in errors.items():
        print(f"could not read {suite}: {error}", file=sys.stderr)
    sys.exit(1 if errors else 0)
