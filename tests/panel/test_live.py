"""Pages learn of changes of their own project, and consoles open with their ticket only."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from insula.control.actions.caller import Caller
from insula.domain.access import DEFAULT_PROJECT, Identity, Scope
from insula.domain.user import Role
from insula.frontends.panel.live import Pulse
from tests.api.world import OTHER_PROJECT, World
from tests.panel.browsing import ORIGIN, Browsing

pytestmark = pytest.mark.asyncio(loop_scope="module")


def _caller(project: str = DEFAULT_PROJECT, *scopes: Scope) -> Caller:
    return Caller(Identity("user:ada", project, frozenset(scopes or {Scope.ADMIN})), "req-test")


@contextlib.asynccontextmanager
async def _following(pulse: Pulse, caller: Caller) -> AsyncIterator[AsyncIterator[int]]:
    changes = pulse.follow(caller, pulse.version())
    try:
        yield changes
    finally:
        await changes.aclose()


async def _next(changes: AsyncIterator[int]) -> int:
    return await anext(changes)


async def test_a_change_is_told_within_the_time_that_is_promised(world: World) -> None:
    await world.create("ticker")
    pulse = Pulse(world.actions)
    async with _following(pulse, _caller()) as changes:
        waiting = asyncio.create_task(_next(changes))
        await asyncio.sleep(0.3)
        assert not waiting.done(), "nothing has changed"
        since_s = time.monotonic()
        await world.admin("PATCH", "/v1/instances/ticker", json={"tags": ["x"]})
        await asyncio.wait_for(waiting, 5)
        assert time.monotonic() - since_s < 1.0


async def test_what_changes_in_another_project_is_not_told(world: World) -> None:
    pulse = Pulse(world.actions)
    async with _following(pulse, _caller(OTHER_PROJECT)) as changes:
        waiting = asyncio.create_task(_next(changes))
        await world.create("elsewhere")
        await asyncio.sleep(0.4)
        assert not waiting.done()
        await world.create("here", OTHER_PROJECT)
        await asyncio.wait_for(waiting, 5)


async def test_a_page_that_was_made_before_a_change_is_told_at_once(world: World) -> None:
    pulse = Pulse(world.actions)
    before = pulse.version()
    await world.create("early")
    changes = pulse.follow(_caller(), before)
    await asyncio.wait_for(anext(changes), 2)
    await changes.aclose()


async def test_nothing_runs_for_pages_that_are_closed(world: World) -> None:
    pulse = Pulse(world.actions)
    tasks = len(asyncio.all_tasks())
    async with _following(pulse, _caller()) as one, _following(pulse, _caller(DEFAULT_PROJECT, Scope.KEYS_READ)) as two:
        waiting = [asyncio.create_task(_next(one)), asyncio.create_task(_next(two))]
        await asyncio.sleep(0.2)
        assert len(asyncio.all_tasks()) == tasks + 3, "one task serves all pages"
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
    assert len(asyncio.all_tasks()) == tasks


async def test_the_stream_ends_when_the_service_stops(world: World, browsing: Browsing) -> None:
    async with asyncio.timeout(10):
        streaming = asyncio.create_task(browsing.get("/live"))
        await asyncio.sleep(0.3)
        world.closing.set()
        answer = await streaming
        world.closing.clear()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "retry:" in answer.text


async def _dial(browsing: Browsing, name: str, ticket: str, origin: str = ORIGIN) -> list[dict[str, Any]]:
    """Open a console, type a word, hang up; what the service sent."""
    sent: list[dict[str, Any]] = []
    typed: Iterator[dict[str, Any]] = iter(
        [{"type": "websocket.connect"}, {"type": "websocket.receive", "bytes": b"hello"}]
    )
    heard = asyncio.Event()

    async def receive() -> dict[str, Any]:
        message = next(typed, None)
        if message is not None:
            return message
        await heard.wait()
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Any) -> None:
        sent.append(dict(message))
        if message["type"] in {"websocket.send", "websocket.close", "websocket.http.response.body"}:
            heard.set()

    cookies = "; ".join(f"{one}={value}" for one, value in browsing.client.cookies.items())
    scope: Any = {
        "type": "websocket",
        "scheme": "ws",
        "path": f"/panel/instances/{name}/console/socket",
        "query_string": f"ticket={ticket}".encode(),
        "headers": [(b"host", b"insula"), (b"origin", origin.encode()), (b"cookie", cookies.encode())],
        "client": ("127.0.0.1", 1),
        "state": {},
    }
    app: Any = browsing.world.app
    await asyncio.wait_for(app(scope, receive, send), 10)
    return sent


async def _ticket(browsing: Browsing, name: str) -> str:
    found = re.search(r'data-ticket="([^"]+)"', await browsing.page(f"/instances/{name}/console"))
    assert found is not None
    return found[1]


async def test_a_ticket_opens_its_console_once(world: World, browsing: Browsing) -> None:
    await world.create("typed")
    ticket = await _ticket(browsing, "typed")
    sent = await _dial(browsing, "typed", ticket)
    assert sent[0]["type"] == "websocket.accept"
    assert b"".join(message.get("bytes", b"") for message in sent) == b"hello"
    again = await _dial(browsing, "typed", ticket)
    assert (again[0]["type"], again[0]["status"]) == ("websocket.http.response.start", 403)
    another = (await browsing.post("/instances/typed/ticket")).text
    assert (await _dial(browsing, "typed", another))[0]["type"] == "websocket.accept"


async def test_a_ticket_is_of_one_instance_session_and_site(world: World, browsing: Browsing) -> None:
    for name in ("mine", "yours"):
        await world.create(name)
    async with Browsing.of(world, Role.MEMBER) as member:
        for who, name, origin in (
            (browsing, "yours", ORIGIN),
            (member, "mine", ORIGIN),
            (browsing, "mine", "http://evil"),
        ):
            sent = await _dial(who, name, await _ticket(browsing, "mine"), origin)
            assert sent[0].get("status") == 403, (name, origin)
    assert (await _dial(browsing, "mine", ""))[0]["status"] == 403


async def test_who_only_reads_has_no_console(world: World) -> None:
    await world.create("seen")
    async with Browsing.of(world, Role.READER) as reader:
        assert (await reader.get("/instances/seen/console")).status_code == 403
        assert (await reader.post("/instances/seen/ticket")).status_code == 403
