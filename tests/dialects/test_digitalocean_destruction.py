"""A droplet is destroyed with what belongs to it: all of that, or what was chosen."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from insula.frontends.dialects.digitalocean import DIALECT
from tests.api.world import World
from tests.dialects import openapi
from tests.dialects.contract import Contract

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def with_belongings(contract: Contract, name: str) -> tuple[int, dict[str, Any]]:
    """A droplet with a volume, a snapshot and a reserved IP, and what is told of these."""
    body = {"name": name, "region": "nyc3", "size": "micro-1", "image": "tiny-x64"}
    made = await contract.ask("droplets_create", status=202, json=body)
    number = made["droplet"]["id"]
    await done(contract, made["links"]["actions"][0]["id"])
    for wish in ({"type": "power_off"}, {"type": "snapshot", "name": f"{name}-shot"}):
        await done(contract, (await contract.ask("dropletActions_post", number, status=201, json=wish))["action"]["id"])
    volume = {"name": name, "region": "nyc3", "size_gigabytes": 1}
    held = (await contract.ask("volumes_create", status=201, json=volume))["volume"]["id"]
    attach = {"type": "attach", "droplet_id": number}
    begun = await contract.ask("volumeActions_post_byId", held, status=202, json=attach)
    await done(contract, begun["action"]["id"])
    await contract.ask("reservedIPs_create", status=202, json={"droplet_id": number})
    return number, await contract.ask("droplets_list_associatedResources", number)


async def done(contract: Contract, action: int) -> None:
    async with asyncio.timeout(60):
        while (await contract.ask("actions_get", action))["action"]["status"] != "completed":
            await asyncio.sleep(0.02)


async def left(contract: Contract) -> tuple[int, ...]:
    """How many droplets, volumes, snapshots and reserved IPs there are."""
    asked = (("droplets_list", "droplets"), ("volumes_list", "volumes"), ("snapshots_list", "snapshots"))
    counts = [len((await contract.ask(name))[field]) for name, field in asked]
    return (*counts, len((await contract.ask("reservedIPs_list"))["reserved_ips"]))


async def test_all_of_it_or_what_was_chosen(world: World) -> None:
    specification = openapi.digitalocean()
    if specification is None:
        pytest.skip("DigitalOcean's specification is not at hand")
    contract = Contract(world, DIALECT, specification, openapi.NEVER)
    await world.admin("POST", "/v1/address-pools", json={"name": "public", "addresses": "203.0.113.0/28"})
    first, told = await with_belongings(contract, "first")
    assert {kind: len(things) for kind, things in told.items()} == {
        "reserved_ips": 1,
        "floating_ips": 1,
        "snapshots": 1,
        "volumes": 1,
        "volume_snapshots": 0,
    }
    name = "droplets_destroy_withAssociatedResourcesDangerous"
    refused = await contract.ask(name, first, status=422)
    assert "X-Dangerous" in refused["message"]
    assert await left(contract) == (1, 1, 1, 1)
    await contract.ask(name, first, status=202, headers={"X-Dangerous": "true"})
    assert await left(contract) == (0, 0, 0, 0)

    second, told = await with_belongings(contract, "second")
    chosen = {"volumes": [told["volumes"][0]["id"]]}
    await contract.ask("droplets_destroy_withAssociatedResourcesSelective", second, status=202, json=chosen)
    assert await left(contract) == (0, 0, 1, 1)
    assert {field for fields in contract.absent.values() for field in fields} == set()
