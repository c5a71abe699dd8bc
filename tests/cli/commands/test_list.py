"""The command `list`."""

from __future__ import annotations

import asyncio
import io
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.cells import cell_len

from buddy_sessions import BuddyClient, Session, SuiteKey, to_dict
from buddy_sessions.cli import run
from buddy_sessions.cli.formats.tables import RECENT_LEGEND
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from helpers.command_line import (
    Call,
    Terminal,
    down_from,
    interrupt_at_request,
    lines_at_each_request,
    numbers,
    rows,
)

KEY = SuiteKey("acme", "shop", "MNbyVedg")
SUITE = "/".join(KEY)


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    return fake.add_suite(*KEY).populate(250)


class TestData:
    @pytest.mark.usefixtures("suite")
    def test_jsonl_has_the_key_and_equals_to_dict(self, fake: FakeBuddy, call: Call) -> None:
        async def collect() -> list[Session]:
            async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
                return await buddy.sessions(KEY).collect()

        code, out, err = call("list", SUITE)

        assert (code, err, next(iter(rows(out)[0]))) == (0, "", "key")
        names = {"key": SUITE, **KEY._asdict()}
        assert rows(out) == [{**names, **to_dict(session)} for session in asyncio.run(collect())]
        assert numbers(out) == down_from(250)

    @pytest.mark.usefixtures("suite")
    def test_each_page_is_written_at_once(self, fake: FakeBuddy, call: Call) -> None:
        lines = lines_at_each_request(fake)
        call("list", SUITE)
        assert lines[:2] == [0, 100]


class TestOptions:
    def test_options_select_sessions(self, fake: FakeBuddy, suite: FakeSuite, call: Call) -> None:
        newest = suite.create(branch="only/here")["relative_id"]

        assert numbers(call("list", SUITE, "--branch", "only/here").out) == [newest]
        assert numbers(call("list", SUITE, "--after", "248").out) == [251, 250, 249]
        assert numbers(call("list", SUITE, "--limit", "2").out) == [251, 250]

    @pytest.mark.usefixtures("suite")
    def test_verbose_logs_each_request(self, call: Call) -> None:
        code, out, err = call("list", SUITE, "-v")
        assert (code, numbers(out)[0]) == (0, 250)
        requests = [line for line in err.splitlines() if line.startswith("GET ")]
        assert len(requests) == 3
        assert call("list", SUITE).err == ""


class TestPartOfAList:
    @pytest.mark.usefixtures("suite")
    def test_failed_read(self, fake: FakeBuddy, call: Call) -> None:
        fake.on_request = lambda request: fake.inject(Fault.status(501)) if request.page == 2 else None
        code, out, err = call("list", SUITE)
        assert (code, numbers(out), err.count("\n")) == (7, [*range(250, 150, -1)], 1)

    @pytest.mark.usefixtures("suite")
    def test_interrupt(self, fake: FakeBuddy, call: Call) -> None:
        interrupt_at_request(fake, 2)
        code, out, err = call("list", SUITE)
        assert (code, len(numbers(out)), err) == (130, 100, "")


class TestTable:
    def add(self, suite: FakeSuite, **fields: Any) -> None:
        created = (datetime.now(UTC) - timedelta(hours=3, minutes=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
        known = {
            "create_date": created,
            "revision": "5cfe3f5799de2ba886e4e3099efa3649195ffa25",
            "created_by": {"name": "Ann"},
        }
        suite.create(**{**known, **fields})

    def test_table_for_80_columns(self, fake: FakeBuddy, call: Call) -> None:
        suite = fake.add_suite(*KEY)
        counts = {"tests_count": 320, "failed_count": 4, "skipped_count": 5, "error_count": 1}
        self.add(suite, status="SUCCESSFUL", branch="main", duration=185, tests_count=320)
        self.add(suite, status="ERROR", ref_type="PULL_REQUEST", ref_name="pull/7", duration=42, **counts)
        self.add(suite, status="SKIPPED", ref_type="TAG", ref_name="v2.1.0", duration=1, created_by=None, revision=None)
        self.add(suite, status="PAUSED", branch="feature/one-letter-too-many", failed_count=None, error_count=None)
        self.add(suite, branch="main", create_date=None, ref_type=None, ref_name=None, created_by={"name": "B" * 20})

        code, out, err = call("list", SUITE, "--format", "table")

        assert (code, err) == (0, f"5 sessions, 1 request. {RECENT_LEGEND}\n")
        assert [line.rstrip() for line in out.splitlines()] == [
            "acme/shop/MNbyVedg  ▂█···",
            "#  STATUS        AGE    TIME  FAIL  BRANCH                COMMIT   AUTHOR",
            "5  ◌ running       -       -     0  -                     5cfe3f5  BBBBBBBBBBBB…",
            "4  ? paused      3 h       -     -  feature/one-letter-…  5cfe3f5  Ann",
            "3  ○ skipped     3 h      1s     0  tag v2.1.0            -        -",
            "2  ✘ failed      3 h     42s     5  PR pull/7             5cfe3f5  Ann",
            "1  ✔ passed      3 h   3m05s     0  main                  5cfe3f5  Ann",
        ]

    @pytest.mark.parametrize("width", [160, 120, 80, 40, 20])
    def test_each_page_has_the_same_widths(
        self, width: int, suite: FakeSuite, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Those of the terminal, from 70 to 120 characters; a narrower one shows their first columns."""
        suite.create(branch="日本語" * 30)
        monkeypatch.setenv("COLUMNS", str(width))
        lines = call("list", SUITE, "--all", "--format", "table").out.splitlines()[-252:]
        assert {cell_len(line) for line in lines} == {min(width, 120)}
        assert len({line.index(state) for line in lines for state in "✔✘◌" if state in line}) == 1
        assert "…" not in lines[0]

    @pytest.mark.usefixtures("suite")
    def test_table_is_limited_to_50_sessions_by_default(self, call: Call) -> None:
        for arguments, count, message in (
            ([], 50, "50 sessions, 1 request; for older sessions add --all or --limit N"),
            (["--limit", "2"], 2, "2 sessions, 1 request"),
            (["--all"], 250, "250 sessions, 3 requests"),
            (["--limit", "250"], 250, "250 sessions, 3 requests"),
        ):
            code, out, err = call("list", SUITE, "--format", "table", *arguments)
            assert (code, err.removesuffix(f". {RECENT_LEGEND}\n")) == (0, message)
            title, _, recent = out.splitlines()[0].partition("  ")
            assert title == SUITE
            assert len(recent) == min(count, 30)
            assert len(out.splitlines()) == count + 2

    @pytest.mark.parametrize("no_color", [False, True])
    def test_terminal_gets_colours_unless_no_color_is_set(
        self, no_color: bool, fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.add(fake.add_suite(*KEY), status="ERROR", failed_count=3)
        if no_color:
            monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setattr(sys, "stdout", terminal := Terminal())
        assert run(["list", SUITE]) == 0
        assert "✘ failed" in terminal.getvalue()
        assert ("\x1b[1;31m" in terminal.getvalue()) is not no_color

    def test_character_that_the_encoding_lacks_is_replaced(
        self, fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.add(fake.add_suite(*KEY), status="ERROR")
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
        assert run(["list", SUITE, "--format", "table"]) == 0
        assert b"1  ? failed " in written.getvalue()
