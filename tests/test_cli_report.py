"""The command `report`: the numbers of a suite, and the page that shows them."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import test_cli
from buddy_sessions import BuddyClient, RefType, Session, SessionStatus, SessionStore, SuiteKey
from buddy_sessions.cli import page as page_module
from buddy_sessions.cli.charts import Chart, charts_of
from buddy_sessions.cli.figures import Figures, Growth, Period, Ref, Share, figures_of
from buddy_sessions.testing import FakeBuddy
from test_cli import Run, served

call, fake, surroundings = test_cli.call, test_cli.fake, test_cli.surroundings

KEY = SuiteKey("acme", "shop", "MNbyVedg")
PASSED, FAILED = SessionStatus.SUCCESSFUL, SessionStatus.ERROR
SKIPPED, RUNNING = SessionStatus.SKIPPED, SessionStatus.IN_PROGRESS
FIRST = datetime(2026, 3, 1, 10, tzinfo=UTC)
MAIN = Ref(RefType.BRANCH, "main")
SCRIPT = "<script>alert(1)</script>"


def session(
    number: int, status: SessionStatus = PASSED, *, day: float = 0, branch: str = "main", **fields: Any
) -> Session:
    return Session(
        **{
            "id": str(number),
            "relative_id": number,
            "status": status,
            "create_date": FIRST + timedelta(days=day),
            "ref_type": RefType.BRANCH,
            "ref_name": branch,
            **fields,
        }
    )


def sessions(statuses: Iterable[SessionStatus] = (), **columns: Sequence[Any]) -> list[Session]:
    """Return sessions, newest first, made from what is listed oldest first."""
    rows = list(statuses) or [PASSED] * max(map(len, columns.values()))
    return [
        session(place + 1, status, **{name: column[place] for name, column in columns.items()})
        for place, status in enumerate(rows)
    ][::-1]


def figures(statuses: Iterable[SessionStatus] = (), **columns: Sequence[Any]) -> Figures:
    return figures_of(KEY, sessions(statuses, **columns))


def charts(it: Figures) -> list[Chart]:
    return list(charts_of(it, page_module._import_pygal()))


class TestFigures:
    def test_of_no_session_there_is_nothing_to_say(self) -> None:
        nothing = figures_of(KEY, [])
        assert (nothing.sessions, nothing.span, nothing.result, nothing.duration) == (0, None, None, None)
        assert (nothing.recent.percent, nothing.change, nothing.failed) == (None, None, False)
        assert (nothing.periods, nothing.failures, nothing.growths) == ([], [], [])

    def test_the_newest_twenty_that_have_ended_say_how_a_suite_stands(self) -> None:
        it = figures([FAILED] * 10 + [PASSED] * 18 + [SKIPPED] + [RUNNING] * 3, duration=[10] * 9 + [*range(23)])
        assert it.recent == Share(18, 20)
        assert it.recent.percent == 90
        assert it.duration == 9.5  # of 0 to 19: running sessions tell nothing
        assert (it.newest[0].status, it.result and it.result.relative_id) == (RUNNING, 29)
        assert (it.sessions, it.failed) == (32, False)

    def test_a_pass_rate_is_rounded_down(self) -> None:
        assert Share(199, 200).percent == 99
        assert Share(2, 3).percent == 66

    def test_the_span_is_that_of_all_sessions_that_have_a_date(self) -> None:
        it = figures([PASSED, FAILED, RUNNING], create_date=[FIRST, None, FIRST + timedelta(days=2)])
        assert it.span == (FIRST, FIRST + timedelta(days=2))
        assert it.failed

    def test_twelve_sessions_are_listed(self) -> None:
        assert [one.relative_id for one in figures([PASSED] * 15).newest] == [*range(15, 3, -1)]

    def test_a_period_is_a_day_where_a_month_holds_all(self) -> None:
        it = figures([PASSED, FAILED, PASSED, RUNNING], day=[0, 0, 2, 30], duration=[1, 2, None, 9])
        assert it.days == 1
        assert it.periods == [
            Period(date(2026, 3, 1), Share(1, 2), 1.5),
            Period(date(2026, 3, 2), Share(0, 0), None),
            Period(date(2026, 3, 3), Share(1, 1), None),
        ]

    @pytest.mark.parametrize(
        ("length", "days", "periods"), [(31, 1, 31), (32, 7, 5), (217, 7, 31), (218, 28, 8), (11_285, 365, 31)]
    )
    def test_periods_are_as_short_as_a_chart_has_room_for(self, length: int, days: int, periods: int) -> None:
        it = figures([PASSED] * 2, day=[0, length - 1])
        assert (it.days, len(it.periods)) == (days, periods)

    def test_the_last_period_is_a_whole_one_and_the_first_begins_with_the_first_session(self) -> None:
        it = figures([PASSED] * 4, day=[0, 3, 4, 31])
        assert [(period.first, period.share.ended) for period in it.periods] == [
            (date(2026, 3, 1), 2),
            (date(2026, 3, 5), 1),
            (date(2026, 3, 12), 0),
            (date(2026, 3, 19), 0),
            (date(2026, 3, 26), 1),
        ]

    def test_periods_reach_as_far_as_dates_do(self) -> None:
        ends = [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
        it = figures([PASSED] * 2, create_date=ends)
        assert (it.periods[0].first, len(it.periods)) == (date.min, 31)

    def test_failures_are_counted_by_branch_the_most_first(self) -> None:
        it = figures(
            [FAILED, PASSED, FAILED, FAILED, FAILED, RUNNING, PASSED],
            branch=["main", "main", "main", "a", "main", "main", "b"],
            ref_type=[*[RefType.BRANCH] * 4, RefType.TAG, *[RefType.BRANCH] * 2],
        )
        assert [(one.ref, one.failed, one.ended, one.latest.relative_id) for one in it.failures] == [
            (MAIN, 2, 3, 3),
            (Ref(RefType.TAG, "main"), 1, 1, 5),
            (Ref(RefType.BRANCH, "a"), 1, 1, 4),
        ]

    def test_eight_branches_are_listed_and_all_are_counted(self) -> None:
        it = figures([FAILED] * 10, branch=[*"abcdefghij"])
        assert (len(it.failures), it.failing) == (8, 10)

    def test_growth_is_the_median_of_the_newer_half_against_that_of_the_older(self) -> None:
        it = figures(duration=[10, 10, 20, 20, 20, 25, 25, 30, 99, 1], tests_count=[100] * 5 + [104] * 5)
        assert it.growths == [
            Growth(KEY, None, "duration", 20, 25, 25),
            Growth(KEY, None, "tests", 100, 104, 4),
        ]
        assert it.change == 25

    def test_of_an_odd_number_the_oldest_is_left_out(self) -> None:
        it = figures(duration=[1000, 10, 10, 10, 20, 20, *[11] * 5])
        assert [(one.before, one.recent, one.percent) for one in it.growths] == [(10, 11, 10)]

    def test_what_shrinks_is_no_growth_but_a_change(self) -> None:
        it = figures(duration=[10] * 5 + [5] * 5)
        assert (it.growths, it.change) == ([], -50)

    def test_fewer_than_ten_sessions_say_nothing_of_growth(self) -> None:
        it = figures([*[PASSED] * 9, RUNNING], duration=[*range(1, 11)])
        assert (it.growths, it.change) == ([], None)

    def test_growth_from_nothing_has_no_percentage(self) -> None:
        assert figures(duration=[0] * 5 + [5] * 5).growths == []

    def test_numbers_beyond_belief_do_not_count(self) -> None:
        it = figures(duration=[1, 1.7e308, -4, 10**9, 2])
        assert (it.duration, it.periods[0].duration) == (1.5, 1.5)

    def test_branches_grow_on_their_own_the_fastest_first(self) -> None:
        it = figures(branch=["a", "b"] * 10, duration=[10] * 10 + [20, 11] * 5)
        assert [(one.ref and one.ref.name, one.percent) for one in it.growths] == [("a", 100), (None, 55), ("b", 10)]

    def test_what_fails_now_needs_attention_first_then_what_passes_least_then_what_slows_down(self) -> None:
        made = {
            "none": figures([RUNNING]),
            "steady": figures([PASSED] * 10),
            "slower": figures(duration=[1] * 5 + [2] * 5),
            "weak": figures([FAILED, PASSED]),
            "failing": figures([PASSED, PASSED, FAILED]),
        }
        assert sorted(made, key=lambda name: made[name].attention) == ["failing", "weak", "slower", "steady", "none"]


class Parsed(HTMLParser):
    """A page, with what is wrong with its tags."""

    VOID = frozenset({"meta", "wbr", "path", "circle"})
    """Void in HTML, or written as `<path />` in SVG."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.captions: list[bool] = []
        self.unbalanced: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.captions.append(False)
        if tag == "caption":
            assert self.stack[-1] == "table"
            self.captions[-1] = True
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID and self.stack.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def values(self, name: str, tag: str | None = None) -> list[str]:
        return [attrs[name] or "" for it, attrs in self.tags if name in attrs and tag in {None, it}]


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "report.html"


def harvest(fake: FakeBuddy, db: Path) -> None:
    async def work() -> None:
        keys = [SuiteKey(*key) for key in fake.suites]
        async with (
            BuddyClient(fake.token, base_url=fake.base_url) as buddy,
            SessionStore(db) as store,
            store.harvest(buddy, keys) as harvest,
        ):
            _ = [pair async for pair in harvest]

    asyncio.run(work())


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six believable suites; in one of them a session runs."""
    db = tmp_path_factory.mktemp("demo") / "sessions.db"
    with served(FakeBuddy()) as fake:
        fake.add_demo_suites()[0].create()
        harvest(fake, db)
    return db


class TestPage:
    def test_is_sound_html_with_captions_and_targets(self, call: Run, demo: Path, page: Path) -> None:
        code, out, err = call("report", "--db", str(demo), "-o", str(page))
        assert (code, out) == (0, "")
        assert re.fullmatch(rf"6 suites, 1,1\d\d sessions: the page is {page}\n", err)
        parsed = Parsed(page.read_text("utf-8"))
        assert (parsed.stack, parsed.unbalanced) == ([], [])
        assert len(parsed.captions) > 20
        assert all(parsed.captions)
        assert all(attrs.get("scope") in {"col", "row"} for tag, attrs in parsed.tags if tag == "th")
        ids = parsed.values("id")
        assert len(ids) == len(set(ids))
        assert {link.removeprefix("#") for link in parsed.values("href") if link.startswith("#")} <= {*ids}
        assert {*parsed.values("aria-labelledby")} <= {*ids}
        assert {f"#suite-{number}" for number in range(1, 7)} <= {*parsed.values("href")}
        assert [tag for tag, _ in parsed.tags if re.fullmatch("h[1-6]", tag)][:3] == ["h1", "h2", "h3"]

    def test_loads_nothing(self, call: Run, demo: Path, page: Path) -> None:
        call("report", "--db", str(demo), "-o", str(page))
        html = page.read_text("utf-8")
        parsed = Parsed(html)
        links = [link for link in parsed.values("href", "a") if not link.startswith("#")]
        assert len(links) == 6 * 12
        assert len(re.findall("https?:", html)) == len(links)
        assert not parsed.values("src") + parsed.values("style")
        assert not {"script", "link", "img", "iframe", "object", "base", "form"} & {tag for tag, _ in parsed.tags}
        assert not re.search(r"url\(|@import|\bon\w+=", html)
        assert "default-src 'none'" in html

    def test_each_chart_says_what_it_shows(self) -> None:
        statuses = [PASSED, FAILED, PASSED, PASSED, PASSED, FAILED]
        rate, duration = charts(figures(statuses, day=[0, 0, 1, 3, 4, 4], duration=[60, 70, 50, 80, 40, 100]))
        assert (rate.title, duration.title) == ("Pass rate per day", "Median duration per day")
        assert Parsed(rate.svg).tags[0][1]["role"] == "img"
        assert Parsed(rate.svg).values("aria-label")[0] == (
            "Pass rate per day, from 50 % on 1 Mar 2026 to 50 % on 5 Mar 2026; "
            "lowest 50 % on 1 Mar 2026, highest 100 % on 2 Mar 2026. All numbers are in the table below."
        )
        assert Parsed(duration.svg).values("aria-label")[0] == (
            "Median duration per day, from 1m05s on 1 Mar 2026 to 1m10s on 5 Mar 2026; "
            "lowest 50s on 2 Mar 2026, highest 1m20s on 4 Mar 2026. All numbers are in the table below."
        )

    def test_a_line_is_broken_where_there_is_nothing_to_show(self) -> None:
        rate, _ = charts(figures([PASSED] * 4, day=[0, 1, 3, 4], duration=[1] * 4))
        parsed = Parsed(rate.svg)
        assert parsed.values("class").count("line reactive nofill") == 2
        assert parsed.values("class").count("dot reactive tooltip-trigger") == 4
        assert "0 % 0 % 50 % 50 % 100 % 100 % 1 Mar 3 Mar 5 Mar 1 Mar 2026: 100 %, 1 session" in parsed.text

    def test_days_of_two_years_are_labelled_with_the_year(self) -> None:
        rate, _ = charts(figures([PASSED] * 2, day=[0, 364], duration=[1, 1]))
        assert re.findall("Mar 202[67](?!:)|Feb 202[67](?!:)", Parsed(rate.svg).text) == ["Mar 2026", "Feb 2027"]

    @pytest.mark.parametrize("durations", [[None, None], [None, 5]])
    def test_a_chart_needs_two_points(self, durations: list[int | None]) -> None:
        assert len(charts(figures([PASSED] * 2, day=[0, 1], duration=durations))) == 1
        assert not charts(figures([PASSED] * 2, day=[0, 0], duration=[1, 1]))

    def test_suites_are_listed_and_follow_by_what_needs_attention(
        self, call: Run, fake: FakeBuddy, db: Path, page: Path
    ) -> None:
        for name, statuses in {"fine": [PASSED], "weak": [FAILED, PASSED], "broken": [PASSED, FAILED]}.items():
            suite = fake.add_suite("acme", "shop", name)
            for status in statuses:
                suite.create(status=status)
        harvest(fake, db)
        assert call("report", "--db", str(db), "-o", str(page))[0] == 0
        html = page.read_text("utf-8")
        assert re.findall(r'<a href="#suite-\d">(\w+)</a>', html) == ["broken", "weak", "fine"]
        assert re.findall(r'<h2 id="suite-\d-name">(\w+)', html) == ["broken", "weak", "fine"]
        assert "3 suites, 5 sessions, 1 failing now." in Parsed(html).text

    def test_shows_the_numbers(self, call: Run, fake: FakeBuddy, db: Path, page: Path) -> None:
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
        harvest(fake, db)
        assert call("report", "--db", str(db), "-o", str(page))[0] == 0
        html = page.read_text("utf-8")
        text = Parsed(html).text
        assert "1 suite, 11 sessions. As of " in text
        assert "Latest session ◌ running ✔ passed before that" in text
        assert "Pass rate 10 % 1 of the last 10 Median duration 1m15s +50 % on the older half" in text
        assert "Sessions 11 1 Mar 2025 \N{EN DASH} 9 Mar 2026" in text
        assert "Pass rate per four weeks" in text
        assert "1 Mar 2025: 0 %, 4 sessions" in text
        assert "fix/8 1 of 1 8 Mar 2026" in text
        assert "and 1 more" in text
        assert "all branches duration 1m00s → 1m30s +50 %" in text
        assert "#10 9 Mar 2026, 10:00 ✔ passed 1,200 tests fix/9" in text
        assert "✘ failed 1,200 tests, 3 failed" in text
        assert "#1 - ✘ failed" in text
        assert "All of them, newest first" in text
        assert "Back to all suites" not in text
        assert "7s" not in text  # of a session that runs

    def test_what_a_server_sends_is_shown_and_does_nothing(
        self, call: Run, fake: FakeBuddy, db: Path, page: Path
    ) -> None:
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
        suite.create(branch=f"{SCRIPT}2", status="ERROR", ref_type="TAG")
        fake.add_suite("acme", "shop", "other").create()
        harvest(fake, db)
        assert call("report", "--db", str(db), "-o", str(page))[0] == 0
        html = page.read_text("utf-8")
        parsed = Parsed(html)
        assert (parsed.stack, parsed.unbalanced) == ([], [])
        assert not {"script", "b"} & {tag for tag, _ in parsed.tags}
        assert not re.search("onclick", " ".join(name for _, attrs in parsed.tags for name in attrs))
        links = [link for link in parsed.values("href") if not link.startswith("#")]
        assert links[0].startswith("https://")  # the fake's own, of the tag's session
        assert links[1] == "HTTPS://a.example/?a=1&b=%22'>"
        assert len(links) == 3
        assert f'{SCRIPT} \\u202e\\ud800 {{{{ 7*7 }}}} {SCRIPT} "{SCRIPT}' in parsed.text
        assert f"tag {SCRIPT}2" in parsed.text
        assert {*parsed.values("class", "span")} == {"bad", "other", "whole"}

    def test_a_suite_is_shown_alone_where_it_is_asked_for(self, call: Run, demo: Path, page: Path) -> None:
        key = "acme/payments/b9TfYc4N"
        assert call("report", "--db", str(demo), "--suite", key, key, "-o", str(page))[0] == 0
        text = Parsed(page.read_text("utf-8")).text
        assert "1 suite, " in text
        assert "b9TfYc4N acme/ payments" in text
        assert "All suites" not in text
        code, _, err = call("report", "--db", str(demo), "--suite", key, "acme/storefront/MNbyVedg", "-o", str(page))
        assert (code, err[:8]) == (0, "2 suites")

    def test_sessions_without_dates_counts_or_names_have_their_place(
        self, call: Run, fake: FakeBuddy, db: Path, page: Path
    ) -> None:
        bare: dict[str, Any] = {
            "create_date": None,
            "created_by": None,
            "tests_count": None,
            "duration": None,
            "ref_name": None,
        }
        fake.add_suite(*KEY).create(status="ERROR", html_url=None, ref_type=None, **bare)
        harvest(fake, db)
        assert call("report", "--db", str(db), "-o", str(page))[0] == 0
        text = Parsed(page.read_text("utf-8")).text
        assert (
            "Latest session ✘ failed - Pass rate 0 % 0 of the last 1 Median duration - of the last 1 Sessions 1 "
            in text
        )
        assert "- 1 of 1 - " in text
        assert "No growth to be seen." in text
        assert "#1 - ✘ failed - -" in text

    def test_a_duration_that_is_always_zero_can_be_drawn(
        self, call: Run, fake: FakeBuddy, db: Path, page: Path
    ) -> None:
        suite = fake.add_suite(*KEY)
        for day in (1, 2, 4):
            suite.create(status="SUCCESSFUL", create_date=f"2026-03-0{day}T10:00:00Z", duration=0)
        harvest(fake, db)
        assert call("report", "--db", str(db), "-o", str(page))[0] == 0
        assert page.read_text("utf-8").count("<svg") == 2

    def test_a_suite_whose_sessions_are_all_gone_says_so(
        self, call: Run, fake: FakeBuddy, db: Path, page: Path
    ) -> None:
        suite = fake.add_suite(*KEY)
        gone = suite.create(status="SUCCESSFUL")
        harvest(fake, db)
        suite.delete(gone["id"])
        suite.create(status="SUCCESSFUL")
        harvest(fake, db)
        suite.delete(suite.sessions[0]["id"])
        harvest(fake, db)
        assert call("report", "--db", str(db), "-o", str(page))[0] == 0
        assert "Its sessions were all deleted." in page.read_text("utf-8")

    def test_an_empty_file_makes_a_page_that_says_so(self, call: Run, fake: FakeBuddy, db: Path, page: Path) -> None:
        harvest(fake, db)
        assert call("report", "--db", str(db), "-o", str(page))[::2] == (
            0,
            f"0 suites, 0 sessions: the page is {page}\n",
        )
        assert "There are no sessions in this file yet." in page.read_text("utf-8")


class TestCommand:
    def test_a_file_that_is_not_there_is_not_made(self, call: Run, db: Path, page: Path, tmp_path: Path) -> None:
        code, out, err = call("report", "--db", str(db), "-o", str(page))
        assert (code, out) == (2, "")
        assert err == f"error: there is no file {str(db)!r}: buddy-sessions harvest … --db FILE makes one\n"
        assert not [*tmp_path.iterdir()]

    def test_a_suite_that_is_not_in_the_file_is_named(self, call: Run, demo: Path, page: Path) -> None:
        page.write_text("old")
        code, _, err = call("report", "--db", str(demo), "--suite", "a/b/c", "-o", str(page))
        assert (code, err) == (2, f"error: not in {str(demo)!r}: a/b/c\n")
        assert page.read_text() == "old"
        assert not [path for path in page.parent.iterdir() if path.suffix == ".tmp"]

    def test_what_is_no_suite_is_wrong_usage(self, call: Run, demo: Path, page: Path) -> None:
        code, _, err = call("report", "--db", str(demo), "--suite", "a/b", "-o", str(page))
        assert (code, "workspace/project/suite_id" in err, page.exists()) == (2, True, False)

    def test_the_page_does_not_take_the_place_of_the_sessions(self, call: Run, demo: Path, page: Path) -> None:
        os.link(demo, page)
        code, _, err = call("report", "--db", str(demo), "-o", str(page))
        assert (code, "would replace the sessions" in err) == (2, True)
        assert demo.read_bytes().startswith(b"SQLite format 3")

    @pytest.mark.parametrize("library", ["pygal", "jinja2"])
    def test_says_what_to_install(
        self, library: str, call: Run, demo: Path, page: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, library, None)
        code, out, err = call("report", "--db", str(demo), "-o", str(page))
        assert (code, out) == (2, "")
        assert err == f"error: {library} is not installed; run: pip install 'buddy_sessions[report]'\n"
        assert not page.exists()

    def test_leaves_the_imports_of_the_process_as_they_were(self, call: Run, demo: Path, page: Path) -> None:
        assert call("report", "--db", str(demo), "-o", str(page))[0] == 0
        assert "pygal" in sys.modules
        assert not [finder for finder in sys.meta_path if type(finder).__module__.startswith("pygal")]

    def test_the_file_of_another_program_is_left_alone(self, call: Run, db: Path, page: Path) -> None:
        db.write_text("not a database, and long enough to be looked at")
        code, _, err = call("report", "--db", str(db), "-o", str(page))
        assert (code, "not a SQLite file" in err, page.exists()) == (1, True, False)
