"""Five questions of a user, the calls of the MCP server that answer them, and whether the answers are right.

Run it after a change to the tools: `python benchmarks/agent_questions.py`. What is right is computed from the data of
the fake Buddy, without the package's own analysis. Exit code 1 if an answer lacks something.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp_types import TextContent

from buddy_sessions.testing import FakeBuddy, FakeSuite

JsonObject = dict[str, Any]
PROJECT = "acme/storefront"
COMMAND = ["-m", "buddy_sessions", "mcp"]


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


class Asked:
    """A question, with the texts of the calls that answer it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._texts: list[str] = []
        self.is_right = True

    async def call(self, tool: str, **arguments: Any) -> str:
        """Call a tool, and return its text."""
        result = await self._client.call_tool(tool, arguments)
        (content,) = result.content
        assert isinstance(content, TextContent), "a tool returns text"
        self._texts.append(content.text)
        return content.text

    def report(self, question: str, expected: Iterable[object]) -> None:
        """Print whether the answers to a question contain what is expected, and what they cost."""
        text, calls = "\n".join(self._texts), len(self._texts)
        lacking = sorted({str(each) for each in expected if str(each) not in text})
        self.is_right &= not lacking
        verdict = f"lacks {', '.join(lacking)}" if lacking else "right"
        print(f"{question}\n  {verdict}: calls: {calls}, characters: {len(text):,}")
        if lacking:
            print(text)
        self._texts.clear()


async def ask(client: Client, suites: Sequence[FakeSuite]) -> bool:
    """Ask the questions, and return whether all answers are right."""
    asked = Asked(client)
    red = [suite for suite in suites if main_sessions(suite)[0]["status"] == "ERROR"]
    await asked.call("list_suites", project=PROJECT)
    since = [streak(suite)[-1] for suite in red]
    expected = ["/".join(suite.key) for suite in red]
    expected += [f"#{each['relative_id']}" for each in since] + [each["revision"][:7] for each in since]
    asked.report("Which of my suites are red, since which session and commit?", expected)

    suite = red[0]
    key, newest = "/".join(suite.key), streak(suite)[0]
    await asked.call("get_failures", suite=key)
    asked.report(f"Why is {suite.name} red?", failing(suite, newest))

    sessions = main_sessions(suite)
    test = suite.cases(newest, status="FAILED")[0]
    fails = [fails_in(suite, session, test) for session in sessions[:20]]
    first = sessions[(fails.index(False) if False in fails else len(fails)) - 1]
    await asked.call("get_test_history", suite=key, test=f"{test['classname']} > {test['name']}")
    asked.report(f"Since when does {test['name']} fail?", [f"#{first['relative_id']}", first["revision"][:7]])

    for each in suites:
        await asked.call("find_flaky_tests", suite="/".join(each.key))
    asked.report("Which tests are flaky?", [name for each in suites for name in flaky(each)])

    before = next(each for each in sessions if each["status"] == "SUCCESSFUL")
    new, old = newest["relative_id"], before["relative_id"]
    await asked.call("compare_sessions", suite=key, old=f"#{old}", new=f"#{new}")
    asked.report(f"What is new in #{new} of {suite.name}, compared with #{old}?", failing(suite, newest))
    return asked.is_right


async def main() -> int:
    """Start a fake Buddy and the server for agents as processes of their own, ask, and return the exit code."""
    fake = FakeBuddy()
    suites = [suite for suite in fake.add_demo_suites() if "/".join(suite.key[:2]) == PROJECT]
    async with fake:
        variables = {**os.environ, "BUDDY_TOKEN": fake.token, "BUDDY_API_URL": str(fake.base_url)}
        server = StdioServerParameters(command=sys.executable, args=COMMAND, env=variables)
        async with Client(stdio_client(server)) as client:
            return 0 if await ask(client, suites) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
