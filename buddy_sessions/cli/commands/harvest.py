"""The command `harvest`: write the sessions of many suites to stdout or to a file."""

from __future__ import annotations

import sys

from buddy_sessions._base.figures import format_count
from buddy_sessions._export import keyed_rows

from ..errors import ExitCode
from ..options import Access, Branch, Emails, FromFile, Keys, OutFile, RowFormat, check_branch
from ..render.console import HarvestProgress
from ..render.show import open_output
from ..render.text import one_line
from ..suite_selection import SuiteSelection
from ..values import Since


async def command(
    *key: Keys,
    from_file: FromFile = None,
    branch: Branch = None,
    since: Since = None,
    out: OutFile = None,
    output_format: RowFormat = None,
    emails: Emails = False,
    access: Access = Access(),
) -> ExitCode:
    """Write the sessions of many suites to stdout or a file, each suite's newest first. For a database, use sync.

    Each row begins with the workspace, the project and the ID of the suite; in jsonl, with "key", which joins them. A
    suite that fails does not stop the others.

    For example:

    - buddy-sessions harvest acme/storefront --since 2w --out sessions.parquet
    - buddy-sessions harvest acme/storefront/MNbyVedg acme/api
    """
    messages = access.messages()
    selection = SuiteSelection(key, from_file, defaults=access.defaults)
    unchanged = f"{out} was not written" if out is not None else ""
    with open_output(output_format, out, source=from_file and from_file.name) as writer:
        async with access.connection.open_client(messages) as buddy:
            with messages.progress():
                suites = await selection.resolve(buddy)
            async with buddy.harvest(suites, branch=branch, since=since, on_failure="collect") as harvest:
                progress = HarvestProgress(buddy, harvest, len(suites), selection.failures)
                is_data_on_terminal = out is None and sys.stdout.isatty()
                with progress.run(messages, enabled=not is_data_on_terminal, after_interrupt=unchanged):
                    async for page in harvest.pages():
                        writer.write(keyed_rows(page.suite, page.sessions, emails=emails))
            if branch and not (harvest.stats.sessions or progress.failures):
                messages.print_warning(await check_branch(buddy, next(iter(suites)), branch))
        is_new = out is None or not out.exists()
        is_written = progress.exit_code == ExitCode.DONE or (progress.is_partial and is_new)
        if is_written:
            writer.finish()
    messages.print_note(progress.summary())
    if out is not None and is_written:
        rest = "without the rest of the failed suites" if progress.is_partial else ""
        messages.print_written(out, format_count(harvest.stats.sessions, "session"), rest)
    elif out is not None:
        hint = "; for the sessions of the other suites, name a new file" if progress.is_partial else ""
        messages.print_message((one_line(f"{unchanged}: what was read is discarded{hint}"), "dim"))
    progress.print_failures(messages)
    return progress.exit_code
