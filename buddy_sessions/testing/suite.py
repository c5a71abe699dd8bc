"""A suite of the fake Buddy, with its sessions. No HTTP."""

import random
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Self

from ..models import SuiteKey
from . import data
from .case_history import CaseHistory
from .cases import Case, count_cases, list_cases, session_status, shown_in_list
from .data import Session, path_segment
from .stored import Snapshot, StoredSession

# The order of a session's fields in the documented example and in Buddy's OpenAPI types.
_FIELDS = (
    *("url", "html_url", "id", "relative_id", "create_date", "start_date", "finish_date", "created_by"),
    *("ci_provider", "ci_run_url", "revision", "ref_type", "ref_name", "execution_id", "action_execution_id"),
    *("status", "error_message", "duration", "tests_count", "failed_count", "skipped_count", "error_count"),
)


class FakeSuite:
    """A suite whose sessions a test creates and changes. `FakeBuddy.add_suite` adds one to a server.

    Its methods return copies, which do not change when the suite changes. The methods are thread-safe: each change is
    atomic, so a page shows all of it or nothing.

    Attributes:
        key: The workspace, the project and the ID of the suite.
        name: The name of the suite.
        identifier: The identifier of the suite.
        url: The URL of the suite in the API.
        html_url: The URL of the suite in the browser.
        timeout: The timeout of a session in seconds. A test may change this setting and those below. They appear in the
            response for the single suite; None to leave one out.
        slow_threshold: The duration in milliseconds above which Buddy calls a test slow.
        error_pattern: The pattern of error messages.
        send_commit_status: Whether Buddy sends the status of commits to the repository.
        token: The secret with which CI jobs upload results. The server does not accept it.
    """

    def __init__(
        self,
        workspace: str,
        project: str,
        suite_id: str,
        *,
        name: str = "Unit tests",
        identifier: str = "unit-tests",
        seed: int = 0,
        api_url: str = "https://api.buddy.works",
        app_url: str = "https://app.buddy.works",
    ) -> None:
        """Create an empty suite.

        Args:
            workspace: The domain of the workspace.
            project: The name of the project.
            suite_id: The ID of the suite.
            name: The name of the suite.
            identifier: The identifier of the suite.
            seed: The seed of the random data. The same seed and names give the same data in every process.
            api_url: The base of `url` fields.
            app_url: The base of `html_url` fields.
        """
        self.key = SuiteKey(workspace, project, suite_id)
        self.name = name
        self.identifier = identifier
        self.timeout: int | None = 3600
        self.slow_threshold: int | None = 1000
        self.error_pattern: str | None = "(ERROR|FATAL|Exception)"
        self.send_commit_status: bool | None = False
        workspace_path, project_path, suite_path = map(path_segment, self.key)
        self.url = f"{api_url}/workspaces/{workspace_path}/projects/{project_path}/unit-tests/suites/{suite_path}"
        self.html_url = f"{app_url}/{workspace_path}/{project_path}/unit-tests/{suite_path}"
        # Seeded with text, because `hash()` differs from process to process.
        text_seed = f"{seed}/{workspace}/{project}/{suite_id}"
        self._rng = random.Random(text_seed)  # noqa: S311 - nothing secret
        self._members = data.choose_members(self._rng, workspace=workspace, api_url=api_url, app_url=app_url)
        self._history = data.History(self._rng, self._members, f"{workspace_path}/{project_path}")
        self._case_history = CaseHistory(text_seed, self._history.seconds_per_test)
        self.token: str | None = data.new_suite_token(random.Random(f"{text_seed}/token"))  # noqa: S311 - valid nowhere
        self._ids: list[str] = []  # oldest first, so that appending is cheap
        self._by_id: dict[str, StoredSession] = {}
        self._highest_relative_id = 0
        self._latest: int | None = None  # creation time of the newest session, in Unix seconds
        self._lock = threading.RLock()  # guards all of the above

    def __repr__(self) -> str:
        return f"<FakeSuite {'/'.join(self.key)} with {len(self._ids)} sessions>"

    @property
    def sessions(self) -> Sequence[Session]:
        """Copies of all sessions that exist now, newest first."""
        with self._lock:
            return [self._by_id[session_id].copy() for session_id in reversed(self._ids)]

    def snapshot(self) -> Snapshot:
        """Return an immutable copy of all sessions that exist now, newest first, for `Fault.stale`."""
        with self._lock:
            return tuple(self._by_id[session_id] for session_id in reversed(self._ids))

    def create(
        self,
        branch: str = "main",
        status: str | None = None,
        *,
        cases: Iterable[Mapping[str, Any]] | None = None,
        **fields: Any,
    ) -> Session:
        """Add a session at the top of the list.

        Args:
            branch: The tested branch: `ref_name`, with the `ref_type` `BRANCH`.
            status: `IN_PROGRESS`, `SUCCESSFUL`, `ERROR`, `SKIPPED`, or any other text (default: the one that follows
                from `cases`, or `IN_PROGRESS` without them).
            cases: The test cases, as for `add_cases` (default: realistic ones that match the counts).
            **fields: Any other field under the API's name; None for null. By default, the counts are those of `cases`,
                and the other fields get realistic values, except `finish_date`, `ci_run_url` and `error_message`, which
                are absent as in Buddy's example. A field that the API does not have comes after the others.

        Returns:
            The session. By default, its `relative_id` is one more than the highest one used so far.

        Raises:
            ValueError: A session with this `id` already exists, or a test case has no name.
        """
        with self._lock:
            given = {"ref_type": "BRANCH", "ref_name": branch, **fields}
            if status is not None:
                given["status"] = status
            return self._add(self._now(), given, cases)

    def add_cases(self, session_id: str, cases: Iterable[Mapping[str, Any]]) -> Session:
        """Add test cases to a session, or replace those with the same `id`, and count them.

        The session keeps its other test cases, also those that were generated, and its status: `finish` sets that.

        Args:
            session_id: The `id` of the session.
            cases: The fields of each test case under the API's names. Only `name` is required: by default, a test case
                is `PASSED`, and `test_group_name`, `classname` and `time` are constant. `id` and `test_group_id` follow
                from these names, so that a test case replaces an earlier one of the same test. `message`, `type` and
                `text` describe the failure in `data`, which is realistic JUnit XML by default. A field that the API
                does not have comes after the others.

        Returns:
            The changed session.

        Raises:
            KeyError: There is no such session.
            ValueError: A test case has no name.
        """
        with self._lock:
            session = self._find(session_id)
            listed = {**session.cases_by_id(), **list_cases(session, cases)}
            return self._store({**session, **count_cases(listed.values())}, listed)

    def cases(self, session_id: str, *, status: str | None = None) -> list[Case]:
        """Return the test cases of a session as the API lists them.

        Args:
            session_id: The `id` of the session.
            status: Only test cases with this status.

        Raises:
            KeyError: There is no such session.
        """
        return [shown_in_list(case) for case in self._find(session_id).cases(status=status)]

    def case(self, session_id: str, case_id: str) -> Case:
        """Return a single test case with its `data`.

        Raises:
            KeyError: There is no such session or test case.
        """
        return self._find(session_id).case(str(case_id))

    def test_groups(self, session_id: str) -> list[dict[str, Any]]:
        """Return the test groups of a session.

        Raises:
            KeyError: There is no such session.
        """
        return self._find(session_id).test_groups()

    def finish(self, session_id: str, status: str | None = None, **fields: Any) -> Session:
        """Finish a session.

        Args:
            session_id: The `id` of the session.
            status: The final status (default: the one that follows from the test cases that were given, or `SUCCESSFUL`
                if none were).
            **fields: Any other field to change. By default, `finish_date` is now, `duration` is the seconds since
                `start_date`, and the counts are realistic if `tests_count` is 0 or None and no test cases were given.

        Returns:
            The changed session.

        Raises:
            KeyError: There is no such session.
        """
        with self._lock:
            session, now = self._find(session_id), self._now()
            if status is None:
                status = (
                    "SUCCESSFUL" if session.listed is None else session_status(count_cases(session.listed.values()))
                )
            changes: Session = {"status": status, "finish_date": data.format_time(now)}
            if session["start_date"] is not None:
                started = datetime.fromisoformat(session["start_date"])
                changes["duration"] = max(0, now - int(started.timestamp()))
            if session.listed is None and not session["tests_count"]:
                changes |= self._history.counts(status)
            return self._store({**session, **changes, **fields}, session.listed)

    def reopen(self, session_id: str) -> Session:
        """Set a session to `IN_PROGRESS` again, and remove `finish_date` and `error_message`.

        Returns:
            The changed session.

        Raises:
            KeyError: There is no such session.
        """
        with self._lock:
            stored = self._find(session_id)
            session = {**stored, "status": "IN_PROGRESS"}
            for field in ("finish_date", "error_message"):
                session.pop(field, None)
            return self._store(session, stored.listed)

    def delete(self, session_id: str) -> None:
        """Delete a session. Its `relative_id` is not used again.

        Raises:
            KeyError: There is no such session.
        """
        with self._lock:
            self._find(session_id)
            del self._by_id[session_id]
            self._ids.remove(session_id)

    def populate(self, count: int, *, until: datetime | None = None) -> Self:
        """Add realistic sessions at the top of the list.

        The same seed, names, calls and `until` give the same sessions. The newest one is created shortly before
        `until`, and is `IN_PROGRESS` if it would finish later.

        Args:
            count: The number of sessions.
            until: An aware time. No session is created or finished later (default: now).

        Returns:
            This suite.

        Raises:
            ValueError: `until` has no time zone, or the suite already has later sessions.
        """
        if until is not None and until.tzinfo is None:
            raise ValueError("until must have a time zone")
        with self._lock:
            end = self._now() if until is None else int(until.timestamp())
            if self._latest is not None and end < self._latest:
                raise ValueError(f"until is too early: the suite has sessions up to {data.format_time(self._latest)}")
            for created, fields in self._history.sessions(count, until=end, after=self._latest):
                self._add(created, fields)
        return self

    def summary(self) -> dict[str, Any]:
        """Return the suite as it appears in the API's list of suites."""
        _, _, suite_id = self.key
        return {
            "url": self.url,
            "html_url": self.html_url,
            "id": suite_id,
            "name": self.name,
            "identifier": self.identifier,
        }

    def details(self) -> dict[str, Any]:
        """Return the suite as it appears in the API's response for it alone. Settings that are None are absent."""
        settings = {
            "timeout": self.timeout,
            "error_pattern": self.error_pattern,
            "token": self.token,
            "slow_threshold": self.slow_threshold,
            "send_commit_status": self.send_commit_status,
        }
        return self.summary() | {name: value for name, value in settings.items() if value is not None}

    def page(self, number: int, size: int, *, branch: str | None = None) -> dict[str, Any]:
        """Return one page in the API's JSON. A page past the end has no sessions.

        Args:
            number: The page number, from 1.
            size: The number of sessions per page.
            branch: Only sessions with the `ref_type` `BRANCH` and this `ref_name`. Buddy documents only "by branch
                name"; whether it also matches tags and pull requests is unknown.
        """
        skip = (number - 1) * size
        with self._lock:
            if branch is None:
                stop = max(0, len(self._ids) - skip)
                rows = [self._by_id[session_id] for session_id in reversed(self._ids[max(0, stop - size) : stop])]
            else:
                newest_first = (self._by_id[session_id] for session_id in reversed(self._ids))
                matching = (row for row in newest_first if data.is_on_branch(row, branch))
                rows = list(islice(matching, skip, skip + size))
            sessions = [row.copy() for row in rows]
        return {"url": f"{self.url}/sessions", "html_url": self.html_url, "sessions": sessions}

    def _now(self) -> int:
        """Return the current time in Unix seconds, but no earlier than the newest session."""
        return max(int(time.time()), self._latest or 0)

    def _find(self, session_id: str) -> StoredSession:
        try:
            return self._by_id[session_id]
        except KeyError:
            raise KeyError(f"suite {'/'.join(self.key)} has no session {session_id!r}") from None

    def _add(self, created: int, fields: Session, cases: Iterable[Mapping[str, Any]] | None = None) -> Session:
        rng, create_date = self._rng, data.format_time(created)
        session_id = fields.get("id", data.new_id(rng))
        if session_id in self._by_id:
            raise ValueError(f"suite {'/'.join(self.key)} already has a session {session_id!r}")
        session: Session = {
            "url": f"{self.url}/sessions/{path_segment(session_id)}",
            "html_url": f"{self.html_url}/{path_segment(session_id)}",
            "id": session_id,
            "relative_id": self._highest_relative_id + 1,
            "create_date": create_date,
            "start_date": create_date,
            "created_by": self._members[0],
            "ci_provider": "BUDDY",
            "revision": f"{rng.getrandbits(160):040x}",
            "execution_id": data.new_execution_id(rng, created),
            "action_execution_id": data.new_execution_id(rng, created),
            "status": "IN_PROGRESS",
            "duration": 0,
            **fields,
        }
        listed = None if cases is None else list_cases(session, cases)
        if listed is None:
            counts = self._history.counts(session["status"])
        else:
            counts = count_cases(listed.values())
            if listed and "status" not in fields:
                session["status"] = session_status(counts)
        session = {**counts, **session}
        if isinstance(session["relative_id"], int):  # a test may serve an invalid one on purpose
            self._highest_relative_id = max(self._highest_relative_id, session["relative_id"])
        self._latest = created
        self._ids.append(session_id)
        return self._store(session, listed)

    def _store(self, session: Session, listed: Mapping[str, Case] | None) -> Session:
        ordered = {field: session[field] for field in _FIELDS if field in session} | session
        stored = self._by_id[session["id"]] = StoredSession(ordered, listed, self._case_history)
        return stored.copy()
