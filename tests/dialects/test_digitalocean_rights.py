"""Whoever may only look changes nothing, and sees nothing of other projects."""

from __future__ import annotations

import re
from typing import Any

import pytest

from insula.domain.access import Scope
from insula.frontends.dialects.dialect import Operation
from insula.frontends.dialects.digitalocean import DIALECT
from tests.api.probes import PUBLIC_KEY
from tests.api.world import OTHER_PROJECT, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

_READING = [scope for scope in Scope if scope.endswith(":read")]
_BODY: dict[str, Any] = {
    "name": "x",
    "type": "power_off",
    "public_key": PUBLIC_KEY,
    "region": "nyc3",
    "size": "micro-1",
    "image": "tiny-x64",
    "size_gigabytes": 1,
    "droplet_ids": [],
    "tags": [],
    "resources": [],
    "inbound_rules": [],
}
# They have nothing to do with such a body.
_NOTHING_TO_DO = frozenset({"projects_assign_resources_default", "droplets_destroy_byTag", "dropletActions_post_byTag"})
_WRITING = [one for one in DIALECT.operations if one.method != "GET"]


async def things(world: World) -> dict[str, str]:
    """One of each that has a number or a UUID, as its owner sees it."""
    found = {}
    for path, name in (("droplets", "droplet_id"), ("volumes", "volume_id"), ("vpcs", "vpc_id")):
        listed = (await world.admin("GET", f"/v2/{path}")).json()[path]
        found[name] = str(listed[0]["id"])
    firewalls = (await world.admin("GET", "/v2/firewalls")).json()["firewalls"]
    keys = (await world.admin("GET", "/v2/account/keys")).json()["ssh_keys"]
    images = (await world.admin("GET", "/v2/images", params={"private": "true"})).json()["images"]
    return found | {
        "firewall_id": firewalls[0]["id"],
        "key": str(keys[0]["id"]),
        "image_id": str(images[0]["id"]),
        "snapshot_id": str(images[0]["id"]),
    }


async def made(world: World) -> dict[str, str]:
    if not await world.store.instances.of_project("default"):
        await world.create("target", tags=["kept"])
        await world.create_volume("target")
        await world.create_snapshot("target")
        await world.add_firewall("wall")
        await world.admin("POST", "/v1/keys", json={"name": "k", "public_key": PUBLIC_KEY})
    return await things(world)


def filled(path: str, known: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda place: known.get(place[1], "1"), path)


@pytest.mark.parametrize("entry", _WRITING, ids=lambda entry: entry.name)
async def test_who_may_only_look_changes_nothing(world: World, entry: Operation) -> None:
    path = filled(entry.path, await made(world))
    secret = await world.secret(*_READING)
    before = await everything(world)
    answer = await world.call(entry.method, path, secret, json=_BODY, params={"tag_name": "x", "name": "x"})
    allowed = {200, 201, 204} if entry.name in _NOTHING_TO_DO else {403, 404, 422}
    assert answer.status_code in allowed, answer.text
    assert await everything(world) == before


async def everything(world: World) -> list[Any]:
    """What a change would show in."""
    paths = (
        "droplets",
        "volumes",
        "vpcs",
        "firewalls",
        "account/keys",
        "snapshots",
        "tags",
        "projects",
        "reserved_ips",
    )
    return [(await world.admin("GET", f"/v2/{path}")).json() for path in paths]


@pytest.mark.parametrize("entry", [one for one in DIALECT.operations if "{" in one.path], ids=lambda entry: entry.name)
async def test_nobody_finds_what_is_another_projects(world: World, entry: Operation) -> None:
    known = await made(world)
    if not set(re.findall(r"\{(\w+)\}", entry.path)) & set(known):
        pytest.skip("it is about what the test has none of")
    secret = await world.secret(Scope.ADMIN, project=OTHER_PROJECT)
    before = await everything(world)
    answer = await world.call(entry.method, filled(entry.path, known), secret, json=_BODY)
    assert answer.status_code in {404, 422}, answer.text
    assert await everything(world) == before
