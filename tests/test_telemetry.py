"""What a host sees of the client with the tools that it has: OpenTelemetry's spans, stamina's hooks, the log."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
import stamina
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor, create_trace_config
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from stamina.instrumentation import RetryDetails

from buddy_sessions import BuddyClient, ForbiddenError, ServerError
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault

TOKEN = "token-that-nobody-may-see"


def value(span: ReadableSpan, older: str, newer: str) -> object:
    """Return an attribute that OpenTelemetry is about to rename."""
    attributes = span.attributes or {}
    return attributes.get(newer, attributes.get(older))


class Spans:
    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def ended(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())


@pytest.fixture
def spans() -> Iterator[Spans]:
    spans = Spans()
    yield spans
    spans.provider.shutdown()


@pytest.fixture(params=["the caller's session", "the client's own session"])
async def buddy(request: pytest.FixtureRequest, fake: FakeBuddy, spans: Spans) -> AsyncIterator[BuddyClient]:
    """A client whose requests are traced, in both ways that OpenTelemetry offers."""
    fake.token = TOKEN
    if request.param == "the caller's session":
        traced = [create_trace_config(tracer_provider=spans.provider)]
        async with aiohttp.ClientSession(trace_configs=traced) as session:
            yield BuddyClient(TOKEN, base_url=fake.base_url, http_session=session, per_page=50)
    else:
        AioHttpClientInstrumentor().instrument(tracer_provider=spans.provider)
        async with BuddyClient(TOKEN, base_url=fake.base_url, per_page=50) as client:
            yield client
        AioHttpClientInstrumentor().uninstrument()


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    return fake.add_suite("acme", "shop", "MNbyVedg").populate(120)


async def test_each_request_is_a_span_with_its_url_inside_the_hosts_own(
    fake: FakeBuddy, suite: FakeSuite, buddy: BuddyClient, spans: Spans
) -> None:
    with spans.provider.get_tracer("bot").start_as_current_span("read"):
        assert len(await buddy.sessions(*suite.key).collect()) == 120
    *requests, read = spans.ended
    sent = {f"{fake.base_url}{each.path}?page={each.page}&per_page=50" for each in fake.requests}
    assert {value(span, "http.url", "url.full") for span in requests} == sent
    assert len(requests) == len(fake.requests) == 3
    assert read.context is not None
    assert {span.parent and span.parent.span_id for span in requests} == {read.context.span_id}


@pytest.mark.usefixtures("no_waiting")
async def test_each_attempt_is_a_span(fake: FakeBuddy, suite: FakeSuite, buddy: BuddyClient, spans: Spans) -> None:
    fake.inject(Fault.status(503), times=2)
    await buddy.sessions(*suite.key, max_sessions=1).collect()
    statuses = [value(span, "http.status_code", "http.response.status_code") for span in spans.ended]
    assert statuses == [503, 503, 200]
    assert [span.status.is_ok for span in spans.ended] == [False, False, True]


async def test_no_span_shows_the_token(fake: FakeBuddy, suite: FakeSuite, buddy: BuddyClient, spans: Spans) -> None:
    fake.inject(Fault.status(403, body=f'{{"errors": [{{"message": "bad token {TOKEN}"}}]}}'.encode()))
    with pytest.raises(ForbiddenError), spans.provider.get_tracer("bot").start_as_current_span("read"):
        await buddy.sessions(*suite.key).collect()
    request, read = spans.ended
    assert "ForbiddenError" in read.to_json()
    assert TOKEN not in request.to_json() + read.to_json()


@pytest.mark.usefixtures("no_waiting")
async def test_a_hosts_retry_hook_hears_of_each_retry_and_not_of_the_token(fake: FakeBuddy, suite: FakeSuite) -> None:
    heard: list[RetryDetails] = []

    def hear(details: RetryDetails) -> None:
        heard.append(details)

    fake.inject(Fault.status(503), Fault.status(500))
    before = stamina.instrumentation.get_on_retry_hooks()
    stamina.instrumentation.set_on_retry_hooks([hear])
    try:
        async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
            assert len(await buddy.sessions(*suite.key).collect()) == 120
    finally:
        stamina.instrumentation.set_on_retry_hooks(before)
    assert [details.retry_num for details in heard] == [1, 2]
    assert [details.caused_by.status for details in heard if isinstance(details.caused_by, ServerError)] == [503, 500]
    assert fake.token not in repr(heard)


async def test_a_good_run_logs_one_debug_line_a_request_and_nothing_more(
    fake: FakeBuddy, suite: FakeSuite, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with BuddyClient(fake.token, base_url=fake.base_url, per_page=50) as buddy:
            assert len(await buddy.sessions(*suite.key).collect()) == 120
    ours = [record for record in caplog.records if record.name.startswith("buddy_sessions")]
    assert len(ours) == len(fake.requests)
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}
