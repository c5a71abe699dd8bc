"""The command `wait`: wait until the sessions of a commit or a CI run have finished, and print them."""

from __future__ import annotations

from typing import Literal

from cyclopts.types import NonNegativeInt, PositiveInt

from buddy_sessions import WaitTimeoutError
from buddy_sessions._api.wait import WaitSpec, await_sessions
from buddy_sessions._base.figures import format_duration

from ..errors import ExitCode, NothingToJudgeError
from ..input.keys import find_suite
from ..input.times import Duration
from ..options import Access, Branch, Flag, Json, Key
from ..reading.suggestions import check_branch
from ..render.rows import named_format
from ..render.show import show_sessions


async def wait_for_sessions(
    key: Key,
    /,
    *,
    run_url: str | None = None,
    revision: str | None = None,
    branch: Branch = None,
    execution_id: str | None = None,
    after: NonNegativeInt | None = None,
    count: PositiveInt = 1,
    settle: Duration = 0.0,
    timeout: Duration = 1800.0,  # noqa: ASYNC109 - the option
    appear_timeout: Duration | None = None,
    interval: Duration = 10.0,
    exit_code: Flag = False,
    format: Literal["table", "jsonl", "csv"] | None = None,  # noqa: A002 - the name of the option
    json: Json = False,
    access: Access = Access(),
) -> ExitCode:
    """Wait until the sessions of a commit or a CI run exist and have finished, and print them, newest first.

    With only --branch or --after, it waits for the newest session, or the newest --count sessions. A
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
        format: Output format (default: a table on a terminal, otherwise one line for each session).
    """
    messages, output_format = access.verbosity.open(), named_format(format, json=json)
    target = access.defaults.parse_target(key)
    async with access.connection.open_client(messages) as buddy:
        spec = WaitSpec(
            suite=await find_suite(buddy, target),
            revision=revision,
            run_url=run_url,
            branch=branch,
            execution_id=execution_id,
            after=after,
            count=count,
            settle=settle,
            interval=interval,
            timeout=timeout,
            appear_timeout=appear_timeout,
        )
        text = f"waiting up to {format_duration(timeout)} for {spec}"
        if not messages.is_terminal:
            messages.print_note(text)
        try:
            with messages.progress() as show:
                show(text)
                sessions = await await_sessions(buddy.api, spec)
        except WaitTimeoutError as error:
            if error.__cause__ is not None or len(error.sessions) >= count:
                raise
            failure = NothingToJudgeError(str(error))
            if branch is not None and not error.sessions and (hint := await check_branch(buddy, spec.suite, branch)):
                failure.add_note(hint)
            raise failure from error
    show_sessions(sessions, output_format, spec.suite, branch=branch)
    return ExitCode.RED if exit_code and any(session.is_failing for session in sessions) else ExitCode.DONE
