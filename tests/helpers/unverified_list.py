"""A suite whose list of sessions cannot be verified."""

from __future__ import annotations

import json

from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault, RecordedRequest


def serve_unverified_list(fake: FakeBuddy, suite: FakeSuite) -> None:
    """Serve a list that goes on after a short page, and whose last page changes whenever it is requested again."""
    for relative_id in range(101, 111):
        suite.create("main", "SUCCESSFUL", relative_id=relative_id)
    last_pages = 0

    def on_request(request: RecordedRequest) -> None:
        nonlocal last_pages
        if request.path.endswith("/sessions"):
            pages = {1: suite.sessions[:5], 2: suite.sessions[5 + last_pages % 2 :]}
            last_pages += request.page == 2
            fake.inject(Fault.body(json.dumps({"sessions": pages.get(request.page, [])}).encode()))

    fake.on_request = on_request
