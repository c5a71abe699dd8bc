from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from buddy_sessions import (
    BuddyError,
    ConfigError,
    DecodeError,
    ForbiddenError,
    HarvestError,
    NotFoundError,
    RateLimitError,
    ResponseError,
    ServerError,
    SuiteKey,
    TransportError,
    WaitTimeoutError,
    errors,
)

KEY = SuiteKey("acme", "shop", "MNbyVedg")


def classes() -> list[type[BuddyError]]:
    return [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, BuddyError)]


def test_tree_in_the_docstring_lists_every_error() -> None:
    assert errors.__doc__
    for kind in classes():
        assert f"{kind.__name__} " in errors.__doc__


def test_advice_names_arguments_as_a_program_calls_them() -> None:
    error = RateLimitError(advice="wait 5s, or allow a longer {max_wait}", url="u")
    assert str(error) == "too many requests (429): wait 5s, or allow a longer max_wait; GET u"
    assert (error.arguments, error.without_advice) == (["max_wait"], "too many requests (429)")
    text = pickle.loads(pickle.dumps(error)).describe(lambda name, _: f"--{name}")
    assert text == "too many requests (429): wait 5s, or allow a longer --max_wait"


def test_retryable_is_a_default_or_an_argument() -> None:
    assert TransportError("reset").retryable
    assert not TransportError("TLS failed", retryable=False).retryable
    assert not ResponseError("a redirect").retryable
    assert RateLimitError().retryable
    failures = {KEY: ServerError(status=503)}
    assert HarvestError(failures).retryable
    assert not HarvestError({**failures, KEY._replace(suite_id="other"): NotFoundError(status=404)}).retryable


def test_harvest_error_groups_the_failures() -> None:
    failures = {KEY._replace(suite_id=f"s{number}"): ServerError(status=500) for number in range(5)}
    error = HarvestError(failures)
    assert str(error).startswith("could not read acme/shop/s0, acme/shop/s1, acme/shop/s2 and 2 more")
    assert error.failures == failures
    assert all(isinstance(each, ServerError) for each in error.exceptions)


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("no"),
        DecodeError("bad", page=1, item=2, field="id"),
        RateLimitError(messages=["slow down"], url="u", retry_after=3.0),
        ForbiddenError(messages=["no"], scopes=["WORKSPACE"], accepted_scopes=["UNIT_TEST_READ"]),
        WaitTimeoutError("too late"),
        HarvestError({KEY: NotFoundError(status=404, url="u")}),
    ],
)
def test_errors_can_be_pickled_and_copied(error: BuddyError) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert twin.__dict__.keys() == error.__dict__.keys()
