"""The shape of responses: which fields they have, of which types and forms, and how often. No value is in it.

Words of a response are kept in two places only: the names of unknown fields of documented objects, and unknown values
of enumerations, if they look like such names and values. All others are counted.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeAlias, get_args, get_type_hints

import attrs

from buddy_sessions import Member, Project, Session, Suite, TestCase

Kind: TypeAlias = frozenset[str] | str | None
"""What a field contains: values of an enumeration, an object of `OBJECTS`, a list of either, or anything else."""

NOT_SHOWN = "(not shown)"
"""Stands for names and values that are counted only."""
MAX_WORDS = 20
"""How many unknown fields are shown, and how many unknown values of one enumeration."""
CONSTANT = re.compile("[A-Z][A-Z_]{1,30}")
"""A value of an enumeration, for instance a scope."""
_FIELD = re.compile("[a-z][a-z0-9_]{0,30}")
_INTERNAL = {"key", "failure"}  # fields of the models that are not in responses


def _fields(model: type) -> dict[str, Kind]:
    kinds: dict[str, Kind] = {}
    for name, hint in get_type_hints(model).items():
        types = get_args(hint) or (hint,)
        enum = next((each for each in types if isinstance(each, type) and issubclass(each, StrEnum)), None)
        kinds[name] = "member" if Member in types else None if enum is None else frozenset(enum)
    return {field.name: kinds[field.name] for field in attrs.fields(model) if field.name not in _INTERNAL}


def _any(*names: str) -> dict[str, Kind]:
    return dict.fromkeys(names)


NEEDED_SCOPES = frozenset({"UNIT_TEST_READ", "UNIT_TEST_INFO", "PROJECT_READ", "WORKSPACE"})
"""The scopes that this package needs, by their newer and older names."""
_SCOPES = NEEDED_SCOPES | {"UNIT_TEST_WRITE", "UNIT_TEST_MANAGE", "WORKSPACE_READ", "TOKEN_INFO"}

OBJECTS: dict[str, Mapping[str, Kind]] = {
    "session": _fields(Session),
    "member": _fields(Member),
    "case": _fields(TestCase),
    "suite": {**_fields(Suite), "token": None},
    "project": {**_fields(Project), "status": frozenset({"ACTIVE", "CLOSED"}), **_any("access", "create_date")},
    "workspace": _any("url", "html_url", "id", "name", "domain"),
    **{
        f"{name}s": {"url": None, "html_url": None, f"{name}s": name}
        for name in ("session", "case", "suite", "project", "workspace")
    },
    "errors": {"errors": "error"},
    "error": _any("message"),
    "headers": {
        **_any("date", "content-type", "retry-after", "location", "link", "etag", "server", "x-total-count"),
        **_any("x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-reset"),
        **_any("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "ratelimit-policy"),
        **dict.fromkeys(("x-oauth-scopes", "x-0auth-scopes"), _SCOPES),
        **dict.fromkeys(("x-accepted-oauth-scopes", "x-accepted-0auth-scopes"), _SCOPES),
    },
}
"""The documented objects: their fields, and what each contains."""

_HOSTS = {
    "API": r"(?:https://api\.(?:(?:eu|asia)\.)?buddy\.works|https?://[^/]+/api)",
    "PAGES": r"https://(?:app|eu|asia|app\.eu|app\.asia)\.buddy\.works",
    "GITHUB": r"https://github\.com",
}
_SUITES = "API/workspaces/*/projects/*/unit-tests/suites"
_URLS = (
    *("API/workspaces", "API/workspaces/*", "API/workspaces/*/members/*"),
    *("API/workspaces/*/projects", "API/workspaces/*/projects/*", _SUITES, f"{_SUITES}/*", f"{_SUITES}/*/sessions"),
    *(f"{_SUITES}/*/sessions/*{rest}" for rest in ("", "/cases", "/test-groups/*/cases/*")),
    *("PAGES/*", "PAGES/*/*", "PAGES/*/*/unit-tests", "PAGES/*/*/unit-tests/*", "PAGES/*/*/unit-tests/*/*"),
    *("PAGES/*/-/profile/*", "PAGES/*/projects/*", "GITHUB/*/*/actions/runs/*"),
)
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
_FORMS = {
    "empty text": "",
    "time with Z": f"{_TIME}Z",
    "time with fraction and Z": rf"{_TIME}\.\d+Z",
    "time with offset": rf"{_TIME}(?:\.\d+)?[+-]\d\d:?\d\d",
    "time without zone": rf"{_TIME}(?:\.\d+)?",
    "day without time": r"\d{4}-\d\d-\d\d",
    "HTTP date": r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT",
    "decimal digits": r"\d+",
    **{f"{count} hexadecimal digits": f"[0-9a-f]{{{count}}}" for count in (24, 32, 40, 64)},
    "8 letters and digits": "[A-Za-z0-9]{8}",
    "UUID": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "number/merge": r"\d+/merge",
    "pull/number": r"pull/\d+",
    "application/json": r"application/json(?:; ?charset=utf-8)?",
    "text/html": r"text/html(?:; ?charset=utf-8)?",
    "e-mail address": r"[^@\s]+@[^@\s]+",
    **{url: _HOSTS[url.split("/")[0]] + url[url.index("/") :].replace("*", "[^/?#]+") for url in _URLS},
    **{f"{host}, another path": rf"{pattern}/\S*" for host, pattern in _HOSTS.items()},
    "another URL": r"https?://\S+",
    "XML of a test case": r"\s*<testcase\b.*",
    "XML": r"\s*<.*",
    "JSON object": r"\s*\{.*",
    "word": r"\w+",
    "name": r"\S+",
    "text": r"[^\r\n]+",
    "text of several lines": ".*",
}
"""The forms of texts, and their patterns. The first one that matches counts."""
_PATTERNS = {form: re.compile(pattern, re.ASCII | re.DOTALL) for form, pattern in _FORMS.items()}


@attrs.define
class Shape:
    """The fields of responses. Each counter has the forms of values, and how often each was seen.

    Attributes:
        fields: The fields of each response, by its name and the path in it, such as `sessions[].created_by.name`.
        unknown_fields: Fields of documented objects that are not documented, such as `session.labels`.
        unknown_values: Values of enumerations that are not documented, by the field, such as `session.status`.
    """

    fields: dict[str, dict[str, Counter[str]]] = attrs.field(factory=dict)
    unknown_fields: dict[str, Counter[str]] = attrs.field(factory=dict)
    unknown_values: dict[str, Counter[str]] = attrs.field(factory=dict)

    def add(self, name: str, value: object) -> None:
        """Add the JSON value of a response, which is documented as the object with this name."""
        self._add(self.fields.setdefault(name, {}), "body", value, name, name)

    def _add(self, fields: dict[str, Counter[str]], path: str, value: Any, kind: Kind, place: str) -> None:
        forms = fields.setdefault(path, Counter())
        if isinstance(value, str) and isinstance(kind, frozenset):
            forms[value if value in kind else self._unknown_value(value, place)] += 1
        else:
            forms[form_of(value)] += 1
        if isinstance(value, list) and not path.endswith("[]"):
            for each in value:
                self._add(fields, f"{path}[]", each, kind, place)
        if isinstance(value, dict) and value:
            self._add_object(fields, path, value, str(kind))

    def _add_object(self, fields: dict[str, Counter[str]], path: str, value: dict[str, Any], kind: str) -> None:
        documented = OBJECTS.get(kind, {})
        if not value.keys() & documented.keys():  # it is another object
            documented = {}
        for name, of in documented.items():
            inner = f"{path}.{name}".removeprefix("body.")
            if name in value:
                self._add(fields, inner, value[name], of, f"{kind}.{name}")
            else:
                fields.setdefault(inner, Counter())["missing"] += 1
        for name in (name for name in value if name not in documented):
            if documented:
                self._add_unknown_field(kind, name, value[name])
            else:
                fields[path]["unknown name"] += 1

    def _unknown_value(self, value: str, place: str) -> str:
        values = self.unknown_values.setdefault(place, Counter())
        is_shown = CONSTANT.fullmatch(value) and (value in values or len(values) < MAX_WORDS)
        values[value if is_shown else NOT_SHOWN] += 1
        return "unknown value"

    def _add_unknown_field(self, kind: str, name: str, value: object) -> None:
        words = self.unknown_fields
        is_shown = _FIELD.fullmatch(name) and (f"{kind}.{name}" in words or len(words) < MAX_WORDS)
        words.setdefault(f"{kind}.{name}" if is_shown else f"{kind} {NOT_SHOWN}", Counter())[form_of(value)] += 1


def form_of(value: object) -> str:
    """Return the type of a JSON value; of a text its form."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | float):
        return f"{'negative ' if value < 0 else ''}{'whole' if isinstance(value, int) else 'decimal'} number"
    if isinstance(value, dict | list):
        kind = "object" if isinstance(value, dict) else "list"
        return kind if value else f"empty {kind}"
    return next(form for form, pattern in _PATTERNS.items() if pattern.fullmatch(str(value)))


def load_json(text: str | bytes) -> Any:
    """Return a JSON value; None if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
