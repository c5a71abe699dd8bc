"""The values of options: durations and times, shares, how tests ended, and files."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

from cyclopts import Parameter
from cyclopts.validators import Number

from buddy_sessions import BuddyError, ConfigError
from buddy_sessions._export import TEMPORARY

from .errors import describe_os_error

_T = TypeVar("_T")

FILE = Parameter(metavar="FILE")  # what help calls the value of an option


def parsed(parse: Callable[[str], object], **options: Any) -> Parameter:
    """Return an option whose value `parse` reads from a text. It raises ValueError for any other text."""
    return Parameter(converter=lambda _, tokens: parse(tokens[0].value), **options)


_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}  # seconds
_DURATION = re.compile("([0-9]{1,12}(?:[.][0-9]{1,9})?)([smhdw]?)")
_LONGEST = 99_999 * _UNITS["w"]  # before the year 1, there is no datetime


def parse_duration(text: str) -> float:
    """Return the seconds that a text names: `30s`, `5m`, `2h`, `90d`; a bare number is seconds."""
    match = _DURATION.fullmatch(text)
    seconds = float(match[1]) * _UNITS[match[2]] if match is not None else math.inf
    if seconds > _LONGEST:
        raise ValueError(f"{text!r} is not a duration: write 30s, 5m, 2h or 90d; a number alone is seconds")
    return seconds


def parse_since(text: str, now: datetime) -> datetime:
    """Return the time that a text names: a duration such as `24h` or `7d` before now, or a time in ISO 8601."""
    try:
        if text[-1:].isalpha() and text[-1] != "Z":  # a number alone could be a year
            return now - timedelta(seconds=parse_duration(text))
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is not a time: write 24h, 7d or 2w for the time since then, or a date such as 2026-01-31 or "
            "2026-01-31T08:30+01:00"
        ) from None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _parse_past(text: str) -> datetime:
    now = datetime.now(UTC)
    if (time := parse_since(text, now)) > now:
        raise ValueError(f"{text!r} is in the future: it is {now:%Y-%m-%d %H:%M} in UTC")
    return time


def _parse_age(text: str) -> timedelta:
    seconds = parse_duration(text)
    if text[-1].isdecimal():
        raise ValueError(f"{text!r} has no unit: write 24h, 90d or 12w")
    if seconds < _UNITS["h"]:  # somebody may mean months
        raise ValueError(f"{text!r} is less than an hour: write 24h, 90d or 12w")
    return timedelta(seconds=seconds)


Since: TypeAlias = Annotated[
    datetime | None,
    parsed(
        _parse_past,
        metavar="TIME",
        help="Only sessions created since then: a duration such as 7d, or a time such as 2026-01-31 (UTC).",
    ),
]
"""The type of the option --since."""

Duration: TypeAlias = Annotated[float, parsed(parse_duration, metavar="DURATION", show_default=False)]
"""The type of an option such as --max-wait 30m, in seconds."""

Timeout: TypeAlias = Annotated[Duration, Parameter(validator=Number(gt=0))]
"""The type of an option such as --timeout 30m, in seconds: above zero."""

Age: TypeAlias = Annotated[timedelta, parsed(_parse_age, metavar="DURATION")]
"""The type of an option such as --keep 90d: at least an hour."""


def _parse_share(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)%|0", text)
    share = float(match[1] or 0) / 100 if match is not None else 2.0
    if share > 1:
        raise ConfigError(f"{text!r} is not a share: write 90%, or 0")
    return share


Share: TypeAlias = Annotated[float, parsed(_parse_share, metavar="SHARE", show_default=lambda share: f"{share:.0%}")]
"""The type of an option such as --min-tests 90%: from 0.0 to 1.0."""


_WORDS = {
    "failure": "failure failed fail error errored unstable broken timedout partiallysucceeded succeededwithissues",
    "cancelled": "cancelled canceled cancel aborted terminated",
    "success": "success successful succeeded pass passed ok 0",
    "skipped": "skipped notbuilt notrun manual",
}
"""The words of GitHub, GitLab, CircleCI, Jenkins, Azure, Bitbucket, Travis and Buddy, without case, `_` and `-`. Of
several jobs, the first of these outcomes that one has is that of all."""


def _parse_outcome(text: str) -> str:
    """Return how the tests of all jobs ended, whose outcomes are separated by one space: words, or exit codes.

    Raises ConfigError for an unknown word, and for an empty one: the variable of a job may be misspelt.
    """
    outcomes = {_parse_word(word) for word in text.split(" ")}
    return next(outcome for outcome in _WORDS if outcome in outcomes)


def _parse_word(text: str) -> str:
    word = re.sub("[_-]", "", text.lower())
    for outcome, words in _WORDS.items():
        if word in words.split():
            return outcome
    if word.isdecimal():
        return "failure"
    raise ConfigError(
        f"{text!r} is not success, failure, cancelled, skipped, or an exit code: separate those of several jobs by one "
        "space. An empty word is that of a variable that is not set, or of a misspelt job"
    )


Outcome: TypeAlias = Annotated[str | None, parsed(_parse_outcome, metavar="WORD")]
"""The type of the option --outcome."""


def find_database(path: Path) -> Path:
    """Return the path of a database. Raises ConfigError if it is missing or empty: SQLite would create a database."""
    if path.is_dir():
        raise ConfigError(f"{str(path)!r} is a folder: pass a file that buddy-sessions sync has written")
    if not path.is_file():
        raise ConfigError(f"{str(path)!r} not found: create it with buddy-sessions sync … --db FILE")
    if not path.stat().st_size:
        raise ConfigError(f"{str(path)!r} is empty: fill it with buddy-sessions sync … --db FILE")
    return path


@contextmanager
def explain_errors(path: Path, opening: AbstractContextManager[_T]) -> Iterator[_T]:
    """Enter a context that writes a file, and raise errors that say what to do in place of those of the system."""
    error_type: type[BuddyError] = ConfigError  # until the file is open
    try:
        with opening as value:
            error_type = BuddyError
            yield value
    except OSError as error:
        is_other_file = error.filename is not None and TEMPORARY not in str(error.filename)
        if isinstance(error, BrokenPipeError) or is_other_file:
            raise
        raise error_type(f"cannot write {describe_os_error(error, path)}") from error


def read_text(name: str) -> str:
    """Return the text of a file, or of stdin if `name` is `-`. Invalid UTF-8 is decoded to surrogates."""
    is_stdin = name == "-"
    try:
        with open(0 if is_stdin else name, "rb", closefd=not is_stdin) as file:
            return file.read().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise ConfigError(f"cannot read {describe_os_error(error, 'stdin' if is_stdin else name)}") from error
