"""The endpoints of the API: from the path and the query of a GET request to its response. No I/O."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import unquote

import attrs

from .cases import CASE_STATUSES, shown_in_list
from .stored import StoredSession
from .suite import FakeSuite
from .views import View
from .wire import DEFAULT_PER_PAGE, JsonResponse, error_response, success_response

_POSITIVE = re.compile(r"0*[1-9][0-9]{0,8}")


class _ErrorResponse(Exception):  # noqa: N818 - the server does not fail, the request does
    """A response with a 4xx status.

    Attributes:
        status: The status of the response.
        message: The message in its body.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@attrs.frozen(kw_only=True)
class Call:
    """A GET request to an endpoint, with all that its response depends on.

    Attributes:
        suites: The suites of the server by workspace, project and suite ID.
        path: The decoded variables in the path, such as `suite`.
        query: The decoded parameters of the query.
        view: The changes that a fault makes; None for no change.
        largest_page: A larger `per_page` is reduced to this; None for no limit.
        refuse_above: A larger `per_page` is rejected; None for no limit.
    """

    suites: dict[tuple[str, str, str], FakeSuite]
    path: Mapping[str, str]
    query: Mapping[str, str]
    view: View | None
    largest_page: int | None
    refuse_above: int | None

    def respond(self, endpoint: "Endpoint") -> JsonResponse:
        """Return the response of an endpoint."""
        try:
            return success_response(endpoint(self))
        except _ErrorResponse as error:
            return error_response(error.status, error.message)

    def suite(self) -> FakeSuite:
        """Return the suite in the path."""
        suite = self.suites.get((self.path["workspace"], self.path["project"], self.path["suite"]))
        if suite is None:
            raise _ErrorResponse(404, "Suite not found")
        return suite

    def session(self) -> StoredSession:
        """Return the session in the path."""
        session = (self.view or View()).session(self.suite().snapshot(), self.path["session"])
        if session is None:
            raise _ErrorResponse(404, "Session not found")
        return session

    def page(self) -> tuple[int, int]:
        """Return the number and the size of the requested page."""
        page, per_page = self.query.get("page", "1"), self.query.get("per_page", str(DEFAULT_PER_PAGE))
        for name, value in (("page", page), ("per_page", per_page)):
            if not _POSITIVE.fullmatch(value):
                raise _ErrorResponse(400, f"{name} must be a positive integer")
        size = int(per_page)
        if self.refuse_above is not None and size > self.refuse_above:
            raise _ErrorResponse(400, f"per_page must not be greater than {self.refuse_above}")
        return int(page), size if self.largest_page is None else min(size, self.largest_page)

    def rows(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the requested page of a list."""
        return (self.view or View()).rows(list(rows), *self.page())


Endpoint: TypeAlias = Callable[[Call], dict[str, Any]]
"""Returns the content of a response."""


def find_endpoint(path: str) -> tuple[Endpoint | None, dict[str, str]]:
    """Return the endpoint of a percent-encoded path, and the decoded variables in it; None if there is none."""
    for pattern, endpoint in _ENDPOINTS:
        match = pattern.fullmatch(path)
        if match is not None:
            return endpoint, {name: unquote(segment) for name, segment in match.groupdict().items()}
    return None, {}


def _list_suites(call: Call) -> dict[str, Any]:
    key = (call.path["workspace"], call.path["project"])
    suites = [suite for other, suite in call.suites.copy().items() if other[:2] == key]  # another thread may add one
    if not suites:
        raise _ErrorResponse(404, "Project not found")
    url, html_url = suites[0].url.rpartition("/")[0], suites[0].html_url.rpartition("/")[0]
    return {"url": url, "html_url": html_url, "suites": [suite.summary() for suite in suites]}


def _get_suite(call: Call) -> dict[str, Any]:
    return call.suite().details()


def _list_sessions(call: Call) -> dict[str, Any]:
    suite, (number, size), branch = call.suite(), call.page(), call.query.get("branch")
    content = suite.page(number, size, branch=branch)
    if call.view is not None:
        content["sessions"] = call.view.page(suite.snapshot(), number, size, branch)
    return content


def _get_session(call: Call) -> dict[str, Any]:
    return call.session().copy()


def _list_cases(call: Call) -> dict[str, Any]:
    session, status = call.session(), call.query.get("status")
    if status is not None and status not in CASE_STATUSES:
        raise _ErrorResponse(400, f"status must be one of {', '.join(CASE_STATUSES)}")
    cases = map(shown_in_list, call.rows(session.cases(status=status)))
    return {"url": f"{session['url']}/cases", "html_url": session["html_url"], "cases": list(cases)}


def _list_groups(call: Call) -> dict[str, Any]:
    session = call.session()
    groups = call.rows(session.test_groups())
    return {"url": f"{session['url']}/test-groups", "html_url": session["html_url"], "test_groups": groups}


def _get_group(call: Call) -> dict[str, Any]:
    return _find(call.session().test_groups(), call.path["group"], "Test group")


def _list_group_cases(call: Call) -> dict[str, Any]:
    session, group_id = call.session(), call.path["group"]
    group = _find(session.test_groups(), group_id, "Test group")
    cases = map(shown_in_list, call.rows(session.cases(group_id=group_id)))
    return {"url": f"{group['url']}/cases", "html_url": group["html_url"], "cases": list(cases)}


def _get_case(call: Call) -> dict[str, Any]:
    session, case_id = call.session(), call.path["case"]
    _find(session.cases(group_id=call.path["group"]), case_id, "Test case")
    return session.case(case_id)


def _find(rows: Sequence[dict[str, Any]], row_id: str, kind: str) -> dict[str, Any]:
    """Return the row with this ID, as text."""
    for row in rows:
        if str(row["id"]) == row_id:
            return row
    raise _ErrorResponse(404, f"{kind} not found")


_SUITES = "/workspaces/{workspace}/projects/{project}/unit-tests/suites"
_SESSION = _SUITES + "/{suite}/sessions/{session}"
_GROUP = _SESSION + "/test-groups/{group}"


def _compile(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template))


# The documented paths. There is none for a test case without its test group.
_ENDPOINTS: Sequence[tuple[re.Pattern[str], Endpoint]] = (
    (_compile(_SUITES), _list_suites),
    (_compile(_SUITES + "/{suite}"), _get_suite),
    (_compile(_SUITES + "/{suite}/sessions"), _list_sessions),
    (_compile(_SESSION), _get_session),
    (_compile(_SESSION + "/cases"), _list_cases),
    (_compile(_SESSION + "/test-groups"), _list_groups),
    (_compile(_GROUP), _get_group),
    (_compile(_GROUP + "/cases"), _list_group_cases),
    (_compile(_GROUP + "/cases/{case}"), _get_case),
)
