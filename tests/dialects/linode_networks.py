"""Firewalls, addresses and VPCs of Linode's API, each asked from its beginning to its end."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.dialects.contract import Contract
from tests.dialects.linode_calls import PATIENCE_S, linode, listed


async def firewalls(contract: Contract) -> None:
    one, two = await linode(contract, "walled"), await linode(contract, "friend")
    inbound = {
        "action": "ACCEPT",
        "protocol": "TCP",
        "ports": "22, 8000-9000",
        "addresses": {"ipv4": ["192.0.2.0/24"], "ipv6": ["2001:db8::/32"]},
        "label": "in",
        "description": "who may",
    }
    outbound = {"action": "DROP", "protocol": "ICMP", "addresses": {"ipv4": ["0.0.0.0/0"], "ipv6": ["::/0"]}}
    rules = {"inbound": [inbound], "outbound": [outbound], "inbound_policy": "DROP", "outbound_policy": "ACCEPT"}
    body = {"label": "Web.wall", "rules": rules, "devices": {"linodes": [one["id"]]}}
    wall = await contract.ask("firewalls.create", json=body)
    assert inbound.items() <= wall["rules"]["inbound"][0].items()
    assert outbound.items() <= wall["rules"]["outbound"][0].items()
    assert (wall["rules"]["inbound_policy"], wall["rules"]["outbound_policy"]) == ("DROP", "ACCEPT")
    assert [entity["id"] for entity in wall["entities"]] == [one["id"]]
    assert await contract.ask("firewalls.view", wall["id"]) == wall
    assert await listed(contract, "firewalls.list") == [wall]
    assert await listed(contract, "linodes.firewalls-list", one["id"]) == [wall]
    (device,) = await listed(contract, "firewalls.devices-list", wall["id"])
    assert await contract.ask("firewalls.device-view", wall["id"], device["id"]) == device
    added = await contract.ask("firewalls.device-create", wall["id"], json={"id": two["id"], "type": "linode"})
    assert added["entity"]["id"] == two["id"]
    assert await contract.ask("firewalls.device-delete", wall["id"], device["id"]) == {}
    assert [each["id"] for each in await listed(contract, "firewalls.devices-list", wall["id"])] == [added["id"]]
    assert await contract.ask("firewalls.rules-list", wall["id"]) == wall["rules"]
    changed = await contract.ask("firewalls.rules-update", wall["id"], json={**rules, "outbound": []})
    assert (len(changed["inbound"]), changed["outbound"], changed["version"]) == (1, [], 2)
    renamed = await contract.ask("firewalls.update", wall["id"], json={"label": "other"})
    assert renamed["label"] == "other"
    await contract.ask("firewalls.update", wall["id"], status=400, json={"status": "disabled"})
    set_to = await contract.ask("linodes.firewalls-update", one["id"], json={"firewall_ids": [wall["id"]]})
    assert [each["id"] for each in set_to["data"]] == [wall["id"]]
    assert (await contract.ask("linodes.firewalls-update", one["id"], json={"firewall_ids": []}))["data"] == []
    await contract.ask("linodes.firewalls-update", one["id"], status=400, json={"firewall_ids": [424242]})
    assert await contract.ask("linodes.post-apply-firewalls", one["id"]) == {}
    assert (await contract.ask("firewalls.firewall-settings-list"))["default_firewall_ids"]["linode"] is None
    third = await linode(contract, "born-walled", firewall_id=wall["id"])
    assert len(await listed(contract, "linodes.firewalls-list", third["id"])) == 1
    await _wrong_rules(contract, wall["id"], inbound)
    assert await contract.ask("firewalls.delete", wall["id"]) == {}
    for each in (one, two, third):
        await contract.ask("linodes.delete", each["id"])


async def _wrong_rules(contract: Contract, wall: int, inbound: dict[str, Any]) -> None:
    wrongs: list[dict[str, Any]] = [
        {"protocol": "SCTP"},
        {"action": "MAYBE"},
        {"ports": "0"},
        {"addresses": {}},
        {"addresses": {"ipv4": ["x"]}},
    ]
    for wrong in wrongs:
        refused = await contract.ask(
            "firewalls.rules-update", wall, status=400, json={"inbound": [{**inbound, **wrong}], "outbound": []}
        )
        assert refused["errors"][0]["field"].startswith("rules."), wrong


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
    assert [one["address"] for one in found["ipv4"]["private"]] == [own["address"]]
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
    vpc = await contract.ask("vpcs.create", json={**wish, "subnets": [{"label": "one", "ipv4": "10.9.0.0/24"}]})
    assert wish.items() <= vpc.items()
    assert await contract.ask("vpcs.view", vpc["id"]) == vpc
    two = await contract.ask("vpcs.subnet-create", vpc["id"], json={"label": "two", "ipv4": "10.9.1.0/24"})
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
