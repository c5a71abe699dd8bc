"""The command `harvest`, as a stream and into text files."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

from buddy_sessions.cli import run
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import Call, down_from, numbers_by_suite, use_terminal

A, B, C, X = "acme/shop/a", "acme/shop/b", "acme/shop/c", "acme/other/x"

pytestmark = pytest.mark.usefixtures("suites")


def test_options_select_sessions(call: Call, suites: dict[str, FakeSuite]) -> None:
    for key in (A, B):
        suites[key].create(branch="only/here")
    assert numbers_by_suite(call("harvest", "acme/shop", "--branch", "only/here").out) == {A: [251], B: [4]}
    assert call("harvest", A, "--since", "0h").out == ""


@pytest.mark.parametrize("name", ["out.jsonl", "OUT.CSV"])
def test_file_is_replaced_at_the_end(name: str, call: Call, fake: FakeBuddy, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("old")
    path.chmod(0o640)
    seen: list[str] = []
    fake.on_request = lambda _: seen.append(path.read_text())
    code, out, err = call("harvest", "acme/shop", "-o", str(path))
    assert (code, out, set(seen)) == (0, "", {"old"})
    assert err.startswith(f"2 suites, 253 sessions, {len(fake.requests)} requests\n")  # also that for the suites
    assert [*tmp_path.iterdir()] == [path]
    assert path.stat().st_mode & 0o777 == 0o640
    content = path.read_bytes().decode()
    if path.suffix == ".jsonl":
        assert numbers_by_suite(content) == {A: down_from(250), B: down_from(3)}
    else:
        assert len([*csv.DictReader(io.StringIO(content, newline=""))]) == 253


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_partial_harvest_replaces_no_file(name: str, call: Call, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("old")
    code, _, err = call("harvest", B, C, "--out", str(path))
    assert (code, path.read_text(), [*tmp_path.iterdir()]) == (3, "old", [path])
    assert f"{path} was not written: what was read is discarded; for the sessions of the other suites" in err
    path.unlink()
    code, _, err = call("harvest", B, C, "--out", str(path))
    assert (code, path.exists(), f"Wrote {path} (3 sessions, without" in err) == (3, True, True)


def test_missing_suites(call: Call) -> None:
    code, out, err = call("harvest", B, C)
    summary, failed = err.splitlines()
    assert (code, numbers_by_suite(out)) == (3, {B: down_from(3)})
    assert summary == "2 suites, 1 failed, 3 sessions, 2 requests"
    assert failed.startswith(f"failed: {C}: Suite not found (404)")
    code, out, err = call("harvest", C, "acme/none", "--format", "csv")
    assert (code, out) == (7, "")
    assert err.startswith("1 suite, 1 failed, 1 project failed, 0 sessions, 2 requests\n")


def test_wrong_token_is_4_at_once(call: Call, fake: FakeBuddy, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    fake.token = "another"
    keys = [f"acme/shop/{number}" for number in range(300)]
    code, out, err = call("harvest", *keys, "--out", str(path))
    error, summary, note = err.splitlines()
    assert (code, out, [*tmp_path.iterdir()]) == (4, "", [])
    assert (error.startswith("error: Unauthorized"), error.endswith("; 292 suites were not tried")) == (True, True)
    assert re.match(r"([1-8]) of 300 suites, \1 failed, 0 sessions, [1-9] requests?$", summary)
    assert note == f"{path} was not written: what was read is discarded"


def test_wrong_token_ends_the_list_of_projects(call: Call, fake: FakeBuddy) -> None:
    fake.token = "another"
    code, _, err = call("harvest", *(f"acme/{number}" for number in range(50)))
    assert (code, len(err.splitlines()), len(fake.requests)) == (4, 1, 1)
    assert err.startswith("error: Unauthorized")


def test_line_is_not_mixed_with_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stderr = use_terminal(monkeypatch, "stderr", dumb=False)
    use_terminal(monkeypatch, "stdout", dumb=False)
    assert run(["harvest", A]) == 0
    assert "0 of 1 suite" not in stderr.getvalue()
    assert run(["harvest", A, "--out", "x.csv"]) == 0
    assert "0 of 1 suite" in stderr.getvalue()


def test_line_shows_the_end_of_a_wait(call: Call, fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch, "stderr", dumb=False)
    monkeypatch.setenv("COLUMNS", "120")
    fake.rate_limit, fake.rate_window = 3, 1.0
    assert call("harvest", A, B, X).code == 0
    assert re.search(r"waiting [12]s for the rate limit, ", terminal.getvalue())
