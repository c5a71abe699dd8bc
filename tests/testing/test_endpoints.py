"""`FakeBuddy` over real HTTP: single suites, test cases and test groups."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import aiohttp
import attrs
import pytest
from yarl import URL

from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault

SUITES = "/workspaces/acme/projects/shop/unit-tests/suites"
SESSION = f"{SUITES}/MNbyVedg/sessions/YDnagwGk"
GROUP = f"{SESSION}/test-groups/g0"

# The examples in Buddy's documentation and OpenAPI document; the list of test cases is shortened.
SUITE_EXAMPLE = """
{
  "url": "https://api.buddy.works/workspaces/my-workspace/projects/my-project/unit-tests/suites/65OmRb8v",
  "html_url": "https://app.buddy.works/my-workspace/my-project/unit-tests/65OmRb8v",
  "id": "65OmRb8v",
  "name": "Backend Integration Tests",
  "identifier": "backend-tests",
  "timeout": 3600,
  "error_pattern": "(ERROR|FATAL|Exception)",
  "token": "bud_ut_us_a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5",
  "slow_threshold": 5000
}
"""
CASES_EXAMPLE = """
{
  "url": "https://api.buddy.works/workspaces/my-workspace/projects/my-project/unit-tests/suites/65OmRb8v/sessions/0eV0P3V7/cases",
  "html_url": "https://app.buddy.works/my-workspace/my-project/unit-tests/65OmRb8v/0eV0P3V7",
  "cases": [
    {
      "url": "https://api.buddy.works/workspaces/my-workspace/projects/my-project/unit-tests/suites/65OmRb8v/sessions/0eV0P3V7/test-groups/68f0a5e6b46c1345dfc9bc3a/cases/68f0a5e6b46c1345dfc9bc3b",
      "html_url": "https://app.buddy.works/my-workspace/my-project/unit-tests/65OmRb8v/0eV0P3V7",
      "id": "68f0a5e6b46c1345dfc9bc3b",
      "name": "testSkipped",
      "test_group_name": "com.example.PaymentServiceTest",
      "test_group_id": "68f0a5e6b46c1345dfc9bc3a",
      "classname": "com.example.PaymentServiceTest",
      "status": "SKIPPED",
      "time": 0
    },
    {
      "url": "https://api.buddy.works/workspaces/my-workspace/projects/my-project/unit-tests/suites/65OmRb8v/sessions/0eV0P3V7/test-groups/68f0a5e6b46c1345dfc9bc37/cases/68f0a5e6b46c1345dfc9bc39",
      "html_url": "https://app.buddy.works/my-workspace/my-project/unit-tests/65OmRb8v/0eV0P3V7",
      "id": "68f0a5e6b46c1345dfc9bc39",
      "name": "testShouldHandleError",
      "test_group_name": "com.example.UserServiceTest",
      "test_group_id": "68f0a5e6b46c1345dfc9bc37",
      "classname": "com.example.UserServiceTest",
      "status": "FAILED",
      "time": 0.456
    },
    {
      "url": "https://api.buddy.works/workspaces/my-workspace/projects/my-project/unit-tests/suites/65OmRb8v/sessions/0eV0P3V7/test-groups/68f0a5e6b46c1345dfc9bc37/cases/68f0a5e6b46c1345dfc9bc38",
      "html_url": "https://app.buddy.works/my-workspace/my-project/unit-tests/65OmRb8v/0eV0P3V7",
      "id": "68f0a5e6b46c1345dfc9bc38",
      "name": "testShouldReturnSuccess",
      "test_group_name": "com.example.UserServiceTest",
      "test_group_id": "68f0a5e6b46c1345dfc9bc37",
      "classname": "com.example.UserServiceTest",
      "status": "PASSED",
      "time": 0.123
    }
  ]
}
"""
GROUPS_EXAMPLE = """
{
  "url": "https://api.buddy.works/workspaces/my-workspace/projects/my-project/unit-tests/suites/65OmRb8v/sessions/0eV0P3V7/test-groups",
  "html_url": "https://app.buddy.works/my-workspace/my-project/unit-tests/65OmRb8v/0eV0P3V7",
  "test_groups": [
    {
      "url": "https://api.buddy.works/workspaces/my-workspace/projects/my-project/unit-tests/suites/65OmRb8v/sessions/0eV0P3V7/test-groups/68f0a5e6b46c1345dfc9bc3a",
      "html_url": "https://app.buddy.works/my-workspace/my-project/unit-tests/65OmRb8v/0eV0P3V7",
      "id": "68f0a5e6b46c1345dfc9bc3a",
      "name": "com.example.PaymentServiceTest",
      "time": 0,
      "tests_count": 1,
      "failed_count": 0,
      "skipped_count": 1,
      "error_count": 0,
      "status": "SKIPPED"
    },
    {
      "url": "https://api.buddy.works/workspaces/my-workspace/projects/my-project/unit-tests/suites/65OmRb8v/sessions/0eV0P3V7/test-groups/68f0a5e6b46c1345dfc9bc37",
      "html_url": "https://app.buddy.works/my-workspace/my-project/unit-tests/65OmRb8v/0eV0P3V7",
      "id": "68f0a5e6b46c1345dfc9bc37",
      "name": "com.example.UserServiceTest",
      "time": 0.579,
      "tests_count": 2,
      "failed_count": 1,
      "skipped_count": 0,
      "error_count": 0,
      "status": "FAILED"
    }
  ]
}
"""
CASE_EXAMPLE = """
{
  "url": "https://api.buddy.works/workspaces/my-workspace/projects/my-project/unit-tests/suites/5ddb7c180fb38be67bd78a88a/sessions/5ddb7c180fb38be67bd78a88b/test-groups/com.example.tests.IntegrationTests/cases/com.example.tests.IntegrationTests.testUserLogin",
  "html_url": "https://app.buddy.works/my-workspace/projects/my-project/unit-tests/suites/5ddb7c180fb38be67bd78a88a/sessions/5ddb7c180fb38be67bd78a88b/test-groups/com.example.tests.IntegrationTests/cases/com.example.tests.IntegrationTests.testUserLogin",
  "id": "com.example.tests.IntegrationTests.testUserLogin",
  "name": "testUserLogin",
  "test_group_name": "com.example.tests.IntegrationTests",
  "test_group_id": "com.example.tests.IntegrationTests",
  "classname": "com.example.tests.IntegrationTests",
  "status": "PASSED",
  "time": 2.5,
  "data": "<testcase name=\\"testUserLogin\\" classname=\\"com.example.tests.IntegrationTests\\" time=\\"2.5\\"/>"
}
"""


@attrs.frozen
class Reader:
    """Reads from the fake server, independently of this package's client."""

    fake: FakeBuddy
    http: aiohttp.ClientSession

    async def get(self, path: str, **query: str | int) -> tuple[int, Any]:
        """Return the status and the content of one response. The path is sent as it is."""
        async with self.request("GET", path, query=query) as response:
            return response.status, await response.json()

    async def status(self, path: str, *, method: str = "GET", token: str | None = None) -> int:
        """Return the status of one response."""
        async with self.request(method, path, token=token) as response:
            return response.status

    def request(
        self, method: str, path: str, *, token: str | None = None, query: dict[str, str | int] | None = None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        url = URL(str(self.fake.base_url) + path, encoded=True)
        headers = {"Authorization": f"Bearer {self.fake.token if token is None else token}"}
        return self.http.request(method, url, params=query or None, headers=headers)

    async def follow(self, url: str) -> Any:
        """Return the content at the `url` of an object. The path is sent as it is."""
        status, content = await self.get(urlsplit(url).path)
        assert status == 200
        return content

    async def names(self, path: str, **query: str | int) -> list[str]:
        """Return the names on a page of test cases or test groups."""
        status, content = await self.get(path, **query)
        assert status == 200
        assert list(content)[:2] == ["url", "html_url"]
        (rows,) = list(content.values())[2:]
        return [row["name"] for row in rows]


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    """One session with 45 test cases in 3 test groups; every fifth one failed."""
    suite = fake.add_suite("acme", "shop", "MNbyVedg")
    suite.create(
        id="YDnagwGk",
        cases=[
            {
                "name": f"t{number}",
                "id": f"c{number}",
                "test_group_id": f"g{number % 3}",
                "test_group_name": f"group {number % 3}",
                "status": "PASSED" if number % 5 else "FAILED",
            }
            for number in range(45)
        ],
    )
    return suite


@pytest.fixture
async def reader(fake: FakeBuddy, suite: FakeSuite) -> AsyncIterator[Reader]:
    assert fake.suites[suite.key] is suite
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
        yield Reader(fake, http)


def numbered(*numbers: int) -> list[str]:
    return [f"t{number}" for number in numbers]


def given(case: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in case.items() if name not in {"url", "html_url"}}


class TestDocumentedExamples:
    """Compared after serialisation, so that the order of the fields counts too."""

    async def test_suite(self, fake: FakeBuddy, reader: Reader) -> None:
        suite = fake.add_suite(
            "my-workspace", "my-project", "65OmRb8v", name="Backend Integration Tests", identifier="backend-tests"
        )
        suite.token, suite.slow_threshold = "bud_ut_us_a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5", 5000
        suite.send_commit_status = None
        status, content = await reader.get(urlsplit(suite.url).path)
        assert status == 200
        assert json.dumps(content, indent=2) == SUITE_EXAMPLE.strip()

    async def test_cases_and_groups(self, fake: FakeBuddy, reader: Reader) -> None:
        example = json.loads(CASES_EXAMPLE)
        suite = fake.add_suite("my-workspace", "my-project", "65OmRb8v")
        session = suite.create(id="0eV0P3V7", cases=map(given, example["cases"]))
        assert json.dumps(await reader.follow(session["url"] + "/cases"), indent=2) == CASES_EXAMPLE.strip()
        assert json.dumps(await reader.follow(session["url"] + "/test-groups"), indent=2) == GROUPS_EXAMPLE.strip()
        for group in json.loads(GROUPS_EXAMPLE)["test_groups"]:
            assert list((await reader.follow(group["url"])).items()) == list(group.items())

    async def test_case(self, fake: FakeBuddy, reader: Reader) -> None:
        example = json.loads(CASE_EXAMPLE)
        suite = fake.add_suite("my-workspace", "my-project", "5ddb7c180fb38be67bd78a88a")
        suite.create(id="5ddb7c180fb38be67bd78a88b", cases=[{**given(example), "html_url": example["html_url"]}])
        assert json.dumps(await reader.follow(example["url"]), indent=2) == CASE_EXAMPLE.strip()


class TestSuite:
    async def test_fields_of_the_list_come_first(self, suite: FakeSuite, reader: Reader) -> None:
        status, content = await reader.get(f"{SUITES}/MNbyVedg")
        assert status == 200
        assert content == {
            **suite.summary(),
            "timeout": 3600,
            "error_pattern": "(ERROR|FATAL|Exception)",
            "token": suite.token,
            "slow_threshold": 1000,
            "send_commit_status": False,
        }
        assert list(content)[:5] == list(suite.summary())

    async def test_settings_can_be_changed_or_left_out(self, suite: FakeSuite, reader: Reader) -> None:
        suite.timeout, suite.slow_threshold, suite.error_pattern = 60, None, None
        suite.send_commit_status, suite.token = True, None
        _, content = await reader.get(f"{SUITES}/MNbyVedg")
        assert content == {**suite.summary(), "timeout": 60, "send_commit_status": True}

    async def test_token_is_secret_and_accepted_nowhere(self, suite: FakeSuite, reader: Reader) -> None:
        assert suite.token is not None
        assert re.fullmatch("bud_ut_us_[a-z0-9]{30}", suite.token)
        assert suite.token not in repr(suite)
        _, suites = await reader.get(SUITES)
        assert "bud_ut" not in json.dumps(suites)
        assert await reader.status(SUITES, token=suite.token) == 401

    def test_token_follows_from_the_seed(self) -> None:
        suites = [FakeSuite("acme", "shop", name, seed=seed) for name, seed in (("a", 0), ("a", 0), ("a", 1), ("b", 0))]
        assert suites[0].token == suites[1].token
        assert len({suite.token for suite in suites}) == 3


class TestPages:
    async def test_default_page_size_is_20(self, reader: Reader) -> None:
        assert await reader.names(f"{SESSION}/cases") == numbered(*range(20))
        assert await reader.names(f"{SESSION}/cases", page=3) == numbered(*range(40, 45))
        assert await reader.names(f"{SESSION}/cases", page=4) == []

    async def test_per_page(self, reader: Reader) -> None:
        assert await reader.names(f"{SESSION}/cases", page=2, per_page=4) == numbered(4, 5, 6, 7)
        assert await reader.names(f"{SESSION}/cases", per_page=1000) == numbered(*range(45))

    async def test_cases_of_a_group(self, reader: Reader) -> None:
        assert await reader.names(f"{GROUP}/cases") == numbered(*range(0, 45, 3))
        assert await reader.names(f"{GROUP}/cases", page=2, per_page=2) == numbered(6, 9)
        assert await reader.names(f"{GROUP}/cases", page=9) == []

    async def test_groups(self, reader: Reader) -> None:
        assert await reader.names(f"{SESSION}/test-groups") == ["group 0", "group 1", "group 2"]
        assert await reader.names(f"{SESSION}/test-groups", page=2, per_page=2) == ["group 2"]

    async def test_pages_contain_what_the_suite_contains(self, suite: FakeSuite, reader: Reader) -> None:
        session = suite.populate(3).sessions[2]
        cases = [
            case
            for page in range(1, session["tests_count"] // 50 + 2)
            for case in (await reader.get(f"{SUITES}/MNbyVedg/sessions/{session['id']}/cases", page=page, per_page=50))[
                1
            ]["cases"]
        ]
        assert cases == suite.cases(session["id"])

    @pytest.mark.parametrize("path", [f"{SESSION}/cases", f"{SESSION}/test-groups", f"{GROUP}/cases"])
    async def test_page_size_limits(self, fake: FakeBuddy, reader: Reader, path: str) -> None:
        fake.largest_page = 2
        assert len(await reader.names(path)) == 2
        fake.refuse_above = 19
        status, content = await reader.get(path)
        assert (status, content) == (400, {"errors": [{"message": "per_page must not be greater than 19"}]})
        assert (await reader.get(path, per_page=19))[0] == 200

    @pytest.mark.parametrize("path", [f"{SESSION}/cases", f"{SESSION}/test-groups", f"{GROUP}/cases"])
    @pytest.mark.parametrize("name", ["page", "per_page"])
    @pytest.mark.parametrize("value", ["0", "-1", "", "x", "1.5"])
    async def test_invalid_page_or_per_page(self, reader: Reader, path: str, name: str, value: str) -> None:
        status, content = await reader.get(path, **{name: value})
        assert (status, content) == (400, {"errors": [{"message": f"{name} must be a positive integer"}]})


class TestStatus:
    async def test_list_has_only_cases_with_the_status(self, reader: Reader) -> None:
        assert await reader.names(f"{SESSION}/cases", status="FAILED", per_page=4) == numbered(0, 5, 10, 15)
        assert await reader.names(f"{SESSION}/cases", status="FAILED", per_page=4, page=3) == numbered(40)
        assert await reader.names(f"{SESSION}/cases", status="PASSED", per_page=3) == numbered(1, 2, 3)
        assert await reader.names(f"{SESSION}/cases", status="SKIPPED") == []

    async def test_statuses_of_generated_cases_match_the_counts(self, suite: FakeSuite, reader: Reader) -> None:
        session = suite.create(status="ERROR", tests_count=40, failed_count=4, skipped_count=3, error_count=2)
        path = f"{SUITES}/MNbyVedg/sessions/{session['id']}/cases"
        numbers = {"PASSED": 31, "FAILED": 4, "SKIPPED": 3, "ERROR": 2}
        for status, number in numbers.items():
            _, content = await reader.get(path, status=status, per_page=100)
            assert [case["status"] for case in content["cases"]] == [status] * number

    @pytest.mark.parametrize("value", ["", "failed", "UNKNOWN", "FAILED,ERROR"])
    async def test_unknown_status(self, reader: Reader, value: str) -> None:
        status, content = await reader.get(f"{SESSION}/cases", status=value)
        message = "status must be one of PASSED, FAILED, SKIPPED, ERROR"
        assert (status, content) == (400, {"errors": [{"message": message}]})


SPECIAL = ["/ . .. % ü <&>", ".", "..", "%2F", "a?b#c;d+e", "com.example.Tests.testLogin", 7]


class TestIds:
    @pytest.mark.parametrize("case_id", SPECIAL)
    @pytest.mark.parametrize("group_id", SPECIAL[:3])
    async def test_urls_lead_to_the_object(
        self, suite: FakeSuite, reader: Reader, case_id: str | int, group_id: str
    ) -> None:
        session = suite.create(id="/ %ü", cases=[{"name": "t", "id": case_id, "test_group_id": group_id}])
        assert await reader.follow(session["url"]) == session
        (case,) = (await reader.follow(session["url"] + "/cases"))["cases"]
        assert case["id"] == case_id
        assert await reader.follow(case["url"]) == suite.case("/ %ü", str(case_id))
        (group,) = (await reader.follow(session["url"] + "/test-groups"))["test_groups"]
        assert await reader.follow(group["url"]) == group
        assert (await reader.follow(group["url"] + "/cases"))["cases"] == [case]

    @pytest.mark.parametrize(
        ("case_id", "segment"),
        [("/ . .. % ü <&>", "%2F%20.%20..%20%25%20%C3%BC%20%3C%26%3E"), ("..", "%2e%2e"), ("a+b", "a+b")],
    )
    async def test_id_in_the_path_is_decoded(
        self, suite: FakeSuite, reader: Reader, case_id: str, segment: str
    ) -> None:
        suite.add_cases("YDnagwGk", [{"name": "special", "id": case_id, "test_group_id": "g0"}])
        status, content = await reader.get(f"{GROUP}/cases/{segment}")
        assert (status, content["name"]) == (200, "special")


class TestCase:
    async def test_data_of_a_generated_case(self, suite: FakeSuite, reader: Reader) -> None:
        session = suite.create(status="ERROR", tests_count=50, failed_count=3)
        _, content = await reader.get(f"{SUITES}/MNbyVedg/sessions/{session['id']}/cases", status="FAILED")
        for case in content["cases"]:
            single = await reader.follow(case["url"])
            assert list(single.items())[:-1] == list(case.items())
            (failure,) = ET.fromstring(single["data"])
            assert (failure.text or "").endswith(f"{failure.get('type')}: {failure.get('message')}\n")

    async def test_data_of_a_listed_case(self, suite: FakeSuite, reader: Reader) -> None:
        case = {"name": "t0", "id": "c0", "test_group_id": "g0", "status": "ERROR", "message": "no <disk> & \x01"}
        suite.add_cases("YDnagwGk", [case])
        (error,) = ET.fromstring((await reader.get(f"{GROUP}/cases/c0"))[1]["data"])
        assert (error.tag, error.get("message")) == ("error", "no <disk> & \ufffd")
        for path in (f"{SESSION}/cases", f"{GROUP}/cases"):
            assert "data" not in (await reader.get(path))[1]["cases"][0]


class TestUpserts:
    async def test_cases_change_while_the_session_runs(self, suite: FakeSuite, reader: Reader) -> None:
        session = suite.create()
        path = f"{SUITES}/MNbyVedg/sessions/{session['id']}"
        assert await reader.names(f"{path}/cases") == await reader.names(f"{path}/test-groups") == []
        suite.add_cases(session["id"], [{"name": "a"}, {"name": "b", "status": "FAILED"}])
        assert await reader.names(f"{path}/cases") == ["a", "b"]
        assert (await reader.get(path))[1] == {**session, "tests_count": 2, "failed_count": 1}
        suite.add_cases(session["id"], [{"name": "c"}, {"name": "b"}])
        assert await reader.names(f"{path}/cases", status="FAILED") == []
        (group,) = (await reader.get(f"{path}/test-groups"))[1]["test_groups"]
        assert (group["tests_count"], group["status"]) == (3, "PASSED")
        suite.finish(session["id"])
        assert (await reader.get(path))[1]["status"] == "SUCCESSFUL"


class TestErrors:
    @pytest.mark.parametrize(
        ("path", "message"),
        [
            (f"{SUITES}/other", "Suite not found"),
            (f"{SUITES}/other/sessions/YDnagwGk/cases", "Suite not found"),
            (f"{SUITES}/MNbyVedg/sessions/other/cases", "Session not found"),
            (f"{SUITES}/MNbyVedg/sessions/other/test-groups", "Session not found"),
            (f"{SUITES}/MNbyVedg/sessions/other/test-groups/g0", "Session not found"),
            (f"{SUITES}/MNbyVedg/sessions/other/test-groups/g0/cases", "Session not found"),
            (f"{SUITES}/MNbyVedg/sessions/other/test-groups/g0/cases/c0", "Session not found"),
            (f"{SESSION}/test-groups/other", "Test group not found"),
            (f"{SESSION}/test-groups/other/cases", "Test group not found"),
            (f"{SESSION}/test-groups/other/cases/c0", "Test case not found"),
            (f"{GROUP}/cases/other", "Test case not found"),
            (f"{GROUP}/cases/c1", "Test case not found"),  # it is in another group
            (f"{SESSION}/cases/c0", "Not found"),  # Buddy has no such path
            (f"{SESSION}/cases/", "Not found"),
            (f"{GROUP}/", "Not found"),
            (f"{SUITES}/", "Not found"),
        ],
    )
    async def test_unknown_object_or_path(self, reader: Reader, path: str, message: str) -> None:
        assert await reader.get(path) == (404, {"errors": [{"message": message}]})

    async def test_requests_are_checked_as_for_sessions(self, fake: FakeBuddy, reader: Reader) -> None:
        paths = [f"{SUITES}/MNbyVedg", f"{SESSION}/cases", f"{SESSION}/test-groups", GROUP, f"{GROUP}/cases/c0"]
        for path in paths:
            assert await reader.status(path, token="wrong") == 401
            assert await reader.status(path, method="PUT") == 405
        fake.scopes = ()
        assert [await reader.status(path) for path in paths] == [403] * 5
        fake.scopes = ("UNIT_TEST_READ",)
        fake.rate_limit = 4
        assert [await reader.status(path) for path in paths] == [200] * 4 + [429]
        fake.inject(Fault.status(503))
        assert await reader.status(paths[1]) == 503


class TestFaults:
    async def names(
        self, reader: Reader, fault: Fault, path: str = f"{SESSION}/cases", **query: str | int
    ) -> list[str]:
        reader.fake.inject(fault)
        return await reader.names(path, **{"per_page": 4, **query})

    async def test_pages_of_cases(self, reader: Reader) -> None:
        assert await self.names(reader, Fault.short_page(3), page=2) == numbered(4, 5, 6)
        assert await self.names(reader, Fault.page_size(2), page=2) == numbered(2, 3)
        assert await self.names(reader, Fault.swapped(3)) == numbered(0, 1, 2, 4)
        assert await self.names(reader, Fault.swapped(0), status="FAILED") == numbered(5, 0, 10, 15)
        assert await self.names(reader, Fault.missing_row(1)) == numbered(0, 2, 3)
        assert await reader.names(f"{SESSION}/cases", per_page=4) == numbered(0, 1, 2, 3)

    async def test_pages_of_groups(self, reader: Reader) -> None:
        assert await self.names(reader, Fault.short_page(1), f"{SESSION}/test-groups") == ["group 0"]
        assert await self.names(reader, Fault.missing_row(0), f"{GROUP}/cases") == numbered(3, 6, 9)

    async def test_stale_session_has_its_earlier_cases(self, suite: FakeSuite, reader: Reader) -> None:
        listed, generated = suite.create(cases=[{"name": "a"}]), suite.create()
        snapshot = suite.snapshot()
        suite.add_cases(listed["id"], [{"name": "b"}])
        suite.finish(generated["id"])
        for session, before in ((listed, ["a"]), (generated, [])):
            path = urlsplit(session["url"]).path
            assert await self.names(reader, Fault.stale(snapshot), f"{path}/cases") == before
            assert len(await reader.names(f"{path}/cases")) > len(before)
        new = urlsplit(suite.create()["url"]).path
        reader.fake.inject(Fault.stale(snapshot))
        assert await reader.get(f"{new}/cases") == (404, {"errors": [{"message": "Session not found"}]})

    @pytest.mark.parametrize("path", [f"{SESSION}/cases", f"{SESSION}/test-groups", GROUP, f"{GROUP}/cases/c0"])
    async def test_hidden_session_has_no_cases(self, fake: FakeBuddy, reader: Reader, path: str) -> None:
        fake.inject(Fault.filtered(lambda session: session.pop("id") == "YDnagwGk"))
        assert await reader.get(path) == (404, {"errors": [{"message": "Session not found"}]})
        assert await reader.status(path) == 200

    async def test_single_objects_are_as_usual(self, suite: FakeSuite, reader: Reader) -> None:
        for fault in (Fault.short_page(0), Fault.page_size(1), Fault.swapped(0), Fault.missing_row(0)):
            reader.fake.inject(fault, times=3)
            assert await reader.get(f"{SUITES}/MNbyVedg") == (200, suite.details())
            assert await reader.get(GROUP) == (200, suite.test_groups("YDnagwGk")[0])
            assert await reader.get(f"{GROUP}/cases/c0") == (200, suite.case("YDnagwGk", "c0"))
