"""The command `wait`: wait until the sessions of a commit or a CI run have finished, and print them."""

from __future__ import annotations

from buddy_sessions import NoVerdictError, WaitTimeoutError
from buddy_sessions._base.figures import format_duration

from ..errors import ExitCode
from ..options import Access, After, Branch, Flag, Interval, Jobs, Key, Revision, RunUrl, TableFormat, check_branch
from ..render.show import show
from ..values import Timeout
from .list import sessions_result


async def command(
    key: Key,
    /,
    *,
    run_url: RunUrl = None,
    revision: Revision = None,
    branch: Branch = None,
    after: After = None,
    count: Jobs = 1,
    timeout: Timeout = 1800.0,  # noqa: ASYNC109 - the option
    interval: Interval = 10.0,
    fail_fast: Flag = False,
    exit_code: Flag = False,
    output_format: TableFormat = None,
    access: Access = Access(),
) -> ExitCode:
    """Wait until the sessions of a commit or a CI run exist and have finished, and print them, newest first.

    With only --branch or --after, it waits for the newest --count sessions. If the first request fails with an error
    that is not temporary, the command ends. Later failures only delay it.

    Exit codes: 5 if fewer than --count sessions appeared in time, 6 if one has not finished in time.

    For example:

    - buddy-sessions wait acme/storefront/MNbyVedg --revision 5ff36f3 --exit-code
    - buddy-sessions wait acme/storefront/MNbyVedg --run-url https://github.com/acme/web/actions/runs/17 --after 383

    Args:
        timeout: Time until all sessions must exist and have finished, such as 90s, 30m or 2h (default: 30m).
        fail_fast: End as soon as one session is red.
        exit_code: Exit with 1 if one of the sessions failed.
    """
    messages, suite = access.messages(), access.defaults.parse_suite(key)
    async with access.connection.open_client(messages) as buddy:
        awaited = revision or run_url or branch or (None if after is None else f"a session after #{after}")
        text = f"waiting up to {format_duration(timeout)} for {awaited} of {suite}"
        if awaited is not None and not messages.is_terminal:
            messages.print_note(text)
        try:
            with messages.progress(text):
                sessions = await buddy.wait(
                    suite,
                    revision=revision,
                    run_url=run_url,
                    branch=branch,
                    after=after,
                    count=count,
                    interval=interval,
                    timeout=timeout,
                    fail_fast=1 if fail_fast else None,
                )
        except WaitTimeoutError as error:
            if error.__cause__ is not None or len(error.sessions) >= count:
                raise
            failure = NoVerdictError(str(error))
            if branch is not None and not error.sessions and (hint := await check_branch(buddy, suite, branch)):
                failure.add_note(hint)
            raise failure from error
    show(sessions_result(suite, sessions, branch=branch), output_format, messages)
    return ExitCode.RED if exit_code and any(session.is_failing for session in sessions) else ExitCode.DONE
