"""The report of `doctor`: what was received, without names, ids, URLs and texts. Their form stays.

Each word is replaced by another one of the same length and kind of characters, and equal words by equal ones. All times
are shifted by the same number of days. What is kept: the names of fields, documented values, counts and durations.
"""

from __future__ import annotations

import gzip
import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from email.utils import formatdate
from hashlib import blake2b
from itertools import count, cycle
from math import isfinite
from typing import Any

import attrs

from buddy_sessions import BuddyError, CIProvider, Member, RefType, SessionStatus, TestStatus, __version__

from .probe import NO_BRANCH
from .record import Exchange, load, parse_time
from .row_checks import MODELS

MAX_BYTES = 100_000
"""The maximum size of a report."""
_FORMAT = 1
_MAX_TEXT = 200  # characters
_MAX_ROWS = 200, 50, 10  # of a list; the first that is small enough counts
_DAY = 86_400
_MIN_WORD = 3  # characters: shorter ones name nothing

_HEADERS = re.compile("date|content-type|retry-after|location|(x-)?rate-?limit.*")
_WORD = re.compile(r"\\u[0-9a-fA-F]{4}|&(?:amp|lt|gt|quot|apos|#\w+);|\\.|[^\W_]+|[^\x00-\x7f]", re.DOTALL)
_TIME = re.compile(r"(\d{4}-\d{2}-\d{2})([T ]\d{2}:[\d:.Zz+-]+)")
_SHORT_NUMBER = re.compile(r"\d{1,5}")
_CONSTANT = re.compile("[A-Z][A-Z_]{2,30}")
_FIELD = re.compile("[a-z][a-z_]{1,30}")
_HEX = re.compile("[0-9a-f]{7,}")
_LONG_TEXT = re.compile(rf'([^<>"]{{{_MAX_TEXT}}})[^<>"]+')
_ESCAPE = re.compile(r"\\u[0-9a-fA-F]{4}")
_PART_OF_ENTITY = re.compile(r"&#?\w*$")
_ASCII_LETTERS = "bcdfghjklmnpqrstvwxz"  # without vowels, they are no word
_OTHER_LETTERS = "áâãäåæçèéêëìíîïðñòóôõöøùúûüý"


def _names(text: str) -> set[str]:
    return set(text.split())


_CONSTANT_FIELDS = _names("status ref_type ci_provider scopes")
_DATE_FIELDS = _names("create_date start_date finish_date expires_at")
_COUNT_FIELDS = _names(
    "relative_id duration time tests_count failed_count skipped_count error_count expires_in timeout slow_threshold "
    "page per_page"
)
_OBJECTS = {"", *_names("sessions suites projects cases workspaces created_by")}
"""The fields of objects of which new fields are kept: the names in other objects may be data."""
_FIELDS = {
    *(field.name for model in {*MODELS.values(), Member} for field in attrs.fields(model)),
    *_CONSTANT_FIELDS | _DATE_FIELDS | _COUNT_FIELDS | _OBJECTS,
    *_names("domain errors message ip_restrictions workspace_restrictions"),
}
_REFS = _names("main master develop HEAD merge pull refs heads")
_SEGMENTS = _names("user token workspaces projects unit-tests suites sessions test-groups cases")
_URL_WORDS = _names(
    "http https api app buddy works eu asia github com actions runs user token workspaces projects unit tests suites "
    "sessions test groups cases"
)
_DATA_WORDS = _names(
    "testcase failure error skipped system out err name classname time message type test group status stackTrace CDATA "
    "true false null amp lt gt quot apos PASSED FAILED SKIPPED ERROR"
)
_HEADER_WORDS = _names("application json charset utf 8 text html plain")
_PUBLIC = {
    word.casefold()
    for name in {
        *_REFS | _SEGMENTS | _URL_WORDS | _DATA_WORDS | _HEADER_WORDS | _FIELDS | {*MODELS},
        *(str(value) for enum in (SessionStatus, TestStatus, CIProvider, RefType) for value in enum),
        *_names("UNIT_TEST_INFO UNIT_TEST_READ WORKSPACE TOKEN_INFO TLS GMT disabled default no such branch"),
        *_names("format version exchanges purpose path query region headers body seconds at error"),
        *_names("date content-type retry-after location x-rate-limit-remaining x-rate-limit-reset"),
        *_names("Mon Tue Wed Thu Fri Sat Sun Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"),
    }
    for word in re.findall(r"[^\W_]+", name)
}
"""Words that are no secret: they are in Buddy's documentation, or in every account."""


def make_report(exchanges: Sequence[Exchange], target: Sequence[str]) -> bytes:
    """Return the report as compressed JSON. Raises `BuddyError` if a word of the account would remain in it."""
    disguise = _Disguise(set(_private_words(exchanges, target)))
    for rows in _MAX_ROWS:
        document = {"format": _FORMAT, "version": __version__, "exchanges": disguise.exchanges(exchanges, rows)}
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        report = gzip.compress(text.encode(errors="backslashreplace"), mtime=0)
        if len(report) <= MAX_BYTES:
            break
    else:
        raise BuddyError(f"the report is larger than {MAX_BYTES // 1000} kB: name a suite with shorter names")
    if remaining := disguise.private.intersection(_words(text)):
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


class _Disguise:
    """Replaces words, with a key that no report contains."""

    def __init__(self, private: set[str]) -> None:
        self.private = private
        self._key = secrets.token_bytes(16)
        self._new_words: dict[str, str] = {}
        self._used: set[str] = set()
        self._days = 7 * (100 + secrets.randbelow(300))  # to the past

    def exchanges(self, exchanges: Sequence[Exchange], rows: int) -> list[dict[str, Any]]:
        """Return exchanges as JSON values."""
        return [
            {
                **attrs.asdict(exchange),
                "path": [name if name in _SEGMENTS else self._text(name, set()) for name in exchange.path],
                "query": {name: self._value(name, value, rows) for name, value in exchange.query.items()},
                "headers": {
                    name: self._header(name, value)
                    for name, value in exchange.headers.items()
                    if _HEADERS.fullmatch(name)
                },
                "body": self._body(exchange.body, rows),
                "seconds": round(exchange.seconds, 3),
                "at": round(exchange.at - self._days * _DAY, 3),
                "error": exchange.error and self._text(exchange.error, {"TLS"}),
            }
            for exchange in exchanges
        ]

    def _body(self, body: bytes, rows: int) -> Any:
        document = load(body)
        if isinstance(document, dict | list):
            return self._value("", document, rows)
        return self._text(body.decode(errors="replace")[:_MAX_TEXT], {"html"})

    def _header(self, name: str, value: str) -> str:
        if name == "date" and (moment := Exchange(purpose="", path=(), headers={name: value}).server_time):
            return formatdate(moment - self._days * _DAY, usegmt=True)
        if value.isdecimal():  # the reset may be a Unix time
            return str(self._shifted(int(value))) if name.endswith("reset") else value
        return self._text(value, _HEADER_WORDS)

    def _shifted(self, value: float) -> float:
        """Return a number, shifted if it is a Unix time in seconds or milliseconds."""
        for factor in (1, 1000):
            if 10**9 * factor <= value < 10**10 * factor:
                return value - self._days * _DAY * factor
        return value

    def _value(self, field: str, value: Any, rows: int) -> Any:
        """Return the value of a field, or of an element of a list in it."""
        if isinstance(value, Mapping):
            keeps_new = field in _OBJECTS  # the names in other objects may be data
            return {
                self._name(name, keeps_new=keeps_new): self._value(name, each, rows) for name, each in value.items()
            }
        if isinstance(value, list):
            return [self._value(field, each, rows) for each in value[:rows]]
        if isinstance(value, str):
            return self._field_text(field, value)
        if isinstance(value, float) and (field not in _COUNT_FIELDS or not isfinite(value)):
            return 0.5
        if not value or isinstance(value, bool) or field in _COUNT_FIELDS:
            return value
        return self._shifted(value) if field in _DATE_FIELDS else int(self._word(str(abs(int(value))), set()))

    def _name(self, name: str, *, keeps_new: bool) -> str:
        is_new = keeps_new and _FIELD.fullmatch(name) is not None and self.private.isdisjoint(_words(name))
        return name if name in _FIELDS or is_new else self._text(name, set())

    def _field_text(self, field: str, text: str) -> str:
        if field in _CONSTANT_FIELDS and _CONSTANT.fullmatch(text) and self.private.isdisjoint(_words(text)):
            return text
        if field in _DATE_FIELDS and (time := _TIME.fullmatch(text)) and (parse_time(text) or 0) > 0:
            day = datetime.fromisoformat(time[1]) - timedelta(days=self._days)
            return f"{day:%Y-%m-%d}{time[2]}"
        if field == "data":
            return self._data(text)
        if text == NO_BRANCH:
            return text
        if field in {"ref_name", "branch"}:
            return self._text(text, _REFS if text in _REFS or re.fullmatch(r"(refs/)?\w+/\w+", text) else set())
        return self._text(text[:_MAX_TEXT], _URL_WORDS if field.endswith("url") else {"disabled"})

    def _data(self, text: str) -> str:
        """Return the JSON or the XML of a test case with the same structure; of another text, the beginning."""
        document = load(text.encode(errors="surrogatepass"))
        if isinstance(document, dict):
            return json.dumps(self._value("", document, rows=10))
        if text.lstrip().startswith("<"):
            return self._text(_LONG_TEXT.sub(lambda match: _PART_OF_ENTITY.sub("", match[1]), text), _DATA_WORDS)
        return self._text(text[:_MAX_TEXT], set())

    def _text(self, text: str, public: set[str]) -> str:
        return _WORD.sub(lambda match: self._word(match[0], public), text)

    def _word(self, word: str, public: set[str]) -> str:
        """Return another word of the same form: the same one for an equal word, and for no other."""
        if word in public:
            return word
        if word[0] in "\\&" or not word.isalnum():  # an escape in JSON or XML, or a symbol
            return "\\u00e9" if word[:2] == "\\u" else "&#233;" if word[:2] == "&#" else word if word.isascii() else "¤"
        if word in self._new_words:
            return self._new_words[word]
        new = ""
        for attempt in count():
            form = word + word[-1] * (attempt // 50)  # there are fewer letters without vowels than letters
            digest = blake2b(f"{attempt} {word}".encode(errors="surrogatepass"), key=self._key).digest()
            new = _same_form(form, digest)
            if new not in self._used and self.private.isdisjoint(_words(new)):
                break
        self._used.add(new)
        return self._new_words.setdefault(word, new)


def _same_form(word: str, digest: bytes) -> str:
    """Return pseudorandom characters of the same kinds as those of a word."""
    letters = "abcdef" if _HEX.fullmatch(word) else _ASCII_LETTERS
    new = ""
    for index, (old, value) in enumerate(zip(word, cycle(digest), strict=False)):
        if old.isdecimal():
            new += str(value % 10 if index else value % 9 + 1)  # a whole number keeps its digits
        else:
            chosen = letters if old.isascii() else _OTHER_LETTERS
            letter = chosen[value % len(chosen)]
            new += letter.upper() if old.isupper() else letter
    return new


def _words(text: str) -> Iterator[str]:
    """Yield the words of a text that may name something, in lower case."""
    for word in re.findall(r"[^\W_]+", _ESCAPE.sub(" ", text)):
        folded = word.casefold()
        if len(word) >= _MIN_WORD and folded not in _PUBLIC and not _SHORT_NUMBER.fullmatch(word):
            yield folded


def _private_words(exchanges: Sequence[Exchange], target: Sequence[str]) -> Iterator[str]:
    """Yield the words of all values that were received, and of the names that were asked for."""
    for name in target:
        yield from _words(name)
    for exchange in exchanges:
        document = load(exchange.body)
        if isinstance(document, dict | list):
            yield from _words_of("", document)
        else:
            yield from _words(exchange.body.decode(errors="replace"))
        for text in (*exchange.path, *map(str, exchange.query.values()), exchange.error):
            yield from _words(text)


def _words_of(field: str, value: Any) -> Iterator[str]:
    """Yield the words of the texts in a JSON value, apart from times and constants."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _words_of(name, each)
    elif isinstance(value, list):
        for each in value:
            yield from _words_of(field, each)
    elif isinstance(value, str):
        is_date = field in _DATE_FIELDS and _TIME.fullmatch(value)
        if not is_date and not (field in _CONSTANT_FIELDS and _CONSTANT.fullmatch(value)):
            yield from _words(value)
