"""The endpoints of the API: from the path and the query of a GET request to its response. No I/O."""

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias
from urllib.parse import unquote

import attrs

from .cases import CASE_STATUSES, StoredSession, shown_in_list
from .suite import FakeSuite
from .views import View
from .wire import DEFAULT_PER_PAGE, JsonObject

_POSITIVE = re.compile(r"0*[1-9][0-9]{0,8}")


class ErrorResponse(Exception):  # noqa: N818 - the server does not fail, the request does
    """The status and the message of a 4xx response."""


@attrs.frozen(kw_only=True)
class Call:
    """A GET request to an endpoint, with all that its response depends on. See the attributes of `FakeBuddy`."""

    suites: dict[tuple[str, str, str], FakeSuite]
    path: Mapping[str, str]  # the decoded variables in it, such as `suite`
    query: Mapping[str, str]  # decoded
    view: View
    largest_page: int | None
    refuse_above: int | None

    def suite(self) -> FakeSuite:
        """Return the suite in the path."""
        suite = self.suites.get((self.path["workspace"], self.path["project"], self.path["suite"]))
        if suite is None:
            raise ErrorResponse(404, "Suite not found")
        return suite

    def session(self) -> StoredSession:
        """Return the session in the path."""
        session = self.view.session(self.suite().snapshot(), self.path["session"])
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


def find_endpoint(path: str) -> tuple[Endpoint | None, dict[str, str]]:
    """Return the endpoint of a percent-encoded path, and the decoded variables in it; None if there is none."""
    for pattern, endpoint in _ENDPOINTS:
        match = pattern.fullmatch(path)
        if match is not None:
            return endpoint, {name: unquote(segment) for name, segment in match.groupdict().items()}
    return None, {}


def _list_suites(call: Call) -> JsonObject:
    project = (call.path["workspace"], call.path["project"])
    suites = [suite for key, suite in call.suites.copy().items() if key[:2] == project]  # another thread may add one
    if not suites:
        raise ErrorResponse(404, "Project not found")
    url, html_url = suites[0].url.rpartition("/")[0], suites[0].html_url.rpartition("/")[0]
    return {"url": url, "html_url": html_url, "suites": [suite.summary() for suite in suites]}


def _get_suite(call: Call) -> JsonObject:
    suite = call.suite()
    return {**suite.summary(), **suite.settings}


def _list_sessions(call: Call) -> JsonObject:
    suite = call.suite()
    sessions = call.view.page(suite.snapshot(), *call.page(), call.query.get("branch"))
    return {"url": f"{suite.url}/sessions", "html_url": suite.html_url, "sessions": sessions}


def _get_session(call: Call) -> JsonObject:
    return call.session().fields


def _list_cases(call: Call) -> JsonObject:
    session, status = call.session(), call.query.get("status")
    if status is not None and status not in CASE_STATUSES:
        raise ErrorResponse(400, f"status must be one of {', '.join(CASE_STATUSES)}")
    rows = [shown_in_list(case) for case in call.view.cut(session.cases(status=status), *call.page())]
    return {"url": f"{session.fields['url']}/cases", "html_url": session.fields["html_url"], "cases": rows}


def _get_case(call: Call) -> JsonObject:
    session, case_id = call.session(), call.path["case"]
    if case_id not in session.cases_by_id(group_id=call.path["group"]):
        raise ErrorResponse(404, "Test case not found")
    return session.case(case_id)


_SUITES = "/workspaces/{workspace}/projects/{project}/unit-tests/suites"
_SESSION = _SUITES + "/{suite}/sessions/{session}"


def _compile(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template))


# Those of the documented paths that a client of sessions needs. There is none for a test case without its group.
_ENDPOINTS: tuple[tuple[re.Pattern[str], Endpoint], ...] = (
    (_compile(_SUITES), _list_suites),
    (_compile(_SUITES + "/{suite}"), _get_suite),
    (_compile(_SUITES + "/{suite}/sessions"), _list_sessions),
    (_compile(_SESSION), _get_session),
    (_compile(_SESSION + "/cases"), _list_cases),
    (_compile(_SESSION + "/test-groups/{group}/cases/{case}"), _get_case),
)
