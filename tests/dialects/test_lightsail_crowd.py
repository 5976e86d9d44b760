"""Thirty clients at once create, open, close and delete: nothing fails, nothing is left."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from botocore.credentials import Credentials

from tests.api.world import World
from tests.dialects.signed import ask, key

pytestmark = pytest.mark.asyncio(loop_scope="module")
_CLIENTS = 30
_PATIENCE_S = 100.0


async def live(world: World, credentials: Credentials, number: int) -> None:
    """Half of them want the same ports, which one firewall stands for."""
    name = f"crowd-{number}"
    wish = {"availabilityZone": "us-east-1a", "blueprintId": "tiny", "bundleId": "micro-1"}
    await done(world, credentials, "CreateInstances", instanceNames=[name], **wish)
    port = 8080 if number % 2 else 9000 + number
    info = {"fromPort": port, "toPort": port, "protocol": "tcp"}
    await done(world, credentials, "PutInstancePublicPorts", instanceName=name, portInfos=[info])
    (state,) = (await answered(world, credentials, "GetInstancePortStates", instanceName=name))["portStates"]
    assert state["fromPort"] == port
    await done(world, credentials, "StopInstance", instanceName=name)
    await done(world, credentials, "DeleteInstance", instanceName=name)


async def done(world: World, credentials: Credentials, operation: str, **body: Any) -> None:
    begun = await answered(world, credentials, operation, **body)
    for one in begun.get("operations") or [begun["operation"]]:
        while not (found := await answered(world, credentials, "GetOperation", operationId=one["id"]))["operation"][
            "isTerminal"
        ]:
            await asyncio.sleep(0.05)
        assert found["operation"]["status"] == "Succeeded", found


async def answered(world: World, credentials: Credentials, operation: str, **body: Any) -> Any:
    answer = await ask(world, credentials, operation, **body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_thirty_at_once(world: World) -> None:
    credentials = await key(world)
    async with asyncio.timeout(_PATIENCE_S):
        await asyncio.gather(*(live(world, credentials, number) for number in range(_CLIENTS)))
        while await world.store.instances.all():
            await asyncio.sleep(0.05)
    assert await world.store.firewalls.list("default") == []
    assert await world.store.operations.active() == []
    assert not await world.control.node.leftovers(frozenset(), False)
