"""Somebody with a browser, as far as HTTP goes: cookies, forms with their tokens, and what is on a page."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from html import unescape
from typing import Any

import httpx

from insula.domain.access import DEFAULT_PROJECT, Scope
from tests.api.world import World

ORIGIN = "http://insula"
_TOKEN = re.compile(r'name="token" value="([^"]+)"')
_HEADERS = {"accept": "text/html", "origin": ORIGIN, "sec-fetch-site": "same-origin"}


@dataclass
class Browsing:
    world: World
    client: httpx.AsyncClient

    @classmethod
    @contextlib.asynccontextmanager
    async def of(
        cls, world: World, *scopes: Scope, project: str = DEFAULT_PROJECT, signed_in: bool = True
    ) -> AsyncIterator[Browsing]:
        """With the scopes, by default all."""
        app: Any = world.app
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False, client=("127.0.0.1", 1234))
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=_HEADERS) as client:
            if signed_in:
                client.cookies.set("insula", await world.secret(*(scopes or (Scope.ADMIN,)), project=project))
            yield cls(world, client)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(f"/panel{path}", headers=headers)

    async def page(self, path: str) -> str:
        """The text of a page that is there."""
        answer = await self.get(path)
        assert answer.status_code == 200, (path, answer.status_code, text_of(answer.text))
        return answer.text

    async def token(self) -> str:
        found = _TOKEN.search(await self.page("/projects"))
        assert found is not None
        return found[1]

    async def post(self, path: str, form: Mapping[str, Any] | None = None, **headers: str) -> httpx.Response:
        """Send a form with the token of this session."""
        data = {"token": await self.token(), **(form or {})}
        return await self.client.post(f"/panel{path}", data=data, headers=headers)


def text_of(html: str) -> str:
    """What a person reads of a page."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html))).strip()
