"""The shapes of responses: what FakeBuddy sends, what is documented, and what reports of `doctor` show is the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from buddy_sessions.cli.doctor.shapes import CONSTANT, OBJECTS, Shape
from buddy_sessions.testing import FakeBuddy
from helpers.accounts import add_suite
from helpers.buddy_responses import RESPONSES

REPORTS = [
    pytest.param(json.loads(path.read_text(encoding="utf-8")), id=path.stem)
    for path in sorted((Path(__file__).parents[2] / "fixtures" / "reports").glob("*.json"))
]
"""Reports of `doctor` that were sent, unchanged; `example.json` is of FakeBuddy."""
DIFFERENT = {
    "project.html_url": "in FakeBuddy, the address of a suite is below that of its project",
    "suites.html_url": "FakeBuddy sends it, as in all other lists",
    "session.ref_name": "reporters upload `7/merge`, which no documentation says",
}
"""Where FakeBuddy sends another form than the documented ones, and why."""
RESPONSE_NAMES = {"projects", "suites", "sessions", "session", "cases", "case", "errors"}
_SIZES = re.compile("empty (?=list)| of a test case")
_NO_FORMS = {"missing", "null", "true", "false"}
_ANY_TEXT = {"word", "name", "text", "8 letters and digits", "text of several lines"}


def forms_of(fields: Mapping[str, Mapping[str, Iterable[str]]]) -> dict[str, set[str]]:
    """Return the forms of each field of an object, such as `session.id`, in lists and alone.

    A name may have any form; values of enumerations are documented; and any field may be missing.
    """
    found: dict[str, set[str]] = {}
    for response, paths in fields.items():
        for path, forms in paths.items():
            name = f"{response}.{path}".replace(f"{response}.{response}[]", response.removesuffix("s"))
            kinds = {_SIZES.sub("", "text" if form in _ANY_TEXT else form) for form in forms} - _NO_FORMS
            found.setdefault(name, set()).update(kind for kind in kinds if not CONSTANT.fullmatch(kind))
    return found


def response_name(path: str, status: int) -> str:
    *_, last_but_one, last = path.partition("?")[0].split("/")
    return "errors" if status != 200 else last if last in OBJECTS else last_but_one.removesuffix("s")


def documented() -> Shape:
    shape = Shape()
    for response in RESPONSES.values():
        shape.add(response_name(response["path"], response["status"]), response["body"])
    return shape


async def sent_by(fake: FakeBuddy) -> Shape:
    """Return the shape of all that a fake Buddy sends: lists, single objects and an error."""
    shape = Shape()
    key = add_suite(fake).key
    fake.add_suite("acme", "shop", "jest", runner="jest").populate(20)
    session = next(row["id"] for row in fake.suites[key].sessions if row["failed_count"])
    projects = "/workspaces/acme/projects"
    suites = f"{projects}/shop/unit-tests/suites"
    sessions = f"{suites}/{key[2]}/sessions"
    paths = [projects, suites, f"{suites}/{key[2]}", f"{suites}/jest/sessions", f"{projects}/none/unit-tests/suites"]
    paths += [f"{sessions}?per_page=300", f"{sessions}/{session}", f"{sessions}/{session}/cases"]
    async with fake, aiohttp.ClientSession(headers={"Authorization": f"Bearer {fake.token}"}) as http:
        for path in paths:
            async with http.get(f"{fake.base_url.origin()}{path}") as response:
                content = await response.json()
            shape.add(response_name(path, response.status), content)
            for case in content.get("cases", []):
                paths.append(f"{sessions}/{session}/test-groups/{case['test_group_id']}/cases/{case['id']}")
    return shape


async def test_fake_buddy_sends_what_is_documented() -> None:
    shape, sent = documented(), await sent_by(FakeBuddy())
    known = forms_of(shape.fields)
    other = {name: forms - known[name] for name, forms in forms_of(sent.fields).items() if forms - known[name]}
    assert other.keys() == DIFFERENT.keys(), other
    assert (sent.unknown_fields, sent.unknown_values) == ({}, {})
    assert (shape.unknown_fields, shape.unknown_values) == ({}, {"case.status": {"BROKEN": 1}})


@pytest.mark.parametrize("report", REPORTS)
async def test_real_account_sends_what_is_known(report: dict[str, Any]) -> None:
    """What a report shows is in FakeBuddy or in `tests/fixtures/buddy`, and its unknown words are known now."""
    known, fake = forms_of(documented().fields), forms_of((await sent_by(FakeBuddy())).fields)
    responses = {name: fields for name, fields in report["responses"].items() if name in RESPONSE_NAMES}
    for name, forms in forms_of(responses).items():
        assert forms <= known.get(name, set()) | fake.get(name, set()), name
    for name in report["unknown_fields"]:
        kind, _, field = name.partition(".")
        assert field in OBJECTS[kind], f"add {name} to the fields of {kind}"
    for name, values in report["unknown_values"].items():
        kind, _, field = name.partition(".")
        constants = OBJECTS[kind][field]
        assert isinstance(constants, frozenset)
        assert values.keys() <= constants, f"add it to the values of {name}"
