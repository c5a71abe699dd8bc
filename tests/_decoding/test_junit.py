from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import Failure
from buddy_sessions._decoding.junit import read_failure


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
        (case("<failure/>"), Failure(kind="failure")),
        (case('<failure message="ü &lt;&amp;&#x17c;"/>'), Failure(kind="failure", message="ü <&ż")),
        (case("<failure>a<b>c</b>d</failure>"), Failure(kind="failure", text="acd")),
        (case("<failure>1</failure><error>2</error>"), Failure(kind="failure", text="1")),
        (case("<system-out>x</system-out><error>2</error>"), Failure(kind="error", text="2")),
        (f"<testsuite>{case('<failure>1</failure>')}</testsuite>", Failure(kind="failure", text="1")),
        ('<?xml version="1.0" encoding="UTF-16"?>' + case("<error>ü</error>"), Failure(kind="error", text="ü")),
        ("<!DOCTYPE testcase>" + case("<error>a</error>"), Failure(kind="error", text="a")),
    ],
)
def test_failure_is_read(data: str, failure: Failure) -> None:
    assert read_failure(data) == failure


@pytest.mark.parametrize(
    "data",
    [
        case(""),
        case("<skipped>no time</skipped>"),
        "",
        "not XML",
        case("<failure>a")[:-30],
        case("<failure>\x00</failure>"),
        case("<failure>\ud800</failure>"),
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


@pytest.mark.parametrize("content", ["x" * 5_000_000, "<a>" * 500_000 + "</a>" * 500_000, "&lt;" * 1_250_000])
def test_large_data(content: str) -> None:
    failure = read_failure(case(f"<failure>{content}</failure>"))
    assert failure is not None
    assert failure.text == (content.replace("&lt;", "<") if "<a>" not in content else None)


@given(st.text(max_size=50))
def test_any_text_is_accepted(text: str) -> None:
    read_failure(text)
    read_failure(case(f"<failure>{text}"))


@given(st.dictionaries(st.sampled_from(["type", "message"]), st.text(st.characters(codec="utf-8"))))
def test_failure_of_any_xml(attributes: dict[str, Any]) -> None:
    read_failure(case("<failure " + " ".join(f'{name}="{value}"' for name, value in attributes.items()) + "/>"))
