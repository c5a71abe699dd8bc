"""The command `suites`."""

from __future__ import annotations

import csv
import io

import pytest

from buddy_sessions.testing import FakeBuddy
from helpers.command_line import Call, rows


@pytest.fixture(autouse=True)
def suites(fake: FakeBuddy) -> None:
    fake.add_suite("acme", "shop", "MNbyVedg", name="Unit tests", identifier="unit")
    fake.add_suite("acme", "shop", "65OmRb8v", name="End-to-end", identifier="e2e")


@pytest.mark.parametrize(
    "arguments",
    [
        ["-w", "acme", "-p", "shop"],
        ["https://app.buddy.works/acme/shop/unit-tests/MNbyVedg"],
    ],
)
def test_table_has_keys_for_list(arguments: list[str], call: Call) -> None:
    code, out, err = call("suites", *arguments, "--format", "table")
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["SUITE", "NAME", "IDENTIFIER"],
        ["acme/shop/MNbyVedg", "Unit", "tests", "unit"],
        ["acme/shop/65OmRb8v", "End-to-end", "e2e"],
    ]


def test_jsonl_and_csv_equal_the_api(fake: FakeBuddy, call: Call) -> None:
    sent = [suite.summary() for suite in fake.suites.values()]
    keys = ["acme/shop/MNbyVedg", "acme/shop/65OmRb8v"]
    found = rows(call("suites", "acme/shop").out)
    names = {"workspace": "acme", "project": "shop"}
    named = [{**names, "suite_id": key.rpartition("/")[2], **row} for key, row in zip(keys, sent, strict=True)]
    assert found == [{"key": key, **row} for key, row in zip(keys, named, strict=True)]
    assert next(iter(found[0])) == "key"
    out = call("suites", "acme/shop", "--format", "csv").out
    assert list(csv.DictReader(io.StringIO(out, newline=""))) == named
