"""Somebody with a browser, as far as HTTP goes: cookies, forms with their tokens, and what is on a page."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from html import unescape
from typing import Any
from weakref import WeakKeyDictionary

import httpx

from insula.control.actions.caller import Caller
from insula.control.store import Store
from insula.domain.access import DEFAULT_PROJECT, Identity, Scope
from insula.domain.user import Role
from tests.api.world import World

ORIGIN = "http://insula"
OWNER = "ada"
PASSWORD = "lantern otter copper glacier"
_SESSIONS: WeakKeyDictionary[Store, dict[tuple[Role | None, str], str]] = WeakKeyDictionary()
_TOKEN = re.compile(r'name="token" value="([^"]+)"')
_HEADERS = {"accept": "text/html", "origin": ORIGIN, "sec-fetch-site": "same-origin"}


@dataclass
class Browsing:
    world: World
    client: httpx.AsyncClient

    @classmethod
    @contextlib.asynccontextmanager
    async def of(
        cls, world: World, role: Role | None = None, project: str = DEFAULT_PROJECT, *, signed_in: bool = True
    ) -> AsyncIterator[Browsing]:
        """Somebody with this role in the project, by default the installation's owner."""
        app: Any = world.app
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False, client=("127.0.0.1", 1234))
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=_HEADERS) as client:
            if signed_in:
                client.cookies.set("insula", await session_of(world, role, project))
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


async def session_of(world: World, role: Role | None = None, project: str = DEFAULT_PROJECT) -> str:
    """The secret of a session of somebody with this role, who is made at the first time; the same one each time."""
    known = _SESSIONS.setdefault(world.store, {})
    if (role, project) not in known:
        await _make_user(world, role, project)
        known[role, project] = await new_session(world, role, project)
    return known[role, project]


async def new_session(world: World, role: Role | None, project: str = DEFAULT_PROJECT) -> str:
    """The secret of one more session of somebody who is there already."""
    signed_in = await world.actions.sessions.sign_in(
        name_of(role, project), PASSWORD, client="127.0.0.1", agent="a test"
    )
    return signed_in.secret


def name_of(role: Role | None, project: str = DEFAULT_PROJECT) -> str:
    return OWNER if role is None else f"{role}-{project}"


async def _make_user(world: World, role: Role | None, project: str) -> None:
    users = world.actions.users
    if role is None:
        link = await users.first_link(ORIGIN)
        assert link is not None
        await users.make_owner(key_of(link), OWNER, PASSWORD)
    else:
        host = Caller(Identity("local:root", project, frozenset({Scope.ADMIN})), "req-test")
        _, secret = await users.invite(host, name_of(role, project), role)
        await users.accept_invitation(secret, PASSWORD)


def key_of(link: str) -> str:
    """The one-time secret in a link."""
    return link.partition("?key=")[2]


def text_of(html: str) -> str:
    """What a person reads of a page."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html))).strip()
