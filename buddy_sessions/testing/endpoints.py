"""The endpoints of the API: from the path and query of a GET request to its response, which faults change. No I/O."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias
from urllib.parse import unquote

import attrs

from .stored_sessions import CASE_STATUSES, Snapshot, StoredSession, shown_in_list
from .suite import FakeSuite
from .wire import API_URL, APP_URL, DEFAULT_PER_PAGE, JsonObject, path_segment

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

    def suite(self, workspace: str, project: str, suite_id: str) -> FakeSuite:
        """Return a suite, or respond with 404."""
        suite = self.suites.get((workspace, project, suite_id))
        if suite is None:
            raise ErrorResponse(404, "Suite not found")
        return suite

    def session(self, suite: FakeSuite, session_id: str) -> StoredSession:
        """Return a session of a suite, or respond with 404."""
        session = self.view.session(suite.snapshot(), session_id)
        if session is None:
            raise ErrorResponse(404, "Session not found")
        return session

    def page(self) -> tuple[int, int]:
        """Return the number and the size of the requested page."""
        page, per_page = self.query.get("page", "1"), self.query.get("per_page", str(DEFAULT_PER_PAGE))
        for name, value in (("page", page), ("per_page", per_page)):
            if not _POSITIVE.fullmatch(value):
                raise ErrorResponse(400, f"{name} must be a positive integer")
        size = int(per_page)
        if self.refuse_above is not None and size > self.refuse_above:
            raise ErrorResponse(400, f"per_page must not be greater than {self.refuse_above}")
        return int(page), size if self.largest_page is None else min(size, self.largest_page)


Endpoint: TypeAlias = Callable[[Call], JsonObject]
"""Returns the content of a response."""


def find_endpoint(path: str) -> Endpoint | None:
    """Return the endpoint of a percent-encoded path: those of the documented ones that a client of sessions needs."""
    segments = [unquote(segment) for segment in path.split("/")[1:]]
    match segments if all(segments) else []:
        case ["workspaces", workspace, "projects"]:
            return lambda call: _list_projects(call, workspace)
        case ["workspaces", workspace, "projects", project, "unit-tests", "suites"]:
            return lambda call: _list_suites(call, workspace, project)
        case ["workspaces", workspace, "projects", project, "unit-tests", "suites", suite_id, *rest]:
            return _find_endpoint_of_suite((workspace, project, suite_id), rest)
    return None


def _find_endpoint_of_suite(key: tuple[str, str, str], segments: list[str]) -> Endpoint | None:
    """Return the endpoint of a path below a suite. There is none for a test case without its group."""
    match segments:
        case []:
            return lambda call: _get_suite(call.suite(*key))
        case ["sessions"]:
            return lambda call: _list_sessions(call, call.suite(*key))
        case ["sessions", session_id]:
            return lambda call: call.session(call.suite(*key), session_id).fields
        case ["sessions", session_id, "cases"]:
            return lambda call: _list_cases(call, call.session(call.suite(*key), session_id))
        case ["sessions", session_id, "test-groups", group_id, "cases", case_id]:
            return lambda call: _get_case(call.session(call.suite(*key), session_id), group_id, case_id)
    return None


def _list_projects(call: Call, workspace: str) -> JsonObject:
    names = [name for in_workspace, name in call.projects() if in_workspace == workspace]
    if not names:
        raise ErrorResponse(404, "Workspace not found")
    rows = [{"name": name, "display_name": name, "status": "ACTIVE", **_urls(workspace, name)} for name in names]
    urls = {name: url.rpartition("/")[0] for name, url in _urls(workspace, "").items()}
    return {**urls, "projects": call.view.cut(rows, *call.page())}


def _urls(workspace: str, project: str) -> dict[str, str]:
    """Return the URLs of a project."""
    return {
        "url": f"{API_URL}/workspaces/{path_segment(workspace)}/projects/{path_segment(project)}",
        "html_url": f"{APP_URL}/{path_segment(workspace)}/{path_segment(project)}",
    }


def _list_suites(call: Call, *project: str) -> JsonObject:
    suites = [suite for key, suite in call.suites.copy().items() if key[:2] == project]  # another thread may add one
    if project not in call.projects():
        raise ErrorResponse(404, "Project not found")
    urls = {name: f"{url}/unit-tests" + ("/suites" if name == "url" else "") for name, url in _urls(*project).items()}
    return {**urls, "suites": [suite.summary() for suite in suites]}


def _get_suite(suite: FakeSuite) -> JsonObject:
    return {**suite.summary(), **suite.settings}


def _list_sessions(call: Call, suite: FakeSuite) -> JsonObject:
    sessions = call.view.page(suite.snapshot(), *call.page(), call.query.get("branch"))
    return {"url": f"{suite.url}/sessions", "html_url": suite.html_url, "sessions": sessions}


def _list_cases(call: Call, session: StoredSession) -> JsonObject:
    status = call.query.get("status")
    if status is not None and status not in CASE_STATUSES:
        raise ErrorResponse(400, f"status must be one of {', '.join(CASE_STATUSES)}")
    rows = [shown_in_list(case) for case in call.view.cut(session.cases(status=status), *call.page())]
    return {"url": f"{session.fields['url']}/cases", "html_url": session.fields["html_url"], "cases": rows}


def _get_case(session: StoredSession, group_id: str, case_id: str) -> JsonObject:
    case = session.cases_by_id().get(case_id)
    if case is None or str(case["test_group_id"]) != group_id:
        raise ErrorResponse(404, "Test case not found")
    return session.case(case_id)
