"""The suites that arguments, files and stdin name, as `harvest` reads them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from buddy_sessions.testing import FakeBuddy
from helpers.command_line import Call, down_from, numbers_by_suite, run_process

A, B, X = "acme/shop/a", "acme/shop/b", "acme/other/x"

pytestmark = pytest.mark.usefixtures("suites")


@pytest.mark.parametrize(
    "line",
    [
        f"https://app.buddy.works/acme/shop/unit-tests/b {B}",
        "https://app.buddy.works/acme/shop/unit-tests/b/4hPx",
        "https://api.buddy.works/workspaces/acme/projects/shop/unit-tests/suites/b",
        "b -w acme -p shop",
        f"{B} -w other -p other",
        "acme/other",
        "other -w acme",
        "-w acme -p other",
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


@pytest.mark.parametrize("line", [b"https://buddy.example/acme", b"acme/", b"..", b"acme/shop/\xff", b"acme/../x"])
def test_invalid_line_is_wrong_usage(line: bytes, call: Call, tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.write_bytes(f"{B}\n# no\n".encode() + line + b"\n")
    code, out, err = call("harvest", "--from", str(names), "--out", str(tmp_path / "out.csv"))
    assert (code, out, [*tmp_path.iterdir()]) == (2, "", [names])
    assert err.startswith(f"error: {names}, line 3: ")


def test_suites_of_stdin() -> None:
    result = run_process({**os.environ}, "harvest", "--from", "-", stdin=f"{B}\nacme/\n")
    assert (result.code, result.out, result.err.startswith("error: stdin, line 2: ")) == (2, "", True)
    assert numbers_by_suite(run_process({**os.environ}, "harvest", "--from", "-", stdin=B).out) == {B: down_from(3)}


@pytest.mark.parametrize("line", ["acme", "-w acme", f"acme {B}", "acme acme/shop"])
def test_workspace_is_all_its_suites(line: str, fake: FakeBuddy, call: Call) -> None:
    fake.add_project("acme", "docs")
    fake.add_suite("other", "shop", "a").populate(3)
    code, out, err = call("harvest", *line.split())
    assert (code, numbers_by_suite(out)) == (0, {A: down_from(250), B: down_from(3), X: down_from(20)})
    assert err.startswith("3 suites, 273 sessions, ")


def test_workspace_without_its_scope(fake: FakeBuddy, call: Call) -> None:
    fake.scopes = ["UNIT_TEST_INFO"]
    code, out, err = call("harvest", "acme")
    assert (code, out) == (4, "")
    scopes = "the token has UNIT_TEST_INFO; this needs PROJECT_READ or WORKSPACE (403)"
    assert f"failed: acme: The client cannot receive data: the token lacks the scope PROJECT_READ; {scopes}" in err
    assert "for projects, PROJECT_READ" in err


@pytest.mark.parametrize("command", ["harvest", "sync --db x.db", "watch", "status"])
@pytest.mark.parametrize("line", ["--from empty.txt", "acme/docs", "docs"])
def test_no_suite_is_wrong_usage(
    command: str, line: str, fake: FakeBuddy, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").write_text("# none\n\n")
    for workspace, project in (("acme", "docs"), ("docs", "empty")):
        fake.add_project(workspace, project)
    code, out, err = call(*command.split(), *line.split())
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith(
        "error: no suite in empty.txt: " if "empty" in line else f"error: {line}: no suite: "
    )
