from __future__ import annotations

import asyncio
import json
import traceback
from typing import Any
from urllib.parse import quote

import pytest

from buddy_sessions._http.credentials import Credentials, Secret, hide_token
from buddy_sessions.errors import ConfigError

TOKEN = "s3cr3t/t0ken="


class TestSecret:
    def test_repr_hides_the_token(self) -> None:
        assert repr({"token": hide_token(TOKEN)}) == "{'token': '***'}"

    def test_token_is_sent_unchanged(self) -> None:
        assert hide_token(TOKEN) == TOKEN

    @pytest.mark.parametrize(
        "repeated",
        [
            TOKEN,
            json.dumps(TOKEN).strip('"').replace("/", r"\/"),
            TOKEN.replace("=", r"\u003d").replace("/", r"\u002F"),
            quote(TOKEN, safe=""),
            quote(TOKEN, safe="").lower(),
            "".join(f"%{ord(character):02x}" for character in TOKEN),
        ],
    )
    @pytest.mark.parametrize("secret", [Secret(TOKEN), Secret(f"Bearer {TOKEN}")], ids=["token", "header"])
    def test_token_is_redacted_in_any_encoding(self, secret: Secret, repeated: str) -> None:
        assert secret.redact(f"<{repeated}> and <{repeated}>") == "<***> and <***>"
        assert secret.redact(f"<{repeated}>".encode()) == b"<***>"

    def test_other_text_is_left_alone(self) -> None:
        assert Secret(TOKEN).redact("s3cr3t") == "s3cr3t"


class TestCredentials:
    async def test_token_is_sent_as_bearer(self) -> None:
        credentials = Credentials(TOKEN, timeout=30)
        header = await credentials.header()
        assert header == f"Bearer {TOKEN}"
        credentials.record(header, 401)
        assert not credentials.is_outdated(header)

    async def test_callable_is_called_once_for_many(self) -> None:
        calls = 0

        async def token() -> str:
            nonlocal calls
            calls += 1
            await asyncio.sleep(0)
            return f"token-{calls}"

        credentials = Credentials(token, timeout=30)
        assert calls == 0
        headers = await asyncio.gather(*(credentials.header() for _ in range(5)))
        assert set(headers) == {"Bearer token-1"}
        credentials.record(headers[0], 401)
        assert credentials.is_outdated(headers[0])
        renewed = await asyncio.gather(*(credentials.header() for _ in headers))
        assert set(renewed) == {"Bearer token-2"}
        assert await credentials.header() == "Bearer token-2"
        assert calls == 2

    async def test_callable_that_fails_is_called_again(self) -> None:
        calls = 0

        async def token() -> str:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise LookupError("the vault is locked")
            return TOKEN

        credentials = Credentials(token, timeout=30)
        with pytest.raises(LookupError, match="locked"):
            await credentials.header()
        assert await credentials.header() == f"Bearer {TOKEN}"

    async def test_callable_must_be_async(self) -> None:
        token: Any = lambda: TOKEN  # noqa: E731 - this very mistake
        with pytest.raises(ConfigError, match="must be async") as caught:
            await Credentials(token, timeout=30).header()
        report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        assert TOKEN not in "".join(report.format())

    @pytest.mark.parametrize("token", ["", "a b", "a\r\nHost: evil", "a\n", "\ttoken", "żeton", None, 7])
    async def test_invalid_token_is_rejected_and_not_repeated(self, token: Any) -> None:
        async def get_token() -> Any:
            return token

        for source in (hide_token(token), get_token):
            with pytest.raises(ConfigError, match="token") as caught:
                await Credentials(source, timeout=30).header()
            assert str(token) not in str(caught.value) or not token
