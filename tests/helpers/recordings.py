"""The recordings in `tests/fixtures/recordings`: one file for each run of a test runner.

They were recorded from Buddy's npm reporters, which upload to the URL in `BUDDY_API_URL`. `requests` is what a reporter
sent. `sessions` is what a server would list afterwards, if a case replaces an earlier one of the same test.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from buddy_sessions import Session, TestCase
from buddy_sessions._decoding.converter import case_from_dict, session_from_dict

_FOLDER = Path(__file__).parent.parent / "fixtures" / "recordings"
_DOCUMENTS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(_FOLDER.glob("*.json"))
}
RECORDINGS = list(_DOCUMENTS)
"""The names of the recordings."""


def requests_of(recording: str) -> list[dict[str, Any]]:
    """Return the requests of a reporter, in order: `method`, `path` and `json`, the body."""
    requests: list[dict[str, Any]] = _DOCUMENTS[recording]["requests"]
    return requests


def uploads_of(recording: str) -> list[dict[str, Any]]:
    """Return the test cases of all requests, as they were uploaded."""
    return [case for request in requests_of(recording) for case in (request["json"] or {}).get("cases", ())]


def cases_of(recording: str) -> list[TestCase]:
    """Return the test cases of all requests, as a client reads them."""
    return [case_from_dict({"id": str(index), **case}) for index, case in enumerate(uploads_of(recording))]


def sessions_of(recording: str) -> list[Session]:
    """Return the sessions of a recording, oldest first."""
    return [session_from_dict(session) for session in _DOCUMENTS[recording].get("sessions", ())]


def environment_of(recording: str) -> dict[str, str]:
    """Return the variables of the CI in which a recording was made."""
    environment: dict[str, str] = _DOCUMENTS[recording]["env"]
    return environment
