"""Uploads test results as Buddy's reporters do, for tests of other processes."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

GUIDE = Path(__file__).parent.parent.parent / "buddy_sessions" / "testing" / "README.md"
RUN = "https://github.com/acme/shop/actions/runs/17"
GITHUB: dict[str, Any] = {"ci_provider": "GITHUB_ACTION", "ci_run_url": RUN, "created_by": None}
"""What a session has in place of an author if a reporter uploads it from GitHub."""

GIT = {f"GIT_{who}_{what}": "x@a.example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
"""The environment in which Git can commit."""


def trial_commands() -> list[str]:
    """Return the commands with which the guide tries a gate with the user's own tests."""
    section = GUIDE.read_text(encoding="utf-8").partition("## Try it with your own tests")[2].partition("\n## ")[0]
    return [line.strip() for line in section.splitlines() if line.startswith("    ")]


def upload(variables: Mapping[str, str], cases: Sequence[Mapping[str, Any]], **session: Any) -> None:
    """Upload a finished session with the fields of the API, to the server and the suite of these variables."""
    session_id = _post(variables, "sessions", session)["id"]
    _post(variables, f"sessions/{session_id}/cases/batch", {"cases": cases})
    failed = any(case["status"] == "FAILED" for case in cases)
    _post(variables, f"sessions/{session_id}/close", {"status": "FAILED" if failed else "PASSED"})


def _post(variables: Mapping[str, str], path: str, body: Mapping[str, Any]) -> Any:
    """Send a request with the token of the suite; return the content of the response."""
    request = urllib.request.Request(
        f"{variables['BUDDY_API_URL']}/unit-tests/{path}",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {variables['BUDDY_UT_TOKEN']}"},
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        return json.load(response)
