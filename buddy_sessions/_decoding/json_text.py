"""Decodes JSON. Half of a surrogate pair, which JSON allows and UTF-8 does not, becomes U+FFFD, so that ids agree."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

# One escape after the other, so that an escaped backslash begins none. The group is half a pair.
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)", re.DOTALL)


def decode_json(text: str) -> Any:
    """Return the value of a JSON text. Raises ValueError or RecursionError if it is not valid, also for NaN."""
    if "\\" in text and ("\\ud" in text or "\\uD" in text):  # a search for one character costs nothing
        text = _ESCAPE.sub(lambda escape: r"\ufffd" if escape[1] else escape[0], text)
    return _JSON.decode(text)


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed")


_JSON = json.JSONDecoder(parse_constant=_reject_constant)  # by default, it accepts NaN and Infinity
