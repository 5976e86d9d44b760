"""Configuration profiles of Linode's API and the interfaces in them, each asked from its beginning to its end."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.dialects.contract import Contract
from tests.dialects.linode_calls import PATIENCE_S, linode, listed, reaches


async def profiles(contract: Contract) -> None:
    made = await linode(contract, "profiled")
    (disk,) = await listed(contract, "linodes.disks-list", made["id"])
    volume = await contract.ask("volumes.create", json={"label": "second", "size": 10, "linode_id": made["id"]})
    devices = {"sdc": {"disk_id": disk["id"]}, "sdb": {"volume_id": volume["id"]}, "sdd": None}
    wish = {"label": "rescue", "comments": "for later", "kernel": "linode/grub2", "devices": devices}
    config = await contract.ask("linodes.config-create", made["id"], json=wish)
    assert (config["label"], config["comments"], config["root_device"]) == ("rescue", "for later", "/dev/sdc")
    assert config["devices"]["sdc"] == {"disk_id": disk["id"], "volume_id": None}
    assert config["devices"]["sdb"] == {"disk_id": None, "volume_id": volume["id"]}
    assert await contract.ask("linodes.config-view", made["id"], config["id"]) == config
    assert [one["id"] for one in await listed(contract, "linodes.configs-list", made["id"])][1:] == [config["id"]]
    change = {"label": "other", "devices": {"sda": {"disk_id": disk["id"]}}}
    changed = await contract.ask("linodes.config-update", made["id"], config["id"], json=change)
    assert (changed["label"], changed["comments"], changed["devices"]["sdb"]) == ("other", "for later", None)
    await contract.ask("linodes.shutdown", made["id"])
    await reaches(contract, made["id"], "offline")
    assert await contract.ask("linodes.boot", made["id"], json={"config_id": config["id"]}) == {}
    await reaches(contract, made["id"], "running")
    await _wrong(contract, made["id"], disk["id"])
    assert await contract.ask("linodes.config-delete", made["id"], config["id"]) == {}
    await contract.ask("linodes.config-view", made["id"], config["id"], status=404)
    await contract.ask("linodes.delete", made["id"])
    await contract.ask("volumes.delete", volume["id"])


async def _wrong(contract: Contract, number: int, disk: int) -> None:
    """Nothing is kept of a profile that cannot be had."""
    before = await listed(contract, "linodes.configs-list", number)
    own = {"sda": {"disk_id": disk}}
    wrongs: list[dict[str, Any]] = [
        {"devices": own},
        {"label": "x"},
        {"label": "x", "devices": {"sda": {"disk_id": 424242}}},
        {"label": "x", "devices": {**own, "sdb": {"volume_id": 424242}}},
        {"label": "x", "devices": {**own, "hda": {"disk_id": disk}}},
        {"label": "x", "devices": own, "kernel": "linode/latest-64bit"},
        {"label": "x", "devices": own, "memory_limit": 256},
    ]
    for wrong in wrongs:
        refused = await contract.ask("linodes.config-create", number, status=400, json=wrong)
        assert refused["errors"][0]["reason"], wrong
    assert await listed(contract, "linodes.configs-list", number) == before


async def interfaces(contract: Contract) -> None:
    vpc = await contract.ask(
        "vpcs.create",
        json={"label": "cards", "region": "us-east", "subnets": [{"label": "one", "ipv4": "10.11.0.0/24"}]},
    )
    (subnet,) = vpc["subnets"]
    made = await linode(contract, "carded")
    (config,) = await listed(contract, "linodes.configs-list", made["id"])
    (first,) = config["interfaces"]
    assert (first["purpose"], first["primary"], first["active"]) == ("public", True, True)
    place = (made["id"], config["id"])
    added = await contract.ask(
        "linodes.config-interface-add", *place, json={"purpose": "vpc", "subnet_id": subnet["id"]}
    )
    assert (added["subnet_id"], added["vpc_id"], added["primary"]) == (subnet["id"], vpc["id"], False)
    assert added["ipv4"]["vpc"].startswith("10.11.0.")
    assert added["ipv6"]["slaac"][0]["range"] == subnet["ipv6"][0]["range"]
    assert await contract.ask("linodes.config-interface-view", *place, added["id"]) == added
    assert await contract.ask("linodes.config-interfaces-list", *place) == [first, added]
    for wrong in (
        {"purpose": "vlan", "label": "x"},
        {"purpose": "vpc", "subnet_id": 424242},
        {"purpose": "vpc", "subnet_id": subnet["id"], "ip_ranges": ["10.11.0.8/32"]},
        {"purpose": "vpc", "subnet_id": subnet["id"], "ipv4": {"vpc": "10.11.0.9"}},
    ):
        await contract.ask("linodes.config-interface-add", *place, status=400, json=wrong)
    assert await contract.ask("linodes.config-interface-delete", *place, added["id"]) == {}
    await contract.ask("linodes.config-interface-view", *place, added["id"], status=404)
    await contract.ask("linodes.delete", made["id"])
    async with asyncio.timeout(PATIENCE_S):
        while await contract.world.store.instances.of_project("default"):
            await asyncio.sleep(0.02)
    await contract.ask("vpcs.delete", vpc["id"])
