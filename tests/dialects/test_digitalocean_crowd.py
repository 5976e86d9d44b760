"""Fifty clients at once create and delete droplets: nothing fails, nothing is left."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from insula.domain.access import Scope
from tests.api.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")
_CLIENTS = 50
_PATIENCE_S = 60.0


async def live(client: httpx.AsyncClient, number: int) -> None:
    """All of them give their droplets one and the same name, which may be there many times."""
    body = {
        "name": "same.example.com",
        "region": "nyc3",
        "size": "micro-1",
        "image": "tiny-x64",
        "tags": [f"t{number}"],
    }
    made = await answered(client.post("/v2/droplets", json=body), 202)
    place = f"/v2/droplets/{made['droplet']['id']}"
    while (await answered(client.get(f"/v2/actions/{made['links']['actions'][0]['id']}"), 200))["action"][
        "status"
    ] != "completed":
        await asyncio.sleep(0.05)
    found = (await answered(client.get(place), 200))["droplet"]
    assert (found["name"], found["status"], found["tags"]) == ("same.example.com", "active", [f"t{number}"])
    await answered(client.delete(place), 204)
    await answered(client.get(place), 404)


async def answered(asked: Any, status: int) -> Any:
    answer = await asked
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def test_fifty_at_once(world: World) -> None:
    async with asyncio.timeout(_PATIENCE_S), world.client(await world.secret(Scope.ADMIN)) as client:
        await asyncio.gather(*(live(client, number) for number in range(_CLIENTS)))
        while await world.store.instances.all():
            await asyncio.sleep(0.05)
    assert await world.store.operations.active() == []
    assert not await world.control.node.leftovers(frozenset(), False)
