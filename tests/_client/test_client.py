from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions import (
    BuddyClient,
    ConfigError,
    NotFoundError,
    Project,
    Session,
    SessionStore,
    SuiteKey,
    TestCase,
    TestStatus,
)
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault, RecordedRequest

KEY = SuiteKey("acme", "shop", "unit")
MANY_SUITES = {"status", "harvest", "watch", "watch_status"}


class TestArguments:
    """Invalid arguments are rejected before any I/O: none of these tests has a loop or a server."""

    @pytest.mark.parametrize(
        "argument",
        [
            {"region": "MARS"},
            *({name: 0} for name in ("per_page", "read_ahead", "max_concurrency", "max_attempts")),
            *({"per_page": value} for value in (True, 1.5, "5")),
            *({"timeout": value} for value in (0, float("inf"), float("nan"), None)),
            {"max_wait": -1},
            {"backoff": -1},
        ],
        ids=str,
    )
    def test_client_arguments(self, argument: dict[str, Any]) -> None:
        (name,) = argument
        with pytest.raises(ConfigError, match=name):
            BuddyClient("token", **argument)

    @pytest.mark.parametrize(
        ("methods", "name", "values"),
        [
            ("sessions latest status wait harvest watch watch_status", "branch", ["", "*"]),
            ("sessions harvest", "branch", ["\ud800"]),
            ("sessions harvest wait", "after", [-1]),
            ("sessions harvest", "since", ["2026-01-31", datetime(2026, 1, 31)]),  # noqa: DTZ001 - on purpose
            *(("sessions", name, [-1]) for name in ("max_sessions", "per_page", "read_ahead")),
            ("sessions", "cursor", ["118@40"]),
            ("wait", "revision", ["abc"]),
            ("wait", "run_url", ["", "17"]),
            *(("wait", name, [0]) for name in ("count", "interval", "timeout", "appear_timeout")),
            ("wait", "after", [None]),  # nothing to wait for
            ("status harvest watch watch_status", "suites", ["a/b/c", KEY, 7]),
            ("status harvest watch watch_status", "workspace", ["", "."]),
            ("status watch watch_status", "suite", [["a/b"]]),
            ("harvest", "concurrency", [0]),
            ("harvest watch watch_status", "on_failure", ["ignore"]),
            ("watch watch_status", "interval", [0]),
            ("cases", "status", ["", 7, "\ud800"]),
            ("cases", "max_cases", [-1]),
            ("failures", "details", [-1, 1.5, "all", None]),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    async def test_arguments_of_methods(self, methods: str, name: str, values: list[Any]) -> None:
        of_suite: dict[str, Any] = {"suite": KEY}
        others = {
            "wait": {**of_suite, "after": 1},
            "cases": {**of_suite, "session": "any"},
            "failures": {**of_suite, "session": "any"},
        }
        for method, value in product(methods.split(), values):
            arguments = {"suites": []} if method in MANY_SUITES else others.get(method, of_suite)
            argument = "suites" if name in {"suite", "workspace"} else name
            with pytest.raises(ConfigError, match=name):
                await getattr(BuddyClient("token"), method)(**arguments | {argument: value})

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda buddy: buddy.suites("acme/shop"), r"^'acme/shop' is a project: pass suites\('acme', 'shop'\)$"),
            (lambda buddy: buddy.suites(r"C:\Users\me"), "^workspace .* is not a valid name"),
            (lambda buddy: buddy.suite("C:/Users/me"), "^workspace 'C:' is not a valid name"),
            (
                lambda buddy: buddy.cases(KEY, 1, status="failed"),
                "^status must be a TestStatus, such as PASSED, ",
            ),
            (lambda buddy: buddy.history(KEY, " "), "^test must be the key of a test case, or its text"),
        ],
        ids=["project", "path", "drive", "status", "test"],
    )
    async def test_what_to_pass(self, call: Callable[[BuddyClient], Any], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            await call(BuddyClient("token"))

    @pytest.mark.parametrize(
        "session",
        [
            *("", ".", "..", "a/b", "%2e%2e", "a%2fb", "a\n", "\ud800", None, 0, -1, True, 1.0),
            "https://app.buddy.works/acme/shop/unit-tests/unit",
            "https://app.buddy.works/acme/shop/unit-tests/other/YDnagwGk",
        ],
    )
    async def test_session(self, session: Any) -> None:
        buddy, case = BuddyClient("token"), TestCase(id="1", test_group_id="1", name="", status=TestStatus.FAILED)
        for read in (buddy.session, buddy.failures, partial(buddy.case, case=case)):
            with pytest.raises(ConfigError, match="session"):
                await read(KEY, session)
        with pytest.raises(ConfigError, match="session"):
            buddy.cases(KEY, session)


@pytest.mark.parametrize(
    ("token", "options", "message"),
    [
        (
            "token",
            {"region": "EU", "base_url": "https://h"},
            "exclude each other: leave out region or base_url$",
        ),
        ("token", {"base_url": "https://app.buddy.works"}, "website: the API is at https://api.buddy.works$"),
        ("token", {"base_url": "https://app.eu.buddy.works/acme"}, "website: the API is at https://api.eu.buddy.works"),
        ("token", {"base_url": "ftp://api.buddy.works"}, "does not begin with https://"),
        ("bud_ut_us_1234", {}, "^this is the token of a suite, which can only upload: create a personal access token"),
    ],
    ids=["region and URL", "website", "website of a region", "other protocol", "upload token"],
)
def test_wrong_setting_is_explained(token: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BuddyClient(token, **options)


class TestEnvironment:
    @pytest.mark.parametrize("token", [None, ""])
    def test_missing_token(self, monkeypatch: pytest.MonkeyPatch, token: str | None) -> None:
        monkeypatch.setenv("BUDDY_UT_TOKEN", "not this one")
        if token is not None:
            monkeypatch.setenv("BUDDY_TOKEN", token)
        with pytest.raises(ConfigError, match="BUDDY_TOKEN"):
            BuddyClient.from_env()

    @pytest.mark.parametrize(
        ("variables", "arguments", "url"),
        [
            ({}, {}, "https://api.buddy.works"),
            ({"REGION": "", "BASE_URL": ""}, {}, "https://api.buddy.works"),
            ({"REGION": "AS"}, {}, "https://api.asia.buddy.works"),
            ({"REGION": "EU", "BASE_URL": "https://a.example/api"}, {}, "https://a.example/api"),
            ({"BASE_URL": "https://a.example", "API_URL": "https://b.example"}, {}, "https://b.example"),
            ({"API_URL": "https://b.example", "API_ENDPOINT": "https://c.example"}, {}, "https://c.example"),
            ({"API_URL": "https://b.example"}, {"base_url": "https://x.example"}, "https://x.example"),
            ({"API_URL": "https://b.example"}, {"region": "EU"}, "https://api.eu.buddy.works"),
            ({"REGION": "EU"}, {"base_url": "https://x.example"}, "https://x.example"),
        ],
        ids=str,
    )
    def test_url(
        self, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], arguments: dict[str, Any], url: str
    ) -> None:
        for name, value in {"TOKEN": "token", **variables}.items():
            monkeypatch.setenv(f"BUDDY_{name}", value)
        assert repr(BuddyClient.from_env(**arguments)) == f"<BuddyClient {url}>"

    def test_wrong_settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(TypeError, match=r"^BuddyClient got an unexpected keyword argument 'tokn'$"):
            BuddyClient.from_env(token="t", tokn="t")  # type: ignore[call-arg]  # on purpose
        monkeypatch.setenv("BUDDY_REGION", "moon")
        with pytest.raises(ConfigError, match="moon"):
            BuddyClient.from_env(token="t")


@pytest.mark.parametrize(("text", "names"), [("acme", "abc"), ("acme/shop", "ab")], ids=["workspace", "project"])
async def test_text_names_all_suites(
    fake: FakeBuddy, buddy: BuddyClient, tmp_path: Path, text: str, names: str
) -> None:
    for project, name in (("shop", "a"), ("shop", "b"), ("pay", "c")):
        fake.add_suite("acme", project, name).create(status="SUCCESSFUL")
    found: list[list[SuiteKey]] = [[key async for key, _ in buddy.harvest(text)]]
    found.append([status.suite for status in await buddy.status(text)])
    async with buddy.watch_status(text) as changes:
        found.append([(await anext(changes)).suite for _ in names])
    async with SessionStore(tmp_path / "sessions.db") as store:
        found.append([key async for key, _ in store.sync(buddy, text)])
        await store.sync(buddy, "acme").run()
        found.append([status.suite for status in await store.status(text)])
        with pytest.raises(ConfigError, match=r"^no suite of acme/none is in the file"):
            await store.status("acme/none")
    assert [sorted(key.suite_id for key in keys) for keys in found] == [[*names]] * 5
    with pytest.raises(NotFoundError):
        await buddy.harvest("acme/none").run()


async def test_streams_say_what_they_read(fake: FakeBuddy, buddy: BuddyClient) -> None:
    fake.add_suite("acme", "shop", "unit").populate(3)
    sessions, harvest = buddy.sessions(KEY), buddy.harvest("acme")
    await anext(sessions)
    await harvest.run()
    async with buddy.watch_status("acme") as changes:
        await anext(changes)
        assert list(map(repr, (sessions, sessions.pages(), harvest, changes))) == [
            "<SessionPaginator acme/shop/unit: 1 sessions, cursor=3@1>",
            "<Pages of <SessionPaginator acme/shop/unit: 1 sessions, cursor=3@1>>",
            "<Harvest: 1 suites, 0 failed, 3 sessions, complete>",
            "<StatusWatch of acme: 1 suites, 0 failing>",
        ]


class TestProjects:
    async def test_all_of_a_workspace(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        names = ["shop ż", *(f"p{number}" for number in range(209))]
        for name in names:
            fake.add_project("acme", name)
        fake.add_suite("other", "shop", "unit")
        projects = await buddy.projects("acme")
        assert [project.name for project in projects] == names
        assert projects[0] == Project(
            name="shop ż",
            display_name="shop ż",
            status="ACTIVE",
            url="https://api.buddy.works/workspaces/acme/projects/shop%20%C5%BC",
            html_url="https://app.buddy.works/acme/shop%20%C5%BC",
        )
        assert len(fake.requests) == 2 * 4

    async def test_order(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        """New projects come at the end, unless the server refuses to sort, or large pages."""
        fake.refuse_above = 20
        for number in range(50):
            fake.add_project("acme", f"p{number}")
        assert len(await buddy.projects("acme")) == 50
        order = {"sort_by": "create_date", "sort_direction": "ASC"}
        assert fake.requests[0].query == {"page": "1", "per_page": "100", **order}
        assert [request.query for request in fake.requests[1:]] == [
            {"page": str(page), "per_page": "20"} for page in [1, 2, 3, 4] * 2
        ]

    async def test_server_that_repeats_a_page(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        projects = [{"name": f"p{number}"} for number in range(20)]
        fake.inject(Fault.body(json.dumps({"projects": projects}).encode()), times=4)
        assert len(await buddy.projects("acme")) == 20
        assert len(fake.requests) == 4

    async def test_short_page_is_not_the_end(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        """A server may hide projects of a page from this token."""

        def hide(request: RecordedRequest) -> None:
            names = [f"p{number}" for number in range(55)][20 * request.page - 20 : 20 * request.page]
            fake.inject(Fault.body(json.dumps({"projects": [{"name": name} for name in names[::2]]}).encode()))

        fake.on_request = hide
        assert len(await buddy.projects("acme")) == 28

    @pytest.mark.parametrize(("closed_before", "warnings"), [([2], 0), ([2, 6, 10], 1)], ids=["once", "always"])
    async def test_project_is_closed_during_the_read(
        self,
        fake: FakeBuddy,
        buddy: BuddyClient,
        caplog: pytest.LogCaptureFixture,
        closed_before: list[int],
        warnings: int,
    ) -> None:
        """Those below it move to the page before."""
        fake.largest_page = 20
        keys = [fake.add_suite("acme", f"p{number}", "unit").key for number in range(58)]

        def close(_: RecordedRequest) -> None:
            if len(fake.requests) in closed_before:
                del fake.suites[keys[closed_before.index(len(fake.requests))]]

        fake.on_request = close
        names = {project.name for project in await buddy.projects("acme")}
        assert names >= {key.project for key in keys[len(closed_before) :]}
        assert len(fake.requests) == 3 * 4
        messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert (
            messages
            == ["the projects of acme changed while they were read: some may be missing; try again later"] * warnings
        )

    async def test_suites_of_all_projects(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        fake.add_project("acme", "docs")
        keys = [fake.add_suite("acme", project, suite).key for project, suite in (("shop", "a"), ("api", "b"))]
        fake.add_suite("other", "shop", "c")
        fake.on_request = lambda request: fake.inject(Fault.status(404)) if "/docs/" in request.path else None
        assert [suite.key for suite in await buddy.suites("acme")] == keys


class TestSessionRef:
    @pytest.mark.parametrize(
        "refer",
        [
            lambda session: session,
            lambda session: session.id,
            lambda session: session.relative_id,
            lambda session: f"#{session.relative_id}",
            lambda session: session.url,
            lambda session: session.html_url,
        ],
        ids=["Session", "id", "relative_id", "#relative_id", "URL of the API", "URL in the browser"],
    )
    async def test_every_method_takes_it(
        self, buddy: BuddyClient, suite: FakeSuite, refer: Callable[[Session], Any]
    ) -> None:
        suite.populate(150)
        created = suite.create(cases=[{"name": "adds", "status": "FAILED"}, {"name": "pays"}])
        suite.populate(150)
        session = await buddy.session(KEY, created["id"])
        assert await buddy.session(KEY, refer(session)) == session
        cases = buddy.cases(KEY, refer(session))
        assert [case.name async for case in cases] == ["adds", "pays"]
        assert cases.stats.verified
        (failing,) = await buddy.failures(KEY, refer(session))
        assert (await buddy.case(KEY, refer(session), failing)).name == "adds"
        assert await buddy.failures(KEY, refer(session), details=True) == [await buddy.case(KEY, session, failing)]

    async def test_latest_is_no_session(self, buddy: BuddyClient) -> None:
        for ask in (buddy.session, buddy.failures):
            with pytest.raises(ConfigError, match="not one session: ask judge or tests"):
                await ask(KEY, "latest")
        with pytest.raises(ConfigError, match="not one session: ask judge or tests"):
            buddy.cases(KEY, "latest")

    async def test_commit_is_no_id(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        revision = suite.create()["revision"]
        for ask in (buddy.session, buddy.failures):
            with pytest.raises(NotFoundError, match="as the ID of a session: for a commit, ask judge or tests"):
                await ask(KEY, revision[:8])

    async def test_digits_are_an_id(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        """So any `id` that a session has can be passed."""
        suite.populate(3)
        suite.create(id="2")
        assert [(await buddy.session(KEY, name)).relative_id for name in ("2", 2)] == [4, 2]

    @pytest.mark.parametrize(
        ("count", "number", "message"),
        [
            (400, 9999, r"^no session #9999: the newest is #400 \(404\)$"),
            (400, 7, r"^no session #7: the newest is #400 \(404\)$"),
            (0, 1, r"^no session #1: the suite has none yet \(404\)$"),
        ],
    )
    async def test_unknown_relative_id(
        self, buddy: BuddyClient, suite: FakeSuite, count: int, number: int, message: str
    ) -> None:
        suite.populate(count)
        if number < count:
            suite.delete(suite.sessions[count - number])
        with pytest.raises(NotFoundError, match=message):
            await buddy.session(KEY, number)
        with pytest.raises(NotFoundError, match=message):
            await buddy.cases(KEY, number).collect()
