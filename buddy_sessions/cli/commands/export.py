"""The command `export`: write the sessions of a database, or their test cases, to stdout or to a file."""

from __future__ import annotations

from buddy_sessions import SessionStore
from buddy_sessions._base.figures import format_count
from buddy_sessions._export import (
    KEYED_SESSION_COLUMNS,
    SESSION_CASE_COLUMNS,
    keyed_rows,
    session_case_row,
)
from buddy_sessions.models import is_before

from ..options import Branch, Emails, Flag, OutFile, Quiet, RowFormat, SavedFile, SavedKeys, check_branch
from ..render.console import Output
from ..render.show import open_output
from ..suite_selection import KeyDefaults, select_keys
from ..values import Since, find_database


async def command(
    *key: SavedKeys,
    db: SavedFile,
    branch: Branch = None,
    since: Since = None,
    output_format: RowFormat = None,
    out: OutFile = None,
    cases: Flag = False,
    emails: Emails = False,
    quiet: Quiet = False,
    defaults: KeyDefaults = KeyDefaults(),
) -> None:
    """Write the sessions of a database, each suite's newest first, without a request.

    The rows are those that harvest writes. Deleted sessions are left out.

    For example:

    - buddy-sessions export --db sessions.db --out sessions.parquet
    - buddy-sessions export acme/storefront --db sessions.db --since 7d

    Args:
        cases: Write the saved test cases of these sessions instead, without what was uploaded (data).
    """
    targets = [defaults.parse_group(text) for text in key]
    messages, count = Output(stderr=True, quiet=quiet), 0
    columns, noun = (SESSION_CASE_COLUMNS, "test case") if cases else (KEYED_SESSION_COLUMNS, "session")
    with (
        open_output(output_format, out, columns, source=str(db)) as writer,
        messages.progress(enabled=out is not None) as show,
    ):
        async with SessionStore(find_database(db)) as store:
            suites = select_keys([suite.key for suite in await store.suites()], targets, db)
            for suite in suites:
                async for page in store.pages(suite, branch=branch):
                    sessions = [session for session in page if not is_before(session, since)]
                    if not cases:
                        writer.write(keyed_rows(suite, sessions, emails=emails))
                        count += len(sessions)
                    for session in sessions if cases else ():
                        saved = await store.cases(suite, session)
                        writer.write(session_case_row(suite, session, case) for case in saved)
                        count += len(saved)
                    show(format_count(count, noun))
            if branch and not count:
                messages.print_warning(await check_branch(store, suites[0], branch))
            elif cases and not count:
                messages.print_warning(f"no test cases are saved in {db}: sync with --cases failed, or --cases all")
        writer.finish()
    if out is not None:
        messages.print_written(out, format_count(len(suites), "suite"), format_count(count, noun))
