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
        suite.create(**{"create_date": created, "revision": "5cfe3f5799de2ba886e4e3099efa3649195ffa25", **fields})

    def test_table_for_80_columns(self, fake: FakeBuddy, call: Call) -> None:
        suite = fake.add_suite(*KEY)
        counts = {"tests_count": 320, "failed_count": 4, "skipped_count": 5, "error_count": 1}
        self.add(suite, status="SUCCESSFUL", branch="main", duration=185, tests_count=320)
        self.add(suite, status="ERROR", ref_type="PULL_REQUEST", ref_name="pull/7", duration=42, **counts)
        self.add(suite, status="SKIPPED", ref_type="TAG", ref_name="v2.1.0", duration=1, tests_count=9, skipped_count=9)
        self.add(suite, status="PAUSED", branch="feature/one-letter-too-many", tests_count=None)
        self.add(suite, branch="main", create_date=None, ref_type=None, ref_name=None)

        code, out, err = call("list", SUITE, "--format", "table")

        assert (code, err) == (0, f"5 sessions, 1 request. {RECENT_LEGEND}\n")
        assert [line.rstrip() for line in out.splitlines()] == [
            "acme/shop/MNbyVedg  ▂█···",
            "#  STATUS            AGE    TIME   PASS  FAIL  SKIP  ERR  BRANCH",
            "5  ◌ running           -       -      0     0     0    0  -",
            "4  ? paused      3 h ago       -      -     0     0    0  feature/one-letter-to…",
            "3  ○ skipped     3 h ago      1s      0     0     9    0  tag v2.1.0",
            "2  ✘ failed      3 h ago     42s    310     4     5    1  PR pull/7",
            "1  ✔ passed      3 h ago   3m05s    320     0     0    0  main",
        ]

    def test_wide_terminal_shows_more_columns(
        self, fake: FakeBuddy, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        suite = fake.add_suite(*KEY)
        self.add(suite, created_by=None, revision=None)
        self.add(suite, status="ERROR", error_message="The database did\nnot start")
        monkeypatch.setenv("COLUMNS", "160")
        _, header, first, second = call("list", SUITE, "--format", "table").out.splitlines()
        assert header.split()[-4:] == ["BRANCH", "COMMIT", "AUTHOR", "MESSAGE"]
        assert "main" in first
        assert "5cfe3f5" in first
        assert first.rstrip().endswith("The database did not start")
        assert second.split()[-3:] == ["main", "-", "-"]

    @pytest.mark.parametrize("width", [120, 40, 20])
    def test_table_fits_the_terminal(
        self, width: int, suite: FakeSuite, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        suite.create(branch="日本語" * 30)
        monkeypatch.setenv("COLUMNS", str(width))
        lines = call("list", SUITE, "--format", "table").out.splitlines()
        assert len(lines) == 52
        assert max(map(cell_len, lines)) <= width
        assert not any("…" in line.partition("BRANCH")[0] for line in lines[:2])

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
