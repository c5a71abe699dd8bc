"""Telemetry: spans of OpenTelemetry, and log records."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor, create_trace_config
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from buddy_sessions import BuddyClient, ForbiddenError
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault

TOKEN = "secret-token"


def value(span: ReadableSpan, older: str, newer: str) -> object:
    """Return an attribute that newer versions of OpenTelemetry rename."""
    attributes = span.attributes or {}
    return attributes.get(newer, attributes.get(older))


class Spans:
    """Collects the spans that have ended."""

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


@pytest.fixture(params=["borrowed session", "own session"])
async def buddy(request: pytest.FixtureRequest, fake: FakeBuddy, spans: Spans) -> AsyncIterator[BuddyClient]:
    """A client whose requests are traced, by a trace configuration or by instrumenting aiohttp."""
    fake.token = TOKEN
    if request.param == "borrowed session":
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


@pytest.mark.usefixtures("no_waiting")
async def test_each_attempt_is_a_span_inside_the_current_span(
    fake: FakeBuddy, suite: FakeSuite, buddy: BuddyClient, spans: Spans
) -> None:
    fake.inject(Fault.status(503))
    with spans.provider.get_tracer("bot").start_as_current_span("read"):
        assert len(await buddy.sessions(suite.key).collect()) == 120
    *requests, read = spans.ended
    sent = {f"{fake.base_url}{each.path}?page={each.page}&per_page=50" for each in fake.requests}
    assert {value(span, "http.url", "url.full") for span in requests} == sent
    assert [value(span, "http.status_code", "http.response.status_code") for span in requests] == [503, 200, 200, 200]
    assert [span.status.is_ok for span in requests] == [False, True, True, True]
    assert read.context is not None
    assert {span.parent and span.parent.span_id for span in requests} == {read.context.span_id}


async def test_spans_do_not_contain_the_token(
    fake: FakeBuddy, suite: FakeSuite, buddy: BuddyClient, spans: Spans
) -> None:
    fake.inject(Fault.status(403, body=f'{{"errors": [{{"message": "bad token {TOKEN}"}}]}}'.encode()))
    with pytest.raises(ForbiddenError), spans.provider.get_tracer("bot").start_as_current_span("read"):
        await buddy.sessions(suite.key).collect()
    request, read = spans.ended
    assert "ForbiddenError" in read.to_json()
    assert TOKEN not in request.to_json() + read.to_json()


async def test_successful_read_logs_one_debug_record_per_request(
    fake: FakeBuddy, suite: FakeSuite, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with BuddyClient(fake.token, base_url=fake.base_url, per_page=50) as buddy:
            assert len(await buddy.sessions(suite.key).collect()) == 120
    ours = [record for record in caplog.records if record.name.startswith("buddy_sessions")]
    assert len(ours) == len(fake.requests)
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}
