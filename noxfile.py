"""The checks: `nox` runs them all, `nox -s tests` is what a newcomer needs."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterable
from itertools import chain
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
EXTRAS = ["cli", "parquet", "report", "speed"]
"""What the tests need; dlt, which brings much, is for the integrations alone."""

SMOKE = """
import asyncio
from buddy_sessions import BuddyClient
from buddy_sessions.testing import FakeBuddy, Fault

async def main():
    async with FakeBuddy() as fake, BuddyClient(fake.token, base_url=fake.base_url) as buddy:
        suite = fake.add_suite("acme", "shop", "MNbyVedg").populate(250)
        fake.inject(Fault.status(503))
        print(len(await buddy.sessions(*suite.key).collect()), "sessions")

asyncio.run(main())
"""
"""What takes every dependency, the one for retries too, and no extra."""


def groups(name: str) -> list[str]:
    """Return the requirements of a dependency group."""
    return list(nox.project.dependency_groups(PROJECT, name))


def install_wheel(session: nox.Session, *options: str, extras: Iterable[str] = EXTRAS) -> None:
    """Build the wheel and install it: what is tested is what users get, not the checkout."""
    folder = Path(session.create_tmp()).resolve()
    session.install("hatchling")
    session.run("hatchling", "build", "-t", "wheel", "-d", str(folder), silent=True)
    (wheel,) = folder.glob("*.whl")
    session.install(*options, f"{wheel}[{','.join(extras)}]", *groups("test"))
    wheel.unlink()


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests on the built wheel, and measure branch coverage."""
    install_wheel(session)
    # Safe path: without it, the checkout would shadow the installed wheel.
    environment = {"PYTHONSAFEPATH": "1", "COVERAGE_FILE": str(Path(session.create_tmp(), "coverage").resolve())}
    session.run("coverage", "run", "-m", "pytest", *session.posargs, env=environment)
    if not session.posargs:
        session.run("coverage", "report", env=environment)


@nox.session(venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """Run the tests with the oldest releases that the package allows."""
    extras = PROJECT["project"]["optional-dependencies"]
    direct = chain(PROJECT["project"]["dependencies"], *(extras[name] for name in EXTRAS))
    install_wheel(session, "--resolution=lowest-direct", *direct)
    session.run("python", "-m", "pytest", *session.posargs, env={"PYTHONSAFEPATH": "1"})


@nox.session
def walk(session: nox.Session) -> None:
    """Search for a listing that makes the walk lose or repeat a session: 10,000 examples and more."""
    install_wheel(session)
    environment = {"PYTHONSAFEPATH": "1", "HYPOTHESIS_PROFILE": "long"}
    session.run("python", "-m", "pytest", "tests/test_walk_model.py", *session.posargs, env=environment)


@nox.session
def soak(session: nox.Session) -> None:
    """Harvest for 20 minutes while answers break, and kill 100 harvests: nothing grows, nothing is lost."""
    install_wheel(session)
    session.run("python", "benchmarks/soak.py", *session.posargs, env={"PYTHONSAFEPATH": "1"})
    session.run("python", "-m", "pytest", "tests/test_kill.py", env={"PYTHONSAFEPATH": "1", "TESTS": "long"})


@nox.session
def faults(session: nox.Session) -> None:
    """Print what came of every fault that must be survived, then let thousands of broken answers be made up."""
    install_wheel(session)
    environment = {"PYTHONSAFEPATH": "1"}
    session.run("python", "-m", "pytest", "-q", "-m", "fault", *session.posargs, env=environment)
    environment["HYPOTHESIS_PROFILE"] = "long"
    session.run("python", "-m", "pytest", "tests/test_fuzz_answers.py", *session.posargs, env=environment)


@nox.session
def integrations(session: nox.Session) -> None:
    """Test what the package works with, the report in a browser, and the README's recipes; say what is missing here."""
    install_wheel(session, extras=[*EXTRAS, "dlt"])
    session.install(*groups("integrations"))
    files = map(str, sorted(Path("tests/integrations").glob("test_*.py")))
    environment = {"PYTHONSAFEPATH": "1", "COVERAGE_FILE": str(Path(session.create_tmp(), "coverage").resolve())}
    session.run("coverage", "run", "-m", "pytest", *(session.posargs or files), env=environment)
    if not session.posargs:
        session.run("coverage", "report", "--omit=tests/*", "--include=*/buddy_sessions/dlt.py", env=environment)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style."""
    session.install(*groups("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types, with two checkers; and what users see of them, with a third."""
    session.install(f".[{','.join(EXTRAS)}]", *groups("types"))
    session.run("mypy")
    session.run("pyright")
    session.run("ty", "check", "--error-on-warning", "tests/typing")


@nox.session
def bench(session: nox.Session) -> None:
    """Print what the README promises in numbers, as ratios measured in one run."""
    install_wheel(session)
    session.install(*groups("bench"))
    # What the benchmarks share, by name; the package itself is the installed one.
    environment = {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(map(os.path.abspath, ("benchmarks", "tests")))}
    for script in sorted(Path("benchmarks").glob("bench_*.py")):
        session.run("python", str(script), *session.posargs, env=environment)


@nox.session
def package(session: nox.Session) -> None:
    """Build what is released, and check it: its names, its metadata, and that it installs and can be built again."""
    session.install(*groups("package"))
    folder = Path(session.create_tmp()).resolve()
    shutil.rmtree(folder)
    session.run("hatchling", "build", "-d", str(folder), silent=True)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    session.run("twine", "check", "--strict", str(wheel), str(sdist))
    session.run("check-wheel-contents", str(wheel))

    release, info = sdist.name.removesuffix(".tar.gz"), ("METADATA", "RECORD", "WHEEL", "entry_points.txt")
    modules = files("buddy_sessions")
    same_names(
        session,
        zipfile.ZipFile(wheel).namelist(),
        modules.union(f"{release}.dist-info/{name}" for name in (*info, "licenses/LICENSE")),
    )
    besides = (
        files("tests")
        | files("benchmarks")
        | {".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "noxfile.py", "pyproject.toml"}
    )
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
        same_names(session, archive.getnames(), {f"{release}/{name}" for name in modules | besides})

    with session.chdir(folder / release):
        session.run("hatchling", "build", "-t", "wheel", "-d", "dist", silent=True)
    if (folder / release / "dist" / wheel.name).read_bytes() != wheel.read_bytes():
        session.error("the sdist builds another wheel than the checkout")

    session.run("python", "-m", "venv", str(folder / "venv"))
    python = str(folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python")
    session.run(python, "-m", "pip", "install", "--quiet", str(wheel), external=True)
    session.run(python, "-m", "pip", "check", external=True)
    # Isolated, so that the checkout is not what is imported.
    session.run(python, "-I", "-W", "error", "-c", SMOKE, external=True)


def files(folder: str) -> set[str]:
    """Return the names of all files in a folder that are not made by running something."""
    return {path.as_posix() for path in Path(folder).rglob("*") if path.is_file() and path.suffix != ".pyc"}


def same_names(session: nox.Session, found: list[str], wanted: set[str]) -> None:
    """Fail unless an archive has the names that it should have, and no others."""
    if different := sorted(wanted.symmetric_difference(found)):
        session.error(f"too much, or missing: {', '.join(different)}")


@nox.session
def audit(session: nox.Session) -> None:
    """Look for known vulnerabilities in what the package and its extras depend on. Needs the network."""
    session.install(*groups("audit"))
    folder = Path(session.create_tmp()).resolve()
    requirements, report = folder / "requirements.txt", folder / "audit.json"
    extras = PROJECT["project"]["optional-dependencies"].values()
    requirements.write_text("\n".join(chain(PROJECT["project"]["dependencies"], *extras)), encoding="utf-8")
    report.unlink(missing_ok=True)
    # It ends with 1 if it finds something, and also if it reaches nobody.
    session.run(
        "pip-audit", "-r", str(requirements), "-f", "json", "-o", str(report), silent=True, success_codes=[0, 1]
    )
    if not report.exists():
        session.warn("NOT AUDITED: pip-audit gave no report; is the network there?")
        return
    audited = json.loads(report.read_text(encoding="utf-8"))["dependencies"]
    skipped = [each["name"] for each in audited if "skip_reason" in each]
    if skipped:
        session.warn(f"NOT AUDITED, since the vulnerability service does not know them: {', '.join(skipped)}")
    found = [f"{each['name']} {each['version']}: {flaw['id']}" for each in audited for flaw in each.get("vulns", ())]
    if found:
        session.error("\n".join(found))
    session.log(f"{len(audited) - len(skipped)} of {len(audited)} packages audited, nothing found")
