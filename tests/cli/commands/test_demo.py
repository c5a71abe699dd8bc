"""The command `demo`."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from helpers.command_line import Call


def test_misses_and_repeats_no_session(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "demo.db"
    code, out, err = call("demo", "--db", str(path))
    assert (code, err) == (0, "")
    assert "of the 1,190 sessions that existed\nbefore, 0 were missed, and 0 were read twice." in out
    assert re.search(
        r"^A second sync, of new and changed sessions only: \d+ sessions in 6 requests\.$", out, re.MULTILINE
    )
    assert "buddy-sessions sync WORKSPACE/PROJECT --db sessions.db" in out
    assert max(len(line) for line in out.splitlines() if str(path) not in line) <= 80
    assert "\x1b" not in out
    _, found, failing = out.partition("\nThe failing tests of the newest failed session:\n\n")
    assert found
    session = re.match(r"acme/\S+ #(\d+)  ✘ failed .*\nhttps://\S+\nSTATUS +TIME +TEST *\n✘ ", failing)
    assert session
    assert re.search(r"^ {14,}\w+: ", failing, re.MULTILINE)  # a message
    assert "buddy-sessions failures WORKSPACE/PROJECT/SUITE_ID" in out
    with closing(sqlite3.connect(path)) as connection:
        (stored,) = connection.execute("SELECT count(*) FROM sessions").fetchone()
        (newest,) = connection.execute(
            "SELECT relative_id FROM sessions WHERE status = 'ERROR' ORDER BY create_date DESC LIMIT 1"
        ).fetchone()
    assert int(session[1]) == newest
    totals = re.findall(r"^acme/\S+ +([\d,]+)", out, re.MULTILINE)
    assert sum(int(total.replace(",", "")) for total in totals) == stored > 1190


def test_existing_file_is_not_touched(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "mine.db"
    path.write_text("mine")
    assert call("demo", "--db", str(path)).code == 2
    assert path.read_text() == "mine"
