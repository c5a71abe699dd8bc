"""Responses of a real account, from a report of `buddy-sessions doctor`."""

import gzip
import json
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from ..models import SuiteKey
from .faults import Fault
from .server import FakeBuddy
from .wire import JsonObject, RecordedRequest, error_body, path_segment

_PATH_OF_SESSIONS = 8  # names: workspaces, W, projects, P, unit-tests, suites, ID, sessions


def replay(fake: FakeBuddy, report: str | PathLike[str]) -> SuiteKey | None:
    """Let a fake Buddy respond as in a report, and return the suite that was read, None if there is none.

    A request gets the response that was recorded for its path and query, of several the next one, and the last one
    again. Another page of the sessions is cut from those in the report. Anything else gets a 404.

    Args:
        fake: The server. This sets its `on_request`.
        report: The file that `buddy-sessions doctor --report` has written.

    Raises:
        ValueError: The file is no such report.
    """
    try:
        exchanges = json.loads(gzip.decompress(Path(report).read_bytes()))["exchanges"]
        recorded: dict[tuple[str, frozenset[tuple[str, str]]], list[JsonObject]] = {}
        for each in exchanges:
            path = "".join(f"/{path_segment(name)}" for name in each["path"])
            recorded.setdefault((path, _query(each["query"])), []).append(each)
        lists = [each for each in exchanges if each["path"][-1] == "sessions" and "branch" not in each["query"]]
    except (gzip.BadGzipFile, EOFError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{str(report)!r} is no report of buddy-sessions doctor") from error
    sessions = _sessions(lists)

    def respond(request: RecordedRequest) -> None:
        found = recorded.get((request.path, _query(request.query)), [])
        if found:
            fake.inject(_fault(found.pop(0) if len(found) > 1 else found[0]))
        elif request.path.endswith("/sessions") and "branch" not in request.query:
            start = (request.page - 1) * request.per_page
            page = {"sessions": sessions[start : start + request.per_page]}
            fake.inject(Fault.body(json.dumps(page).encode()))
        else:
            fake.inject(Fault.status(404, body=error_body("This is not in the report")))

    fake.on_request = respond
    place = next((each["path"] for each in lists if len(each["path"]) == _PATH_OF_SESSIONS), None)
    return None if place is None else SuiteKey(place[1], place[3], place[6])


def _query(query: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    return frozenset((name, str(value)) for name, value in query.items())


def _sessions(lists: Iterable[JsonObject]) -> list[JsonObject]:
    """Return the sessions of all pages, newest first."""
    rows = [row for each in lists if isinstance(each["body"], dict) for row in each["body"].get("sessions") or ()]
    found = {row["relative_id"]: row for row in rows if isinstance(row, dict) and isinstance(row["relative_id"], int)}
    return [found[number] for number in sorted(found, reverse=True)]


def _fault(exchange: JsonObject) -> Fault:
    """Return the fault that responds as recorded; without a response, the connection is closed."""
    if not exchange["status"]:
        return Fault.disconnect()
    body = exchange["body"]
    content = body if isinstance(body, str) else json.dumps(body)
    return Fault.status(exchange["status"], body=content.encode(errors="surrogatepass"), headers=exchange["headers"])
