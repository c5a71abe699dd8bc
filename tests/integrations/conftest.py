"""Servers that several of these tests need."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server with its own folder, which listens on no port."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=None)
    initdb = shutil.which("initdb", path=programs or os.environ.get("PATH"))
    if initdb is None:
        pytest.skip("no PostgreSQL: initdb is neither in /usr/lib/postgresql/*/bin nor on the PATH")
    # It refuses to run as root. Debian's package creates a user for it.
    other: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory() as folder:  # pytest's are private, and too long for a socket
        if other:
            shutil.chown(folder, "postgres", "postgres")
        data, control = f"{folder}/data", Path(initdb).with_name("pg_ctl")
        options = f"-c listen_addresses= -c unix_socket_directories={folder}"

        def run(*command: str | Path) -> None:
            subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, **other)

        run(initdb, "-D", data, "-U", "buddy", "-A", "trust", "--no-sync", "--encoding=UTF8", "--locale=C")
        run(control, "start", "-w", "-D", data, "-o", options, "-l", f"{folder}/log")
        try:
            yield f"postgresql://buddy@/postgres?host={folder}"
        finally:
            run(control, "stop", "-w", "-D", data, "-m", "immediate")
