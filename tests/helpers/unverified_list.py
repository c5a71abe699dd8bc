"""A suite whose list of sessions cannot be verified."""

from __future__ import annotations

import json

from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault, RecordedRequest


def serve_unverified_list(fake: FakeBuddy, suite: FakeSuite) -> None:
    """Serve a short list as each of its pages, so that no read can find out where it ends."""
    for relative_id in range(101, 111):
        suite.create("main", "SUCCESSFUL", relative_id=relative_id)

    def on_request(request: RecordedRequest) -> None:
        if request.path.endswith("/sessions"):
            fake.inject(Fault.body(json.dumps({"sessions": suite.sessions}).encode()))

    fake.on_request = on_request
