"""The responses in `tests/fixtures/buddy`: see its README."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent.parent / "fixtures" / "buddy"
RESPONSES: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(_FOLDER.glob("*.json"))
}
"""The responses by name: `path`, `status`, `headers` and `body`."""
