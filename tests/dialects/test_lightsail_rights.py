"""Whoever may only look changes nothing, and sees nothing of other projects."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from insula.domain.access import Scope
from insula.frontends.dialects.lightsail.coverage import COVERAGE
from tests.api.probes import PUBLIC_KEY
from tests.api.world import OTHER_PROJECT, World
from tests.dialects.botoshapes import lightsail
from tests.dialects.signed import ask, key

pytestmark = pytest.mark.asyncio(loop_scope="module")

_READING = [scope for scope in Scope if scope.endswith(":read")]
_WRITING = sorted(name for name in COVERAGE.supported if not name.startswith(("Get", "Is")))
_NAMES = {
    "instanceName": "target",
    "diskName": "target",
    "instanceSnapshotName": "target-1",
    "keyPairName": "k",
    "staticIpName": "front",
    "resourceName": "target",
    "sourceInstanceName": "target",
}
_OF_A_NAME = sorted(
    name
    for name in COVERAGE.supported
    if set(lightsail().model.operation_model(name).input_shape.members) & set(_NAMES)
    and not name.startswith(("CreateKey", "ImportKey", "CreateDisk", "Allocate"))
)


def body(name: str) -> dict[str, Any]:
    """One that would do what it says, if it may."""
    values: dict[str, Any] = {
        **_NAMES,
        "instanceNames": ["fresh"],
        "availabilityZone": "us-east-1a",
        "blueprintId": "tiny",
        "bundleId": "nano_3_0",
        "publicKeyBase64": PUBLIC_KEY,
        "sizeInGb": 8,
        "diskPath": "/dev/xvdf",
        "portInfo": {"fromPort": 0, "toPort": 65535, "protocol": "all"},
        "portInfos": [],
        "tags": [{"key": "new"}],
        "tagKeys": ["kept"],
        "addOnRequest": {"addOnType": "AutoSnapshot"},
        "addOnType": "AutoSnapshot",
        "date": "2026-01-01",
        "metricName": "NetworkIn",
        "startTime": 0,
        "endTime": 1,
        "period": 60,
        "unit": "Bytes",
        "statistics": ["Sum"],
    }
    if name in {"CreateKeyPair", "ImportKeyPair", "CreateDisk", "AllocateStaticIp", "CreateInstanceSnapshot"}:
        values |= {"keyPairName": "fresh", "diskName": "fresh", "staticIpName": "fresh"}
        values |= {"instanceSnapshotName": "fresh"}
    if name == "CreateInstancesFromSnapshot":
        del values["sourceInstanceName"]
    members = lightsail().model.operation_model(name).input_shape.members
    return {member: value for member, value in values.items() if member in members}


async def made(world: World) -> None:
    if await world.store.instances.of_project("default"):
        return
    await world.create("target", tags=["kept"])
    await world.create_volume("target")
    await world.create_snapshot("target")
    await world.add_store("elsewhere")
    await world.admin("POST", "/v1/keys", json={"name": "k", "public_key": PUBLIC_KEY})
    await world.admin("POST", "/v1/address-pools", json={"name": "public", "addresses": "203.0.113.0/28"})
    assert (await ask(world, await key(world), "AllocateStaticIp", staticIpName="front")).status_code == 200


async def everything(world: World) -> list[Any]:
    """What a change would show in."""
    paths = ("instances", "volumes", "snapshots", "firewalls", "keys", "addresses", "backups", "backup-schedules")
    return [(await world.admin("GET", f"/v1/{path}")).json() for path in paths]


@pytest.mark.parametrize("name", _WRITING)
async def test_who_may_only_look_changes_nothing(world: World, name: str) -> None:
    await made(world)
    before = await everything(world)
    answer = await ask(world, await key(world, _READING), name, **body(name))
    assert answer.status_code == 400, answer.text
    assert answer.json()["__type"] in {"AccessDeniedException", "NotFoundException"}, answer.text
    assert await everything(world) == before


@pytest.mark.parametrize("name", _OF_A_NAME)
async def test_nobody_finds_what_is_another_projects(world: World, name: str) -> None:
    await made(world)
    before = await everything(world)
    answer = await ask(world, await key(world, project=OTHER_PROJECT), name, **body(name))
    assert answer.status_code == 400, answer.text
    assert answer.json()["__type"] == "NotFoundException", answer.text
    assert await everything(world) == before


@pytest.mark.parametrize("missing", [Scope.FIREWALLS_WRITE, Scope.NETWORKS_WRITE])
async def test_who_may_not_do_all_of_it_makes_nothing(world: World, missing: Scope) -> None:
    """An instance comes with open ports and an address: without the right to these there is none."""
    await made(world)
    before = await everything(world)
    scopes = [Scope.INSTANCES_WRITE, Scope.FIREWALLS_WRITE, Scope.NETWORKS_WRITE, Scope.IMAGES_READ]
    credentials = await key(world, [scope for scope in scopes if scope is not missing])
    answer = await ask(world, credentials, "CreateInstances", **body("CreateInstances"))
    assert answer.json()["__type"] == "AccessDeniedException", answer.text
    async with asyncio.timeout(20):
        while await everything(world) != before:
            await asyncio.sleep(0.05)


async def test_operations_of_others_are_not_found(world: World) -> None:
    """Neither ours nor those of what was done at once, whose ids can be reckoned."""
    await made(world)
    mine, others = await key(world), await key(world, project=OTHER_PROJECT)
    durable = (await ask(world, mine, "GetOperations")).json()["operations"][0]["id"]
    at_once = (await ask(world, mine, "TagResource", resourceName="target", tags=[{"key": "a"}])).json()
    for one in (durable, at_once["operations"][0]["id"]):
        assert (await ask(world, mine, "GetOperation", operationId=one)).status_code == 200
        answer = await ask(world, others, "GetOperation", operationId=one)
        assert answer.json()["__type"] == "NotFoundException"
        blind = await ask(world, await key(world, [Scope.KEYS_READ]), "GetOperation", operationId=one)
        assert blind.json()["__type"] == "AccessDeniedException"
    listed = (await ask(world, others, "GetOperations")).json()
    assert listed == {"operations": []}


async def test_the_default_key_is_the_projects_own(world: World) -> None:
    mine = (await ask(world, await key(world), "DownloadDefaultKeyPair")).json()
    others = (await ask(world, await key(world, project=OTHER_PROJECT), "DownloadDefaultKeyPair")).json()
    assert mine["publicKeyBase64"].split()[1] != others["publicKeyBase64"].split()[1]
    adding = await ask(world, await key(world, [Scope.KEYS_WRITE]), "DownloadDefaultKeyPair")
    assert adding.json()["__type"] == "AccessDeniedException", "it opens guests"
    told = [line.action for line in await world.store.audit.list("default")]
    assert "keys.of_project" in told
