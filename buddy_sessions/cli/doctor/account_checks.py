"""Checks of the connection, the token, the workspace and the rate limit."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from statistics import median

from .record import Exchange, Finding, Record, load, parse_time, problem, unchecked

_SCOPES = "UNIT_TEST_INFO", "UNIT_TEST_READ", "UNIT_TEST_MANAGE", "UNIT_TEST_WRITE"
_DAY = 86_400
_MAX_SKEW = 60.0  # seconds
SLOW, _TOO_SLOW = 2.0, 10.0  # seconds
_FIRST_MILLISECONDS = 10**11  # a Unix time above it is in milliseconds
_SLACK = 5.0  # seconds by which a reset may be past
_NEEDED = "projects", "suites", "page-1"
_EXPECTED = {0, *(HTTPStatus(code) for code in (200, 401, 403, 404, 429))}
_LIMIT_HEADERS = "x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-reset"


def check_connection(record: Record) -> Iterator[Finding]:
    """Check whether each request gets a response that is JSON."""
    meaning = "the network, a proxy or the base URL is wrong"
    last = {exchange.purpose: exchange for exchange in record.exchanges}
    for exchange in last.values():
        if not exchange.status:
            advice = "check the base URL, HTTPS_PROXY and NO_PROXY"
            if "TLS" in exchange.error:
                advice = "for the certificate of your company, set SSL_CERT_FILE to a file with its authority"
            yield problem(f"no response: {exchange.error}", meaning, advice)
        elif HTTPStatus.MULTIPLE_CHOICES <= exchange.status < HTTPStatus.BAD_REQUEST:
            yield problem(f"a redirect ({exchange.status})", meaning, "check the base URL")
        elif not isinstance(load(exchange.body), dict) and (exchange.status == HTTPStatus.OK or exchange.body.strip()):
            found = f"{exchange.purpose}: status {exchange.status} with a body that is not JSON"
            yield problem(found, meaning, "is it the page of a proxy?")
    if repeated := [each for each in record.exchanges if _fails(each) and not _fails(last[each.purpose])]:
        found = f"{len(repeated)} of {len(record.exchanges)} requests failed, and succeeded when they were repeated"
        yield Finding("note", found, "this package repeats them, too")
    yield Finding("ok", f"{len(record.exchanges)} responses in JSON")


def check_token(record: Record) -> Iterator[Finding]:
    """Check whether the token is accepted, what it may read, and for how long."""
    if _with_status(record, HTTPStatus.UNAUTHORIZED):
        advice = "set BUDDY_TOKEN to a personal access token, not the BUDDY_UT_TOKEN of a suite; try --try-regions"
        yield problem("the token is rejected (401)", "nothing can be read", advice)
    if not any(exchange.status for exchange in record.exchanges):
        yield unchecked("no response")
        return
    token = record.document("token")
    scopes = token.get("scopes")
    advice = "create a token with the scopes UNIT_TEST_INFO and WORKSPACE"
    forbidden = [each for each in _with_status(record, HTTPStatus.FORBIDDEN) if not _is_disabled(each)]
    if any(each.purpose not in ("token", "workspaces", "projects") for each in forbidden):
        yield problem("the token may not read the suite (403)", "nothing can be read", advice)
    may_read = record.status("suites") == HTTPStatus.OK or record.status("page-1") == HTTPStatus.OK
    if isinstance(scopes, list) and not set(_SCOPES) & set(map(str, scopes)) and not may_read:
        yield problem("the token lacks the scope UNIT_TEST_INFO", "no test can be read", advice)
    exchange = record.get("token")
    days = _days_until(token.get("expires_at"), exchange)
    if days is not None and days < 0:
        yield problem("the token has expired, but is accepted", "it may be rejected at any time", advice)
    if days is not None and days < 14:
        yield Finding("note", f"the token expires in {days:.0f} days", "then nothing can be read", advice)
    restrictions = token.get("workspace_restrictions")
    workspace = next((each.path[1] for each in record.exchanges if len(each.path) > 2), None)
    if isinstance(restrictions, list) and restrictions and workspace not in {None, *map(str, restrictions)}:
        yield problem("the token is restricted to other workspaces", "this one cannot be read", advice)
    if any(each.purpose == "projects" for each in forbidden):
        yield Finding("note", "the scope WORKSPACE is missing", "only a WORKSPACE as argument needs it", advice)
    yield Finding("ok", f"accepted, {len(scopes)} scopes" if isinstance(scopes, list) else "accepted, scopes unknown")


def check_region(record: Record) -> Iterator[Finding]:
    """Check whether another region knows the token, and whether the API's URLs are of this one."""
    for exchange in record.exchanges:
        if exchange.purpose.startswith("region-") and exchange.status not in (0, HTTPStatus.UNAUTHORIZED):
            advice = f"set BUDDY_REGION={exchange.region}, or pass --region {exchange.region}"
            found = f"the token is one of the region {exchange.region}"
            yield problem(found, "nothing is found here", advice)
    if _with_status(record, HTTPStatus.UNAUTHORIZED):
        tried = any(exchange.purpose.startswith("region-") for exchange in record.exchanges)
        found = "no region accepts the token" if tried else "the token may be one of another region"
        yield Finding("note", found, "", "" if tried else "add --try-regions: the token is sent to each region")
    region = next((exchange.region for exchange in record.exchanges), "")
    yield Finding("ok", region or "a server of your own") if record.status("token") else unchecked("no response")


def check_api(record: Record) -> Iterator[Finding]:
    """Check whether the API is enabled, and its endpoints exist and work."""
    if any(map(_is_disabled, _with_status(record, HTTPStatus.FORBIDDEN))):
        advice = "let an administrator enable the API in the settings of the workspace"
        yield problem("the API is disabled in the workspace", "nothing can be read", advice)
    last = {exchange.purpose: exchange for exchange in record.exchanges}.values()
    for exchange in last:
        if exchange.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            yield Finding(
                "problem", f"{exchange.purpose}: status {exchange.status}, twice", "the server fails", "try later"
            )
        elif exchange.purpose in _NEEDED and exchange.status not in _EXPECTED:
            yield problem(f"{exchange.purpose}: status {exchange.status}", "this is not documented")
    if len(last) > 1 and all(exchange.status == HTTPStatus.NOT_FOUND for exchange in last):
        yield problem("nothing is found (404)", "this is no API of Buddy", "check the base URL: …/api?")
    is_enabled = any(record.status(purpose) == HTTPStatus.OK for purpose in _NEEDED)
    yield Finding("ok", "enabled") if is_enabled else unchecked("nothing of a workspace was read")


def check_clock(record: Record) -> Iterator[Finding]:
    """Check whether the clocks of the server and of this machine agree."""
    times = [(exchange, exchange.server_time) for exchange in record.exchanges if exchange.status]
    skews = [moment - exchange.at + exchange.seconds / 2 for exchange, moment in times if moment is not None]
    if not times:
        yield unchecked("no response")
        return
    if not skews:
        yield Finding("note", "no valid Date header", "the clock of this machine counts for the rate limit")
        return
    if max(skews) - min(skews) > _MAX_SKEW:
        found = f"Date differs by {max(skews) - min(skews):,.0f} s from response to response"
        yield problem(found, "waits for the rate limit may be wrong")
    skew = median(skews)
    if abs(skew) > _MAX_SKEW:
        found = f"the server is {abs(skew):,.0f} s {'ahead of' if skew > 0 else 'behind'} this machine"
        yield problem(found, "ages, --since and --max-age are wrong", "set the clock of this machine")
    yield Finding("ok", "the clocks agree")


def check_suites(record: Record) -> Iterator[Finding]:
    """Check whether the projects and suites are visible."""
    projects, suites = record.rows("projects"), record.rows("suites")
    asked = record.get("page-1") or record.get("suites") or record.get("projects")
    if asked is None:
        yield unchecked("no SUITE, PROJECT or WORKSPACE is given")
        return
    advice = "check the names, and that the owner of the token can see them"
    if asked.status == HTTPStatus.NOT_FOUND:
        yield problem(f"{asked.purpose}: not found (404)", "nothing can be read", advice)
    ids = [str(row.get("id")) for row in suites]
    if len(set(ids)) < len(ids):
        yield problem("a suite is listed twice", "its sessions are read twice")
    if record.status("suites") == HTTPStatus.OK and not suites:
        yield Finding("note", "no suite in the project", "there is nothing to read", "create one in Buddy")
    if ids and asked.purpose == "page-1" and asked.path[-2] not in ids:
        yield problem("the suite is not in the list of its project", "its project misses it")
    names = [row.get("name") for row in projects]
    if names and len(asked.path) > 3 and asked.path[3] not in names and len(names) < 20:
        yield Finding("note", "the project is not in the list of its workspace", "a WORKSPACE misses it", advice)
    if asked.purpose == "page-1" and asked.status == HTTPStatus.OK and not record.sessions:
        yield Finding("note", "no session in the suite", "most checks need some", "name a suite with sessions")
    if asked.status == HTTPStatus.OK:
        found = f"{_count(len(projects), 'project')}, {_count(len(suites), 'suite')} in the project"
        yield Finding("ok", found)
    yield unchecked("they cannot be read")


def check_rate_limit(record: Record) -> Iterator[Finding]:
    """Check which rate limit the headers report, and what it means for the number of suites."""
    for index, exchange in enumerate(record.exchanges):
        if exchange.status == HTTPStatus.TOO_MANY_REQUESTS:
            retry = "with" if "retry-after" in exchange.headers else "without"
            found = f"429 {retry} Retry-After, after {index} requests"
            if exchange.error:  # the client has not sent it
                found = f"no requests remain, after {index} requests"
            yield problem(found, "the quota is used up, also by other tools", "wait, and try again")
    answered = [exchange for exchange in record.exchanges if exchange.status]
    if not answered:
        yield unchecked("no response")
        return
    last = next(
        (each for each in reversed(answered) if not each.headers.keys().isdisjoint(_LIMIT_HEADERS)), answered[-1]
    )
    limit, remaining, reset = (last.headers.get(name) for name in _LIMIT_HEADERS)
    ignores = "the quota is not respected until a 429"
    if unknown := [name for name in last.headers.keys() - {*_LIMIT_HEADERS} if "ratelimit" in name.replace("-", "")]:
        yield Finding("problem" if reset is None else "note", f"unknown: {', '.join(sorted(unknown)[:3])}", ignores)
    if any(value is not None and not value.strip().isdecimal() for value in (limit, remaining, reset)):
        yield problem("a header is not a whole number", ignores)
    elif remaining is None or reset is None:
        found = "no headers" if limit is None and remaining is None else "no X-Rate-Limit-Reset or -Remaining"
        yield Finding("note", found, "this package waits only after a 429")
    else:
        yield from _check_quota(record, last, max(int(limit or 0), int(remaining)), int(remaining), int(reset))


def _check_quota(record: Record, last: Exchange, quota: int, remaining: int, reset: int) -> Iterator[Finding]:
    """Check what the headers of the last response say."""
    waits = "this package waits far too long"
    seconds = reset - (last.server_time or last.at)
    if reset > _FIRST_MILLISECONDS:
        yield problem("the reset is in milliseconds", waits)
    elif seconds > _DAY:
        yield problem("the reset is more than a day away", waits)
    elif seconds < -_SLACK:
        found = "the reset is in the past, or not a Unix time"
        yield problem(found, "the quota is not respected until a 429")
    suites = max(1, len(record.rows("suites")))
    found = f"{quota:,} requests, {seconds:,.0f} s until the reset"
    poll = f"to poll {_count(suites, 'suite')} each minute takes {_count(suites, 'request')}"
    if remaining * 60 < suites * max(seconds, 60):
        yield Finding("note", f"{found}, {remaining} remain", poll, "poll less often, or ask Buddy for a higher limit")
    yield Finding("ok", found, poll)


def check_latency(record: Record) -> Iterator[Finding]:
    """Check how long a response takes."""
    times = [exchange.seconds for exchange in record.exchanges if exchange.status]
    if not times:
        yield unchecked("no response")
        return
    typical, longest = median(times), max(times)
    found = f"{1000 * typical:,.0f} ms, at most {1000 * longest:,.0f} ms"
    if longest > _TOO_SLOW:
        yield problem(found, "requests may time out after 30 s", "try from another network")
    if typical > SLOW:
        yield Finding("note", found, f"1,000 suites take {1000 * typical / 8 / 60:.0f} minutes")
    yield Finding("ok", found)


def _fails(exchange: Exchange) -> bool:
    return not 0 < exchange.status < HTTPStatus.INTERNAL_SERVER_ERROR


def _with_status(record: Record, status: HTTPStatus) -> list[Exchange]:
    return [each for each in record.exchanges if each.status == status and not each.purpose.startswith("region-")]


def _is_disabled(exchange: Exchange) -> bool:
    return "disabled" in exchange.message


def _days_until(text: object, exchange: Exchange | None) -> float | None:
    """Return the days until a time, after a response; None if it is none."""
    moment = parse_time(text)
    return None if moment is None or exchange is None else (moment - (exchange.server_time or exchange.at)) / _DAY


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
