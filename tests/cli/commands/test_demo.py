"""The command `demo`."""

from __future__ import annotations

import re
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from helpers.command_line import Call


def test_misses_and_repeats_no_session(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code, out, err = call("demo")
    (path,) = tmp_path.rglob("demo.db")
    assert (code, err) == (0, "")
    assert "of the 1,190 sessions that existed\nbefore, 0 were missed, and 0 were read twice." in out
    assert "buddy-sessions sync WORKSPACE/PROJECT --db sessions.db" in out
    assert max(len(line) for line in out.splitlines() if str(path) not in line and " > " not in line) <= 80
    assert "\x1b" not in out
    _, found, failing = out.partition("\nThe failing tests of the latest failed session:\n\n")
    assert found
    session = re.match(r"acme/\S+ #(\d+)  ✘ failed .*\nhttps://\S+\n\nSTATUS +TIME +TEST *\n✘ ", failing)
    assert session
    with closing(sqlite3.connect(path)) as connection:
        (stored,) = connection.execute("SELECT count(*) FROM sessions").fetchone()
        (newest,) = connection.execute(
            "SELECT max(relative_id) FROM sessions WHERE status = 'ERROR' AND suite_id = 'MNbyVedg'"
        ).fetchone()
    assert int(session[1]) == newest
    assert stored > 1190
