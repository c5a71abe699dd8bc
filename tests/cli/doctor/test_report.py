"""The report of `doctor`: what it says of an account, and that no word of the account is in it."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import BuddyClient, Session, TestCase
from buddy_sessions.cli.commands.doctor import make_report, to_json
from buddy_sessions.cli.doctor.checks import CHECKS, examine
from buddy_sessions.cli.doctor.probe import SESSION_LISTS, Exchange, Probe, Record
from buddy_sessions.cli.doctor.shapes import NOT_SHOWN, OBJECTS
from buddy_sessions.testing import FakeBuddy
from helpers.accounts import KEY, SUITE, add_suite
from helpers.command_line import Call

ORDINARY = "api", "unit", "main", "tests", "ok", "word", "checks", "url", "null", "ann", "acme", "go", "x1", "is"
"""Names that are words of the package, too, or parts of such words."""
CONSTANTS = {
    value for kinds in OBJECTS.values() for kind in kinds.values() if isinstance(kind, frozenset) for value in kind
}


def report_of(record: Record) -> str:
    return to_json(make_report(record, examine(record)))


def random_names() -> Iterator[str]:
    """Yield names that have the form of a word."""
    rng = random.Random(1)
    while True:
        yield "q" + "".join(rng.choices(string.ascii_letters, k=rng.choice([4, 9, 14])))


def ordinary_names() -> Iterator[str]:
    """Yield ordinary words, then longer ones that are made of them. None has the form of an ID."""
    for count in range(1, 6):
        yield from (name for name in map("".join, product(ORDINARY, repeat=count)) if len(name) != 8)


def renamed(record: Record, names: Iterator[str], *, keeps_known: bool) -> Record:
    """Return exchanges in which each text is a name, also in headers, errors and unknown objects."""

    def rename(value: Any) -> Any:
        if isinstance(value, dict):
            other = {"labels": {next(names): next(names)}, f"{next(names)} {next(names)}": next(names)}
            return {name: rename(each) for name, each in value.items()} | other
        if isinstance(value, list):
            return [rename(each) for each in value]
        is_kept = keeps_known and isinstance(value, str) and (value in CONSTANTS or value.startswith("202"))
        return next(names) if isinstance(value, str) and not is_kept else value

    changed = Record()
    for purpose, each in record.items():
        headers = {name: next(names) for name in each.headers if name != "date"} | {next(names): next(names)}
        body = json.dumps(rename(each.json)).encode()
        changed[purpose] = attrs.evolve(each, headers={"date": each.headers["date"], **headers}, body=body)
    for number, status in enumerate((0, 400, 403, 404, 500)):
        errors = json.dumps({"errors": [{"message": next(names), f"{next(names)} ": next(names)}]}).encode()
        last = attrs.evolve(changed["case"], status=status, body=errors, error=f"cannot connect to {next(names)}")
        changed[("no-branch", "again", "failed", "beyond", "workspaces")[number]] = last
    return changed


@pytest.mark.parametrize("keeps_known", [True, False], ids=["known-values-stay", "all-texts"])
async def test_report_does_not_depend_on_names(keeps_known: bool) -> None:
    """Whatever the names are, of workspaces, tests, people, messages or headers: the report has the same bytes."""
    fake = FakeBuddy(rate_limit=1000)
    add_suite(fake, 60)
    async with fake, BuddyClient(fake.token, base_url=str(fake.base_url)) as buddy:
        probe = Probe(buddy.api)
        await probe.run(KEY)
    record = probe.record
    odd, ordinary = (renamed(record, names, keeps_known=keeps_known) for names in (random_names(), ordinary_names()))
    assert all(odd[purpose].body != ordinary[purpose].body for purpose in record)
    assert report_of(odd) == report_of(ordinary)


def test_command_writes_no_name(call: Call, fake: FakeBuddy, tmp_path: Path) -> None:
    """Neither those of the suite, nor the token, nor the host."""
    add_suite(fake)
    report = tmp_path / "report.json"
    result = call("doctor", SUITE, "--report", str(report))
    text = report.read_text(encoding="utf-8")
    assert result.code == 0
    assert [each for each in (*KEY, "adds", fake.token, "127.0.0.1") if each in text] == []
    assert text.count("\n") <= 300
    assert max(map(len, text.splitlines())) <= 300
    assert f"Wrote {report}: before you send it, read its top" in result.err


def exchange(content: object, purpose: str = "page-1", **fields: Any) -> Exchange:
    path = "workspaces", "acme", "projects", "shop", "unit-tests", "suites", "MNbyVedg", "sessions"
    query: dict[str, str | int] = {"page": 1, "per_page": 100, "branch": "main"}
    known: dict[str, Any] = {
        "status": 200,
        "headers": {"date": "Tue, 21 Oct 2025 06:42:16 GMT"},
        "body": json.dumps(content).encode(),
    }
    return Exchange(purpose=purpose, path=path, query=query, at=1.0, **known | fields)


def record(*exchanges: Exchange) -> Record:
    return Record({each.purpose: each for each in exchanges})


async def test_token_of_another_region_is_suspected() -> None:
    async with BuddyClient("token", region="US") as buddy:
        found = Probe(buddy.api).record
    found["projects"] = exchange({}, "projects", status=401)
    assert examine(found)["token"].advice.endswith("if it is one of another region, add --region EU or --region AS")


def test_words_from_outside_are_at_the_top() -> None:
    row = {"id": "1", "relative_id": 1, "status": "CANCELLED", "ref_type": "not one", "labels": 1, "Not a name": 2}
    report = report_of(record(exchange({"sessions": [row]}, headers={"x-oauth-scopes": "PIPELINE_READ"})))
    about, _, unknown = report.partition(' "unknown_fields"')
    assert about.startswith('{\n "about": "The shape of')
    assert unknown.startswith(
        f""": {{
  "session.labels": {{"whole number": 1}},
  "session {NOT_SHOWN}": {{"whole number": 1}}
 }},
 "unknown_values": {{
  "session.status": {{"CANCELLED": 1}},
  "session.ref_type": {{"{NOT_SHOWN}": 1}},
  "headers.x-oauth-scopes": {{"PIPELINE_READ": 1}}
 }},
"""
    )
    assert [report.count(word) for word in ("labels", "CANCELLED", "PIPELINE_READ", "Not a name")] == [1, 1, 1, 0]


def test_hostile_account_has_a_short_report() -> None:
    """Many unknown names and values, scopes and fields do not make it longer than 300 lines."""
    rng = random.Random(4)
    rows = [
        {"id": "1", "status": "".join(rng.choices(string.ascii_uppercase, k=9)), rng.choice("abc") + str(number): 1}
        for number in range(3000)
    ]
    exchanges = [exchange({"sessions": rows})]
    for name, fields in OBJECTS.items():
        content = {field: [{"a": [1]}, "x"] for field in fields} | {f"x{number}": 1 for number in range(99)}
        exchanges += [exchange(content, name), exchange({name: [content]}, name)]
    report = report_of(record(*exchanges))
    assert report.count("\n") <= 300
    assert max(map(len, report.splitlines())) <= 1000


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=5,
)
names = st.sampled_from([field.name for model in (Session, TestCase) for field in attrs.fields(model)])
rows_of_anything = st.lists(st.dictionaries(names, json_values) | json_values, max_size=3)
lists = dict.fromkeys(("sessions", "suites", "projects", "cases"), rows_of_anything)
bodies = st.fixed_dictionaries(lists) | json_values
purposes = st.sampled_from(
    ["workspaces", "projects", "suites", *SESSION_LISTS, "again", "no-branch", "session", "cases", "failed", "case"]
)


@given(st.lists(st.builds(exchange, bodies, purposes, status=st.sampled_from([200, 200, 403, 500])), max_size=6))
def test_no_response_breaks_a_check(exchanges: list[Exchange]) -> None:
    report = make_report(record(*exchanges), examine(record(*exchanges)))
    assert [*report["checks"]] == [*CHECKS]
    assert json.loads(to_json(report))
