"""Volumes of Linode's API, asked from their beginning to their end."""

from __future__ import annotations

from tests.dialects.contract import Contract
from tests.dialects.linode_calls import linode, listed


async def volumes(contract: Contract) -> None:
    made = await linode(contract, "holder")
    wish = {"label": "data", "region": "us-east", "size": 10, "tags": ["t"]}
    volume = await contract.ask("volumes.create", json=wish)
    assert wish.items() <= volume.items()
    assert (volume["status"], volume["linode_id"]) == ("active", None)
    taken = await contract.ask("volumes.create", status=400, json=wish)
    assert taken["errors"][0]["field"] == "label"
    for wrong, field in (({"size": 1}, "size"), ({"size": 16385}, "size"), ({"label": "1"}, "label")):
        refused = await contract.ask("volumes.create", status=400, json={**wish, "label": "x", **wrong})
        assert refused["errors"][0]["field"] == field
    refused = await contract.ask("volumes.create", status=400, json={"region": "us-east", "size": 10})
    assert refused["errors"] == [{"field": "label", "reason": "label is required. It is missing. Send it."}]
    for size in (1, 16385):
        refused = await contract.ask("volumes.resize", volume["id"], status=400, json={"size": size})
        assert refused["errors"][0]["field"] == "size"
    # One right after the other, as clients do without waiting.
    attached = await contract.ask("volumes.attach", volume["id"], json={"linode_id": made["id"]})
    assert (attached["linode_id"], attached["linode_label"]) == (made["id"], "holder")
    assert (await contract.ask("volumes.resize", volume["id"], json={"size": 20}))["size"] == 20
    assert [one["id"] for one in await listed(contract, "linodes.volumes", made["id"])] == [volume["id"]]
    (config,) = await listed(contract, "linodes.configs-list", made["id"])
    assert config["devices"]["sdb"]["volume_id"] == volume["id"]
    assert await contract.ask("volumes.detach", volume["id"]) == {}
    await contract.ask("volumes.detach", volume["id"], status=400)
    changed = await contract.ask("volumes.update", volume["id"], json={"label": "more", "tags": []})
    assert (changed["label"], changed["tags"]) == ("more", [])
    assert (await contract.ask("volumes.view", volume["id"]))["label"] == "more"
    assert len(await listed(contract, "volumes.list", where={"label": "more"})) == 1
    assert (await listed(contract, "volumes.types"))[0]["id"] == "volume"
    await contract.ask("volumes.clone", volume["id"], status=400, json={"label": "x"})
    at_once = await contract.ask("volumes.create", json={"label": "at-once", "size": 10, "linode_id": made["id"]})
    assert at_once["linode_id"] == made["id"]
    await contract.ask("linodes.delete", made["id"])
    for one in (volume, at_once):
        assert await contract.ask("volumes.delete", one["id"]) == {}
    assert await listed(contract, "volumes.list") == []
