from __future__ import annotations

import json
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import Failure
from buddy_sessions._decoding.failures import read_failure


def case(content: str) -> str:
    return f'<testcase name="adds" classname="Cart" time="0.1">{content}</testcase>'


@pytest.mark.parametrize(
    ("data", "failure"),
    [
        (
            case('<failure type="AssertionError" message="1 != 2">at cart.py:7</failure>'),
            Failure(kind="failure", type="AssertionError", message="1 != 2", text="at cart.py:7"),
        ),
        (
            case('<error type="OSError"><![CDATA[\n  a < b & c\n]]></error>'),
            Failure(kind="error", type="OSError", text="a < b & c"),
        ),
        (case('<failure message="ü &lt;&amp;&#x17c;"/>'), Failure(kind="failure", message="ü <&ż")),
        (case("<failure>a<b>c</b>d</failure>"), Failure(kind="failure", text="acd")),
        (case("<failure>1</failure><error>2</error>"), Failure(kind="failure", text="1")),
        (case("<property/>" * 200 + "<error>2</error>"), Failure(kind="error", text="2")),
        (f"<testsuite>{case('<failure>1</failure>')}</testsuite>", Failure(kind="failure", text="1")),
        (case("<failure>1</failure>") + "<and nothing valid", Failure(kind="failure", text="1")),
        ('<?xml version="1.0" encoding="UTF-16"?>' + case("<error>ü</error>"), Failure(kind="error", text="ü")),
    ],
)
def test_failure_is_read(data: str, failure: Failure) -> None:
    assert read_failure(data) == failure


@pytest.mark.parametrize(
    ("status", "message", "stack", "failure"),
    [
        ("FAILED", "1 is not 2", "Error: 1 is not 2\n    at f (a.js:1)", ("failure", None, "1 is not 2")),
        ("ERROR", "", "Error: no database\nat all\n    at f (a.js:1)", ("error", None, "no database\nat all")),
        ("FAILED", "TypeError: a is null", "TypeError: a is null", ("failure", "TypeError", "a is null")),
        ("FAILED", "a", "shop.CartError: a", ("failure", "CartError", "a")),
        ("FAILED", "Note: a", "Note: a", ("failure", None, "Note: a")),
        ("FAILED", "only this", None, ("failure", None, "only this")),
        ("FAILED", "half a pair: \ud800", "", ("failure", None, "half a pair: \ufffd")),
    ],
    ids=repr,
)
def test_failure_of_json(status: str, message: Any, stack: Any, failure: tuple[Any, ...]) -> None:
    data = {"name": "adds", "status": status, "failure": {"message": message, "stackTrace": stack}}
    text = stack.strip() or None if isinstance(stack, str) else None
    read = read_failure(json.dumps(data))
    assert read is not None
    assert (read.kind, read.type, read.message, read.text) == (*failure, text)


@pytest.mark.parametrize(
    "data",
    [
        "{}",
        "{",
        '{"status": "FAILED"}',
        '{"status": "FAILED", "failure": "a"}',
        '{"status": "PASSED", "failure": {"message": "a"}}',
        '{"status": ' + "[" * 100_000,
        '{"failure": ' + "1" * 100_000 + "}",
        case(""),
        case("<skipped>no time</skipped>"),
        "",
        case("<failure>a")[:-30],
        case("<failure>\x00</failure>"),
        case("<failure>&unknown;</failure>"),
        '<!DOCTYPE t [<!ENTITY a "text">]>' + case("<failure>&a;</failure>"),
        '<!DOCTYPE t [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + case("<failure>&a;</failure>"),
        '<!DOCTYPE t [<!ENTITY % a SYSTEM "file:///etc/passwd"> %a;]>' + case("<failure>a</failure>"),
    ],
)
def test_no_failure(data: str) -> None:
    assert read_failure(data) is None


def test_entities_are_not_expanded() -> None:
    """Expanded, these ten lines would be a gigabyte of text."""
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "x" * 10}">' for n in range(9))
    started = time.process_time()
    assert read_failure(f"<!DOCTYPE t [{entities}]>" + case("<failure>&e8;</failure>")) is None
    assert time.process_time() - started < 1


LONG = "\n[cut: longer than 1,000,000 characters]"
TAG = "<a b='".ljust(1_000_000 - len("'/></failure></testcase>"), "y") + "'/>"
"""As long as a tag may be, with what follows."""


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("x" * 5_000_000, "x" * 1_000_000 + LONG),
        ("&lt;" * 1_250_000, "<" * 1_000_000 + LONG),
        ("x" * 1_000_000, "x" * 1_000_000),
        ("x<a>y" * 2_000_000 + "</a>" * 2_000_000, "xy" * 98 + "x\n[cut: more than 100 nested elements]"),
        ("x" + "".join(f"<a{n}/>" for n in range(1_500_000)), "x\n[cut: more than 100,000 elements]"),
        ("x<a " + "".join(f"a{n}='' " for n in range(1_500_000)) + "/>", "x" + LONG),
        (f"x{TAG}", "x"),
        (f"x{TAG} ", "x" + LONG),
    ],
    ids=[
        "text",
        "entities",
        "short-enough",
        "nested",
        "distinct-names",
        "distinct-attributes",
        "short-tag",
        "long-tag",
    ],
)
def test_large_failure_is_cut(content: str, text: str) -> None:
    """In little memory, with a remark."""
    data = case(f"<failure message='m'>{content}</failure>")
    tracemalloc.start()
    failure = read_failure(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert failure is not None
    assert (failure.message, failure.text) == ("m", text)
    assert peak < 20 * 2**20


@pytest.mark.parametrize(
    "text",
    ["a." * 1_000_000, "\n  at " * 1_000_000 + ".", " " * 1_000_000 + ".", "a" * 1_000_000],
    ids=["sentences", "frames", "spaces", "just-short-enough"],
)
def test_large_json(text: str) -> None:
    started = time.process_time()
    failure = read_failure(json.dumps({"failure": {"message": "", "stackTrace": text}}))
    assert time.process_time() - started < 2
    assert failure is not None
    expected = text.strip()
    assert failure.text == (expected if len(expected) <= 1_000_000 else expected[:1_000_000] + LONG)


def test_json_of_many_values_is_not_read() -> None:
    """In memory, they would take 20 times their size. A long text that contains as many commas is read."""
    data = {"failure": {"message": "a,b" * 200_000}, "more": [[]] * 40_000}
    assert read_failure(json.dumps(data)) is not None
    tracemalloc.start()
    assert read_failure(json.dumps({**data, "more": [[]] * 3_000_000})) is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 * 2**20


@given(st.text(max_size=50))
def test_any_text_is_accepted(text: str) -> None:
    read_failure(text)
    read_failure(case(f"<failure>{text}"))
    read_failure(case(f'<failure type="{text}" message="{text}"/>'))
    read_failure("{" + text)
