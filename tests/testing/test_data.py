"""The random data of the fake Buddy: realistic, ordered, and reproducible."""

import random
import re
import subprocess
import sys
from datetime import UTC, datetime
from itertools import groupby, pairwise
from statistics import mean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions.testing import FakeSuite
from buddy_sessions.testing.data import choose_members, creation_times, format_time, new_execution_id, new_id

UNTIL = datetime(2026, 1, 30, 15, 0, tzinfo=UTC)  # a Friday


def generate(count: int = 2000, *, seed: int = 0, suite_id: str = "MNbyVedg") -> list[dict[str, Any]]:
    """Return the sessions of a suite, oldest first."""
    suite = FakeSuite("acme", "shop", suite_id, seed=seed).populate(count, until=UNTIL)
    return list(reversed(suite.sessions))


def ratio(flags: list[bool]) -> float:
    return flags.count(True) / len(flags)


def test_same_seed_gives_same_sessions() -> None:
    assert generate(200) == generate(200)


def test_other_seed_or_name_gives_other_sessions() -> None:
    assert len({str(generate(20)), str(generate(20, seed=1)), str(generate(20, suite_id="other"))}) == 3


def test_other_process_gives_same_sessions() -> None:
    program = (
        "from datetime import datetime; from buddy_sessions.testing import FakeSuite; "
        "suite = FakeSuite('acme', 'shop', 'MNbyVedg'); "
        f"print(suite.populate(3, until=datetime.fromisoformat({UNTIL.isoformat()!r})).sessions[0]['id'])"
    )
    process = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert process.stdout.strip() == generate(3)[-1]["id"]


def test_time_format_is_that_of_the_api() -> None:
    assert format_time(1761028936) == "2025-10-21T06:42:16Z"


def test_ids_look_like_the_documented_ones() -> None:
    rng = random.Random(0)
    assert re.fullmatch("[A-Za-z0-9]{8}", new_id(rng))
    assert re.fullmatch("68f72b44[0-9a-f]{16}", new_execution_id(rng, 0x68F72B44))


def test_members_are_the_same_in_every_suite() -> None:
    teams = [
        choose_members(random.Random(seed), workspace="a b", api_url="https://api", app_url="https://app")
        for seed in range(20)
    ]
    people = {member["id"]: member for team in teams for member in team}
    assert all(people[member["id"]] == member for team in teams for member in team)
    assert people[1]["url"] == "https://api/workspaces/a%20b/members/1"
    assert people[1]["html_url"] == "https://app/a%20b/-/profile/1"
    assert [member["id"] for member in people.values() if member["workspace_owner"]] == [1]


def test_half_of_the_sessions_test_main() -> None:
    sessions = generate()
    assert ratio([each["ref_name"] == "main" for each in sessions]) == pytest.approx(0.5, abs=0.05)
    assert {each["ref_type"] for each in sessions} == {"BRANCH", "TAG", "PULL_REQUEST"}
    features = [name for name in {each["ref_name"] for each in sessions} if name.startswith("feature/")]
    assert len(features) > 30
    tags = [each["ref_name"] for each in sessions if each["ref_type"] == "TAG"]
    assert len(set(tags)) == len(tags) > 30


def test_failures_come_in_streaks() -> None:
    failed = [each["status"] == "ERROR" for each in generate()]
    failed_again = ratio([after for before, after in pairwise(failed) if before])
    assert 0.05 < ratio(failed) < 0.3
    assert failed_again > 3 * ratio(failed)
    assert max(len(list(streak)) for is_failed, streak in groupby(failed) if is_failed) >= 4


def test_all_statuses_appear() -> None:
    sessions = generate()
    assert {each["status"] for each in sessions} >= {"SUCCESSFUL", "ERROR", "SKIPPED"}
    assert {each["status"] for each in sessions if "error_message" in each} == {"ERROR"}


def test_counts_add_up() -> None:
    for session in generate():
        parts = ("failed_count", "skipped_count", "error_count")
        assert 0 <= sum(session[part] for part in parts) <= session["tests_count"] + session["error_count"]
        if session["status"] == "ERROR":
            assert session["failed_count"] or session["error_count"]


def test_suites_and_durations_grow_slowly() -> None:
    finished = [each for each in generate(4000) if each["status"] == "SUCCESSFUL"]
    early, late = finished[:300], finished[-300:]
    assert mean(each["tests_count"] for each in late) > mean(each["tests_count"] for each in early) + 100
    assert mean(each["duration"] for each in late) > mean(each["duration"] for each in early)
    assert max(abs(b["tests_count"] - a["tests_count"]) for a, b in pairwise(finished)) < 30


def test_external_ci_providers_have_a_run_url() -> None:
    sessions = generate()
    assert {each["ci_provider"] for each in sessions} == {"BUDDY", "GITHUB_ACTION", "CIRCLE_CI", "NONE"}
    external = {"GITHUB_ACTION", "CIRCLE_CI"}
    assert all(("ci_run_url" in each) == (each["ci_provider"] in external) for each in sessions)


def test_times_ascend_and_match_durations() -> None:
    sessions = generate()
    assert all(a["create_date"] <= b["create_date"] for a, b in pairwise(sessions))
    for each in sessions[:-1]:
        start, finish = (datetime.fromisoformat(each[name]) for name in ("start_date", "finish_date"))
        assert (finish - start).total_seconds() == each["duration"]
        assert each["create_date"] <= each["start_date"] <= each["finish_date"] <= "2026-01-30T15:00:00Z"


def test_most_sessions_are_created_in_office_hours() -> None:
    created = [datetime.fromisoformat(each["create_date"]) for each in generate()]
    assert ratio([time.weekday() < 5 and 8 <= time.hour < 18 for time in created]) > 0.6
    assert any(time.weekday() >= 5 for time in created)


def test_only_the_newest_session_may_be_in_progress() -> None:
    newest = [generate(30, seed=seed)[-1] for seed in range(60)]
    running = [each for each in newest if each["status"] == "IN_PROGRESS"]
    assert 0 < len(running) < 60
    assert all("finish_date" not in each and each["tests_count"] == 0 for each in running)
    assert not any(each["status"] == "IN_PROGRESS" for each in generate()[:-1])


@given(
    count=st.integers(0, 40),
    seed=st.integers(),
    until=st.integers(10**9, 2 * 10**9),
    interval=st.one_of(st.none(), st.integers(0, 10**6)),
)
def test_creation_times_ascend_within_their_bounds(count: int, seed: int, until: int, interval: int | None) -> None:
    after = None if interval is None else until - interval
    times = creation_times(count, random.Random(seed), until=until, after=after)
    assert len(times) == count
    assert times == sorted(times)
    assert all((after or 0) <= time <= until for time in times)
