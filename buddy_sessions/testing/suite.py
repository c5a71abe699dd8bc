"""A suite of the fake Buddy, with its sessions. No HTTP."""

import random
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from types import MappingProxyType
from typing import Any, Self
from urllib.parse import quote

from . import data
from .data import Session, Snapshot

# The order of a session's fields in the documented example and in Buddy's OpenAPI types.
_FIELDS = (
    *("url", "html_url", "id", "relative_id", "create_date", "start_date", "finish_date", "created_by"),
    *("ci_provider", "ci_run_url", "revision", "ref_type", "ref_name", "execution_id", "action_execution_id"),
    *("status", "error_message", "duration", "tests_count", "failed_count", "skipped_count", "error_count"),
)


class FakeSuite:
    """A suite whose sessions a test creates and changes. `FakeBuddy.add_suite` adds one to a server.

    Its methods return copies, which do not change with the suite. They are thread-safe: each change is atomic, and a
    page shows the suite before or after it.

    Attributes:
        key: The workspace, the project and the ID of the suite.
        name: The name of the suite.
        identifier: The identifier of the suite.
        url: The URL of the suite in the API.
        html_url: The URL of the suite in the browser.
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
        self.key = (workspace, project, suite_id)
        self.name = name
        self.identifier = identifier
        workspace_path, project_path, suite_path = (quote(name, safe="") for name in self.key)
        self.url = f"{api_url}/workspaces/{workspace_path}/projects/{project_path}/unit-tests/suites/{suite_path}"
        self.html_url = f"{app_url}/{workspace_path}/{project_path}/unit-tests/{suite_path}"
        # Seeded with text, because `hash()` differs from process to process.
        self._rng = random.Random(f"{seed}/{workspace}/{project}/{suite_id}")  # noqa: S311 - nothing secret
        self._members = data.choose_members(self._rng, workspace=workspace, api_url=api_url, app_url=app_url)
        self._history = data.History(self._rng, self._members, f"{workspace_path}/{project_path}")
        self._ids: list[str] = []  # oldest first, so that appending is cheap
        self._by_id: dict[str, Session] = {}
        self._highest_relative_id = 0
        self._latest: int | None = None  # creation time of the newest session, in Unix seconds
        self._lock = threading.RLock()  # guards all of the above

    def __repr__(self) -> str:
        return f"<FakeSuite {'/'.join(self.key)} with {len(self._ids)} sessions>"

    @property
    def sessions(self) -> Sequence[Session]:
        """Copies of all sessions that exist now, newest first."""
        with self._lock:
            return [dict(self._by_id[session_id]) for session_id in reversed(self._ids)]

    def snapshot(self) -> Snapshot:
        """Return an immutable copy of all sessions that exist now, newest first, for `Fault.stale`."""
        with self._lock:
            # A change replaces the stored session, so a read-only proxy of it is as good as a copy.
            return tuple(MappingProxyType(self._by_id[session_id]) for session_id in reversed(self._ids))

    def create(self, branch: str = "main", status: str = "IN_PROGRESS", **fields: Any) -> Session:
        """Add a session at the top of the list.

        Args:
            branch: The tested branch: `ref_name`, with the `ref_type` `BRANCH`.
            status: `IN_PROGRESS`, `SUCCESSFUL`, `ERROR`, `SKIPPED`, or any other text.
            **fields: Any other field under the API's name; None for null. By default, fields get realistic values,
                except `finish_date`, `ci_run_url` and `error_message`, which are absent as in Buddy's example. A
                field that the API does not have comes after the others.

        Returns:
            The session. By default, its `relative_id` is one more than the highest one used so far.

        Raises:
            ValueError: A session with this `id` already exists.
        """
        with self._lock:
            return self._add(self._now(), {"ref_type": "BRANCH", "ref_name": branch, "status": status, **fields})

    def finish(self, session_id: str, status: str = "SUCCESSFUL", **fields: Any) -> Session:
        """Finish a session.

        Args:
            session_id: The `id` of the session.
            status: The final status.
            **fields: Any other field to change. By default, `finish_date` is now, `duration` is the seconds since
                `start_date`, and the counts are realistic if `tests_count` is 0 or None.

        Returns:
            The changed session.

        Raises:
            KeyError: There is no such session.
        """
        with self._lock:
            session, now = self._find(session_id), self._now()
            changes: Session = {"status": status, "finish_date": data.format_time(now)}
            if session["start_date"] is not None:
                started = datetime.fromisoformat(session["start_date"])
                changes["duration"] = max(0, now - int(started.timestamp()))
            if not session["tests_count"]:
                changes |= self._history.counts(status)
            return self._store({**session, **changes, **fields})

    def reopen(self, session_id: str) -> Session:
        """Set a session to `IN_PROGRESS` again, and remove `finish_date` and `error_message`.

        Returns:
            The changed session.

        Raises:
            KeyError: There is no such session.
        """
        with self._lock:
            session = {**self._find(session_id), "status": "IN_PROGRESS"}
            for field in ("finish_date", "error_message"):
                session.pop(field, None)
            return self._store(session)

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
            "identifier": self.identifier,
            "name": self.name,
        }

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
            sessions = [dict(row) for row in rows]
        return {"url": f"{self.url}/sessions", "html_url": self.html_url, "sessions": sessions}

    def _now(self) -> int:
        """Return the current time in Unix seconds, but no earlier than the newest session."""
        return max(int(time.time()), self._latest or 0)

    def _find(self, session_id: str) -> Session:
        try:
            return self._by_id[session_id]
        except KeyError:
            raise KeyError(f"suite {'/'.join(self.key)} has no session {session_id!r}") from None

    def _add(self, created: int, fields: Session) -> Session:
        rng, create_date = self._rng, data.format_time(created)
        session_id = fields.get("id", data.new_id(rng))
        if session_id in self._by_id:
            raise ValueError(f"suite {'/'.join(self.key)} already has a session {session_id!r}")
        defaults: Session = {
            "url": f"{self.url}/sessions/{session_id}",
            "html_url": f"{self.html_url}/{session_id}",
            "id": session_id,
            "relative_id": self._highest_relative_id + 1,
            "create_date": create_date,
            "start_date": create_date,
            "created_by": self._members[0],
            "ci_provider": "BUDDY",
            "revision": f"{rng.getrandbits(160):040x}",
            "execution_id": data.new_execution_id(rng, created),
            "action_execution_id": data.new_execution_id(rng, created),
            "duration": 0,
            **self._history.counts(fields["status"]),
        }
        session = {**defaults, **fields}
        if isinstance(session["relative_id"], int):  # a test may serve an invalid one on purpose
            self._highest_relative_id = max(self._highest_relative_id, session["relative_id"])
        self._latest = created
        self._ids.append(session_id)
        return self._store(session)

    def _store(self, session: Session) -> Session:
        ordered = {field: session[field] for field in _FIELDS if field in session}
        self._by_id[session["id"]] = {**ordered, **session}
        return {**ordered, **session}
