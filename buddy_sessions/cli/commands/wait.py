"""The command `wait`: wait until the sessions of a commit or a CI run have finished, and print them."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import NonNegativeInt, PositiveInt

from buddy_sessions import ConfigError, WaitTimeoutError

from ..errors import ExitCode, NothingToJudgeError
from ..input.keys import find_suite
from ..input.times import Duration
from ..options import Access, Branch, Key, Printing
from ..reading.suggestions import check_branch
from ..render.show import session_printer
from ..render.text import format_duration

_NO_DEFAULT = Parameter(show_default=False)  # it would be shown as 0:30:00


async def wait_for_sessions(
    key: Key,
    /,
    *,
    revision: str | None = None,
    run_url: str | None = None,
    branch: Branch = None,
    execution_id: str | None = None,
    after: NonNegativeInt | None = None,
    count: PositiveInt = 1,
    settle: Annotated[Duration, _NO_DEFAULT] = timedelta(),
    timeout: Annotated[Duration, _NO_DEFAULT] = timedelta(minutes=30),  # noqa: ASYNC109 - the option
    appear_timeout: Duration | None = None,
    interval: Annotated[Duration, _NO_DEFAULT] = timedelta(seconds=10),
    exit_code: Annotated[bool, _NO_DEFAULT] = False,
    printing: Printing = Printing(),
    access: Access = Access(),
) -> ExitCode:
    """Wait until the sessions of a commit or a CI run exist and have finished, and print them, newest first.

    Without --revision, --run-url and --execution-id, it waits for the newest session, or the newest --count sessions. A
    failed request does not end the wait, unless it is the first one and another attempt would fail, too.

    Exit codes: 5 if fewer than --count sessions appeared in time, 6 if one has not finished in time.

    For example:

    - buddy-sessions wait acme/storefront/MNbyVedg --revision 5ff36f3 --exit-code
    - buddy-sessions wait acme/storefront/MNbyVedg --run-url https://github.com/acme/web/actions/runs/17 --after 383

    Args:
        revision: Only sessions of this commit: 7 or more digits of its hash.
        run_url: Only sessions of this CI run: their ci_run_url. Re-runs share it, so add --after.
        execution_id: Only sessions of this execution of a Buddy pipeline.
        after: Only sessions with a higher relative_id, to wait for a re-run of the same commit.
        count: Number of sessions to wait for, such as one for each job of a matrix.
        settle: Time in which no session may have changed, such as 30s, for jobs that share a session and close it one
            after the other.
        timeout: Time until all sessions must have finished, such as 90s, 30m or 2h (default: 30m).
        appear_timeout: Time until --count sessions must exist (default: --timeout).
        interval: Time between two requests (default: 10s).
        exit_code: Exit with 1 if one of the sessions failed (default: 0 whether or not one failed).
    """
    selectors = {
        "revision": revision,
        "run_url": run_url,
        "branch": branch,
        "execution_id": execution_id,
        "after": after,
    }
    selected = ", ".join(f"{name} {value}" for name, value in selectors.items() if value is not None)
    if not selected:
        raise ConfigError("nothing to wait for: add --revision, --run-url, --branch, --execution-id or --after")
    messages, output_format = access.verbosity.open(), printing.choose()
    target = access.defaults.parse_target(key)
    async with access.connection.open_client(messages) as buddy:
        suite = await find_suite(buddy, target)
        text = f"waiting up to {format_duration(timeout.total_seconds())} for {suite} ({selected})"
        if not messages.is_terminal:
            messages.print_note(text)
        try:
            with messages.progress() as show:
                show(f"{text}…")
                sessions = await buddy.wait(
                    suite,
                    revision=revision,
                    run_url=run_url,
                    branch=branch,
                    execution_id=execution_id,
                    after=after,
                    count=count,
                    settle=settle.total_seconds(),
                    timeout=timeout.total_seconds(),
                    appear_timeout=None if appear_timeout is None else appear_timeout.total_seconds(),
                    interval=interval.total_seconds(),
                )
        except WaitTimeoutError as error:
            if error.__cause__ is not None or len(error.sessions) >= count:
                raise
            failure = NothingToJudgeError(str(error))
            if branch is not None and not error.sessions and (hint := await check_branch(buddy, suite, branch)):
                failure.add_note(hint)
            raise failure from error
    with suppress(BrokenPipeError):  # the exit code does not depend on what the reader of a pipe does
        session_printer(output_format, suite, branch=branch)(sessions)
    return ExitCode.RED if exit_code and any(session.is_failing for session in sessions) else ExitCode.DONE
