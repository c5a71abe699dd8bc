"""One suite of the fake Buddy: its sessions, and whatever may happen to them. No HTTP."""

import random
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Self
from urllib.parse import quote

from . import data
from .data import Session

# The order in which the documented example and Buddy's OpenAPI types list a session's fields.
_FIELDS = (
    *("url", "html_url", "id", "relative_id", "create_date", "start_date", "finish_date", "created_by"),
    *("ci_provider", "ci_run_url", "revision", "ref_type", "ref_name", "execution_id", "action_execution_id"),
    *("status", "error_message", "duration", "tests_count", "failed_count", "skipped_count", "error_count"),
)


class FakeSuite:
    """A suite that tests fill and change. Made by `FakeBuddy.add_suite`, or alone where no server is needed.

    What its methods return are copies: a session that was handed out stays as it was at that moment. They may be
    called from any thread: each takes effect as a whole, and a page shows the suite before or after it.
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
        """Make an empty suite.

        Args:
            workspace: The workspace's domain.
            project: The project's name.
            suite_id: The suite's ID.
            name: The suite's name.
            identifier: The suite's identifier.
            seed: What chance starts from, together with the three names above: the same in every process.
            api_url: What `url` fields begin with.
            app_url: What `html_url` fields begin with.
        """
        self.key = (workspace, project, suite_id)
        self.name = name
        self.identifier = identifier
        space, place, suite = (quote(part, safe="") for part in self.key)
        self.url = f"{api_url}/workspaces/{space}/projects/{place}/unit-tests/suites/{suite}"
        self.html_url = f"{app_url}/{space}/{place}/unit-tests/{suite}"
        # A string seeds alike everywhere; `hash()` would not.
        self._rng = random.Random(f"{seed}/{workspace}/{project}/{suite_id}")  # noqa: S311 - nothing secret
        self._members = data.members(self._rng, workspace=workspace, api_url=api_url, app_url=app_url)
        self._history = data.History(self._rng, self._members, f"{space}/{place}")
        self._ids: list[str] = []  # oldest first: appending and cutting out a page are cheap
        self._by_id: dict[str, Session] = {}
        self._relative_id = 0
        self._clock: int | None = None  # the latest time (Unix seconds) that was given to a session here
        self._lock = threading.RLock()  # held by every method from what it reads to what it writes

    def __repr__(self) -> str:
        return f"<FakeSuite {'/'.join(self.key)} with {len(self._ids)} sessions>"

    @property
    def sessions(self) -> Sequence[Session]:
        """All sessions alive at this moment, newest first, as copies."""
        with self._lock:
            return [dict(self._by_id[session_id]) for session_id in reversed(self._ids)]

    def create(self, branch: str = "main", status: str = "IN_PROGRESS", **fields: Any) -> Session:
        """Add a session on top of the list.

        Args:
            branch: The branch that is tested (`ref_name`, with a `ref_type` of `BRANCH`).
            status: `IN_PROGRESS`, `SUCCESSFUL`, `ERROR`, `SKIPPED`, or what Buddy has yet to invent.
            **fields: Any other field under the API's name, null as None. What is left out gets a believable
                value; but `finish_date`, `ci_run_url` and `error_message` stay absent, as in Buddy's example.
                A field that the API does not have is served too, after the others.

        Returns:
            The session. Its `relative_id` is one more than the highest that was ever used here.

        Raises:
            ValueError: A session with this `id` exists.
        """
        with self._lock:
            return self._add(self._now(), {"ref_type": "BRANCH", "ref_name": branch, "status": status, **fields})

    def finish(self, session_id: str, status: str = "SUCCESSFUL", **fields: Any) -> Session:
        """Close a session, and return what it is now.

        Args:
            session_id: The session's `id`.
            status: How it ended.
            **fields: Any other field to change. Unless given, `finish_date` is now, `duration` (seconds) what
                has passed since `start_date`, and the counts are believable ones if there were none.

        Raises:
            KeyError: There is no such session.
        """
        with self._lock:
            session, now = self._find(session_id), self._now()
            changes: Session = {"status": status, "finish_date": data.timestamp(now)}
            if session["start_date"] is not None:
                started = datetime.fromisoformat(session["start_date"])
                changes["duration"] = max(0, now - int(started.timestamp()))
            if not session["tests_count"]:
                changes |= self._history.counts(status)
            return self._store({**session, **changes, **fields})

    def reopen(self, session_id: str) -> Session:
        """Make a session `IN_PROGRESS` again, without `finish_date` and `error_message`, and return it.

        Raises:
            KeyError: There is no such session.
        """
        with self._lock:
            session = {**self._find(session_id), "status": "IN_PROGRESS"}
            for field in ("finish_date", "error_message"):
                session.pop(field, None)
            return self._store(session)

    def delete(self, session_id: str) -> None:
        """Remove a session. Its `relative_id` is not used again.

        Raises:
            KeyError: There is no such session.
        """
        with self._lock:
            self._find(session_id)
            del self._by_id[session_id]
            self._ids.remove(session_id)

    def populate(self, count: int, *, until: datetime | None = None) -> Self:
        """Add `count` believable sessions on top of the list, and return the suite.

        Same seed, names, calls and `until`: same sessions. The newest is created shortly before `until`, and
        is `IN_PROGRESS` if it had no time to finish.

        Args:
            count: How many.
            until: An aware time that nothing is later than; now if left out.

        Raises:
            ValueError: `until` has no time zone, or the suite has later sessions already.
        """
        if until is not None and until.tzinfo is None:
            raise ValueError("until needs a time zone")
        with self._lock:
            end = self._now() if until is None else int(until.timestamp())
            if self._clock is not None and end < self._clock:
                raise ValueError(f"the suite has sessions up to {data.timestamp(self._clock)}, which is after until")
            for moment, fields in self._history.sessions(count, until=end, after=self._clock):
                self._add(moment, fields)
        return self

    def summary(self) -> dict[str, Any]:
        """Return the suite as an item of a project's list of suites (the documented shape)."""
        _, _, suite_id = self.key
        summary = {"url": self.url, "html_url": self.html_url, "id": suite_id}
        return {**summary, "identifier": self.identifier, "name": self.name}

    def page(self, number: int, size: int, *, branch: str | None = None) -> dict[str, Any]:
        """Return one page as the API answers it. A page past the end has no sessions.

        Args:
            number: The page, from 1.
            size: Sessions on a page.
            branch: Only sessions whose `ref_type` is `BRANCH` and whose `ref_name` this is. "By branch name"
                is all that the documentation says; what Buddy does with tags and pull requests is not known.
        """
        skip = (number - 1) * size
        with self._lock:
            if branch is None:
                stop = max(0, len(self._ids) - skip)
                listed = [self._by_id[session_id] for session_id in reversed(self._ids[max(0, stop - size) : stop])]
            else:
                newest_first = (self._by_id[session_id] for session_id in reversed(self._ids))
                wanted = ("BRANCH", branch)
                matching = (each for each in newest_first if (each["ref_type"], each["ref_name"]) == wanted)
                listed = list(islice(matching, skip, skip + size))
            sessions = [dict(session) for session in listed]
        return {"url": f"{self.url}/sessions", "html_url": self.html_url, "sessions": sessions}

    def _now(self) -> int:
        return max(int(time.time()), self._clock or 0)

    def _find(self, session_id: str) -> Session:
        try:
            return self._by_id[session_id]
        except KeyError:
            raise KeyError(f"suite {'/'.join(self.key)} has no session {session_id!r}") from None

    def _add(self, moment: int, fields: Session) -> Session:
        rng, when = self._rng, data.timestamp(moment)
        session_id = fields.get("id", data.new_id(rng))
        if session_id in self._by_id:
            raise ValueError(f"suite {'/'.join(self.key)} has a session {session_id!r} already")
        defaults: Session = {
            "url": f"{self.url}/sessions/{session_id}",
            "html_url": f"{self.html_url}/{session_id}",
            "id": session_id,
            "relative_id": self._relative_id + 1,
            "create_date": when,
            "start_date": when,
            "created_by": self._members[0],
            "ci_provider": "BUDDY",
            "revision": f"{rng.getrandbits(160):040x}",
            "execution_id": data.execution_id(rng, moment),
            "action_execution_id": data.execution_id(rng, moment),
            "duration": 0,
            **self._history.counts(fields["status"]),
        }
        session = {**defaults, **fields}
        if isinstance(session["relative_id"], int):  # a test may well want to serve nonsense
            self._relative_id = max(self._relative_id, session["relative_id"])
        self._clock = moment
        self._ids.append(session_id)
        return self._store(session)

    def _store(self, session: Session) -> Session:
        ordered = {field: session[field] for field in _FIELDS if field in session}
        self._by_id[session["id"]] = {**ordered, **session}
        return {**ordered, **session}
