"""Uploads of test results, with the token of a suite: from a request to its response. No I/O.

The requests are those of Buddy's OpenAPI document and of Buddy's own reporters. `FakeBuddy` lists the assumptions.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import attrs

from .endpoints import ErrorResponse
from .stored_sessions import new_id, shown_in_list
from .suite import FakeSuite
from .wire import CASE_STATUSES, JsonObject, check_fields

UPLOAD_PATH = "/unit-tests/"
"""Where the paths of uploads begin."""

_SESSION_FIELDS = (
    *("created_by", "ci_provider", "ci_run_url", "revision", "ref_type", "ref_name"),
    *("execution_id", "action_execution_id"),
)
_UPLOADED_FIELDS = (*_SESSION_FIELDS, "run_id")  # which no documented response shows
_NO_FIELDS = dict.fromkeys(("test_group_name", "classname", "time", "data"))
_STATUSES = {"failure": "FAILED", "error": "ERROR", "skipped": "SKIPPED"}  # of the elements of JUnit XML


@attrs.frozen(kw_only=True)
class Upload:
    """A request that writes to a suite. See the attributes of `FakeBuddy`."""

    suite: FakeSuite
    body: bytes
    content_type: str
    keeps_repeated_cases: bool
    close_decides: bool

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
                case "POST", "sessions", session_id, "reopen":
                    return 200, self.suite.reopen(session_id)
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
            known = Counter(map(_key, self.suite.cases(session_id)))
            for case in given:
                key = _key(case)
                if known[key]:
                    case["id"] = new_id(session_id, *key, known[key])
                known[key] += 1
        return self.suite.add_cases(session_id, given)

    def _put(self, session_id: str, case: JsonObject) -> JsonObject:
        """Add a test case, or replace the first one of the same test, and return it."""
        given = _check_case(case)
        self.suite.add_cases(session_id, [given])
        return next(shown_in_list(each) for each in self.suite.cases(session_id) if _key(each) == _key(given))

    def _close(self, session_id: str, status: str | None) -> JsonObject:
        """Finish a session. If no test case failed, the status in the request may decide."""
        if status not in (None, *CASE_STATUSES):
            raise ValueError(f"status must be one of {', '.join(CASE_STATUSES)}")
        fails = self.close_decides and status in ("FAILED", "ERROR")
        return self.suite.finish(session_id, "ERROR" if fails else None)

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
            "status": next((_STATUSES[child.tag] for child in case if child.tag in _STATUSES), "PASSED"),
            "time": _read_seconds(case.get("time", "")),
            "data": ET.tostring(case, encoding="unicode"),
        }


def _read_seconds(text: str) -> float:
    """Return the time of a test case. Maven separates thousands with a comma."""
    seconds = float(text.replace(",", "") or 0)
    if not math.isfinite(seconds):
        raise ValueError(f"not a time: {text!r}")
    return seconds
