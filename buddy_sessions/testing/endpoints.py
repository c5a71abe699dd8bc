"""The endpoints of the API, to read and to upload: from a request to its response, which faults change. No I/O.

Uploads are those of Buddy's OpenAPI document and of Buddy's own reporters. `FakeBuddy` lists the assumptions.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, TypeAlias
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import attrs

from .stored_sessions import Snapshot, StoredSession, new_id, shown_in_list
from .suite import FakeSuite
from .wire import API_URL, APP_URL, CASE_STATUSES, DEFAULT_PER_PAGE, JsonObject, check_fields, path_segment

UPLOAD_PATH = "/unit-tests/"
"""Where the paths of uploads begin."""

_SESSION_FIELDS = (
    *("created_by", "ci_provider", "ci_run_url", "revision", "ref_type", "ref_name"),
    *("execution_id", "action_execution_id"),
)
_UPLOADED_FIELDS = (*_SESSION_FIELDS, "run_id")  # which no documented response shows
_NO_FIELDS = dict.fromkeys(("test_group_name", "classname", "time", "data"))
_JUNIT_STATUSES = {"failure": "FAILED", "error": "ERROR", "skipped": "SKIPPED"}  # of the elements of JUnit XML

Cut: TypeAlias = Callable[[list[JsonObject], int, int], list[JsonObject]]
"""Returns a page of a list of sessions or test cases, for the number of the page, from 1, and its size."""


def cut_page(rows: list[JsonObject], number: int, size: int) -> list[JsonObject]:
    """Return one page of a list."""
    return rows[(number - 1) * size : number * size]


@attrs.frozen(kw_only=True)
class SuiteView:
    """The sessions and pages that a response shows. By default, all that the suite contains."""

    snapshot: Snapshot | None = None  # the sessions to show in place of those that exist now
    cut: Cut = cut_page


_POSITIVE = re.compile(r"0*[1-9][0-9]{0,8}")


class ErrorResponse(Exception):  # noqa: N818 - the server does not fail, the request does
    """The status and the message of a 4xx response."""


@attrs.frozen(kw_only=True)
class Call:
    """A GET request to an endpoint, with all that its response depends on. See the attributes of `FakeBuddy`."""

    suites: dict[tuple[str, str, str], FakeSuite]
    projects: Callable[[], Collection[tuple[str, str]]]
    query: Mapping[str, str]  # decoded
    view: SuiteView
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
                rows = self.view.cut(self._shown(suite, self.query.get("branch")), *self._page())
                sessions = [row.copy() for row in rows]
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

    def _shown(self, suite: FakeSuite, branch: str | None) -> list[JsonObject]:
        """Return the sessions of a suite, or of one branch: neither tags nor pull requests."""
        rows = [session.fields for session in self._sessions(suite)]
        if branch is None:
            return rows
        return [row for row in rows if (row["ref_type"], row["ref_name"]) == ("BRANCH", branch)]

    def _session(self, suite: FakeSuite, session_id: str) -> StoredSession:
        for session in self._sessions(suite):
            if str(session.fields["id"]) == session_id:
                return session
        raise ErrorResponse(404, "Session not found")

    def _sessions(self, suite: FakeSuite) -> Snapshot:
        return suite.snapshot() if self.view.snapshot is None else self.view.snapshot

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


@attrs.frozen(kw_only=True)
class Upload:
    """A request that writes to a suite. See the attributes of `FakeBuddy`."""

    suite: FakeSuite
    body: bytes
    content_type: str
    keeps_repeated_cases: bool

    def respond(self, method: str, path: str) -> tuple[int, JsonObject]:
        """Return the status and the content of the response. Raises `ErrorResponse`."""
        try:
            match (method, *map(unquote, path.removeprefix(UPLOAD_PATH).split("/"))):
                case "POST", "sessions":
                    return 201, self._create(self._json())
                case "POST", "sessions", session_id, "cases", "batch":
                    return 201, self._add(session_id, self._json().get("cases"))
                case "PUT", "sessions", session_id, "cases":
                    return 200, self._put(session_id, self._json())
                case "POST", "sessions", session_id, "close":
                    return 200, self._close(session_id, self._json().get("status") if self.body else None)
                case "POST", "import":
                    return 201, self._import()
        except KeyError:
            raise ErrorResponse(404, "Session not found") from None
        except (TypeError, ValueError) as error:  # a field that does not exist, or a body of another format
            raise ErrorResponse(400, str(error)) from None
        raise ErrorResponse(404, "Not found")

    def _json(self) -> JsonObject:
        body = json.loads(self.body)
        if not isinstance(body, dict):
            raise TypeError("the body must be a JSON object")
        return body

    def _create(self, given: Mapping[str, Any]) -> JsonObject:
        """Return a new session. Fields that are not given are null."""
        check_fields("session", given, _UPLOADED_FIELDS)
        fields: JsonObject = {name: given.get(name) for name in _SESSION_FIELDS}
        if isinstance(fields["created_by"], dict):
            fields["created_by"] = self.suite.member(fields["created_by"].get("id"))
        return self.suite.create(status="IN_PROGRESS", cases=(), **fields)

    def _add(self, session_id: str, cases: Any) -> JsonObject:
        """Add test cases, and return their session. A repeated case replaces the earlier one, unless both are kept."""
        if not isinstance(cases, list):
            raise TypeError("cases must be a list")
        given = [_check_case(case) for case in cases]
        if self.keeps_repeated_cases:
            counts = Counter(map(_key, self.suite.cases(session_id)))
            for case in given:
                key = _key(case)
                if counts[key]:
                    case["id"] = new_id(session_id, *key, counts[key])
                counts[key] += 1
        return self.suite.add_cases(session_id, given)

    def _put(self, session_id: str, case: JsonObject) -> JsonObject:
        """Add a test case, or replace the first one of the same test, and return it."""
        given = _check_case(case)
        self.suite.add_cases(session_id, [given])
        return next(shown_in_list(each) for each in self.suite.cases(session_id) if _key(each) == _key(given))

    def _close(self, session_id: str, status: str | None) -> JsonObject:
        """Finish a session. If no test case failed, the status in the request decides."""
        if status not in (None, *CASE_STATUSES):
            raise ValueError(f"status must be one of {', '.join(CASE_STATUSES)}")
        return self.suite.finish(session_id, "ERROR" if status in ("FAILED", "ERROR") else None)

    def _import(self) -> JsonObject:
        """Add a finished session with the test cases of JUnit XML files."""
        header = b"Content-Type: " + self.content_type.encode() + b"\r\n\r\n"
        form = BytesParser(EmailMessage, policy=HTTP).parsebytes(header + self.body)
        fields: dict[str, str] = {}
        cases: list[JsonObject] = []
        for part in form.iter_parts():
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)  # noqa: S101 - it is not multipart itself
            if part.get_filename() is not None:
                cases += _read_junit(content)
            else:
                fields[str(part.get_param("name", header="content-disposition"))] = content.decode()
        if not cases:
            raise ValueError("the form has no file with a test case")
        session = self._create(fields)
        self._add(session["id"], cases)
        return self.suite.finish(session["id"])


def _check_case(case: Any) -> JsonObject:
    """Return the fields of a test case, of which only the name and the status are required."""
    if not isinstance(case, dict) or not isinstance(case.get("name"), str):
        raise TypeError("a test case needs a name")
    if case.get("status") not in CASE_STATUSES:
        raise ValueError(f"status must be one of {', '.join(CASE_STATUSES)}")
    return {**_NO_FIELDS, **case}


def _key(case: Mapping[str, Any]) -> tuple[Any, ...]:
    return case["test_group_name"], case["classname"], case["name"]


def _read_junit(content: bytes) -> Iterator[JsonObject]:
    """Yield every test case of a file. The group is the name of the element around it, usually a test suite."""
    try:
        root = ET.fromstring(content)  # noqa: S314 - in tests, of the user's own files
    except ET.ParseError as error:
        raise ValueError(f"not JUnit XML: {error}") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]  # without a namespace
    parents = {child: parent for parent in root.iter() for child in parent}
    for case in root.iter("testcase"):
        case.tail = None
        yield {
            "name": case.get("name", ""),
            "classname": case.get("classname"),
            "test_group_name": parents[case].get("name") if case in parents else None,
            "status": next((_JUNIT_STATUSES[child.tag] for child in case if child.tag in _JUNIT_STATUSES), "PASSED"),
            "time": _read_seconds(case.get("time", "")),
            "data": ET.tostring(case, encoding="unicode"),
        }


def _read_seconds(text: str) -> float:
    """Return the time of a test case. Maven separates thousands with a comma."""
    seconds = float(text.replace(",", "") or 0)
    if not math.isfinite(seconds):
        raise ValueError(f"not a time: {text!r}")
    return seconds
