"""A suite of the fake Buddy, with its sessions. No HTTP."""

import random
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Self, TypeAlias

from ..models import SuiteKey
from .random_history import Runner, random_counts, random_members, random_session, random_sessions
from .stored_sessions import Snapshot, StoredSession, count_cases, make_cases, session_status, shown_in_list
from .wire import API_URL, APP_URL, JsonObject, check_fields, check_status, format_time, path_segment

SessionOrId: TypeAlias = str | Mapping[str, Any]
"""The `id` of a session, or a session in the API's JSON, as `FakeSuite.create` returns it."""

# The order of a session's fields in the documented example and in Buddy's OpenAPI types.
_FIELDS = (
    *("url", "html_url", "id", "relative_id", "create_date", "start_date", "finish_date", "created_by"),
    *("ci_provider", "ci_run_url", "revision", "ref_type", "ref_name", "execution_id", "action_execution_id"),
    *("status", "error_message", "duration", "tests_count", "failed_count", "skipped_count", "error_count"),
)
_FIELDS_OF_A_COMMIT = ("created_by", "ci_run_url", "revision", "ref_type", "ref_name")


class FakeSuite:
    """A suite whose sessions a test creates and changes. `FakeBuddy.add_suite` adds one to a server.

    Sessions and test cases are in the API's JSON. Every argument `session` may be the session or its `id`; if the suite
    has no such session, the method raises KeyError. A field that the API does not have raises TypeError, in a session
    and in a test case; a status that it does not have, ValueError. All values are copies, which do not change when the
    suite changes.

    The methods are thread-safe. Each change is atomic: a page shows all of it or nothing.

    Example:
        >>> session = suite.create(branch="main")
        >>> suite.finish(session, cases=[{"name": "adds", "status": "FAILED", "message": "1 != 2"}])["status"]
        'ERROR'
        >>> suite.finish(suite.rerun(session))["status"]
        'SUCCESSFUL'

    Attributes:
        key: The workspace, the project and the ID of the suite.
        name: The name of the suite.
        identifier: The identifier of the suite.
        runner: What random sessions look like: those of "pytest", run by Buddy and imported as JUnit XML; of "jest" or
            "playwright", run on GitHub and uploaded by Buddy's reporter, which sends JSON and knows no author.
        url: The URL of the suite in the API.
        html_url: The URL of the suite in the browser.
        settings: What the response for the single suite shows besides: `timeout` in seconds, `error_pattern`, `token`
            (`upload_token`), `slow_threshold` in milliseconds, and `send_commit_status`.
    """

    def __init__(
        self,
        workspace: str,
        project: str,
        suite_id: str,
        *,
        name: str = "Unit tests",
        identifier: str = "unit-tests",
        runner: Runner = "pytest",
        seed: int = 0,
    ) -> None:
        """Create an empty suite, as `FakeBuddy.add_suite` does. The same seed and names give the same random data."""
        self.key = SuiteKey(workspace, project, suite_id)
        self.name = name
        self.identifier = identifier
        self.runner: Runner = runner
        workspace_path, project_path, suite_path = map(path_segment, self.key)
        self.url = f"{API_URL}/workspaces/{workspace_path}/projects/{project_path}/unit-tests/suites/{suite_path}"
        self.html_url = f"{APP_URL}/{workspace_path}/{project_path}/unit-tests/{suite_path}"
        # Seeded with text, because `hash()` differs from process to process.
        self._seed = f"{seed}/{workspace}/{project}/{suite_id}"
        self._rng = random.Random(self._seed)  # noqa: S311 - nothing secret
        self._members = random_members(f"{API_URL}/workspaces/{workspace_path}", f"{APP_URL}/{workspace_path}")
        self.settings: JsonObject = {
            "timeout": 3600,
            "error_pattern": "(ERROR|FATAL|Exception)",
            "token": f"bud_ut_us_{self._rng.getrandbits(120):030x}",
            "slow_threshold": 1000,
            "send_commit_status": False,
        }
        self._sessions: dict[str, StoredSession] = {}  # by ID, oldest first
        self._highest_relative_id = 0
        self._latest = 0  # creation time of the newest session, in Unix seconds
        self._lock = threading.RLock()  # guards the sessions and the random numbers

    def __repr__(self) -> str:
        return f"<FakeSuite {'/'.join(self.key)} with {len(self._sessions)} sessions>"

    @property
    def upload_token(self) -> str:
        """The secret with which CI jobs upload results, `BUDDY_UT_TOKEN`. It reads nothing."""
        token: str = self.settings["token"]
        return token

    @property
    def sessions(self) -> list[JsonObject]:
        """All sessions that exist now, newest first."""
        return [session.fields.copy() for session in self.snapshot()]

    def snapshot(self) -> Snapshot:
        """Return the state of all sessions that exist now, newest first, for `Fault.stale`."""
        with self._lock:
            return tuple(reversed(self._sessions.values()))

    def create(
        self,
        branch: str = "main",
        status: str | None = None,
        *,
        cases: Iterable[Mapping[str, Any]] | None = None,
        **fields: Any,
    ) -> JsonObject:
        """Add a session at the top of the list, and return it.

        By default, its `relative_id` is one more than the highest one used so far.

        Args:
            branch: The tested branch: `ref_name`, with the `ref_type` `BRANCH`.
            status: `IN_PROGRESS`, `SUCCESSFUL`, `ERROR`, `SKIPPED`, or a new one in capitals, as Buddy may add it
                (default: the one that follows from `cases`, or `IN_PROGRESS` without them).
            cases: The test cases, as for `add_cases` (default: random ones that match the counts).
            **fields: Any other field, such as `revision`; None for null. By default, the counts are those of `cases`,
                and the other fields get plausible values, except `finish_date`, `ci_run_url` and `error_message`, which
                are absent as in Buddy's example.

        Raises:
            ValueError: A session with this `id` already exists.
        """
        with self._lock:
            return self._add(self._now(), {"ref_type": "BRANCH", "ref_name": branch, **fields}, status, cases)

    def rerun(
        self,
        session: SessionOrId,
        status: str | None = None,
        *,
        cases: Iterable[Mapping[str, Any]] | None = None,
        **fields: Any,
    ) -> JsonObject:
        """Add a session of the same commit: it has the revision, the branch, the author and the run of another session.

        The other arguments, and the returned session, are those of `create`.
        """
        with self._lock:
            before = self._find(session).fields
            same = {name: before[name] for name in _FIELDS_OF_A_COMMIT if name in before}
            return self._add(self._now(), {**same, **fields}, status, cases)

    def add_cases(self, session: SessionOrId, cases: Iterable[Mapping[str, Any]]) -> JsonObject:
        """Add test cases to a session, or replace those with the same `id`, count them, and return the session.

        The session keeps its other test cases, also random ones, and its status: `finish` sets that.

        Args:
            session: The session.
            cases: The fields of each test case. Only `name` is required: by default, a test case is `PASSED`, and
                `test_group_name`, `classname` and `time` are constant. `id` and `test_group_id` follow from these
                names, so that a test case replaces an earlier one of the same test. `message`, `type` and `text`
                describe the failure in `data`, which is plausible by default: JUnit XML, or the JSON of Buddy's
                reporters if the group and the class are the same file.
        """
        with self._lock:
            stored = self._find(session)
            given = {**stored.cases_by_id(), **make_cases(stored.fields, cases)}
            return self._store({**stored.fields, **count_cases(given.values())}, given)

    def cases(self, session: SessionOrId, *, status: str | None = None) -> list[JsonObject]:
        """Return the test cases of a session, or those with this status, as the API lists them."""
        return [shown_in_list(case) for case in self._find(session).cases(status=status)]

    def case(self, session: SessionOrId, case_id: object) -> JsonObject:
        """Return a single test case with its `data`. KeyError if there is no such test case."""
        return self._find(session).case(str(case_id))

    def finish(
        self,
        session: SessionOrId,
        status: str | None = None,
        *,
        cases: Iterable[Mapping[str, Any]] | None = None,
        **fields: Any,
    ) -> JsonObject:
        """Finish a session, and return it.

        Args:
            session: The session.
            status: The final status (default: the one that follows from the test cases that were given, or `SUCCESSFUL`
                if none were).
            cases: Test cases to add first, as with `add_cases`.
            **fields: Any other field to change. By default, `finish_date` is now, `duration` is the seconds since
                `start_date`, and the counts are plausible if `tests_count` is 0 or None and no test cases were given.
        """
        with self._lock:
            check_fields("session", fields, _FIELDS)
            if status is not None:
                check_status("session", status)
            if cases is not None:
                self.add_cases(session, cases)
            stored, now = self._find(session), self._now()
            before, given = stored.fields, stored.given
            if status is None:
                status = "SUCCESSFUL" if given is None else session_status(count_cases(given.values()))
            changes: JsonObject = {"status": status, "finish_date": format_time(now)}
            if before["start_date"] is not None:
                changes["duration"] = max(0, now - int(datetime.fromisoformat(before["start_date"]).timestamp()))
            if given is None and not before["tests_count"]:
                changes |= random_counts(self._seed, self._highest_relative_id, status)
            return self._store({**before, **changes, **fields}, given)

    def reopen(self, session: SessionOrId) -> JsonObject:
        """Set a session to `IN_PROGRESS`, remove its `finish_date` and `error_message`, and return it."""
        with self._lock:
            stored = self._find(session)
            kept = {name: each for name, each in stored.fields.items() if name not in {"finish_date", "error_message"}}
            return self._store({**kept, "status": "IN_PROGRESS"}, stored.given)

    def delete(self, session: SessionOrId) -> None:
        """Delete a session. Its `relative_id` is not used again."""
        with self._lock:
            del self._sessions[self._find(session).fields["id"]]

    def populate(self, count: int, *, until: datetime | None = None) -> Self:
        """Add random finished sessions at the top of the list, about one an hour, and return this suite.

        Some tests fail in several sessions in a row, and one is flaky. The same seed, names, calls and `until` give the
        same sessions.

        Args:
            count: The number of sessions.
            until: An aware time. No session is created or finished later (default: now).

        Raises:
            ValueError: `count` is below 0, `until` has no time zone, or the suite already has later sessions.
        """
        if until is not None and until.tzinfo is None:
            raise ValueError("until must have a time zone")
        if count < 0:
            raise ValueError(f"count must be at least 0, not {count}")
        with self._lock:
            end = self._now() if until is None else int(until.timestamp())
            if end < self._latest:
                raise ValueError(f"until is too early: the suite has sessions up to {format_time(self._latest)}")
            numbers = range(self._highest_relative_id + 1, self._highest_relative_id + 1 + count)
            times = {"after": self._latest, "until": end}
            for created, fields in random_sessions(self._seed, self._members, numbers, runner=self.runner, **times):
                self._add(created, fields)
        return self

    def member(self, number: object) -> JsonObject | None:
        """Return the member of the workspace with this number; None if there is none."""
        return next((member for member in self._members if str(member["id"]) == str(number)), None)

    def summary(self) -> JsonObject:
        """Return the suite as it appears in the API's list of suites."""
        return {
            "url": self.url,
            "html_url": self.html_url,
            "id": self.key.suite_id,
            "name": self.name,
            "identifier": self.identifier,
        }

    def _now(self) -> int:
        """Return the current time in Unix seconds, but no earlier than the newest session."""
        return max(int(time.time()), self._latest)

    def _find(self, session: SessionOrId) -> StoredSession:
        session_id = session["id"] if isinstance(session, Mapping) else session
        try:
            return self._sessions[session_id]
        except KeyError:
            raise KeyError(f"suite {'/'.join(self.key)} has no session {session_id!r}") from None

    def _add(
        self,
        created: int,
        given: JsonObject,
        status: str | None = None,
        cases: Iterable[Mapping[str, Any]] | None = None,
    ) -> JsonObject:
        check_fields("session", given, _FIELDS)
        repository = "/".join(self.key[:2])
        defaults = random_session(self._rng, created, self._members[0], runner=self.runner, repository=repository)
        session_id = given.get("id", defaults["id"])
        if session_id in self._sessions:
            raise ValueError(f"suite {'/'.join(self.key)} already has a session {session_id!r}")
        session: JsonObject = {
            **defaults,
            "url": f"{self.url}/sessions/{path_segment(session_id)}",
            "html_url": f"{self.html_url}/{path_segment(session_id)}",
            "relative_id": self._highest_relative_id + 1,
            **given,
        }
        made = None if cases is None else make_cases(session, cases)
        counts: JsonObject = {} if made is None else count_cases(made.values())
        session["status"] = status or given.get("status") or (session_status(counts) if made else "IN_PROGRESS")
        check_status("session", session["status"])
        if isinstance(session["relative_id"], int):  # a test may serve an invalid one on purpose
            self._highest_relative_id = max(self._highest_relative_id, session["relative_id"])
        if made is None:
            counts = random_counts(self._seed, self._highest_relative_id, session["status"])
        self._latest = created
        return self._store({**counts, **session}, made)

    def _store(self, session: JsonObject, given: Mapping[str, JsonObject] | None) -> JsonObject:
        fields = {name: session[name] for name in _FIELDS if name in session}
        self._sessions[fields["id"]] = StoredSession(fields, given, self._seed, self.runner)
        return fields.copy()
