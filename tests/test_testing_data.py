"""The seeded data of the fake Buddy: believable, ordered, and the same in every process."""

import random
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
from buddy_sessions.testing.data import execution_id, members, moments, new_id, timestamp

UNTIL = datetime(2026, 1, 30, 15, 0, tzinfo=UTC)  # a Friday


def history(count: int = 2000, *, seed: int = 0, suite_id: str = "MNbyVedg") -> list[dict[str, Any]]:
    """Sessions of one suite, oldest first."""
    suite = FakeSuite("acme", "shop", suite_id, seed=seed).populate(count, until=UNTIL)
    return list(reversed(suite.sessions))


def share(flags: list[bool]) -> float:
    return mean(map(float, flags))


def test_same_seed_and_names_give_the_same_sessions() -> None:
    assert history(200) == history(200)


def test_seed_and_names_each_give_other_sessions() -> None:
    assert len({str(history(20)), str(history(20, seed=1)), str(history(20, suite_id="other"))}) == 3


def test_another_process_gives_the_same_sessions() -> None:
    program = (
        "from datetime import datetime; from buddy_sessions.testing import FakeSuite; "
        "suite = FakeSuite('acme', 'shop', 'MNbyVedg'); "
        f"print(suite.populate(3, until=datetime.fromisoformat({UNTIL.isoformat()!r})).sessions[0]['id'])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == history(3)[-1]["id"]


def test_times_are_written_as_the_api_writes_them() -> None:
    assert timestamp(1761028936) == "2025-10-21T06:42:16Z"


def test_ids_look_like_the_documented_ones() -> None:
    rng = random.Random(0)
    assert [len(new_id(rng)) for _ in range(3)] == [8, 8, 8]
    assert new_id(rng).isalnum()
    assert execution_id(rng, 0x68F72B44).startswith("68f72b44")
    assert len(execution_id(rng, 0)) == 24


def test_the_same_person_has_the_same_number_and_face_in_every_suite() -> None:
    teams = [
        members(random.Random(seed), workspace="a b", api_url="https://api", app_url="https://app")
        for seed in range(20)
    ]
    people = {member["id"]: member for team in teams for member in team}
    assert all(people[member["id"]] == member for team in teams for member in team)
    assert people[1]["url"] == "https://api/workspaces/a%20b/members/1"
    assert people[1]["html_url"] == "https://app/a%20b/-/profile/1"
    assert [member["id"] for member in people.values() if member["workspace_owner"]] == [1]


def test_half_of_the_sessions_are_of_main_and_the_rest_of_many_refs() -> None:
    sessions = history()
    assert share([each["ref_name"] == "main" for each in sessions]) == pytest.approx(0.5, abs=0.05)
    assert {each["ref_type"] for each in sessions} == {"BRANCH", "TAG", "PULL_REQUEST"}
    features = [name for name in {each["ref_name"] for each in sessions} if name.startswith("feature/")]
    assert len(features) > 30
    tags = [each["ref_name"] for each in sessions if each["ref_type"] == "TAG"]
    assert len(set(tags)) == len(tags) > 30


def test_failures_come_in_streaks() -> None:
    red = [each["status"] == "ERROR" for each in history()]
    again = share([after for before, after in pairwise(red) if before])
    assert 0.05 < share(red) < 0.3
    assert again > 3 * share(red)
    assert max(len(list(streak)) for failed, streak in groupby(red) if failed) >= 4


def test_all_statuses_and_messages_of_errors_appear() -> None:
    sessions = history()
    assert {each["status"] for each in sessions} >= {"SUCCESSFUL", "ERROR", "SKIPPED"}
    messages = {each["status"] for each in sessions if "error_message" in each}
    assert messages == {"ERROR"}


def test_what_failed_or_was_skipped_was_among_the_tests() -> None:
    for session in history():
        parts = ("failed_count", "skipped_count", "error_count")
        assert 0 <= sum(session[part] for part in parts) <= session["tests_count"] + session["error_count"]
        if session["status"] == "ERROR":
            assert session["failed_count"] or session["error_count"]


def test_suites_grow_slowly_and_durations_follow() -> None:
    finished = [each for each in history(4000) if each["status"] == "SUCCESSFUL"]
    early, late = finished[:300], finished[-300:]
    assert mean(each["tests_count"] for each in late) > mean(each["tests_count"] for each in early) + 100
    assert mean(each["duration"] for each in late) > mean(each["duration"] for each in early)
    assert max(abs(b["tests_count"] - a["tests_count"]) for a, b in pairwise(finished)) < 30


def test_ci_providers_are_mixed_and_the_foreign_ones_have_a_run_to_show() -> None:
    sessions = history()
    assert {each["ci_provider"] for each in sessions} == {"BUDDY", "GITHUB_ACTION", "CIRCLE_CI", "NONE"}
    foreign = {"GITHUB_ACTION", "CIRCLE_CI"}
    assert all(("ci_run_url" in each) == (each["ci_provider"] in foreign) for each in sessions)


def test_times_ascend_and_agree_with_durations() -> None:
    sessions = history()
    assert all(a["create_date"] <= b["create_date"] for a, b in pairwise(sessions))
    for each in sessions[:-1]:
        start, finish = (datetime.fromisoformat(each[name]) for name in ("start_date", "finish_date"))
        assert (finish - start).total_seconds() == each["duration"]
        assert each["create_date"] <= each["start_date"] <= each["finish_date"] <= "2026-01-30T15:00:00Z"


def test_most_sessions_are_created_in_office_hours() -> None:
    created = [datetime.fromisoformat(each["create_date"]) for each in history()]
    assert share([moment.weekday() < 5 and 8 <= moment.hour < 18 for moment in created]) > 0.6
    assert any(moment.weekday() >= 5 for moment in created)


def test_the_newest_session_alone_may_be_in_progress() -> None:
    newest = [history(30, seed=seed)[-1] for seed in range(60)]
    running = [each for each in newest if each["status"] == "IN_PROGRESS"]
    assert 0 < len(running) < 60
    assert all("finish_date" not in each and each["tests_count"] == 0 for each in running)
    assert not any(each["status"] == "IN_PROGRESS" for each in history()[:-1])


@given(
    count=st.integers(0, 40),
    seed=st.integers(),
    until=st.integers(10**9, 2 * 10**9),
    room=st.one_of(st.none(), st.integers(0, 10**6)),
)
def test_moments_ascend_between_their_bounds(count: int, seed: int, until: int, room: int | None) -> None:
    after = None if room is None else until - room
    found = moments(count, random.Random(seed), until=until, after=after)
    assert len(found) == count
    assert found == sorted(found)
    assert all((after or 0) <= moment <= until for moment in found)
