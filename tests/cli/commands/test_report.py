"""The command `report` and its page."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions.cli.report import formats
from buddy_sessions.testing import FakeBuddy
from helpers.command_line import Call, create_demo_database, sync_database
from helpers.html_page import HtmlPage
from helpers.stores import execute

KEY = ("acme", "shop", "MNbyVedg")
SCRIPT = "<script>alert(1)</script>"

Render = Callable[..., str]
"""Writes the report of a database, with these options, and returns its HTML."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "sessions.db"
    create_demo_database(path)
    return path


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "report.html"


@pytest.fixture
def render(call: Call, page: Path) -> Render:
    def render(db: Path, *options: str) -> str:
        code, out, _ = call("report", "--db", str(db), *options, "-o", str(page))
        assert (code, out) == (0, "")
        return page.read_text("utf-8")

    return render


class TestPage:
    def test_html_is_valid_and_accessible(self, render: Render, demo: Path) -> None:
        page = HtmlPage(render(demo))
        assert page.mistakes == []
        assert len(page.has_caption) > 15
        assert all(page.has_caption)
        assert all(attrs.get("scope") in {"col", "row"} for tag, attrs in page.tags if tag == "th")
        ids = page.values("id")
        assert len(ids) == len(set(ids))
        assert {link.removeprefix("#") for link in page.values("href") if link.startswith("#")} <= {*ids}
        assert {*page.values("aria-labelledby")} <= {*ids}
        levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
        assert levels[:2] == [1, 2]
        assert all(after <= before + 1 for before, after in pairwise(levels))

    def test_page_loads_nothing(self, render: Render, demo: Path) -> None:
        html = render(demo)
        page = HtmlPage(html)
        links = [link for link in page.values("href", "a") if not link.startswith("#")]
        assert len(links) > 6 * 12
        assert len(re.findall("https?:", html)) == len(links)
        assert not page.values("src") + page.values("style")
        assert not {"script", "link", "img", "iframe", "object", "base", "form"} & {tag for tag, _ in page.tags}
        assert not re.search(r"url\(|@import|\bon\w+=", html)
        assert "default-src 'none'" in html

    def test_failing_suites_come_first_and_others_are_folded(self, render: Render, fake: FakeBuddy, db: Path) -> None:
        for name, statuses in (
            ("fine", ["SUCCESSFUL"]),
            ("weak", ["ERROR", "SUCCESSFUL"]),
            ("worse", ["ERROR", "ERROR"]),
            ("broken", ["SUCCESSFUL", "ERROR"]),
            ("new", ["IN_PROGRESS"]),
        ):
            suite = fake.add_suite("acme", "shop", name, name=f"The {name} suite")
            for status in statuses:
                suite.create(status=status, create_date="2026-03-02T10:00:00Z")
        sync_database(fake, db)
        html = render(db)
        assert re.findall(r'<a href="#suite-\d">The (\w+) suite</a>', html) == ["worse", "broken"]
        assert re.findall(r'<section id="suite-(\d)"', html) == ["1", "2"]
        assert re.findall(r"<h[23].*>The (\w+) suite", html) == ["weak", "fine", "new", "worse", "broken"]
        page = HtmlPage(html)
        assert page.values("class", "details").count("row") == 3
        assert not page.values("open", "details")
        assert "5 suites, 8 sessions, 2 failing now." in page.text
        assert "3 suites not failing The weak suite acme/shop/weak 50 % passed" in page.text
        assert "The worse suite acme/shop/worse 2 Mar 2026 (#1), 2 sessions main 0 %" in page.text
        assert "The broken suite acme/shop/broken 2 Mar 2026 (#2), 1 session main 50 %" in page.text
        assert "✘ failed 2 Mar 2026, 10:00 failing since 2 Mar 2026 (#2), 1 session" in page.text

    def test_suites_are_shown_by_their_keys_until_their_names_are_known(
        self, render: Render, fake: FakeBuddy, db: Path
    ) -> None:
        for name, status in (("a", "ERROR"), ("b", "SUCCESSFUL")):
            suite = fake.add_suite("acme", "shop", name)
            for number in range(10):
                suite.create(status=status, duration=60 if number < 5 else 90)
        sync_database(fake, db)
        execute(db, "UPDATE suites SET name = NULL, html_url = NULL")
        page = HtmlPage(render(db))
        assert ">acme/shop/a</a>" in render(db)
        assert "1 suite not failing acme/shop/b 100 % passed" in page.text
        assert "Open in Buddy" not in page.text

    def test_suites_and_sessions_link_to_buddy(self, render: Render, fake: FakeBuddy, db: Path) -> None:
        suite = fake.add_suite(*KEY)
        first, last = suite.create(status="ERROR"), suite.create(status="ERROR")
        sync_database(fake, db)
        links = [link for link in HtmlPage(render(db)).values("href", "a") if not link.startswith("#")]
        assert links == [suite.html_url, *(it["html_url"] for it in (first, last, first))]

    def test_numbers_are_shown(self, render: Render, fake: FakeBuddy, db: Path) -> None:
        suite = fake.add_suite(*KEY)
        for number in range(10):
            suite.create(
                branch=f"fix/{number}",
                status="ERROR" if number < 9 else "SUCCESSFUL",
                create_date=f"202{5 + number // 5}-03-0{number}T10:00:00Z" if number else None,
                duration=60 if number < 5 else 90,
                tests_count=1200,
                failed_count=0 if number == 9 else 3,
                error_count=0,
                skipped_count=0,
            )
        suite.create(create_date="2026-03-09T11:00:00Z", duration=7)
        sync_database(fake, db)
        text = HtmlPage(render(db)).text
        assert "1 suite, 11 sessions. As of " in text
        assert "Latest session ◌ running ✔ passed before that" in text
        assert "Pass rate 10 % 1 of the last 10 Median duration 1m15s +50 % from the older half" in text
        assert "Sessions 11 1 Mar 2025 \N{EN DASH} 9 Mar 2026" in text
        assert "Pass rate per four weeks" in text
        assert "1 Mar 2025 0 of 4 0 % 1m00s" in text
        assert "fix/8 1 of 1 8 Mar 2026" in text
        assert "and 1 more" in text
        assert "#10 9 Mar 2026, 10:00 ✔ passed 1,200 tests fix/9" in text
        assert "✘ failed 1,200 tests, 3 failed" in text
        assert "#1 - ✘ failed" in text
        assert "All sessions, newest first" in text
        assert "Back to all suites" not in text
        assert "7s" not in text  # the duration of the running session

    def test_text_of_the_server_is_escaped(self, render: Render, fake: FakeBuddy, db: Path) -> None:
        suite = fake.add_suite(*KEY)
        for url in ("javascript:alert(1)", " https://a.example/", "https://a.example/\x01", "data:text/html,x", None):
            suite.create(html_url=url)
        suite.create(
            branch=SCRIPT,
            status="NEW\" onclick='x' <b>",
            finish_date="2026-03-01T10:00:00Z",
            error_message=f"{SCRIPT} \u202e\ud800 {{{{ 7*7 }}}}",
            created_by={"name": f'"{SCRIPT}'},
            html_url="HTTPS://a.example/?a=1&b=%22'>",
        )
        tag = suite.create(branch=f"{SCRIPT}2", status="ERROR", ref_type="TAG")
        other = fake.add_suite("acme", "shop", "other", name=f"{SCRIPT}3").create()
        sync_database(fake, db)
        page = HtmlPage(render(db))
        assert page.mistakes == []
        assert not {"script", "b"} & {tag for tag, _ in page.tags}
        assert not re.search("onclick", " ".join(name for _, attrs in page.tags for name in attrs))
        links = {link for link in page.values("href") if not link.startswith("#")}
        made_by_fake = {it.html_url for it in fake.suites.values()} | {tag["html_url"], other["html_url"]}
        assert links == {"HTTPS://a.example/?a=1&b=%22'>"} | made_by_fake
        assert f'{SCRIPT} \\u202e\\ud800 {{{{ 7*7 }}}} {SCRIPT} "{SCRIPT}' in page.text
        assert f"tag {SCRIPT}2" in page.text
        assert f"not failing {SCRIPT}3 " in page.text
        assert {*page.values("class", "span")} == {"bad", "other", "nowrap", "n", "n wide"}

    def test_missing_values_are_dashes(self, render: Render, fake: FakeBuddy, db: Path) -> None:
        nothing: dict[str, Any] = dict.fromkeys(
            ("create_date", "created_by", "tests_count", "duration", "ref_name", "ref_type", "html_url")
        )
        fake.add_suite(*KEY).create(status="ERROR", **nothing)
        sync_database(fake, db)
        text = HtmlPage(render(db)).text
        latest = (
            "Latest session ✘ failed - failing since #1, 1 session Pass rate 0 % 0 of the last 1 "
            "Median duration - of the last 1 Sessions 1 "
        )
        assert latest in text
        assert "- 1 of 1 - " in text
        assert "#1 - ✘ failed - -" in text


class TestCommand:
    def test_suites_can_be_selected(self, render: Render, demo: Path) -> None:
        key = "acme/payments/b9TfYc4N"
        text = HtmlPage(render(demo, "--suite", key, key)).text
        assert "1 suite, " in text
        assert "Contract tests acme/payments/b9TfYc4N" in text
        assert "All suites" not in text
        text = HtmlPage(
            render(demo, "--suite", key, "https://app.buddy.works/acme/storefront/unit-tests/MNbyVedg")
        ).text
        assert "2 suites, " in text

    def test_days_can_be_limited(self, render: Render, fake: FakeBuddy, db: Path) -> None:
        now = datetime.now(UTC)
        for name, days in (("a", (40, 31, 29)), ("b", (50,))):
            suite = fake.add_suite("acme", "shop", name)
            for age in days:
                suite.create(status="ERROR", create_date=f"{now - timedelta(days=age):%Y-%m-%dT%H:%M:%SZ}")
        sync_database(fake, db)
        text = HtmlPage(render(db, "--days", "30")).text
        assert "2 suites, 1 session of the last 30 days, 1 failing now." in text
        assert f"failing since {formats.day(now - timedelta(days=40))} (#1), 3 sessions" in text
        assert "All sessions, newest first" in text
        assert "This suite has no sessions of the last 30 days." in text
        assert "4 sessions, 2 failing now." in HtmlPage(render(db)).text
