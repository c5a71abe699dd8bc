"""The checks: `nox` runs tests, linter and type checkers; `nox -l` lists all sessions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import zipfile
from itertools import chain
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["tests", "lint", "types"]
# A Python that is not installed is skipped, also on a build server; none is downloaded.
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)
EXTRAS = (needs for name, needs in PROJECT["project"]["optional-dependencies"].items() if name != "all")
REQUIREMENTS = [*PROJECT["project"]["dependencies"], *chain.from_iterable(EXTRAS)]
"""All of the package, with its extras."""
PARALLEL = ["-n", str(1 + (os.cpu_count() or 1)), "--dist", "worksteal"]
"""Options of pytest: one worker more than cores, because tests wait for processes, and each worker imports them all."""
LONG_TESTS = [
    "tests/_http/test_responses.py",
    "tests/_paging/test_end.py",
    "tests/_paging/test_reconciler_model.py",
    "tests/store/test_kill.py",
    "tests/store/test_sync_model.py",
]
"""The laws that `nox -s long` tests with many more examples."""

SMOKE = """
import asyncio
from buddy_sessions import BuddyClient
from buddy_sessions.testing import FakeBuddy, Fault

async def main():
    async with FakeBuddy() as fake, BuddyClient(fake.token, base_url=fake.base_url) as buddy:
        suite = fake.add_suite("acme", "shop", "MNbyVedg").populate(250)
        fake.inject(Fault.status(503))
        print(len(await buddy.sessions(suite.key).collect()), "sessions")

asyncio.run(main())
"""
"""A program that needs every dependency and no extra."""


def groups(name: str) -> list[str]:
    """Return the requirements of a dependency group."""
    return list(nox.project.dependency_groups(PROJECT, name))


def install_wheel(session: nox.Session, *options: str) -> None:
    """Build the wheel and install it, so that the released files are tested, not the checkout."""
    folder = Path(session.create_tmp()).resolve()
    session.install("hatchling")
    session.run("hatchling", "build", "-t", "wheel", "-d", str(folder), silent=True)
    (wheel,) = folder.glob("*.whl")
    session.install(*options, f"{wheel}[all]", *groups("test"))
    wheel.unlink()


def run_python(session: nox.Session, *arguments: str, **variables: str) -> None:
    """Run Python without the current folder in its path, because the checkout would shadow the installed wheel.

    It may save bytecode, whatever the environment says: otherwise, each process would compile all modules.
    """
    session.run("python", *arguments, env={"PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": None, **variables})


def measure_coverage(session: nox.Session, *arguments: str) -> None:
    """Run pytest with these arguments, and report branch coverage. Fails below the limit in `pyproject.toml`."""
    data = str(Path(session.create_tmp(), "coverage").resolve())
    run_python(session, "-m", "coverage", "erase", COVERAGE_FILE=data)
    run_python(session, "-m", "coverage", "run", "-m", "pytest", *arguments, COVERAGE_FILE=data)
    run_python(session, "-m", "coverage", "combine", "--quiet", COVERAGE_FILE=data)
    run_python(session, "-m", "coverage", "report", COVERAGE_FILE=data)


def newest_python() -> str | None:
    """Return the newest Python that is installed. Coverage costs least on it."""
    for version in reversed(PYTHONS):
        # Running it is the only proof: pyenv has commands for inactive versions, which fail.
        if python := shutil.which(f"python{version}"):
            done = subprocess.run([python, "-c", ""], capture_output=True, check=False)  # noqa: S603 - from the PATH
            if done.returncode == 0:
                return version
    return None


NEWEST = newest_python()


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests on the built wheel, without the slow ones, on the Python that runs nox.

    If the variable `COVERAGE_FILE` is set, as in `.ci/run`, branch coverage is measured.
    """
    install_wheel(session)
    measure = ["-m", "coverage", "run"] if "COVERAGE_FILE" in os.environ else []
    run_python(session, *measure, "-m", "pytest", *PARALLEL, *session.posargs, TESTS="quick")


@nox.session(python=PYTHONS)
def tests_all(session: nox.Session) -> None:
    """Run all tests, the slow ones, too, on each Python, and measure branch coverage on the newest one."""
    install_wheel(session)
    if session.python == NEWEST and not session.posargs:
        measure_coverage(session, *PARALLEL)
    else:
        run_python(session, "-m", "pytest", *PARALLEL, *session.posargs)


@nox.session(venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """Run all tests with the oldest releases that the package allows."""
    install_wheel(session, "--resolution=lowest-direct", *REQUIREMENTS)
    run_python(session, "-m", "pytest", *PARALLEL, *session.posargs)


@nox.session
def long(session: nox.Session) -> None:
    """Search for an hour: random lists and responses, 100 killed syncs, and a harvest of 20 minutes with failures.

    The arguments, such as the name of a test, select what pytest runs; then the harvest is left out.
    """
    install_wheel(session)
    run_python(session, "-m", "pytest", *PARALLEL, *(session.posargs or LONG_TESTS), TESTS="long")
    if not session.posargs:
        run_python(session, "benchmarks/soak.py")


@nox.session
def faults(session: nox.Session) -> None:
    """Run the tests of faults, and list their outcomes."""
    install_wheel(session)
    run_python(session, "-m", "pytest", "-v", "-m", "fault", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the guides and the reference as one site in `build/docs`, with `llms.txt`. A warning is an error."""
    session.install("-e", ".[cli]", *groups("docs"))
    session.run("mkdocs", "build", "--strict", "-f", ".github/site/mkdocs.yml", env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def pictures(session: nox.Session) -> None:
    """Make the pictures of the README. Needs Chromium and its chromedriver."""
    session.install("-e", ".[cli,report]", *groups("pictures"))
    session.run("python", ".github/site/pictures.py", env={"PYTHONPATH": "tests"})


@nox.session
def integrations(session: nox.Session) -> None:
    """Test the recipes with their tools, the report in a browser, and Buddy's reporters; list missing tools."""
    install_wheel(session)
    session.install(*groups("integrations"))
    if session.posargs:
        run_python(session, "-m", "pytest", *session.posargs)
    else:
        files = map(str, sorted(Path("tests/integrations").glob("test_*.py")))
        parallel = ["-n", "2", "--dist", "loadfile"]  # the tests of a file share servers
        run_python(session, "-m", "pytest", *parallel, *files)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style, and the security of the workflows."""
    session.install(*groups("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("zizmor", "--offline", "--quiet", ".github")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types with two checkers, and the public signatures with a third."""
    session.install(".[all]", *groups("types"))
    session.run("mypy")
    session.run("pyright")
    session.run("ty", "check", "--error-on-warning", "tests/typing")


@nox.session
def bench(session: nox.Session) -> None:
    """Compare the promises with measurements; update `results.json` and the charts. Fail if a promise is not met."""
    install_wheel(session)
    session.install(*groups("bench"))
    path = os.pathsep.join(map(os.path.abspath, ("benchmarks", "tests")))  # their shared modules
    for script in sorted(Path("benchmarks").glob("bench_*.py")):
        run_python(session, str(script), *session.posargs, PYTHONPATH=path)
    if not session.posargs:  # otherwise, no results were saved
        run_python(session, "benchmarks/report.py")


@nox.session
def package(session: nox.Session) -> None:
    """Build the released files, and check their contents and metadata, that they install and can be built again."""
    session.install(*groups("package"))
    folder = Path(session.create_tmp()).resolve()
    shutil.rmtree(folder)
    session.run("hatchling", "build", "-d", str(folder), silent=True)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    session.run("twine", "check", "--strict", str(wheel), str(sdist))
    session.run("check-wheel-contents", str(wheel))

    release, info = sdist.name.removesuffix(".tar.gz"), ("METADATA", "RECORD", "WHEEL", "entry_points.txt")
    modules = {name for name in file_names("buddy_sessions") if not name.endswith(".md")}  # the guides are not in it
    metadata = {f"{release}.dist-info/{name}" for name in (*info, "licenses/LICENSE")}
    check_names(session, zipfile.ZipFile(wheel).namelist(), modules | metadata)
    others = {".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "noxfile.py", "pyproject.toml"}
    sources = others.union(*map(file_names, ("buddy_sessions", "tests", "benchmarks", ".github")))
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
        check_names(session, archive.getnames(), {f"{release}/{name}" for name in sources})

    with session.chdir(folder / release):
        session.run("hatchling", "build", "-t", "wheel", "-d", "dist", silent=True)
    if (folder / release / "dist" / wheel.name).read_bytes() != wheel.read_bytes():
        session.error("the sdist builds a different wheel than the checkout")

    session.run("python", "-m", "venv", str(folder / "venv"))
    python = str(folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python")
    session.run(python, "-m", "pip", "install", "--quiet", str(wheel), external=True)
    session.run(python, "-m", "pip", "check", external=True)
    # Isolated mode, so that the installed package is imported, not the checkout.
    session.run(python, "-I", "-W", "error", "-c", SMOKE, external=True)


def file_names(folder: str) -> set[str]:
    """Return the names of all files in a folder, except compiled ones."""
    return {path.as_posix() for path in Path(folder).rglob("*") if path.is_file() and path.suffix != ".pyc"}


def check_names(session: nox.Session, names: list[str], expected: set[str]) -> None:
    """Fail unless an archive contains exactly the expected names."""
    if different := sorted(expected.symmetric_difference(names)):
        session.error(f"unexpected or missing files: {', '.join(different)}")


@nox.session(venv_backend="uv")
def pins(session: nox.Session) -> None:
    """Pin what the action installs, with hashes, to the newest releases, after a dependency of the package changed."""
    options = "--extra cli --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --upgrade"
    pins = ".github/actions/gate/requirements.txt"
    session.run("uv", "pip", "compile", "--quiet", "pyproject.toml", *options.split(), "-o", pins, external=True)


@nox.session
def audit(session: nox.Session) -> None:
    """Search the dependencies of the package and its extras for known vulnerabilities. Needs the network."""
    session.install(*groups("audit"))
    folder = Path(session.create_tmp()).resolve()
    requirements, report = folder / "requirements.txt", folder / "audit.json"
    requirements.write_text("\n".join(REQUIREMENTS), encoding="utf-8")
    report.unlink(missing_ok=True)
    # It exits with 1 if it finds a vulnerability, but also without a network.
    session.run(
        "pip-audit", "-r", str(requirements), "-f", "json", "-o", str(report), silent=True, success_codes=[0, 1]
    )
    if not report.exists():
        session.warn("NOT AUDITED: pip-audit wrote no report; is there a network?")
        return
    audited = json.loads(report.read_text(encoding="utf-8"))["dependencies"]
    skipped = [each["name"] for each in audited if "skip_reason" in each]
    if skipped:
        session.warn(f"NOT AUDITED, unknown to the vulnerability service: {', '.join(skipped)}")
    vulnerabilities = [
        f"{each['name']} {each['version']}: {flaw['id']}" for each in audited for flaw in each.get("vulns", ())
    ]
    if vulnerabilities:
        session.error("\n".join(vulnerabilities))
    session.log(f"{len(audited) - len(skipped)} of {len(audited)} packages audited, no vulnerability found")
