"""Sessions as Buddy's API sends them, and pages made of them."""

from __future__ import annotations

import json
from typing import Any

from helpers.buddy_responses import RESPONSES

MINIMAL_SESSION: dict[str, Any] = {"id": "YDnagwGk", "relative_id": 2, "status": "SUCCESSFUL"}

# Every field of Buddy's OpenAPI document; the models and the fake server have the same ones.
FULL_SESSION: dict[str, Any] = RESPONSES["session-with-every-field"]["body"]


def page_body(*sessions: Any) -> bytes:
    """Return the body of a page with these sessions."""
    return json.dumps({"sessions": sessions}).encode()


def session_body(field: str, json_text: str) -> bytes:
    """Return the body of a page of one minimal session, in which a field has a value that is given as JSON text."""
    placeholder = "the value of the field"
    body = page_body({**MINIMAL_SESSION, field: placeholder})
    return body.replace(json.dumps(placeholder).encode(), json_text.encode())
