"""Reports results: the machine, tables, whether promised limits are met, and `results.json` with the latest numbers.

Run it to print all limits in `results.json`. It fails if one is not met.

A promise is met if the value does not miss it by more than the noise: how much two runs of the same code differ.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

QUICK = "--quick" in sys.argv
"""Whether to measure less of everything, and to save nothing."""

TIME_NOISE = 0.05
"""The share by which times, and rates per CPU second, differ on a quiet machine. Counts and sizes have no noise."""

_RESULTS = Path(__file__).with_name("results.json")

_PACKAGES = (
    *("aiohttp", "attrs", "cattrs", "msgspec", "orjson", "yarl"),
    *("httpx", "pydantic", "openapi-python-client", "uvloop"),
)


def machine() -> dict[str, Any]:
    """Print and return the facts that the numbers depend on."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "cpu": model[1] if model else platform.processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "packages": {name: installed for name in _PACKAGES if (installed := _version(name))},
    }
    packages = ", ".join(f"{name} {installed}" for name, installed in facts["packages"].items())
    print(f"\nPython {facts['python']}, {facts['cores']} cores of {facts['cpu']}, load {facts['load']}; {packages}")
    return facts


def table(title: str, columns: Mapping[str, str], rows: Mapping[str, Mapping[str, object]]) -> None:
    """Print a table.

    Args:
        title: The line above it.
        columns: The template of each column's cells by its heading, such as `"{cpu:.2f} s"`.
        rows: The values of each row by its name. A cell without its value is `-`.
    """
    lines = [["", *columns]]
    for name, values in rows.items():
        lines.append([name, *(_cell(template, values) for template in columns.values())])
    widths = [max(map(len, column)) + 2 for column in zip(*lines, strict=True)]
    print(f"\n{title}")
    for name, *cells in lines:
        print(
            f"  {name:{widths[0]}}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        )


def check_limit(
    name: str, value: float, kind: Literal["at least", "at most"], limit: float, *, noise: float = 0.0
) -> dict[str, Any]:
    """Print whether a measured value meets a promised limit, and return the result for `results.json`.

    Args:
        name: What was measured.
        value: The measured value.
        kind: Whether more or less is better.
        limit: What is promised.
        noise: The share of the limit by which the value may miss it.
    """
    is_met = value >= limit * (1 - noise) if kind == "at least" else value <= limit * (1 + noise)
    promised = f"{kind} {limit:g}" + (f" ({noise:.0%} noise)" if noise else "")
    print(f"  {name}: {value:.3f}, promised {promised}: {_met(is_met)}")
    return {"name": name, "measured": round(value, 3), "promised": promised, "met": is_met}


def save(section: str, results: dict[str, Any]) -> None:
    """Replace one section of `results.json`, unless `QUICK`. Numbers are rounded to four digits."""
    if QUICK:
        return
    saved = json.loads(_RESULTS.read_text()) if _RESULTS.exists() else {}
    saved[section] = json.loads(json.dumps(results), parse_float=lambda text: float(f"{float(text):.4g}"))
    _RESULTS.write_text(json.dumps(saved, indent=1, ensure_ascii=False) + "\n")


def main() -> None:
    """Print each saved limit, and whether it is met. Exit with an error if one is not."""
    missed: list[str] = []
    for section, results in json.loads(_RESULTS.read_text()).items():
        facts = results["machine"]
        rows = {each["name"]: {**each, "met": _met(each["met"])} for each in results["limits"]}
        columns = {"measured": "{measured:g}", "promised": "{promised}", "": "{met}"}
        machine_text = f"Python {facts['python']}, {facts['cores']} cores of {facts['cpu']}, load {facts['load']}"
        table(f"{section} ({machine_text})", columns, rows)
        missed += [f"{section}: {each['name']}" for each in results["limits"] if not each["met"]]
    if missed:
        sys.exit(f"\n{len(missed)} not met: {'; '.join(missed)}")


def _met(is_met: bool) -> str:
    return "met" if is_met else "NOT MET"


def _cell(template: str, values: Mapping[str, object]) -> str:
    try:
        return template.format(**values)
    except KeyError:
        return "-"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
