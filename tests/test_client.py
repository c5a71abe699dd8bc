from __future__ import annotations

import gc
from typing import Any

import pytest

from buddy_sessions import (
    BuddyClient,
    ConfigError,
    Cursor,
    ForbiddenError,
    NotFoundError,
    Region,
    Suite,
    SuiteKey,
)
from buddy_sessions.testing import FakeBuddy

KEY = SuiteKey("acme", "shop", "MNbyVedg")


class TestArguments:
    """What cannot work is refused before any I/O: none of these tests has a loop or a server."""

    @pytest.mark.parametrize(
        "argument",
        [
            {"region": "MARS"},
            {"base_url": "http://api.buddy.works"},
            {"per_page": 0},
            {"per_page": "100"},
            {"per_page": True},
            {"read_ahead": 0},
            {"max_concurrency": -1},
            {"max_concurrency": 1.5},
            {"attempts": 0},
            {"timeout": 0},
            {"timeout": -1},
            {"timeout": float("inf")},
            {"timeout": None},
            {"timeout": True},
            {"max_wait": -1},
            {"max_wait": float("nan")},
            {"max_wait": "5"},
        ],
        ids=str,
    )
    def test_of_the_client(self, argument: dict[str, Any]) -> None:
        (name,) = argument
        with pytest.raises(ConfigError, match=name.replace("_", ".") + "|https"):
            BuddyClient("token", **argument)

    @pytest.mark.parametrize(
        "argument",
        [
            {"branch": ""},
            {"since": -1},
            {"since": "7"},
            {"start": "118@40"},
            {"max_sessions": -1},
            {"max_sessions": 1.0},
            {"per_page": 0},
            {"read_ahead": 0},
        ],
        ids=str,
    )
    def test_of_a_walk(self, argument: dict[str, Any]) -> None:
        (name,) = argument
        with pytest.raises(ConfigError, match=name):
            BuddyClient("token").sessions(*KEY, **argument)

    @pytest.mark.parametrize("key", [("..", "p", "s"), ("w", "a/b", "s"), ("w", "p", "")])
    async def test_of_names(self, key: tuple[str, str, str]) -> None:
        buddy = BuddyClient("token")
        with pytest.raises(ConfigError):
            buddy.sessions(*key)
        with pytest.raises(ConfigError):
            await buddy.suites("w", "..")

    def test_zero_is_a_wait_and_a_number_of_sessions(self) -> None:
        BuddyClient("token", max_wait=0, timeout=1).sessions(*KEY, max_sessions=0, since=0, start=Cursor(1, 0))


class TestEnvironment:
    def test_a_token_is_all_that_is_needed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BUDDY_TOKEN", "token")
        assert repr(BuddyClient.from_env()) == "<BuddyClient https://api.buddy.works>"

    @pytest.mark.parametrize("token", [None, ""])
    def test_without_a_token_it_says_what_to_set(self, monkeypatch: pytest.MonkeyPatch, token: str | None) -> None:
        monkeypatch.setenv("BUDDY_UT_TOKEN", "not this one")
        if token is not None:
            monkeypatch.setenv("BUDDY_TOKEN", token)
        with pytest.raises(ConfigError, match="BUDDY_TOKEN"):
            BuddyClient.from_env()

    @pytest.mark.parametrize(("region", "host"), [("eu", "api.eu"), ("AS", "api.asia"), ("", "api")])
    def test_the_region_is_taken_in_any_case(self, monkeypatch: pytest.MonkeyPatch, region: str, host: str) -> None:
        monkeypatch.setenv("BUDDY_TOKEN", "token")
        monkeypatch.setenv("BUDDY_REGION", region)
        assert repr(BuddyClient.from_env()) == f"<BuddyClient https://{host}.buddy.works>"

    def test_an_explicit_url_beats_the_region_and_one_name_the_next(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BUDDY_TOKEN", "token")
        monkeypatch.setenv("BUDDY_REGION", "EU")
        for name in ("BUDDY_BASE_URL", "BUDDY_API_URL", "BUDDY_API_ENDPOINT"):
            monkeypatch.setenv(name, f"https://{name.lower().replace('_', '-')}.example/api")
            expected = f"<BuddyClient https://{name.lower().replace('_', '-')}.example/api>"
            assert repr(BuddyClient.from_env()) == expected

    def test_arguments_beat_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BUDDY_API_URL", "https://buddy.example")
        assert repr(BuddyClient.from_env(token="t", region=Region.EU)) == "<BuddyClient https://api.eu.buddy.works>"
        assert repr(BuddyClient.from_env(token="t", base_url="https://x.example")) == "<BuddyClient https://x.example>"
        with pytest.raises(TypeError):
            BuddyClient.from_env(token="t", tokn="t")

    def test_a_bad_setting_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BUDDY_TOKEN", "token")
        monkeypatch.setenv("BUDDY_REGION", "moon")
        with pytest.raises(ConfigError, match="moon"):
            BuddyClient.from_env()


async def test_a_project_lists_its_suites_in_buddys_order(fake: FakeBuddy) -> None:
    made = [fake.add_suite("acme", "shop ż", f"s{number}", name=f"Suite {number}") for number in (3, 1, 2)]
    async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
        suites = await buddy.suites("acme", "shop ż")
        assert suites == [
            Suite(
                key=SuiteKey("acme", "shop ż", suite.key[2]),
                url=suite.url,
                html_url=suite.html_url,
                id=suite.key[2],
                identifier=suite.identifier,
                name=suite.name,
            )
            for suite in made
        ]
        made[0].create()
        assert len(await buddy.sessions(*suites[0].key).collect()) == 1
        with pytest.raises(NotFoundError):
            await buddy.suites("acme", "nothing")


@pytest.mark.parametrize(("change", "message"), [({"scopes": ()}, "UNIT_TEST_INFO"), ({"api_enabled": False}, "API")])
async def test_what_is_forbidden_says_why(fake: FakeBuddy, change: dict[str, Any], message: str) -> None:
    fake.add_suite(*KEY)
    for name, value in change.items():
        setattr(fake, name, value)
    async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
        with pytest.raises(ForbiddenError, match=message):
            await buddy.sessions(*KEY).collect()


async def test_a_client_left_open_is_warned_about(fake: FakeBuddy) -> None:
    fake.add_suite(*KEY)
    buddy = BuddyClient(fake.token, base_url=fake.base_url)
    await buddy.sessions(*KEY).collect()
    transport = buddy._transport
    with pytest.warns(ResourceWarning, match="unclosed <BuddyClient"):
        del buddy
    await transport.close()


def test_a_client_that_was_never_used_or_never_made_needs_no_closing() -> None:
    BuddyClient("token")
    with pytest.raises(ConfigError):
        BuddyClient("token", per_page=0)
    gc.collect()


async def test_a_client_can_be_made_before_there_is_a_loop_and_closed_unused() -> None:
    async with BuddyClient("token") as buddy:
        assert buddy.rate_limit is None
