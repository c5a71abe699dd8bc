"""Ten questions of a user, the calls of the MCP server that answer them, and whether the answers are right.

Run it after a change to the tools: `python benchmarks/agent_questions.py`. What is right is computed from the data of
the fake Buddy, without the package's own analysis. Exit code 1 if an answer lacks something, or is too long.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp_types import TextContent

from buddy_sessions.testing import FakeBuddy, FakeSuite

JsonObject = dict[str, Any]
COMMAND = ["-m", "buddy_sessions", "mcp"]
SERVICES = ("mail", "payment", "search", "stock", "login", "shipping", "tax", "image")
MAX_RED = 10_000  # characters of the answer that names 50 red suites of 300


def main_sessions(suite: FakeSuite) -> list[JsonObject]:
    """Return the finished sessions of main that passed or failed, newest first."""
    judged = [each for each in suite.sessions if each["status"] in {"SUCCESSFUL", "ERROR"}]
    return [each for each in judged if (each["ref_type"], each["ref_name"]) == ("BRANCH", "main")]


def streak(suite: FakeSuite) -> list[JsonObject]:
    """Return the newest sessions of main with the status of the newest one."""
    sessions = main_sessions(suite)
    other = (index for index, each in enumerate(sessions) if each["status"] != sessions[0]["status"])
    return sessions[: next(other, len(sessions))]


def fails_in(suite: FakeSuite, session: JsonObject, test: JsonObject) -> bool:
    """Return whether a test fails in a session. Its ID differs from session to session."""
    cases = suite.cases(session, status="FAILED")
    return (test["classname"], test["name"]) in {(case["classname"], case["name"]) for case in cases}


def title(name: str) -> str:
    """Return the last part of a test's name: Playwright's begin with the project and the file."""
    return name.rpartition(" > ")[2]


def failing(suite: FakeSuite, session: JsonObject) -> set[str]:
    """Return the names of the tests that fail in a session."""
    return {title(case["name"]) for case in suite.cases(session) if case["status"] in {"FAILED", "ERROR"}}


def flaky(suite: FakeSuite) -> set[str]:
    """Return the tests whose status changed three times in the last ten sessions of main."""
    statuses: dict[tuple[str, ...], list[bool]] = {}
    for session in main_sessions(suite)[:10]:
        for case in suite.cases(session):
            if case["status"] != "SKIPPED":
                key = (case["test_group_name"], case["classname"], case["name"])
                statuses.setdefault(key, []).append(case["status"] == "PASSED")
    return {title(key[-1]) for key, passed in statuses.items() if sum(a != b for a, b in pairwise(passed)) >= 3}


def is_old(session: JsonObject) -> bool:
    """Return whether a session ended more than a day ago."""
    return datetime.now(UTC) - datetime.fromisoformat(session["finish_date"]) > timedelta(days=1)


def trace_lines(case: JsonObject) -> list[str]:
    """Return the lines of the trace of a failed case of pytest."""
    text = ET.fromstring(case["data"]).findtext("failure") or ""
    return [line.strip() for line in text.strip().splitlines()]


class Asked:
    """A question, with the texts of the calls that answer it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._texts: list[str] = []
        self.wrong = 0

    async def call(self, tool: str, **arguments: Any) -> None:
        """Call a tool, and keep its text."""
        result = await self._client.call_tool(tool, arguments)
        (content,) = result.content
        assert isinstance(content, TextContent), "a tool returns text"
        self._texts.append(content.text)

    def report(self, question: str, expected: Iterable[object], *, maximum: int = 24_000) -> None:
        """Print whether the answers to a question contain what is expected, and what they cost."""
        text, calls = "\n".join(self._texts), len(self._texts)
        lacking = sorted({str(each) for each in expected if str(each) not in text})
        self.wrong += bool(lacking) or len(text) > maximum
        verdict = f"lacks {', '.join(lacking)}" if lacking else "right"
        print(f"{question}\n  {verdict}: calls: {calls}, characters: {len(text):,}")
        if lacking:
            print(text)
        self._texts.clear()


def add_many_suites(fake: FakeBuddy) -> list[FakeSuite]:
    """Add 300 suites of a workspace; return the 50 red ones. Their messages name the service that is down."""
    red = []
    for number in range(300):
        project, name = ("storefront", "payments", "search")[number % 3], f"Service {number} integration"
        suite = fake.add_suite("umbrella", project, f"s{number:07}", name=name)
        tests = [{"name": f"test {each}"} for each in range(5)]
        suite.create(cases=tests, revision=f"{number + 0x1000000:x}" * 5)
        if number % 6 == 0:
            service = SERVICES[number // 6] if number // 6 < len(SERVICES) else SERVICES[number % len(SERVICES)]
            message = f"no response from the {service} service in {number} ms"
            failed = {**tests[0], "status": "FAILED", "message": message}
            suite.create(cases=[failed, *tests[1:]], revision=f"{number + 0x2000000:x}" * 5)
            red.append(suite)
    return red


def add_story(fake: FakeBuddy) -> FakeSuite:
    """Add a suite whose main branch is red, with two branches: one has a new failure, the other has none."""
    suite = fake.add_suite("acme", "story", "merges01", name="Merges")

    def create(branch: str, digit: str, *failing: str) -> None:
        names = ("adds", "pays", "ships", "returns")
        cases = [{"name": name, **({"status": "FAILED"} if name in failing else {})} for name in names]
        suite.create(branch, cases=cases, revision=digit * 40)

    create("main", "1")
    create("main", "2", "pays")
    create("fix-typo", "3", "pays")
    create("new-cart", "4", "pays", "ships")
    return suite


def changed(suite: FakeSuite, old: JsonObject, new: JsonObject) -> tuple[set[str], set[str]]:
    """Return the tests that newly fail, and those that were fixed."""
    before, after = (
        {(case["classname"], case["name"]): case["status"] for case in suite.cases(each)} for each in (old, new)
    )
    ends = {key: (before[key], after[key]) for key in before.keys() & after.keys()}
    bad = {"FAILED", "ERROR"}
    newly = {
        title(name) for (_, name), (old_status, status) in ends.items() if old_status == "PASSED" and status in bad
    }
    fixed = {
        title(name) for (_, name), (old_status, status) in ends.items() if old_status in bad and status == "PASSED"
    }
    return newly, fixed


async def ask_about_many(asked: Asked, red: list[FakeSuite], demo: list[FakeSuite]) -> None:
    """Ask what concerns many suites."""
    await asked.call("list_suites", project="umbrella")
    first = [streak(suite)[-1] for suite in red]
    expected = [
        "300 suites: 50 red",
        *("/".join(suite.key) for suite in red),
        *(each["revision"][:7] for each in first),
    ]
    expected += [f"no response from the {service} service" for service in SERVICES]
    asked.report("Which of my 300 suites are red, since when, and why?", expected, maximum=MAX_RED)

    await asked.call("list_suites", project="acme", status="stale", max_age=24)
    old = [suite for suite in demo if is_old(main_sessions(suite)[0])]
    asked.report("Which suites did not run since yesterday?", ["/".join(suite.key) for suite in old])


async def ask_about_main(asked: Asked, suite: FakeSuite) -> None:
    """Ask what concerns a red suite. Its name is enough: it was listed before."""
    key, sessions = "/".join(suite.key), main_sessions(suite)
    newest, first = streak(suite)[0], streak(suite)[-1]
    await asked.call("get_failures", suite=key)
    asked.report(f"Why is {suite.name} red?", failing(suite, newest))

    await asked.call("list_suites", project="/".join(suite.key[:2]), status="red")
    expected = [f"#{first['relative_id']}", first["revision"][:7], first["created_by"]["name"]]
    asked.report("Who broke main?", expected)

    test = suite.cases(newest, status="FAILED")[0]
    fails = [fails_in(suite, session, test) for session in sessions[:20]]
    began = sessions[(fails.index(False) if False in fails else len(fails)) - 1]
    name = f"{test['classname']} > {test['name']}"
    await asked.call("get_test_history", suite=key, test=name)
    asked.report(f"Since when does {test['name']} fail?", [f"#{began['relative_id']}", began["revision"][:7]])

    await asked.call("get_failures", suite=key, test=name)
    asked.report(f"What does {test['name']} say?", trace_lines(suite.case(newest, test["id"])))


async def ask_about_changes(asked: Asked, story: FakeSuite, suite: FakeSuite) -> None:
    """Ask what concerns branches and commits."""
    key = "/".join(story.key)
    await asked.call("get_failures", suite=key, branch="new-cart", baseline="main")
    asked.report("Is my branch new-cart safe to merge?", ["Fails: 1 new failure, 1 known", "ships: new"])
    await asked.call("get_failures", suite=key, branch="fix-typo", baseline="main")
    asked.report("Is my branch fix-typo safe to merge?", ["Passes: 0 new failures, 1 known"])

    await asked.call("find_flaky_tests", suite="/".join(suite.key))
    asked.report(f"Which tests of {suite.name} are flaky?", flaky(suite))

    new, old = main_sessions(suite)[:2]
    newly, fixed = changed(suite, old, new)
    await asked.call("compare_sessions", suite="/".join(suite.key), old=old["revision"], new=new["revision"])
    counts = [f"{len(newly):,} newly failing, {len(fixed):,} fixed"]
    asked.report(f"What changed between {old['revision'][:7]} and {new['revision'][:7]}?", [*counts, *newly, *fixed])


async def main() -> int:
    """Start a fake Buddy and the server for agents as processes of their own, ask, and return the exit code."""
    fake = FakeBuddy()
    demo = fake.add_demo_suites()
    story, many = add_story(fake), add_many_suites(fake)
    weekly = fake.add_suite("acme", "story", "weekly01", name="Weekly")
    weekly.create("main", "SUCCESSFUL", finish_date="2026-01-01T00:00:00Z")
    red = [suite for suite in demo if main_sessions(suite)[0]["status"] == "ERROR"]
    async with fake:
        variables = {**os.environ, "BUDDY_TOKEN": fake.token, "BUDDY_API_URL": str(fake.base_url)}
        server = StdioServerParameters(command=sys.executable, args=COMMAND, env=variables)
        async with Client(stdio_client(server)) as client:
            asked = Asked(client)
            await ask_about_many(asked, many, [*demo, weekly])
            await ask_about_main(asked, red[0])
            await ask_about_changes(asked, story, red[0])
    requests = Counter((each.path, *sorted(each.query.items())) for each in fake.requests)
    repeated = requests.total() - len(requests)
    print(f"{10 - asked.wrong} of 10; requests: {requests.total():,}, of which {repeated:,} were sent before")
    return 1 if asked.wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
