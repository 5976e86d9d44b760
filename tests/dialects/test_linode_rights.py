"""Whoever may only look changes nothing, and sees nothing of other projects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from insula.frontends.dialects.dialect import Operation
from insula.frontends.dialects.linode import DIALECT
from tests.api.probes import PUBLIC_KEY
from tests.api.world import World
from tests.dialects.rights import Rights

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def things(world: World) -> Mapping[str, str]:
    """One of each, as its owner sees it."""

    async def first(path: str) -> dict[str, Any]:
        return dict((await world.admin("GET", f"/v4/{path}")).json()["data"][0])

    linode = await first("linode/instances")
    place = f"linode/instances/{linode['id']}"
    vpc = await first("vpcs")
    image = (await world.admin("GET", "/v4/images", headers={"X-Filter": '{"is_public": false}'})).json()["data"][0]
    return {
        "linode": str(linode["id"]),
        "disk": str((await first(f"{place}/disks"))["id"]),
        "config": str((await first(f"{place}/configs"))["id"]),
        "address": linode["ipv4"][0],
        "volume": str((await first("volumes"))["id"]),
        "firewall": str((await first("networking/firewalls"))["id"]),
        "key": str((await first("profile/sshkeys"))["id"]),
        "event": str((await first("account/events"))["id"]),
        "vpc": str(vpc["id"]),
        "subnet": str(vpc["subnets"][0]["id"]),
        "kind": "private",
        "image": image["id"].partition("/")[2],
        "tag": "kept",
    }


RIGHTS = Rights(
    dialect=DIALECT,
    version="/v4",
    body={
        "label": "other",
        "type": "g6-standard-2",
        "ssh_key": PUBLIC_KEY,
        "region": "us-east",
        "image": "linode/tiny",
        "size": 20 * 1024,
        "id": 1,
        "linode_id": 1,
        "ipv4": "10.77.0.0/24",
        "inbound": [],
        "outbound": [],
        "tags": ["x"],
        "firewall_ids": [],
        "assignments": [],
        "scopes": "*",
    },
    names=frozenset(
        {
            *("linode", "disk", "config", "address", "volume", "firewall", "key", "event"),
            *("vpc", "subnet", "kind", "image", "tag"),
        }
    ),
    things=things,
    watched=[
        f"/v4/{path}"
        for path in (
            *("linode/instances", "volumes", "vpcs", "networking/firewalls", "profile/sshkeys", "profile/tokens"),
            *("images", "tags", "networking/ips", "account/events"),
        )
    ],
    # Settings stay as they are, what is applied is so already, no firewall is taken away, nothing is
    # assigned or shared.
    nothing_to_do=frozenset(
        {
            *("account.settings-update", "linodes.post-apply-firewalls", "linodes.firewalls-update"),
            *("networking.ip-assign", "networking.ip-share", "linodes.ip-update", "networking.ip-update"),
        }
    ),
)


@pytest.mark.parametrize("entry", RIGHTS.writing, ids=lambda entry: entry.name)
async def test_who_may_only_look_changes_nothing(world: World, entry: Operation) -> None:
    await RIGHTS.check_reader(world, entry)


@pytest.mark.parametrize("entry", RIGHTS.naming, ids=lambda entry: entry.name)
async def test_nobody_finds_what_is_another_projects(world: World, entry: Operation) -> None:
    await RIGHTS.check_stranger(world, entry)
