"""Whoever may only look changes nothing, and sees nothing of other projects."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from insula.frontends.dialects.dialect import Operation
from insula.frontends.dialects.digitalocean import DIALECT
from tests.api.probes import PUBLIC_KEY
from tests.api.world import World
from tests.dialects.rights import Rights

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def things(world: World) -> Mapping[str, str]:
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


RIGHTS = Rights(
    dialect=DIALECT,
    version="",
    body={
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
    },
    names=frozenset({"droplet_id", "volume_id", "vpc_id", "firewall_id", "key", "image_id", "snapshot_id"}),
    things=things,
    watched=[
        f"/v2/{path}"
        for path in (
            *("droplets", "volumes", "vpcs", "firewalls", "account/keys"),
            *("snapshots", "tags", "projects", "reserved_ips"),
        )
    ],
    nothing_to_do=frozenset(
        {"projects_assign_resources_default", "droplets_destroy_byTag", "dropletActions_post_byTag"}
    ),
    params={"tag_name": "x", "name": "x"},
)


@pytest.mark.parametrize("entry", RIGHTS.writing, ids=lambda entry: entry.name)
async def test_who_may_only_look_changes_nothing(world: World, entry: Operation) -> None:
    await RIGHTS.check_reader(world, entry)


@pytest.mark.parametrize("entry", RIGHTS.naming, ids=lambda entry: entry.name)
async def test_nobody_finds_what_is_another_projects(world: World, entry: Operation) -> None:
    await RIGHTS.check_stranger(world, entry)
