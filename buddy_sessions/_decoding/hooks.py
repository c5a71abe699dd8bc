"""The rules for the fields of the API's objects, as hooks for cattrs.

Strict where coercion would mislead: `"7"` is not a whole number, neither are `true` and `1.5`. Tolerant where Buddy may
change: unknown fields are ignored, unknown enum values are kept, and each field except `id`, `relative_id` and `status`
may be null or missing; of a test case, except `id`, `name` and `status`. A numeric `id` becomes a string: Buddy's
OpenAPI types say int32, its responses contain strings.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from ..models import CIProvider, Member, RefType, Session, SessionStatus, Suite, SuiteKey, TestCase, TestStatus
from .junit import read_failure

_E = TypeVar("_E", bound=StrEnum)

_ENUMS = (SessionStatus, CIProvider, RefType, TestStatus)
_MEMBERS: dict[Any, dict[str, Any]] = {enum: {member.value: member for member in enum} for enum in _ENUMS}
"""The known members of each enum by value: this lookup takes a quarter of the time of `enum(value)`."""

_JSON_TYPES = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a decimal number",
    type(None): "null",
}


class FieldError(ValueError):
    """A field, or a whole object, breaks a rule.

    Attributes:
        field: The name of the field, with dots if it is nested; None if the object itself is wrong.
        reason: What is wrong with it.
    """

    def __init__(self, field: str | None, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason


def structure_session(value: Any, _: Any) -> Session:
    """Return the session that a JSON object describes.

    Raises:
        FieldError: `value` is not an object, or a field breaks a rule.
    """
    fields = _object(value)
    return Session(
        id=_identifier(fields, "id"),
        relative_id=_relative_id(fields, "relative_id"),
        status=_required_enum(fields, "status", SessionStatus),
        url=_text(fields, "url"),
        html_url=_text(fields, "html_url"),
        create_date=_time(fields, "create_date"),
        start_date=_time(fields, "start_date"),
        finish_date=_time(fields, "finish_date"),
        created_by=_member(fields, "created_by"),
        ci_provider=_enum(fields, "ci_provider", CIProvider),
        ci_run_url=_text(fields, "ci_run_url"),
        revision=_text(fields, "revision"),
        ref_type=_enum(fields, "ref_type", RefType),
        ref_name=_text(fields, "ref_name"),
        execution_id=_text(fields, "execution_id"),
        action_execution_id=_text(fields, "action_execution_id"),
        error_message=_text(fields, "error_message"),
        duration=_number(fields, "duration"),
        tests_count=_whole_number(fields, "tests_count"),
        failed_count=_whole_number(fields, "failed_count"),
        skipped_count=_whole_number(fields, "skipped_count"),
        error_count=_whole_number(fields, "error_count"),
    )


def structure_member(value: Any, _: Any) -> Member:
    """Return the member that a JSON object describes.

    Raises:
        FieldError: `value` is not an object, or a field breaks a rule.
    """
    fields = _object(value)
    return Member(
        url=_text(fields, "url"),
        html_url=_text(fields, "html_url"),
        id=_whole_number(fields, "id"),
        name=_text(fields, "name"),
        avatar_url=_text(fields, "avatar_url"),
        email=_text(fields, "email"),
        admin=_boolean(fields, "admin"),
        workspace_owner=_boolean(fields, "workspace_owner"),
    )


def structure_suite(value: Any, _: Any) -> Suite:
    """Return the suite that a JSON object describes, with the names `workspace` and `project` added to it.

    Raises:
        FieldError: `value` is not an object, or a field breaks a rule.
    """
    fields = _object(value)
    suite_id = _identifier(fields, "id")
    return Suite(
        key=SuiteKey(_required_text(fields, "workspace"), _required_text(fields, "project"), suite_id),
        id=suite_id,
        url=_text(fields, "url"),
        html_url=_text(fields, "html_url"),
        identifier=_text(fields, "identifier"),
        name=_text(fields, "name"),
        timeout=_number(fields, "timeout"),
        slow_threshold=_number(fields, "slow_threshold"),
        error_pattern=_text(fields, "error_pattern"),
        send_commit_status=_boolean(fields, "send_commit_status"),
    )


def structure_case(value: Any, _: Any) -> TestCase:
    """Return the test case that a JSON object describes. Its failure is read from `data`.

    Raises:
        FieldError: `value` is not an object, or a field breaks a rule.
    """
    fields = _object(value)
    data = _text(fields, "data")
    return TestCase(
        id=_identifier(fields, "id"),
        name=_required_text(fields, "name"),
        status=_required_enum(fields, "status", TestStatus),
        url=_text(fields, "url"),
        html_url=_text(fields, "html_url"),
        test_group_name=_text(fields, "test_group_name"),
        test_group_id=_optional_identifier(fields, "test_group_id"),
        classname=_text(fields, "classname"),
        time=_number(fields, "time"),
        data=data,
        failure=read_failure(data) if data else None,
    )


def json_type(value: object) -> str:
    """Return the name of a value's JSON type. Errors show it in place of the value, which may be long or private."""
    return _JSON_TYPES.get(type(value), type(value).__name__)


def unstructure_time(moment: datetime) -> str:
    """Return a time as ISO 8601 text in UTC."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"  # faster than with the time zone


def unstructure_enum(member: StrEnum) -> str:
    """Return the value of an enum's member as a plain string."""
    return member.value


def _object(value: Any) -> dict[str, Any]:
    if type(value) is dict:
        return value
    raise FieldError(None, f"must be an object, not {json_type(value)}")


def _type_error(fields: dict[str, Any], name: str, expected: str) -> FieldError:
    if name not in fields:
        return FieldError(name, "is missing")
    return FieldError(name, f"must be {expected}, not {json_type(fields[name])}")


def _identifier(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    raise _type_error(fields, name, "a string or a whole number")


def _optional_identifier(fields: dict[str, Any], name: str) -> str | None:
    return None if fields.get(name) is None else _identifier(fields, name)


def _relative_id(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name)
    if type(value) is not int:
        raise _type_error(fields, name, "a whole number")
    if value < 1:
        raise FieldError(name, "must be at least 1")
    return value


def _required_text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if type(value) is str:
        return value
    raise _type_error(fields, name, "a string")


def _text(fields: dict[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is None or type(value) is str:
        return value
    raise _type_error(fields, name, "a string")


def _enum(fields: dict[str, Any], name: str, enum: type[_E]) -> _E | None:
    value = fields.get(name)
    if value is None:
        return None
    if type(value) is str:
        return _MEMBERS[enum].get(value) or enum(value)
    raise _type_error(fields, name, "a string")


def _required_enum(fields: dict[str, Any], name: str, enum: type[_E]) -> _E:
    member = _enum(fields, name, enum)
    if member is None:
        raise _type_error(fields, name, "a string")
    return member


def _boolean(fields: dict[str, Any], name: str) -> bool | None:
    value = fields.get(name)
    if value is None or type(value) is bool:
        return value
    raise _type_error(fields, name, "true or false")


def _whole_number(fields: dict[str, Any], name: str) -> int | None:
    value = fields.get(name)
    if value is None or type(value) is int:
        return value
    raise _type_error(fields, name, "a whole number")


def _number(fields: dict[str, Any], name: str) -> int | float | None:
    value = fields.get(name)
    if value is None or type(value) is int:
        return value
    if type(value) is not float:
        raise _type_error(fields, name, "a number")
    if not math.isfinite(value):
        raise FieldError(name, "must be a finite number")
    return value


def _time(fields: dict[str, Any], name: str) -> datetime | None:
    value = fields.get(name)
    if value is None:
        return None
    if type(value) is not str:
        raise _type_error(fields, name, "an ISO 8601 time")
    try:
        moment = datetime.fromisoformat(value.upper())  # Python does not accept "z", which RFC 3339 allows
        if moment.tzinfo is UTC:
            return moment
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
        if len(value) > len("2025-10-21"):  # a date alone is not a time
            return moment.replace(tzinfo=UTC)  # Buddy's times are in UTC
    except (ValueError, OverflowError):
        pass
    raise FieldError(name, f"must be an ISO 8601 time, not {value[:40]!r}")


def _member(fields: dict[str, Any], name: str) -> Member | None:
    value = fields.get(name)
    if value is None or type(value) is Member:  # a store reads each member once
        return value
    try:
        return structure_member(value, Member)
    except FieldError as error:
        field = name if error.field is None else f"{name}.{error.field}"
        raise FieldError(field, error.reason) from None
