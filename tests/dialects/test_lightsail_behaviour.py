"""What clients of Lightsail's API count on beyond the form of answers: pages, order, refusals, nothing half made."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
import pytest_asyncio

from insula.domain.image import Image, Provisioning
from insula.frontends.dialects.lightsail.unavailable import LISTS, NAMES
from tests.api.world import World
from tests.dialects import signed
from tests.dialects.botoshapes import lightsail
from tests.dialects.signed_contract import ZONE, Contract

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def contract(world: World) -> Contract:
    return Contract(world, lightsail(), await signed.key(world))


async def test_pages(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("insula.frontends.dialects.lightsail.dialect._PER_PAGE", 5)
    found: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = await contract.ask("GetBundles", **token)
        assert len(page["bundles"]) <= 5
        found += [one["bundleId"] for one in page["bundles"]]
        if "nextPageToken" not in page:
            break
        token = {"pageToken": page["nextPageToken"]}
    monkeypatch.undo()
    assert found == [one["bundleId"] for one in (await contract.ask("GetBundles"))["bundles"]]
    assert len(found) > 10
    assert await contract.refused("GetBundles", pageToken="?") == "InvalidInputException"


@pytest.mark.parametrize("name", sorted(NAMES))
async def test_what_is_not_supported_says_so(contract: Contract, name: str) -> None:
    if name == "GetSetupHistory":
        assert await contract.refused(name, resourceName="none") == "NotFoundException"
        await contract.world.create("plain")
        assert await contract.ask(name, resourceName="plain") == {"setupHistory": []}
        await contract.gone("plain")
    elif name in LISTS:
        assert list((await contract.ask(name)).values()) == [[]]
    else:
        assert await contract.refused(name) in {"NotFoundException", "OperationFailureException"}


async def test_firewalls_of_others_are_told_and_not_overruled(contract: Contract) -> None:
    await contract.world.create("native")
    (state,) = (await contract.ask("GetInstancePortStates", instanceName="native"))["portStates"]
    assert (state["protocol"], state["fromPort"], state["toPort"]) == ("all", 0, 65535), "none is for it yet"
    wall = await contract.world.add_firewall("wall")
    await contract.world.admin("POST", f"/v1/firewalls/{wall.id}/apply", json={"instances": ["native"]})
    ssh = {"fromPort": 22, "toPort": 22, "protocol": "tcp"}
    for name, wish in (("PutInstancePublicPorts", {"portInfos": []}), ("CloseInstancePublicPorts", {"portInfo": ssh})):
        assert await contract.refused(name, instanceName="native", **wish) == "OperationFailureException"
    web = {"fromPort": 80, "toPort": 80, "protocol": "tcp"}
    await contract.done("OpenInstancePublicPorts", instanceName="native", portInfo=web)
    states = (await contract.ask("GetInstancePortStates", instanceName="native"))["portStates"]
    assert sorted(one["fromPort"] for one in states) == [22, 80]
    await contract.world.admin("DELETE", f"/v1/firewalls/{wall.id}")
    await contract.gone("native")


async def test_what_cannot_be_made_whole_leaves_nothing(contract: Contract) -> None:
    await contract.world.admin("POST", "/v1/address-pools", json={"name": "public", "addresses": "203.0.113.0/28"})
    await contract.instance("whole")
    wish = {"availabilityZone": ZONE, "blueprintId": "tiny", "bundleId": "nano_3_0"}
    add_ons = [{"addOnType": "AutoSnapshot"}]
    refused = await contract.refused("CreateInstances", instanceNames=["x", "y"], **wish, addOns=add_ons)
    assert refused == "OperationFailureException", "there is no backup store"
    async with asyncio.timeout(20):
        while len(await contract.world.store.instances.all()) > 1:
            await asyncio.sleep(0.02)
    (wall,) = await contract.world.store.firewalls.list("default")
    assert len(wall.instances) == 1
    assert len(await contract.world.store.addresses.list("default")) == 1
    await contract.gone("whole")


async def test_what_is_asked_right_after_another_goes_on(contract: Contract) -> None:
    """There it is queued: nobody waits for what they asked before."""
    wish = {"instanceNames": ["hasty"], "availabilityZone": ZONE, "blueprintId": "tiny", "bundleId": "nano_3_0"}
    await contract.ask("CreateDisk", diskName="hasty", availabilityZone=ZONE, sizeInGb=8)
    for _ in range(2):
        await contract.ask("CreateInstances", **wish)
        await contract.ask("AttachDisk", diskName="hasty", instanceName="hasty", diskPath="/dev/xvdf")
        await contract.ask("DetachDisk", diskName="hasty")
        await contract.ask("CreateInstanceSnapshot", instanceName="hasty", instanceSnapshotName="hasty")
        await contract.ask("RebootInstance", instanceName="hasty")
        await contract.ask("StopInstance", instanceName="hasty")
        await contract.ask("StartInstance", instanceName="hasty")
        await contract.ask("AttachDisk", diskName="hasty", instanceName="hasty", diskPath="/dev/xvdf")
        await contract.ask("DeleteInstance", instanceName="hasty")
        await contract.ask("DeleteInstanceSnapshot", instanceSnapshotName="hasty")
    await contract.done("DeleteDisk", diskName="hasty")
    assert (await contract.ask("GetActiveNames"))["activeNames"] == []


async def test_an_image_that_reads_no_keys_gets_none(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    node = contract.world.control.node
    offered = node.images

    async def bare() -> Sequence[Image]:
        return [replace(image, provisioning=Provisioning.NONE) for image in await offered()]

    monkeypatch.setattr(node, "images", bare)
    made = await contract.instance("bare")
    assert "sshKeyName" not in made
    assert (await contract.world.store.instances.get("default", "bare")).ssh_keys == ()
    monkeypatch.undo()
    await contract.gone("bare")
