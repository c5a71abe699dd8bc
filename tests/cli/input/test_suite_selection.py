"""The suites that arguments, files and stdin name, as `harvest` reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.command_line import Call, down_from, numbers_by_suite, piped_stdin

A, B, X = "acme/shop/a", "acme/shop/b", "acme/other/x"

pytestmark = pytest.mark.usefixtures("suites")


def test_each_suite_is_read_once(call: Call) -> None:
    code, out, err = call("harvest", X, B, "acme/shop", A, B, "acme/shop")
    assert code == 0
    assert numbers_by_suite(out) == {A: down_from(250), B: down_from(3), X: down_from(20)}
    assert err.startswith("3 suites, 273 sessions, 6 requests in ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "line",
    [
        f"https://app.buddy.works/acme/shop/unit-tests/b {B}",
        "https://app.buddy.works/acme/shop/unit-tests/b/4hPx",
        "https://api.buddy.works/workspaces/acme/projects/shop/unit-tests/suites/b",
        "b -w acme -p shop",
        "acme/shop/b b -w acme -p shop",
        f"{B} -w other -p other",
        "acme/other",
        "acme/other -w acme -p shop",
        "-w acme -p other",
        "https://app.buddy.works/acme/other",
        "https://app.buddy.works/acme/other/unit-tests",
        "https://api.buddy.works/workspaces/acme/projects/other/unit-tests/suites",
        "https://api.buddy.works/workspaces/acme/projects/other/",
    ],
)
def test_suite_and_project_can_be_given_in_many_ways(line: str, call: Call) -> None:
    expected = {X: down_from(20)} if "other" in line and B not in line else {B: down_from(3)}
    assert numbers_by_suite(call("harvest", *line.split()).out) == expected


def test_environment_completes_keys(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUDDY_WORKSPACE", "acme")
    monkeypatch.setenv("BUDDY_PROJECT", "shop")
    assert numbers_by_suite(call("harvest", "b").out) == {B: down_from(3)}
    assert numbers_by_suite(call("harvest", "x", "-p", "other").out) == {X: down_from(20)}
    assert numbers_by_suite(call("harvest").out) == {A: down_from(250), B: down_from(3)}


def test_file_names_more_suites(call: Call, tmp_path: Path) -> None:
    names = tmp_path / "suites.txt"
    names.write_text(f"\ufeff# ours\n\n  {A} \r\n{B}\n{A}\nacme/other\n", encoding="utf-8")
    code, out, _ = call("harvest", "--from", str(names), B)
    assert code == 0
    assert numbers_by_suite(out) == {A: down_from(250), B: down_from(3), X: down_from(20)}


@pytest.mark.parametrize("line", [b"https://buddy.example/acme", b"acme", b"acme/shop/\xff", b"acme/../x"])
def test_invalid_line_is_wrong_usage(line: bytes, call: Call, tmp_path: Path) -> None:
    content = f"{B}\n# no\n".encode() + line + b"\n"
    names = tmp_path / "names"
    names.write_bytes(content)
    for source, shown in (("-", "stdin"), (str(names), str(names))):
        with piped_stdin(content):
            code, out, err = call("harvest", "--from", source, "--out", str(tmp_path / "out.csv"))
        assert (code, out) == (2, "")
        assert err.startswith(f"error: {shown}, line 3: ")
    assert [*tmp_path.iterdir()] == [names]
