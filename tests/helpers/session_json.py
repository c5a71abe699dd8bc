"""Sessions as Buddy's API sends them, and pages made of them."""

from __future__ import annotations

import json
from typing import Any

MINIMAL_SESSION: dict[str, Any] = {"id": "YDnagwGk", "relative_id": 2, "status": "SUCCESSFUL"}

FULL_MEMBER: dict[str, Any] = {
    "url": "https://api.buddy.works/workspaces/w/members/1",
    "html_url": "https://app.buddy.works/w/-/profile/1",
    "id": 1,
    "name": "John Doe",
    "avatar_url": "https://app.buddy.works/a.png",
    "email": "john.doe@company.com",
    "admin": True,
    "workspace_owner": False,
}
# Every field of Buddy's OpenAPI document; the models and the fake server have the same ones.
FULL_SESSION: dict[str, Any] = {
    **MINIMAL_SESSION,
    "url": "https://api.buddy.works/s",
    "html_url": "https://app.buddy.works/s",
    "create_date": "2025-10-21T06:42:16Z",
    "start_date": "2025-10-21T06:42:17Z",
    "finish_date": "2025-10-21T06:43:16Z",
    "created_by": FULL_MEMBER,
    "ci_provider": "GITHUB_ACTION",
    "ci_run_url": "https://github.com/x/y/actions/runs/1",
    "revision": "755b691cfff32e08aba35f2c9b1451ed76cfd583",
    "ref_type": "PULL_REQUEST",
    "ref_name": "pull/7",
    "execution_id": "68f72b4466907cbc77887a08",
    "action_execution_id": "68f72b4466907cbc77887a0a",
    "error_message": "out of memory",
    "duration": 60,
    "tests_count": 109,
    "failed_count": 1,
    "skipped_count": 2,
    "error_count": 3,
}


def page_body(*sessions: Any, **fields: Any) -> bytes:
    """Return the body of a page with these sessions, and with these further fields of the page."""
    return json.dumps({"sessions": sessions, **fields}).encode()


def session_body(field: str, json_text: str) -> bytes:
    """Return the body of a page of one minimal session, in which a field has a value that is given as JSON text."""
    placeholder = "the value of the field"
    body = page_body({**MINIMAL_SESSION, field: placeholder})
    return body.replace(json.dumps(placeholder).encode(), json_text.encode())
