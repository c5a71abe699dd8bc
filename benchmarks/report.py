"""How results are told: on what machine, whether a promise is kept, and the file that keeps the numbers."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results.json")

PACKAGES = (
    *("aiohttp", "attrs", "cattrs", "msgspec", "orjson", "yarl"),
    *("httpx", "pydantic", "openapi-python-client", "dlt", "uvloop"),
)


def machine() -> dict[str, Any]:
    """Print what the numbers depend on, and return it."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "cpu": model[1] if model else platform.processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }
    packages = ", ".join(f"{name} {found}" for name, found in facts["packages"].items())
    print(f"\nPython {facts['python']}, {facts['cores']} cores of {facts['cpu']}, load {facts['load']}; {packages}")
    return facts


def table(title: str, heads: Iterable[str], rows: dict[str, Iterable[str]]) -> None:
    """Print rows of cells under heads."""
    print(f"\n{title}")
    print(f"  {'':<28}" + "".join(f"{head:>17}" for head in heads))
    for name, cells in rows.items():
        print(f"  {name:<28}" + "".join(f"{cell:>17}" for cell in cells))


def promise(text: str, value: float, *, least: float | None = None, most: float | None = None) -> dict[str, Any]:
    """Print whether a promise is kept, and return it with what was measured."""
    kept = (least is None or value >= least) and (most is None or value <= most)
    bound = f"at least {least:g}" if least is not None else f"at most {most:g}"
    print(f"  {text}: {value:.3f}, promised {bound}: {'kept' if kept else 'NOT KEPT'}")
    return {"promise": text, "measured": round(value, 3), "bound": bound, "kept": kept}


def save(section: str, results: dict[str, Any]) -> None:
    """Put results into the file, and leave its other sections as they are."""
    saved = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    saved[section] = json.loads(json.dumps(results), parse_float=lambda text: float(f"{float(text):.4g}"))
    RESULTS.write_text(json.dumps(saved, indent=1, ensure_ascii=False) + "\n")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
