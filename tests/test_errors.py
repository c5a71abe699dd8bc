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
    TransportError,
    UnstableListingError,
    errors,
)

KEY = SuiteKey("acme", "shop", "MNbyVedg")


def classes() -> list[type[BuddyError]]:
    return [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, BuddyError)]


def test_tree_in_the_docstring_lists_every_error() -> None:
    assert errors.__doc__
    for kind in classes():
        assert f"{kind.__name__} " in errors.__doc__


def test_errors_have_no_cursor_at_first() -> None:
    assert all(kind.cursor is None for kind in classes())


def test_config_error_is_a_value_error() -> None:
    assert issubclass(ConfigError, ValueError)


def test_decode_error_names_place_and_reason() -> None:
    error = DecodeError("must be a string, not null", page=3, item=1, field="created_by.name")
    assert str(error) == "page 3, item 1, field created_by.name: must be a string, not null"
    assert (error.page, error.item, error.field) == (3, 1, "created_by.name")
    assert str(DecodeError("the response is not a JSON object")) == "the response is not a JSON object"


def test_status_error_carries_the_messages() -> None:
    error = NotFoundError(status=404, messages=["no such suite", "sorry"], url="https://api.example/x")
    assert (error.status, error.messages, error.method) == (404, ("no such suite", "sorry"), "GET")
    assert str(error) == (
        "no such suite; sorry (404): check the workspace, the project and the IDs, "
        "and that the token's owner can see them; GET https://api.example/x"
    )


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        (AuthenticationError, "region"),
        (ForbiddenError, "UNIT_TEST_INFO"),
        (NotFoundError, "project"),
        (RateLimitError, "max_wait"),
    ],
)
def test_status_error_says_what_to_do(kind: type[StatusError], advice: str) -> None:
    assert advice in str(kind(status=400))


def test_status_error_without_messages() -> None:
    assert str(ServerError(status=502, url="u")) == "the server failed (502); GET u"
    assert str(StatusError(status=418)) == "the request failed (418)"


def test_foreign_status_error_has_no_advice_of_buddy() -> None:
    assert str(ForbiddenError(status=403, url="u", not_from_buddy=True)) == (
        "access denied (403), but the response is not Buddy's: probably a proxy's; check the base URL; GET u"
    )


def test_retryable_is_a_default_or_an_argument() -> None:
    assert TransportError("reset").retryable
    assert not TransportError("TLS failed", retryable=False).retryable
    assert not ResponseError("a redirect").retryable
    assert ResponseError("not JSON", retryable=True).retryable
    assert RateLimitError().retryable
    assert UnstableListingError("changes").retryable
    failures = {KEY: ServerError(status=503)}
    assert HarvestError(failures).retryable
    assert not HarvestError({**failures, KEY._replace(suite_id="other"): NotFoundError(status=404)}).retryable


def test_harvest_error_groups_the_failures() -> None:
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


def test_harvest_error_names_few_suites_in_full() -> None:
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
def test_errors_can_be_pickled_and_copied(error: BuddyError) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert twin.__dict__.keys() == error.__dict__.keys()
