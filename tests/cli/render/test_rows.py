"""The rows of sessions as JSON lines and CSV: the same values as those of `to_dict`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Any

import attrs
from hypothesis import example, given
from hypothesis import strategies as st

from buddy_sessions import Member, Session, SessionStatus, SuiteKey, to_dict
from buddy_sessions._export import KEYED_SESSION_COLUMNS, keyed_rows
from buddy_sessions.cli.render.show import make_writer
from helpers.session_strategies import sessions, text

KEY = SuiteKey("acme", "shop", "MNbyVedg")
keys = st.builds(SuiteKey, text, text, text)


def write(data_format: str, key: SuiteKey, sessions: Iterable[Session]) -> str:
    """Write sessions to a file, and return its text."""
    file = io.BytesIO()
    with io.TextIOWrapper(file) as stream:
        writer = make_writer(data_format, stream, KEYED_SESSION_COLUMNS)
        writer.write(keyed_rows(key, sessions, emails=True))
        writer.finish()
        return file.getvalue().decode()


@given(keys, sessions)
@example(KEY, Session(id="1", relative_id=1, status=SessionStatus.ERROR, ref_name="é\n", duration=-1.5))
@example(KEY, Session(id="1", relative_id=1, status=SessionStatus.ERROR, ref_name="=1", revision="\t1"))
@example(KEY, Session(id="1", relative_id=1, status=SessionStatus.ERROR, tests_count=2**70))
def test_rows_have_the_values_of_to_dict(key: SuiteKey, session: Session) -> None:
    """In their order; a number above 64 bits is kept."""
    line = write("jsonl", key, [session])
    assert line.count("\n") == line.endswith("\n") == 1
    assert json.dumps(json.loads(line)) == json.dumps({"key": str(key), **key._asdict(), **to_dict(session)})
    header, *rows = csv.reader(io.StringIO(write("csv", key, [session]), newline=""))
    row = {**key._asdict(), **to_dict(session)}
    author = row["created_by"] or dict.fromkeys(name.name for name in attrs.fields(Member))
    index = list(row).index("created_by")
    items = [*row.items()]
    items[index : index + 1] = [(f"created_by_{name}", value) for name, value in author.items()]
    assert header == [name for name, _ in items]
    assert rows == [[expected_cell(value) for _, value in items]]


def expected_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(tuple("=+-@\t\r\n＝＋－＠")) else value  # noqa: RUF001
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
