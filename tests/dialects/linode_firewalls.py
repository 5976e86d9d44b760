"""Firewalls of Linode's API, asked from their beginning to their end."""

from __future__ import annotations

from typing import Any

from tests.dialects.contract import Contract
from tests.dialects.linode_calls import linode, listed


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
    outbound = {
        "action": "DROP",
        "protocol": "TCP",
        "ports": "25",
        "addresses": {"ipv4": ["0.0.0.0/0"], "ipv6": ["::/0"]},
        "label": "out",
        "description": "no mail",
    }
    rules = {"inbound": [inbound], "outbound": [outbound], "inbound_policy": "DROP", "outbound_policy": "ACCEPT"}
    body = {"label": "Web.wall", "rules": rules, "devices": {"linodes": [one["id"]]}}
    wall = await contract.ask("firewalls.create", json=body)
    assert (wall["rules"]["inbound"], wall["rules"]["outbound"]) == ([inbound], [outbound])
    assert (wall["rules"]["inbound_policy"], wall["rules"]["outbound_policy"]) == ("DROP", "ACCEPT")
    assert [entity["id"] for entity in wall["entities"]] == [one["id"]]
    assert await contract.ask("firewalls.view", wall["id"]) == wall
    assert await listed(contract, "firewalls.list") == [wall]
    assert await listed(contract, "linodes.firewalls-list", one["id"]) == [wall]
    await _devices(contract, wall, two)
    assert await contract.ask("firewalls.rules-list", wall["id"]) == wall["rules"]
    changed = await contract.ask("firewalls.rules-update", wall["id"], json={**rules, "outbound": []})
    assert (len(changed["inbound"]), changed["outbound"], changed["version"]) == (1, [], 2)
    again = await contract.ask("firewalls.rules-update", wall["id"], json={**rules, "outbound": []})
    assert again["version"] == 2, "nothing is new"
    await _history(contract, wall, changed)
    renamed = await contract.ask("firewalls.update", wall["id"], json={"label": "other", "tags": ["web"]})
    assert (renamed["label"], renamed["tags"]) == ("other", ["web"])
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


async def _devices(contract: Contract, wall: dict[str, Any], other: dict[str, Any]) -> None:
    """The other Linode takes the place of the one that it is for."""
    (device,) = await listed(contract, "firewalls.devices-list", wall["id"])
    assert await contract.ask("firewalls.device-view", wall["id"], device["id"]) == device
    added = await contract.ask("firewalls.device-create", wall["id"], json={"id": other["id"], "type": "linode"})
    assert added["entity"]["id"] == other["id"]
    assert await contract.ask("firewalls.device-delete", wall["id"], device["id"]) == {}
    assert [each["id"] for each in await listed(contract, "firewalls.devices-list", wall["id"])] == [added["id"]]


async def _history(contract: Contract, wall: dict[str, Any], changed: dict[str, Any]) -> None:
    before, now = await listed(contract, "firewalls.versions-list", wall["id"])
    assert (before["id"], before["rules"], now["rules"]) == (wall["id"], wall["rules"], changed)
    shown = await contract.ask("firewalls.version-view", wall["id"], 1)
    assert (shown["rules"], shown["inbound"], shown["version"]) == (wall["rules"], wall["rules"]["inbound"], 1)
    assert (await contract.ask("firewalls.version-view", wall["id"], 2))["rules"] == changed
    await contract.ask("firewalls.version-view", wall["id"], 3, status=404)


async def templates(contract: Contract) -> None:
    """What they say can be a firewall's rules."""
    for template in await listed(contract, "firewalls.templates-list"):
        assert await contract.ask("firewalls.template-view", template["slug"]) == template
        made = await contract.ask("firewalls.create", json={"label": template["slug"], "rules": template["rules"]})
        assert template["rules"].items() <= made["rules"].items()
        await contract.ask("firewalls.delete", made["id"])
    await contract.ask("firewalls.template-view", "none", status=404)


async def _wrong_rules(contract: Contract, wall: int, inbound: dict[str, Any]) -> None:
    unsaid = {"label": "unsaid", "rules": {"inbound_policy": "DROP"}}
    refused = await contract.ask("firewalls.create", status=400, json=unsaid)
    assert refused["errors"][0]["field"] == "rules.outbound_policy"
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
