"""The endpoints of the API: from the path and query of a GET request to its response, which faults change. No I/O."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias
from urllib.parse import unquote

import attrs

from .stored_sessions import Snapshot, StoredSession, shown_in_list
from .suite import FakeSuite
from .wire import API_URL, APP_URL, CASE_STATUSES, DEFAULT_PER_PAGE, JsonObject, path_segment

Cut: TypeAlias = Callable[[list[JsonObject], int, int], list[JsonObject]]
"""Returns a page of a list of sessions or test cases, for the number of the page, from 1, and its size."""


def cut_page(rows: list[JsonObject], number: int, size: int) -> list[JsonObject]:
    """Return one page of a list."""
    return rows[(number - 1) * size : number * size]


@attrs.frozen(kw_only=True)
class View:
    """What a response shows of a suite. The default is what the suite contains."""

    snapshot: Snapshot | None = None  # the sessions to show in place of those that exist now
    is_hidden: Callable[[JsonObject], bool] = lambda _: False  # a session that is left out
    cut: Cut = cut_page

    def page(self, current: Snapshot, number: int, size: int, branch: str | None) -> list[JsonObject]:
        """Return a page of the sessions of a suite, or of one branch: neither tags nor pull requests."""
        shown = (session.fields for session in self._sessions(current))
        rows = [
            row.copy() for row in shown if branch is None or (row["ref_type"], row["ref_name"]) == ("BRANCH", branch)
        ]
        return self.cut([row for row in rows if not self.is_hidden(row.copy())], number, size)

    def session(self, current: Snapshot, session_id: str) -> StoredSession | None:
        """Return the session with this ID, as text; None if there is none, or it is hidden."""
        session = next((each for each in self._sessions(current) if str(each.fields["id"]) == session_id), None)
        return None if session is None or self.is_hidden(session.fields.copy()) else session

    def _sessions(self, current: Snapshot) -> Snapshot:
        return current if self.snapshot is None else self.snapshot


_POSITIVE = re.compile(r"0*[1-9][0-9]{0,8}")


class ErrorResponse(Exception):  # noqa: N818 - the server does not fail, the request does
    """The status and the message of a 4xx response."""


@attrs.frozen(kw_only=True)
class Call:
    """A GET request to an endpoint, with all that its response depends on. See the attributes of `FakeBuddy`."""

    suites: dict[tuple[str, str, str], FakeSuite]
    projects: Callable[[], Collection[tuple[str, str]]]
    query: Mapping[str, str]  # decoded
    view: View
    largest_page: int | None
    refuse_above: int | None

    def respond(self, path: str) -> JsonObject:
        """Return the content of the response to a percent-encoded path. Raises `ErrorResponse`.

        It has those documented paths that a client of sessions needs.
        """
        segments = [unquote(segment) for segment in path.split("/")[1:]]
        match segments if all(segments) else []:
            case ["workspaces", workspace, "projects"]:
                return self._list_projects(workspace)
            case ["workspaces", workspace, "projects", project, "unit-tests", "suites"]:
                return self._list_suites(workspace, project)
            case ["workspaces", workspace, "projects", project, "unit-tests", "suites", suite_id, *rest]:
                return self._read_suite((workspace, project, suite_id), rest)
        raise ErrorResponse(404, "Not found")

    def _list_projects(self, workspace: str) -> JsonObject:
        names = [name for in_workspace, name in self.projects() if in_workspace == workspace]
        if not names:
            raise ErrorResponse(404, "Workspace not found")
        rows = [{"name": name, "display_name": name, "status": "ACTIVE", **_urls(workspace, name)} for name in names]
        urls = {name: url.rpartition("/")[0] for name, url in _urls(workspace, "").items()}
        return {**urls, "projects": self.view.cut(rows, *self._page())}

    def _list_suites(self, *project: str) -> JsonObject:
        suites = self.suites.copy().items()  # another thread may add one
        if project not in self.projects():
            raise ErrorResponse(404, "Project not found")
        urls = {name: f"{url}/unit-tests" for name, url in _urls(*project).items()}
        urls["url"] += "/suites"
        return {**urls, "suites": [suite.summary() for key, suite in suites if key[:2] == project]}

    def _read_suite(self, key: tuple[str, str, str], path: list[str]) -> JsonObject:
        """Return what is below a suite. There is no test case without its group."""
        suite = self.suites.get(key)
        if suite is None:
            raise ErrorResponse(404, "Suite not found")
        match path:
            case []:
                return {**suite.summary(), **suite.settings}
            case ["sessions"]:
                sessions = self.view.page(suite.snapshot(), *self._page(), self.query.get("branch"))
                return {"url": f"{suite.url}/sessions", "html_url": suite.html_url, "sessions": sessions}
            case ["sessions", session_id]:
                return self._session(suite, session_id).fields
            case ["sessions", session_id, "cases"]:
                return self._list_cases(self._session(suite, session_id))
            case ["sessions", session_id, "test-groups", group_id, "cases"]:
                return self._list_cases(self._session(suite, session_id), group_id)
            case ["sessions", session_id, "test-groups", group_id, "cases", case_id]:
                session = self._session(suite, session_id)
                case = session.cases_by_id().get(case_id)
                if case is None or str(case["test_group_id"]) != group_id:
                    raise ErrorResponse(404, "Test case not found")
                return session.case(case_id)
        raise ErrorResponse(404, "Not found")

    def _list_cases(self, session: StoredSession, group_id: str | None = None) -> JsonObject:
        status = self.query.get("status")
        if status is not None and status not in CASE_STATUSES:
            raise ErrorResponse(400, f"status must be one of {', '.join(CASE_STATUSES)}")
        cases = session.cases(status=status)
        of_group = [case for case in cases if group_id is None or str(case["test_group_id"]) == group_id]
        rows = [shown_in_list(case) for case in self.view.cut(of_group, *self._page())]
        return {"url": f"{session.fields['url']}/cases", "html_url": session.fields["html_url"], "cases": rows}

    def _session(self, suite: FakeSuite, session_id: str) -> StoredSession:
        session = self.view.session(suite.snapshot(), session_id)
        if session is None:
            raise ErrorResponse(404, "Session not found")
        return session

    def _page(self) -> tuple[int, int]:
        """Return the number and the size of the requested page."""
        page, per_page = self.query.get("page", "1"), self.query.get("per_page", str(DEFAULT_PER_PAGE))
        for name, value in (("page", page), ("per_page", per_page)):
            if not _POSITIVE.fullmatch(value):
                raise ErrorResponse(400, f"{name} must be a positive integer")
        size = int(per_page)
        if self.refuse_above is not None and size > self.refuse_above:
            raise ErrorResponse(400, f"per_page must not be greater than {self.refuse_above}")
        return int(page), size if self.largest_page is None else min(size, self.largest_page)


def _urls(workspace: str, project: str) -> dict[str, str]:
    """Return the URLs of a project."""
    return {
        "url": f"{API_URL}/workspaces/{path_segment(workspace)}/projects/{path_segment(project)}",
        "html_url": f"{APP_URL}/{path_segment(workspace)}/{path_segment(project)}",
    }
