"""The checks: `nox` runs them all, `nox -s tests` is what a newcomer needs."""

from __future__ import annotations

import os
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["tests", "lint", "types"]
# A Python that is not there is skipped, on a build server too; none is downloaded.
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)


def groups(name: str) -> list[str]:
    """Return the requirements of a dependency group."""
    return list(nox.project.dependency_groups(PROJECT, name))


def install_wheel(session: nox.Session, extras: str) -> None:
    """Build the wheel and install it: what is tested is what users get, not the checkout."""
    folder = Path(session.create_tmp()).resolve()
    session.install("hatchling")
    session.run("hatchling", "build", "-t", "wheel", "-d", str(folder), silent=True)
    (wheel,) = folder.glob("*.whl")
    session.install(f"{wheel}[{extras}]", *groups("test"))
    wheel.unlink()


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests on the built wheel, and measure branch coverage."""
    install_wheel(session, "cli,parquet,report,speed")
    # Safe path: without it, the checkout would shadow the installed wheel.
    environment = {"PYTHONSAFEPATH": "1", "COVERAGE_FILE": str(Path(session.create_tmp(), "coverage").resolve())}
    session.run("coverage", "run", "-m", "pytest", *session.posargs, env=environment)
    if not session.posargs:
        session.run("coverage", "report", env=environment)


@nox.session
def walk(session: nox.Session) -> None:
    """Search for a listing that makes the walk lose or repeat a session: 10,000 examples and more."""
    install_wheel(session, "cli,parquet,report,speed")
    environment = {"PYTHONSAFEPATH": "1", "HYPOTHESIS_PROFILE": "long"}
    session.run("python", "-m", "pytest", "tests/test_walk_model.py", *session.posargs, env=environment)


@nox.session
def soak(session: nox.Session) -> None:
    """Harvest for 20 minutes while answers break, and kill 100 harvests: nothing grows, nothing is lost."""
    install_wheel(session, "cli,parquet,report,speed")
    session.run("python", "benchmarks/soak.py", *session.posargs, env={"PYTHONSAFEPATH": "1"})
    session.run("python", "-m", "pytest", "tests/test_kill.py", env={"PYTHONSAFEPATH": "1", "TESTS": "long"})


@nox.session
def faults(session: nox.Session) -> None:
    """Print what came of every fault that must be survived, then let thousands of broken answers be made up."""
    install_wheel(session, "cli,parquet,report,speed")
    environment = {"PYTHONSAFEPATH": "1"}
    session.run("python", "-m", "pytest", "-q", "-m", "fault", *session.posargs, env=environment)
    environment["HYPOTHESIS_PROFILE"] = "long"
    session.run("python", "-m", "pytest", "tests/test_fuzz_answers.py", *session.posargs, env=environment)


@nox.session
def integrations(session: nox.Session) -> None:
    """Run what needs a program that pip does not install: each test that lacks one is skipped, and says so."""
    install_wheel(session, "cli,parquet,report,speed")
    session.install("selenium>=4.20")
    files = map(str, sorted(Path("tests/integrations").glob("test_*.py")))
    session.run("python", "-m", "pytest", *(session.posargs or files), env={"PYTHONSAFEPATH": "1"})


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style."""
    session.install(*groups("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types, with two checkers."""
    session.install(".[cli,parquet,report,speed]", *groups("types"))
    session.run("mypy")
    session.run("pyright")


@nox.session
def bench(session: nox.Session) -> None:
    """Print what the README promises in numbers, as ratios measured in one run."""
    install_wheel(session, "cli,parquet,report,speed")
    session.install(*groups("bench"))
    # What the benchmarks share, by name; the package itself is the installed one.
    environment = {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(map(os.path.abspath, ("benchmarks", "tests")))}
    for script in sorted(Path("benchmarks").glob("bench_*.py")):
        session.run("python", str(script), *session.posargs, env=environment)
