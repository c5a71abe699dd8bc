"""The report of `doctor`: what was received, without names, ids, URLs and texts. Their form stays.

Each word that is not public is replaced by random characters of the same kinds, equal words by equal ones. All times
are shifted by the same number of days. What stays: public words, the names of fields, statuses, counts and durations.
"""

from __future__ import annotations

import gzip
import json
import re
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from email.utils import formatdate
from itertools import count
from typing import Any

import attrs

from buddy_sessions import BuddyError, CIProvider, Member, RefType, SessionStatus, TestStatus, __version__

from .record import Exchange, load, parse_time
from .row_checks import COUNTS, FORMS

MAX_BYTES = 100_000
"""The maximum size of a report."""
_FORMAT = 1
_MAX_TEXT = 200  # characters
_MAX_ROWS = 200, 50, 10  # of a list; the first that is small enough counts
_DAY = 86_400

_HEADERS = re.compile("date|content-type|retry-after|location|(x-)?rate-?limit.*")
_WORD = re.compile(r"[^\W_]+|[^\x00-\x7f]")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_TIME = re.compile(r"(\d{4}-\d{2}-\d{2})(T[\d:.Z+-]+)")
_FIELD = re.compile("[a-z][a-z_]{1,30}")
_CONSTANT = re.compile("[A-Z][A-Z_]{2,30}")
_ENTITY = re.compile(r"&#?\w+;")
_LONG_TEXT = re.compile(rf'([^<>"]{{{_MAX_TEXT}}})[^<>"]+')

_ROWS = {"", "sessions", "suites", "projects", "cases", "workspaces", "created_by"}
"""The fields of objects whose names are fields of Buddy: in other objects, names may be data."""
_CONSTANT_FIELDS = {"status", "ref_type", "ci_provider", "scopes"}
_NUMBER_FIELDS = {"relative_id", *COUNTS, "duration", "time", "page", "per_page"}
PUBLIC = {
    word.casefold()
    for name in (
        *(field.name for model in {*(each for each, _ in FORMS.values()), Member} for field in attrs.fields(model)),
        *(field.name for field in attrs.fields(Exchange)),
        *(value for enum in (SessionStatus, TestStatus, CIProvider, RefType) for value in enum),
        "main master develop head merge pull refs heads no such branch",
        "https api app eu asia buddy works github com actions runs user token workspaces projects unit tests suites",
        "session sessions test groups case cases default domain errors message disabled expires scopes restrictions",
        "testcase failure skipped system out err name classname type stackTrace CDATA true false null",
        "application json charset utf 8 text html plain date content retry after location x rate limit remaining reset",
        "TLS GMT format version exchanges page window again beyond region infinity",
    )
    for word in _WORD.findall(name.replace("_", " "))
}
"""Words that say nothing about an account: they are in Buddy's documentation, or in every account."""


def make_report(exchanges: Sequence[Exchange]) -> bytes:
    """Return the report as compressed JSON. Raises `BuddyError` if a word of the account would remain in it."""
    received = [
        [each.path, *each.query.values(), *each.headers.values(), _body(each), each.error] for each in exchanges
    ]
    disguise = _Disguise(_words(json.dumps(received, ensure_ascii=False)))
    for rows in _MAX_ROWS:
        document = {"format": _FORMAT, "version": __version__, "exchanges": disguise.exchanges(exchanges, rows)}
        text = json.dumps(document, ensure_ascii=False, indent=1)  # people read it before they send it
        report = gzip.compress(text.encode(errors="backslashreplace"), mtime=0)
        if len(report) <= MAX_BYTES:
            break
    else:
        raise BuddyError(f"the report is larger than {MAX_BYTES // 1000} kB: name a suite with shorter names")
    if remaining := (disguise.received & _words(text)) - _words(" ".join(disguise.kept)):
        raise BuddyError(
            f"{len(remaining)} words of the account would be in the report, which is not written: "
            f"{', '.join(sorted(remaining)[:3])}; send the output of the command instead"
        )
    return report


def read_report(report: bytes) -> list[Exchange]:
    """Return the exchanges in a report. Raises ValueError if it is none."""
    try:
        document = json.loads(gzip.decompress(report))
        return [
            Exchange(**{**fields, "path": tuple(fields["path"]), "body": _encode(fields.pop("body"))})
            for fields in document["exchanges"]
            if document["format"] == _FORMAT
        ]
    except (OSError, EOFError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(str(error)) from None


def _encode(body: Any) -> bytes:
    """Return a body: a text as it is, any other value as JSON."""
    return (body if isinstance(body, str) else json.dumps(body)).encode(errors="surrogatepass")


def _body(exchange: Exchange) -> Any:
    """Return the object or list in a body, or its text if there is none."""
    document = load(exchange.body)
    return document if isinstance(document, dict | list) else exchange.body.decode(errors="replace")


def _words(text: str) -> set[str]:
    """Return the words that may name something, in lower case: those with four letters that are not public."""
    words = {word.casefold() for word in _WORD.findall(_ESCAPE.sub(" ", text))}
    return {word for word in words if sum(map(str.isalpha, word)) >= 4} - PUBLIC


class _Disguise:
    """Replaces words.

    Attributes:
        received: The words that were received.
        kept: The names of fields and the constants, which stay.
    """

    def __init__(self, received: set[str]) -> None:
        self.received = received
        self.kept: set[str] = set()
        self._new_words: dict[str, str] = {}
        self._used = {*PUBLIC}
        self._days = 7 * (100 + secrets.randbelow(300))  # to the past

    def exchanges(self, exchanges: Sequence[Exchange], rows: int) -> list[dict[str, Any]]:
        """Return exchanges as JSON values."""
        return [
            {
                **attrs.asdict(each),
                "path": [self._text(name) for name in each.path],
                "query": {name: self._value(name, value, rows) for name, value in each.query.items()},
                "headers": {name: self._header(name, each) for name in each.headers if _HEADERS.fullmatch(name)},
                "body": self._value("", _body(each), rows),
                "seconds": round(each.seconds, 3),
                "at": round(each.at - self._days * _DAY, 3),
                "error": self._text(each.error),
            }
            for each in exchanges
        ]

    def _header(self, name: str, exchange: Exchange) -> str:
        value, shift = exchange.headers[name], self._days * _DAY
        if name == "date" and exchange.server_time is not None:
            return formatdate(exchange.server_time - shift, usegmt=True)
        if value.isdecimal():
            return str(int(value) - shift) if int(value) >= 10**9 else value  # a reset is a Unix time
        return self._text(value)

    def _value(self, field: str, value: Any, rows: int) -> Any:
        """Return the value of a field, or of an element of a list in it."""
        if isinstance(value, dict):
            keeps = field in _ROWS
            names = {name: self._keep(name) if keeps and _FIELD.fullmatch(name) else self._text(name) for name in value}
            return {names[name]: self._value(name, each, rows) for name, each in value.items()}
        if isinstance(value, list):
            return [self._value(field, each, rows) for each in value[:rows]]
        if isinstance(value, str):
            return self._field_text(field, value)
        if not value or isinstance(value, bool | float) or field in _NUMBER_FIELDS:
            return value
        return int(self._text(str(value)))

    def _field_text(self, field: str, text: str) -> str:
        if field in _CONSTANT_FIELDS and _CONSTANT.fullmatch(text):
            return self._keep(text)
        if (time := _TIME.fullmatch(text)) and (parse_time(text) or 0) > 0:
            day = datetime.fromisoformat(time[1]) - timedelta(days=self._days)
            return f"{day:%Y-%m-%d}{time[2]}"
        if field != "data":
            return self._text(text[:_MAX_TEXT])
        document = load(text.encode(errors="surrogatepass"))
        if isinstance(document, dict):
            return json.dumps(self._value(field, document, rows=10), ensure_ascii=False)
        return self._text(_LONG_TEXT.sub(r"\1", _ENTITY.sub("?", text)))

    def _keep(self, name: str) -> str:
        self.kept.add(name)
        return name

    def _text(self, text: str) -> str:
        return _WORD.sub(lambda match: self._word(match[0]), text)

    def _word(self, word: str) -> str:
        """Return another word of the same form: the same one for an equal word, and for no other."""
        if word.casefold() in PUBLIC:
            return word
        for attempt in count():
            if word in self._new_words:
                break
            form = word + word[-1] * (attempt // 50)  # there are few words of one letter
            new = "".join(_same_kind(form, index) for index in range(len(form)))
            if new not in self._used and new.casefold() not in self.received:
                self._used.add(new)
                self._new_words[word] = new
        return self._new_words[word]


def _same_kind(word: str, index: int) -> str:
    """Return a random character of the same kind as the one at an index: without vowels, they are no words."""
    old = word[index]
    if old.isdecimal():
        return secrets.choice("0123456789" if index else "12345678")  # a number keeps its digits, and fits 64 bits
    if not old.isalpha():
        return chr(0x2800 + secrets.randbelow(256))  # a Braille pattern: there are enough for all symbols
    hexadecimal = re.fullmatch("[0-9a-f]{7,}", word)
    letter = secrets.choice(
        "abcdef" if hexadecimal else "bcdfghjklmnpqrstvwxz" if old.isascii() else "áâãäåæçèéêëìíîïð"
    )
    return letter.upper() if old.isupper() else letter
