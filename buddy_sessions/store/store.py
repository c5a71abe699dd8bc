"""`SessionStore`: a SQLite database of sessions that is kept up to date."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Self

from .._base.streams import AsyncContext
from .._base.validate import (
    validate_age,
    validate_branch,
    validate_group,
    validate_int,
    validate_key,
    validate_seconds,
    validate_session,
    validate_since,
    validate_suites,
    validate_word,
)
from .._client.client import BuddyClient
from .._export import keyed_rows, open_file
from .._paging.pacing import RequestSlots
from .._streams.harvest import Harvest, OnFailure
from .._streams.poller import OnFirstFailure
from .._streams.status_changes import StatusPoller, StatusWatch
from .._streams.watch import ChangePoller, Watch
from ..analysis.branches import MAIN, Main, validate_judged_branch
from ..analysis.suite_status import SuiteStatus
from ..errors import StoreError
from ..models import CaseScope, Session, Suite, SuiteKey, SuiteRef, TestCase
from ..questions.questions import Questions
from .cases import load_cases
from .copies import StoreChange, iterate_changes
from .file import DatabaseFile, DatabaseThread
from .lock import lock_file, lock_suite
from .migrations import migrate
from .prune import forget_suite, load_newest_date, prune_suite, return_space, time_before
from .saved_source import SavedSource, SavedSuite, load_pages, load_saved_suites, load_sessions, load_suites, with_saved
from .schema import VERSION
from .suites import MAX_DETAILS, SyncScope, WatchState
from .sync import SuiteSync, SyncRun


class SessionStore(AsyncContext, Questions):
    """A SQLite database of sessions that is kept up to date, and answers the same `Questions` as a client.

    Use it as `async with`, or `open` and `close` it. Suites and sessions are named as in `Questions`.

    One process at a time syncs, prunes or forgets: another one gets `StoreError`, unless it waits (`wait`). Stores of
    one process share a file: they sync different suites at the same time. Reading never waits for a sync. Any tool that
    reads SQLite can query the file, by its views `sessions`, `suites` and `cases`.

    The methods raise `ConfigError` for an invalid argument, before any I/O, and `StoreError` if the store is not open,
    or its file cannot be read or written, also because another program writes to it for more than 30 seconds.

    Args:
        path: The file. It is created if it does not exist; its folder is not.

    Example:
        >>> async with SessionStore("sessions.db") as store, store.sync(buddy, ["acme/storefront/MNbyVedg"]) as sync:
        ...     async for key, session in sync:
        ...         print(key, session.relative_id, session.status)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        # SQLite takes "" and ":memory:" for databases without a file. An absolute path always means a file.
        self._thread = DatabaseThread(os.path.abspath(os.fsdecode(path)))
        super().__init__(SavedSource(self._thread))

    def __repr__(self) -> str:
        return f"<SessionStore {self._thread.path}>"

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Open the file, and create it if it does not exist. You can call it more than once.

        A file of another program is rejected with `StoreError`, and not changed. The process must be allowed to write
        the file and its folder, because SQLite needs both, also to read. A file of an older version is migrated.
        """
        await self._thread.open()
        try:
            if await self._thread.run(DatabaseFile.number, "PRAGMA user_version") < VERSION:
                await self._migrate()
        except BaseException:
            await self._thread.close()
            raise

    async def _migrate(self) -> None:
        try:
            async with lock_file(self._thread.path):
                await self._thread.run(migrate)
        except StoreError as error:
            message = f"{error}; the file is of an older version: run a sync to migrate it"
            raise StoreError(message, retryable=error.retryable) from error

    async def close(self) -> None:
        """Close the file, after the calls made before have ended. You can call it more than once."""
        await self._thread.close()

    def sync(
        self,
        buddy: BuddyClient,
        suites: Iterable[SuiteRef] | AsyncIterable[SuiteRef] | str,
        *,
        wait: float = 0.0,
        since: datetime | None = None,
        cases: CaseScope | None = None,
        cases_branch: str | None = None,
        details: int = MAX_DETAILS,
        keep: timedelta | None = None,
        full: bool = False,
        concurrency: int | None = None,
        on_failure: OnFailure = "raise",
    ) -> Harvest:
        """Return the new and the changed sessions of many suites, as one stream of `(key, session)`.

        If you do not need them, `await store.sync(…).run()` saves them all, and returns the `Stats`. Each page is saved
        before its sessions are yielded. A suite without changes or unfinished sessions costs one request. Each project
        costs one request a day, for the names of its suites.

        A session that is not found is first marked as missing (`missing_since`), and by the next sync as deleted
        (`deleted_at`). A session that is only marked is not yielded. A suite that is listed twice is read once.

        Args:
            buddy: The client to read with.
            suites: The suites, as in `BuddyClient.harvest`.
            wait: Seconds to wait for another process that writes the file, and for other tasks that sync a suite.
            since: The limit of a suite: its first sync saves only sessions created at this time or later, and so do
                later syncs. Only a `since` that is earlier than that of each sync before reads what is older. Test
                cases are read only of sessions since this time.
            cases: "failed" also saves the test cases that failed or ended with an error, of every finished session;
                "all" saves all cases. A session costs one request for each 100 cases, and those of `details`. Its cases
                are read once, and again when the session changes, or if something is in doubt.
            cases_branch: Only the test cases of sessions of this branch; None for all.
            details: The maximum number of failing cases of a session whose `data` and `failure` are read, with one
                request each. `case.has_details` is False for the others.
            keep: Delete the sessions of these suites that are older than this, as `prune` does, and do not read them;
                None to keep all.
            full: Whether to read every page again, except what was pruned, and with `cases` all test cases. Sessions
                that were wrong are corrected, logged, and counted in `stats.repaired`.
            concurrency: The number of suites to read at once; by default twice the client's `max_concurrency`.
            on_failure: As in `BuddyClient.harvest`.

        Raises:
            ConfigError: While iterating, as in `BuddyClient.harvest`.
            StoreError: While iterating, before any request: another process is syncing into the file, or pruning it, or
                another task syncs the suite; `error.retryable` is True. If the file fails, this ends the sync.
        """
        validate_seconds("wait", wait, zero_allowed=True)
        validate_since(since)
        if cases is not None:
            validate_word("cases", cases, CaseScope)
        validate_branch(cases_branch, "cases_branch")
        validate_int("details", details, minimum=0)
        if keep is not None:
            validate_age("keep", keep)
        self._thread.check_open()
        run = SyncRun(buddy.api, self._thread, wait=wait)
        limit = 2 * buddy.api.max_concurrency if concurrency is None else concurrency

        def read(key: SuiteKey, slots: RequestSlots) -> SuiteSync:
            scope = SyncScope(since=since, cases=cases, cases_branch=cases_branch, details=details)
            return SuiteSync(run, key, scope, full=full, keep=keep, slots=slots)

        return Harvest(
            buddy.api,
            suites,
            read,
            concurrency=validate_int("concurrency", limit),
            on_failure=on_failure,
            lock=partial(lock_file, self._thread.path, wait=wait),
            is_sync=True,
        )

    async def prune(self, *, older_than: timedelta, wait: float = 0.0) -> int:
        """Delete the sessions older than `older_than`, finished or not, with their cases, and shrink the file.

        Return the number of sessions that were deleted. The age is that of `create_date`; a session without a date is
        kept. So are those of the commit that says whether the main branch is red, and those of a commit that was tested
        within a day of the limit. No later sync saves what was pruned again, not even with `full`, except one with an
        earlier `since` than ever before. `wait` is that of `sync`. After a `StoreError`, some suites may be pruned
        already.
        """
        validate_age("older_than", older_than)
        validate_seconds("wait", wait, zero_allowed=True)
        self._thread.check_open()
        count = 0
        async with lock_file(self._thread.path, wait=wait):
            before = time_before(older_than, datetime.now(UTC), await self._thread.run(load_newest_date))
            for suite in await self.info():
                async with lock_suite(self._thread.path, suite.suite, wait=wait):
                    count += await prune_suite(self._thread, suite.suite, before)
            await self._thread.run(return_space)
        return count

    async def forget(self, suite: SuiteRef, *, wait: float = 0.0) -> None:
        """Remove a suite from the file: its sessions, their test cases, and the state of its watches.

        Does nothing if the suite is not in the file. A later sync of the suite begins anew. `wait` is that of `sync`.
        """
        key = validate_key(suite)
        validate_seconds("wait", wait, zero_allowed=True)
        self._thread.check_open()
        async with lock_file(self._thread.path, wait=wait):
            async with lock_suite(self._thread.path, key, wait=wait):
                await self._thread.run(forget_suite, key)
            await self._thread.run(return_space)

    async def export(self, path: str | os.PathLike[str], *, emails: bool = False) -> int:
        """Write all sessions to a file, each suite's newest first, as the command `export` does. Return their number.

        The ending of the file is its format: .jsonl, .csv or .parquet (extra `[parquet]`). An existing file is replaced
        only when the new one is complete. The e-mail addresses of members are only written with `emails`.

        Raises:
            ConfigError: The file has another ending, or is a database; or duckdb is not installed.
            OSError: The new file cannot be written.
        """
        count = 0
        with open_file(Path(path), source=self._thread.path) as writer:
            for suite in await self.suites():
                async for sessions in self.pages(suite):
                    await asyncio.to_thread(writer.write, keyed_rows(suite.key, sessions, emails=emails))
                    count += len(sessions)
            await asyncio.to_thread(writer.finish)
        return count

    def changes(self, after: int = 0) -> AsyncIterator[StoreChange]:
        """Iterate over what was saved, marked or deleted since a position, so that a copy elsewhere can follow.

        Changes come in the order of their positions; only the last change of a session is kept. Begin with `after=0`,
        and save the `position` of the last change with the copy, in one transaction: pass it as `after` the next time.
        Names of suites, and their marks, are not among the changes: read `suites`.

        Raises:
            StoreError: While iterating: the file has no such position, because it was restored or replaced.
        """
        return iterate_changes(self._thread, validate_int("after", after, minimum=0))

    def watch(
        self,
        buddy: BuddyClient,
        suites: Iterable[SuiteRef] | str,
        *,
        name: str = "default",
        interval: float = 60.0,
        branch: str | None = None,
        on_failure: OnFirstFailure = "raise",
    ) -> Watch:
        """Return the changes in many suites, as one stream of `Change`, from where the last watch of this name stopped.

        What has changed since then is reported first, and what was not acknowledged once more. Two bots with one file
        take two names: each gets every change. Each branch has its own state, and so has a watch of all sessions.
        `name` consists of letters, digits, `.`, `_` and `-`. The other arguments are those of `BuddyClient.watch`.

        Raises:
            StoreError: While iterating: another watch of this name is running, or a change cannot be saved.
        """
        self._thread.check_open()
        saved = WatchState(self._thread, "changes", name, branch)
        return Watch(ChangePoller(buddy.api, suites, branch, interval=interval, on_failure=on_failure, saved=saved))

    def watch_status(
        self,
        buddy: BuddyClient,
        suites: Iterable[SuiteRef] | str,
        *,
        name: str = "default",
        branch: str | Main = MAIN,
        interval: float = 60.0,
        on_failure: OnFirstFailure = "raise",
    ) -> StatusWatch:
        """Return the status changes of many suites as one stream, from where the last one of this name stopped.

        What has changed since then is one event for each suite; what has changed back is none. The first event of a
        suite that was never watched is its current status. Each `branch` has its own state. `name` and errors are those
        of `watch`. The other arguments are those of `BuddyClient.watch_status`.
        """
        self._thread.check_open()
        saved = WatchState(self._thread, "status", name, validate_judged_branch(branch))
        poller = StatusPoller(buddy.api, suites, branch, interval=interval, on_failure=on_failure, saved=saved)
        return StatusWatch(poller)

    async def sessions(self, suite: SuiteRef, *, branch: str | None = None) -> list[Session]:
        """Return the saved sessions of a suite, or of a branch of it, except deleted ones, newest first."""
        return await self._thread.run(load_sessions, validate_key(suite), branch=validate_branch(branch))

    def pages(self, suite: SuiteRef, *, branch: str | None = None) -> AsyncGenerator[list[Session], None]:
        """Iterate over the sessions of `sessions` in lists of 1 to 1,000, so that memory does not grow with them."""
        return load_pages(self._thread, validate_key(suite), branch=validate_branch(branch))

    async def cases(self, suite: SuiteRef, session: Session | str) -> list[TestCase]:
        """Return the saved test cases of a session (a `Session`, or its `id`), in the order of the API.

        There are none if the session has changed since its cases were read. The URLs of a case that does not fail
        follow from its session; `url` is None if an id has characters that a URL encodes.
        """
        return await self._thread.run(load_cases, validate_key(suite), validate_session(session))

    async def suites(self) -> list[Suite]:
        """Return the suites that were synced, except deleted ones, sorted by their keys.

        `name`, `identifier` and `html_url` are None until their project was listed; `url` is always None.
        """
        return await self._thread.run(load_suites)

    async def info(self) -> list[SavedSuite]:
        """Return what the file has of each suite that was synced, with deleted ones, sorted by their keys."""
        return await self._thread.run(load_saved_suites)

    async def status(
        self, suites: Iterable[SuiteRef] | str | None = None, *, branch: str | Main = MAIN
    ) -> list[SuiteStatus]:
        """Return whether suites are red, as `BuddyClient.status` does; None for all that were synced, sorted by key.

        A suite that the last syncs did not find has no verdict: its `reason` is "missing" or "deleted".
        """
        if isinstance(suites, str):
            suites = await self._source.suites(*validate_group(suites))
        saved = {each.suite: each for each in await self.info()}
        keys = [*saved] if suites is None else [validate_key(each) for each in validate_suites(suites)]
        listed = {key for key in keys if key not in saved or saved[key].missing_since is None}
        judged = {each.suite: each for each in await super().status(listed, branch=branch)}
        return [with_saved(judged.get(key, SuiteStatus(suite=key)), saved.get(key)) for key in keys]
