"""Checks of the connection, the token, the workspace and the rate limit."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from statistics import median

from .record import Exchange, Finding, Record, load, parse_time, problem, unchecked

_DAY = 86_400
_SKEW = 60.0  # seconds
SLOW = 2.0  # seconds
_SLACK = 5.0  # seconds by which a reset may be past
_NEEDED = "projects", "suites", "page-1"
_EXPECTED = {0, *(HTTPStatus(code) for code in (200, 401, 403, 404, 429))}
_LIMIT_HEADERS = "x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-reset"


def check_connection(record: Record) -> Iterator[Finding]:
    """Check whether each request gets a response that is JSON."""
    meaning = "the network, a proxy or the base URL is wrong"
    for exchange in record.last():
        if not exchange.status:
            advice = "check the base URL, HTTPS_PROXY and NO_PROXY"
            if "TLS" in exchange.error:
                advice = "for the certificate of your company, set SSL_CERT_FILE to a file with its authority"
            yield problem(f"no response: {exchange.error}", meaning, advice)
        elif HTTPStatus.MULTIPLE_CHOICES <= exchange.status < HTTPStatus.BAD_REQUEST:
            yield problem(f"a redirect ({exchange.status})", meaning, "check the base URL")
        elif not isinstance(load(exchange.body), dict) and (exchange.status == HTTPStatus.OK or exchange.body.strip()):
            found = f"{exchange.purpose}: status {exchange.status} with a body that is not JSON"
            yield problem(found, meaning, "is it the page of a proxy? Is the base URL …/api?")
    yield Finding("ok", f"{len(record.exchanges)} responses in JSON")


def check_token(record: Record) -> Iterator[Finding]:
    """Check whether the token is accepted, what it may read, and for how long."""
    exchange, token = record.get("token"), record.document("token")
    if _with_status(record, HTTPStatus.UNAUTHORIZED):
        advice = "set BUDDY_TOKEN to a personal access token, not the BUDDY_UT_TOKEN of a suite; try --try-regions"
        yield problem("the token is rejected (401)", "nothing can be read", advice)
    if exchange is None or not exchange.status:
        yield unchecked("no response")
        return
    advice = "create a token with the scopes UNIT_TEST_INFO and WORKSPACE, for this workspace"
    for each in _with_status(record, HTTPStatus.FORBIDDEN):
        if each.purpose == "projects":
            found = "the token may not list projects (403)"
            yield Finding("note", found, "only a WORKSPACE as argument needs it", advice)
        elif each.purpose not in ("token", "workspaces") and not _is_disabled(each):
            yield problem(f"the token may not read the {each.purpose} (403)", "nothing can be read", advice)
    expiry = parse_time(token.get("expires_at"))
    days = None if expiry is None else (expiry - (exchange.server_time or exchange.at)) / _DAY
    if days is not None and days < 14:
        yield Finding("note", f"the token expires in {days:.0f} days", "then nothing can be read", "create another one")
    scopes = token.get("scopes")
    names = ", ".join(map(str, scopes)) if isinstance(scopes, list) else "unknown"
    yield Finding("ok", f"accepted, scopes: {names}")


def check_region(record: Record) -> Iterator[Finding]:
    """Check whether another region knows the token."""
    others = [each for each in record.exchanges if each.purpose.startswith("region-")]
    for exchange in others:
        if exchange.status not in (0, HTTPStatus.UNAUTHORIZED):
            region = exchange.purpose.removeprefix("region-")
            advice = f"set BUDDY_REGION={region}, or pass --region {region}"
            yield problem(f"the token is one of the region {region}", "nothing is found here", advice)
    if _with_status(record, HTTPStatus.UNAUTHORIZED):
        found = "no region accepts the token" if others else "the token may be one of another region"
        yield Finding("note", found, "", "" if others else "add --try-regions: the token is sent to each region")
    yield Finding("ok", "the token is one of this region") if record.status("token") else unchecked("no response")


def check_api(record: Record) -> Iterator[Finding]:
    """Check whether the API is enabled, and its endpoints work."""
    if any(map(_is_disabled, _with_status(record, HTTPStatus.FORBIDDEN))):
        advice = "let an administrator enable the API in the settings of the workspace"
        yield problem("the API is disabled in the workspace", "nothing can be read", advice)
    for exchange in record.last():
        is_error = exchange.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if is_error or (exchange.purpose in _NEEDED and exchange.status not in _EXPECTED):
            yield problem(f"{exchange.purpose}: status {exchange.status}", "the server fails", "try again later")
    is_enabled = any(record.status(purpose) == HTTPStatus.OK for purpose in _NEEDED)
    yield Finding("ok", "enabled") if is_enabled else unchecked("nothing of a workspace was read")


def check_clock(record: Record) -> Iterator[Finding]:
    """Check whether the clocks of the server and of this machine agree."""
    answered = [exchange for exchange in record.exchanges if exchange.status]
    skews = [moment - each.at + each.seconds / 2 for each in answered if (moment := each.server_time) is not None]
    if not answered:
        yield unchecked("no response")
    elif not skews:
        yield Finding("note", "no valid Date header", "the clock of this machine counts for the rate limit")
    elif abs(skew := median(skews)) > _SKEW:
        found = f"the server is {abs(skew):,.0f} s {'ahead of' if skew > 0 else 'behind'} this machine"
        yield problem(found, "ages, --since and --max-age are wrong", "set the clock of this machine")
    yield Finding("ok", "the clocks agree")


def check_suites(record: Record) -> Iterator[Finding]:
    """Check whether the projects and suites are visible."""
    suites = record.rows("suites")
    asked = record.get("page-1") or record.get("suites") or record.get("projects")
    if asked is None:
        yield unchecked("no SUITE, PROJECT or WORKSPACE is given")
        return
    if asked.status == HTTPStatus.NOT_FOUND:
        advice = "check the names, and that the owner of the token can see them"
        yield problem(f"{asked.purpose}: not found (404)", "nothing can be read", advice)
    if len({str(row.get("id")) for row in suites}) < len(suites):
        yield problem("a suite is listed twice", "its sessions are read twice")
    if record.status("suites") == HTTPStatus.OK and not suites:
        yield Finding("note", "no suite in the project", "there is nothing to read", "create one in Buddy")
    if asked.status != HTTPStatus.OK:
        yield unchecked("they cannot be read")
    elif asked.purpose == "page-1" and not record.sessions:
        yield Finding("note", "no session in the suite", "most checks need some", "name a suite with sessions")
    yield Finding("ok", f"projects: {len(record.rows('projects'))}, suites in the project: {len(suites)}")


def check_rate_limit(record: Record) -> Iterator[Finding]:
    """Check which rate limit the headers report, and what it means for the number of suites."""
    for index, exchange in enumerate(record.exchanges):
        if exchange.status == HTTPStatus.TOO_MANY_REQUESTS:
            found = f"no requests remain, after {index} requests"
            yield problem(found, "the quota is used up, also by other tools", "wait, and try again")
    answered = [exchange for exchange in record.exchanges if exchange.status]
    last = next((each for each in reversed(answered) if {*_LIMIT_HEADERS} & each.headers.keys()), None)
    if not answered:
        yield unchecked("no response")
    elif last is None or not {*_LIMIT_HEADERS[1:]} <= last.headers.keys():
        found = "no headers" if last is None else "no X-Rate-Limit-Reset or -Remaining"
        yield Finding("note", found, "this package waits only after a 429")
    elif not all(last.headers.get(name, "0").strip().isdecimal() for name in _LIMIT_HEADERS):
        yield problem("a header is not a whole number", "the quota is not respected until a 429")
    else:
        yield _check_quota(record, last, *(int(last.headers.get(name, "0")) for name in _LIMIT_HEADERS))


def _check_quota(record: Record, last: Exchange, limit: int, remaining: int, reset: int) -> Finding:
    """Check what the headers of the last response say."""
    seconds = reset - (last.server_time or last.at)
    if seconds > _DAY:
        found = "the reset is more than a day away: is it in milliseconds?"
        return problem(found, "this package waits far too long")
    if seconds < -_SLACK:
        found = "the reset is in the past, or not a Unix time"
        return problem(found, "the quota is not respected until a 429")
    suites = max(1, len(record.rows("suites")))
    found = f"{max(limit, remaining):,} requests, {remaining:,} remain, {seconds:,.0f} s until the reset"
    poll = f"requests to poll the suites of the project each minute: {suites}"
    if remaining * 60 < suites * max(seconds, 60):
        return Finding("note", found, poll, "poll less often, or ask Buddy for a higher limit")
    return Finding("ok", found, poll)


def check_latency(record: Record) -> Iterator[Finding]:
    """Check how long a response takes."""
    times = [exchange.seconds for exchange in record.exchanges if exchange.status]
    if not times:
        yield unchecked("no response")
        return
    typical = median(times)
    found = f"{1000 * typical:,.0f} ms, at most {1000 * max(times):,.0f} ms"
    yield Finding("note" if typical > SLOW else "ok", found, f"1,000 suites take {1000 * typical / 8 / 60:.0f} minutes")


def _with_status(record: Record, status: HTTPStatus) -> list[Exchange]:
    return [each for each in record.exchanges if each.status == status and not each.purpose.startswith("region-")]


def _is_disabled(exchange: Exchange) -> bool:
    return b"disabled" in exchange.body.lower()
