"""Addresses and VPCs of Linode's API, each asked from its beginning to its end."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Any

from tests.dialects.contract import Contract
from tests.dialects.linode_calls import PATIENCE_S, linode, listed


async def addresses(contract: Contract) -> None:
    made = await linode(contract, "reached")
    found = await contract.ask("linodes.ips-list", made["id"])
    (own,) = found["ipv4"]["public"]
    assert (own["address"], found["ipv4"]["private"]) == (made["ipv4"][0], []), "without a pool there is no other"
    assert found["ipv6"]["slaac"]["address"] + "/128" == made["ipv6"]
    assert found["ipv6"]["link_local"]["address"].startswith("fe80::")
    refused = await contract.ask(
        "networking.ip-add", status=400, json={"type": "ipv4", "public": True, "linode_id": made["id"]}
    )
    assert refused["errors"][0]["reason"]
    await contract.world.admin("POST", "/v1/address-pools", json={"name": "public", "addresses": "203.0.113.0/28"})
    for name, places in (("networking.ip-add", ()), ("linodes.ip-add", (made["id"],))):
        wish = {"type": "ipv4", "public": True, "linode_id": made["id"]}
        added = await contract.ask(name, *places, json=wish)
        assert (added["linode_id"], added["public"], added["reserved"]) == (made["id"], True, False)
    address = added["address"]
    assert await contract.ask("linodes.ip-view", made["id"], address) == added
    assert await contract.ask("linodes.ip-update", made["id"], address, json={"rdns": None}) == added
    assert await contract.ask("networking.ip-view", address) == added
    assert await contract.ask("networking.ip-update", address, json={}) == added
    await contract.ask("networking.ip-update", address, status=400, json={"rdns": "a.example.com"})
    assert address in {one["address"] for one in await listed(contract, "networking.ips-list")}
    found = await contract.ask("linodes.ips-list", made["id"])
    (private,) = found["ipv4"]["private"]
    assert private["address"] == own["address"]
    wish = {"type": "ipv4", "public": False, "linode_id": made["id"]}
    had = await contract.ask("networking.ip-add", json=wish)
    assert (had["address"], had["public"]) == (own["address"], False), "it has one from the start"
    shared = {"linode_id": made["id"], "ips": [address]}
    await contract.ask("networking.ip-share", status=400, json=shared)
    assert await contract.ask("networking.ip-share", json={**shared, "ips": []}) == {}
    assert await contract.ask("linodes.ip-delete", made["id"], address) == {}
    await contract.ask("linodes.ip-view", made["id"], address, status=404)
    reserved = await contract.ask("networking.reserved-ip-add", json={"region": "us-east"})
    assert (reserved["reserved"], reserved["linode_id"]) == (True, None)
    body = {"region": "us-east", "assignments": [{"address": reserved["address"], "linode_id": made["id"]}]}
    assert await contract.ask("networking.ip-assign", json=body) == {}
    shown = await contract.ask("networking.reserved-ip-view", reserved["address"])
    assert shown["assigned_entity"]["id"] == made["id"]
    assert await listed(contract, "networking.reserved-ips-list") == [shown]
    assert (await listed(contract, "networking.reserved-ip-types-list"))[0]["id"] == "reserved-ipv4"
    assert (await listed(contract, "network-transfer.prices"))[0]["id"] == "network_transfer"
    unknown = {"assignments": [{"address": "192.0.2.1", "linode_id": made["id"]}], "region": "us-east"}
    await contract.ask("networking.ip-assign", status=400, json=unknown)
    assert await contract.ask("networking.reserved-ip-delete", reserved["address"]) == {}
    await contract.ask("linodes.delete", made["id"])
    assert await listed(contract, "networking.ips-list") == [], "its own address went with it"


async def vpcs(contract: Contract) -> None:
    wish = {"label": "backend", "region": "us-east", "description": "for databases"}
    bare = await contract.ask("vpcs.create", json={"label": "bare", "region": "us-east", "ipv6": [{"range": "auto"}]})
    assert ipaddress.ip_network(bare["ipv6"][0]["range"]).prefixlen == 52
    await contract.ask("vpcs.delete", bare["id"])
    vpc = await contract.ask("vpcs.create", json={**wish, "subnets": [{"label": "one", "ipv4": "10.9.0.0/24"}]})
    assert wish.items() <= vpc.items()
    assert await contract.ask("vpcs.view", vpc["id"]) == vpc
    two = await contract.ask("vpcs.subnet-create", vpc["id"], json={"label": "two", "ipv4": "10.9.1.0/24"})
    await _ranges(contract, vpc, two)
    labels = [one["label"] for one in await listed(contract, "vpcs.subnets-list", vpc["id"])]
    assert labels == ["one", "two"]
    space = await contract.world.store.networks.joined("default")
    assert len(space) == 1, "subnets of one VPC reach each other"
    interfaces = [{"purpose": "vpc", "subnet_id": two["id"]}]
    made = await linode(contract, "inside", interfaces=interfaces)
    assert made["ipv4"][-1].startswith("10.9.1.")
    inside = await contract.ask("vpcs.subnet-view", vpc["id"], two["id"])
    assert [one["id"] for one in inside["linodes"]] == [made["id"]]
    (address,) = await listed(contract, "vpcs.ips-list", vpc["id"])
    assert (address["linode_id"], address["subnet_id"]) == (made["id"], two["id"])
    assert address in await listed(contract, "vpcs.ips-all-list")
    await contract.ask("vpcs.delete", vpc["id"], status=400)
    await contract.ask("linodes.delete", made["id"])
    renamed = await contract.ask("vpcs.subnet-update", vpc["id"], two["id"], json={"label": "second"})
    assert renamed["label"] == "second"
    changed = await contract.ask("vpcs.update", vpc["id"], json={"label": "back2"})
    assert (changed["label"], changed["description"]) == ("back2", "for databases")
    bad = {"label": "third", "region": "us-east", "subnets": [{"label": "x", "ipv4": "10.9.1.0/25"}]}
    await contract.ask("vpcs.create", status=400, json=bad)
    assert "third" not in {one["label"] for one in await listed(contract, "vpcs.list")}
    async with asyncio.timeout(PATIENCE_S):
        while await contract.world.store.instances.of_project("default"):
            await asyncio.sleep(0.02)
    assert await contract.ask("vpcs.subnet-delete", vpc["id"], two["id"]) == {}
    assert await contract.ask("vpcs.delete", vpc["id"]) == {}
    elsewhere = await listed(contract, "vpcs.list")
    assert [one["label"] for one in elsewhere] == ["default"], "which was made elsewhere"
    await contract.ask("vpcs.update", elsewhere[0]["id"], status=400, json={"label": "x"})


async def _ranges(contract: Contract, vpc: dict[str, Any], subnet: dict[str, Any]) -> None:
    whole, part = (ipaddress.ip_network(one["ipv6"][0]["range"]) for one in (vpc, subnet))
    assert (whole.prefixlen, part.prefixlen) == (52, 64)
    assert str(part.network_address).startswith(str(whole.network_address).rstrip(":")), "it is a part of the VPC's"
    wrongs = (
        ({"ipv4": "10.9.2.0"}, "ipv4", "IPv4 network"),
        ({"ipv6": [{"range": "fd00::/5a"}]}, "ipv6[0].range", "IPv6 network"),
        ({"ipv6": [{"range": "fd12::/64"}]}, "ipv6[0].range", "inside of it"),
        ({"label": "under_score"}, "label", "ASCII letters, numbers, and dashes"),
    )
    for wrong, field, why in wrongs:
        wish = {"label": "three", "ipv4": "10.9.2.0/24", **wrong}
        refused = await contract.ask("vpcs.subnet-create", vpc["id"], status=400, json=wish)
        assert refused["errors"][0]["field"] == field
        assert why in refused["errors"][0]["reason"]
