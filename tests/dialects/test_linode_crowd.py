"""Fifty clients at once create and delete Linodes: nothing fails, nothing is left."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from insula.domain.access import Scope
from tests.api.probes import PUBLIC_KEY
from tests.api.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")
_CLIENTS = 50
_PATIENCE_S = 60.0


async def live(client: httpx.AsyncClient, number: int) -> None:
    """Each waits for its own events, as clients do."""
    wish = {"label": f"crowd_{number}", "region": "us-east", "type": "micro-1", "image": "linode/tiny", "tags": ["x"]}
    wish |= {"authorized_keys": [PUBLIC_KEY]}
    made = await answered(client.post("/v4/linode/instances", json=wish))
    place = f"/v4/linode/instances/{made['id']}"
    where = {"entity.id": made["id"], "entity.type": "linode", "action": "linode_create", "+order_by": "created"}
    headers = {"X-Filter": json.dumps(where)}
    while (await answered(client.get("/v4/account/events", headers=headers)))["data"][0]["status"] != "finished":
        await asyncio.sleep(0.05)
    found = await answered(client.get(place))
    assert (found["label"], found["status"], found["tags"]) == (wish["label"], "running", ["x"])
    await answered(client.delete(place))
    assert (await client.get(place)).status_code == 404


async def answered(asked: Any) -> Any:
    answer = await asked
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_fifty_at_once(world: World) -> None:
    async with asyncio.timeout(_PATIENCE_S), world.client(await world.secret(Scope.ADMIN)) as client:
        await asyncio.gather(*(live(client, number) for number in range(_CLIENTS)))
        while await world.store.instances.all():
            await asyncio.sleep(0.05)
    assert await world.store.operations.active() == []
    assert not await world.control.node.leftovers(frozenset(), False)
