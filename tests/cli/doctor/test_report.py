"""The report of `doctor`: it has the form of what was received, and none of its words."""

from __future__ import annotations

import gzip
import json
import random
import string
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from buddy_sessions import BuddyError, Session, SuiteKey, TestCase
from buddy_sessions.cli.doctor.checks import examine
from buddy_sessions.cli.doctor.record import LISTS, Exchange, Record
from buddy_sessions.cli.doctor.report import make_report, read_report
from buddy_sessions.cli.doctor.row_checks import FORMS
from buddy_sessions.testing import FakeBuddy
from helpers.command_line import Call
from helpers.command_line import served as serve

DATE = {"date": "Tue, 21 Oct 2025 06:42:16 GMT"}


class PrivateStrings:
    """Makes random strings of several scripts, and keeps them."""

    def __init__(self) -> None:
        self._rng = random.Random(1)
        self.kept: list[str] = []

    def __call__(self, form: str = "{}") -> str:
        letters = self._rng.choice([string.ascii_letters, string.ascii_lowercase + string.digits, "äöüßłéπж漢字かな"])
        name = self._rng.choice(string.ascii_letters) + "".join(self._rng.choices(letters, k=self._rng.randint(5, 15)))
        self.kept.append(name)
        return form.format(name)


def add_private_suite(fake: FakeBuddy, private: PrivateStrings) -> SuiteKey:
    """Add a suite with 120 sessions. Every text in it is private."""
    key = SuiteKey(private(), private(), private())
    suite = fake.add_suite(*key, name=private("{} tests"), identifier=private())
    for number in range(120):
        member: dict[str, Any] = {
            **{name: private("https://{}.example/x") for name in ("url", "html_url", "avatar_url")},
            "id": number + 100,
            "name": private("Ann {}"),
            "email": private("{}@example.com"),
        }
        texts = {name: private() for name in ("revision", "execution_id", "action_execution_id", "error_message")}
        cases = [
            {
                "status": status,
                "name": private("test_{}[1-2]"),
                "text": private("at {}\n  line 2"),
                **{name: private() for name in ("test_group_name", "classname", "message")},
            }
            for status in ("FAILED", "PASSED")
        ]
        suite.create(private("feature/{}"), cases=cases, created_by=member, ci_run_url=private("https://{}/1"), **texts)
    return key


def test_no_private_string_remains(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    private = PrivateStrings()
    fake = FakeBuddy(token="token-of-a-person-1234567")
    key = add_private_suite(fake, private)
    report = tmp_path / "report.json.gz"
    monkeypatch.setenv("BUDDY_TOKEN", fake.token)
    with serve(fake):
        monkeypatch.setenv("BUDDY_API_URL", str(fake.base_url))
        result = call("doctor", str(key), "--report", str(report))
    text = gzip.decompress(report.read_bytes()).decode().casefold()
    assert result.code == 0
    assert len(private.kept) > 1000
    assert [each for each in [*private.kept, fake.token] if each.casefold() in text] == []
    assert report.stat().st_size <= 100_000
    assert max(map(len, text.splitlines())) < 2000  # people read it before they send it


def exchange(body: object, purpose: str = "page-1", **fields: Any) -> Exchange:
    path = "workspaces", "acme", "projects", "shop", "unit-tests", "suites", "MNbyVedg", "sessions"
    content = json.dumps(body).encode()
    query: dict[str, str | int] = {"page": 1, "per_page": 100, "branch": "main"}
    return Exchange(purpose=purpose, path=path, query=query, status=200, headers=DATE, body=content, at=1.0, **fields)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=5,
)
names = st.sampled_from([field.name for model in (Session, TestCase) for field in attrs.fields(model)])
rows_of_anything = st.lists(st.dictionaries(names, json_values) | json_values, max_size=3)
bodies = st.fixed_dictionaries(dict.fromkeys({*LISTS.values(), "sessions"}, rows_of_anything)) | json_values
purposes = st.sampled_from([*FORMS, "token", "no-branch", "again"])


@settings(phases=set(Phase) - {Phase.shrink})  # which takes minutes
@given(st.lists(st.builds(exchange, bodies, purposes), max_size=6))
def test_no_response_breaks_a_check(exchanges: list[Exchange]) -> None:
    examine(Record(exchanges))
    make_report(exchanges)


def test_form_stays() -> None:
    member = {"id": 4711, "name": "Ann Lee", "email": "ann.lee@acme.com"}
    row = {
        "id": "YDnagwGk",
        "relative_id": 2,
        "status": "SUCCESSFUL",
        "revision": "755b691cfff32e08aba35f2c",
        "create_date": "2025-10-21T06:42:16Z",
        "finish_date": "2025-99-21T06:42:16Z",
        "ref_type": "BRANCH",
        "ref_name": "feature/YDnagwGk",
        "created_by": member,
        "duration": 17,
        "shards": 3,
        "labels": {"nightly": 1},
    }
    report = make_report([exchange({"sessions": [row, {**row, "ref_name": "main"}]})])
    found, other = json.loads(read_report(report)[0].body)["sessions"]
    kept = {name: found[name] for name in ("relative_id", "status", "ref_type", "duration")}
    assert kept == {"relative_id": 2, "status": "SUCCESSFUL", "ref_type": "BRANCH", "duration": 17}
    assert other["ref_name"] == "main"
    assert found["ref_name"].endswith(f"/{found['id']}")
    assert [len(found[name]) for name in ("id", "revision", "ref_name")] == [8, 24, 16]
    assert set(found["revision"]) <= set(string.hexdigits)
    assert found["create_date"].endswith("T06:42:16Z")
    assert found["create_date"] < "2024"
    assert len(str(found["created_by"]["id"])) == 4
    assert "shards" in found
    assert "nightly" not in found["labels"]


@pytest.mark.parametrize(
    "data",
    [
        '{"name":"adds Zürich","status":"FAILED","failure":{"message":"Z\\u00fcrich\\n1","stackTrace":"Zürich"}}',
        '<testcase name="Z&#252;rich &lt;a&gt;"><failure message="Zürich"><![CDATA[Zürich <b>]]></failure></testcase>',
        f'<testcase><failure message="no">{"line of Zürich &amp; Rome " * 99}</failure></testcase>',
    ],
    ids=["json", "xml", "long-xml"],
)
def test_data_keeps_its_structure(data: str) -> None:
    exchanges = [exchange({"id": "1", "name": "a", "status": "FAILED", "data": data}, "case")]
    report = make_report(exchanges)
    text = gzip.decompress(report).decode()
    assert examine(Record(read_report(report)))["data"].level == "ok"
    assert "rich" not in text
    assert "Rome" not in text
    assert len(text) < 2_000


def test_refused_if_a_word_remains() -> None:
    exchanges = [attrs.evolve(exchange({"sessions": [{"id": "Storefront"}]}), headers={"ratelimit-storefront": "1"})]
    with pytest.raises(BuddyError, match="1 words of the account would be in the report, which is not written"):
        make_report(exchanges)


def test_large_account_fits() -> None:
    rng = random.Random(3)
    rows = [
        {
            "id": rng.randbytes(8).hex(),
            "relative_id": number,
            "status": "ERROR",
            "error_message": rng.randbytes(90).hex(),
        }
        for number in range(5000, 0, -1)
    ]
    assert len(make_report([exchange({"sessions": rows}, purpose) for purpose in ("page-1", "page-2")])) <= 100_000
