from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from buddy_sessions import (
    AuthenticationError,
    BuddyError,
    ConfigError,
    DecodeError,
    ForbiddenError,
    HarvestError,
    NotFoundError,
    RateLimitError,
    ResponseError,
    ServerError,
    StatusError,
    SuiteKey,
    errors,
)

KEY = SuiteKey("acme", "shop", "MNbyVedg")


def classes() -> list[type[BuddyError]]:
    return [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, BuddyError)]


def test_every_error_of_the_module_stands_in_the_tree_at_its_head() -> None:
    assert errors.__doc__
    for kind in classes():
        assert f"{kind.__name__} " in errors.__doc__


def test_every_error_is_a_buddy_error_that_knows_no_cursor_until_a_walk_sets_it() -> None:
    assert all(kind.cursor is None for kind in classes())


def test_a_config_error_is_a_value_error() -> None:
    assert issubclass(ConfigError, ValueError)


def test_a_decode_error_says_where_and_why() -> None:
    error = DecodeError("must be a string, not null", page=3, item=1, field="created_by.name")
    assert str(error) == "page 3, item 1, field created_by.name: must be a string, not null"
    assert (error.page, error.item, error.field) == (3, 1, "created_by.name")
    assert str(DecodeError("the answer is not a JSON object")) == "the answer is not a JSON object"


def test_a_status_error_carries_what_buddy_said() -> None:
    error = NotFoundError(status=404, messages=["no such suite", "sorry"], url="https://api.example/x")
    assert (error.status, error.messages, error.method) == (404, ("no such suite", "sorry"), "GET")
    assert str(error).startswith("GET https://api.example/x answered 404: no such suite; sorry")


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        (AuthenticationError, "region"),
        (ForbiddenError, "UNIT_TEST_INFO"),
        (NotFoundError, "project"),
        (RateLimitError, "max_wait"),
    ],
)
def test_an_error_says_what_to_do_about_it(kind: type[StatusError], advice: str) -> None:
    assert advice in str(kind(status=400))


def test_an_answer_without_messages_is_described_all_the_same() -> None:
    assert str(ServerError(status=502, url="u")) == "GET u answered 502: no message"


def test_a_request_that_was_not_even_sent_names_no_answer() -> None:
    error = RateLimitError(messages=["not sent: there is no allowance for 300 s"])
    assert str(error) == "not sent: there is no allowance for 300 s (wait, or allow a longer max_wait)"


def test_a_harvest_error_names_its_suites_and_groups_their_errors() -> None:
    failures = {KEY._replace(suite_id=f"s{number}"): ServerError(status=500) for number in range(5)}
    error = HarvestError(failures)
    assert str(error).startswith("could not read acme/shop/s0, acme/shop/s1, acme/shop/s2 and 2 more")
    assert error.failures == failures
    with pytest.raises(ExceptionGroup) as caught:
        raise error
    matched, rest = caught.value.split(ServerError)
    assert matched is not None
    assert rest is None
    assert len(matched.exceptions) == 5


def test_a_harvest_error_with_few_failures_names_them_all() -> None:
    assert "more" not in str(HarvestError({KEY: ResponseError("no")}))


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("no"),
        DecodeError("bad", page=1, item=2, field="id"),
        RateLimitError(messages=["slow down"], url="u", retry_after=3.0),
        HarvestError({KEY: NotFoundError(status=404, url="u")}),
    ],
)
def test_errors_survive_pickling_and_copying(error: BuddyError) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert twin.__dict__.keys() == error.__dict__.keys()
