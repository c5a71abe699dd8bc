"""Who started a session: a member of the workspace, or else the CI run."""

from __future__ import annotations

from urllib.parse import urlsplit

from ..models import Session


def who(session: Session) -> tuple[str, str | None]:
    """Return the author of a session, or else its CI run with its URL, as a text and a URL; `("", None)` for neither.

    Buddy's reporters send an author only from Buddy's own pipelines: `("Ada Novak", None)`. From another CI there is
    only its run: `("run 17", "https://github.com/acme/web/actions/runs/17")`.
    """
    if session.created_by is not None and session.created_by.name:
        return session.created_by.name, None
    if not session.ci_run_url:
        return "", None
    try:
        name = urlsplit(session.ci_run_url).path.rstrip("/").rpartition("/")[2]
    except ValueError:  # a host that is none, such as [
        name = ""
    return f"run {name}".rstrip(), session.ci_run_url
