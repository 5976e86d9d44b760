"""Every supported operation of Linode's API, asked on the fake driver and held against the specification."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
import pytest_asyncio

from insula.frontends.dialects.linode import DIALECT
from insula.frontends.dialects.linode.coverage import COVERAGE
from tests.api.probes import PUBLIC_KEY
from tests.api.world import World
from tests.dialects import linode_configs as configs
from tests.dialects import linode_firewalls as firewalls
from tests.dialects import linode_networks as networks
from tests.dialects import linode_volumes as volumes
from tests.dialects import linodespec
from tests.dialects.contract import Contract
from tests.dialects.linode_calls import CREATE, PATIENCE_S, linode, listed, reaches
from tests.dialects.linode_stats import stats

pytestmark = pytest.mark.asyncio(loop_scope="module")
_NEVER = {
    "migrating_to": "there are no placement groups",
    "allocation_range": "prefixes of IPv6 are not handed out in parts",
    "node": "of Kubernetes clusters",
    "pool": "of Kubernetes clusters",
    "cpc": "of Kubernetes clusters",
    "rate": "of transfers, which there are none of",
    "ruleset": "there are no sets of rules",
    "ranges": "no ranges lead to a card",
    "site_type": "not told by every operation",
}
# Documented elsewhere in Linode's reference, and told by its own service.
_OTHERS = {
    "created": "of configuration profiles",
    "updated": "of configuration profiles",
    "locks": "of Linodes and volumes, in answers to creation too",
    "site_type": "of Linodes",
    "tags": "of addresses",
    "io_ready": "of volumes",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def contract(world: World) -> Contract:
    return Contract(world, DIALECT, linodespec.linode(_OTHERS), _NEVER, "/v4")


async def test_account_and_profile(contract: Contract) -> None:
    account = await contract.ask("account.view")
    profile = await contract.ask("profile.view")
    assert account["email"] == profile["email"]
    assert (await contract.ask("account.settings"))["managed"] is False
    assert (await contract.ask("account.settings-update", json={"backups_enabled": False}))["managed"] is False
    refused = await contract.ask("account.settings-update", status=400, json={"backups_enabled": True})
    assert "no backup store" in refused["errors"][0]["reason"]
    (policy,) = await listed(contract, "maintenance.policies-list")
    assert policy["slug"] == (await contract.ask("account.settings"))["maintenance_policy"]
    other = {"maintenance_policy": "linode/power_off_on"}
    await contract.ask("account.settings-update", status=400, json=other)
    assert (await contract.ask("account.transfer"))["quota"] == 0
    (user,) = await listed(contract, "users.list")
    assert await contract.ask("users.view", user["username"]) == user
    assert await contract.ask("profile.grants", status=204) is None


async def test_regions_types_and_kernels(contract: Contract) -> None:
    regions = await listed(contract, "regions.list")
    assert "us-east" in {region["id"] for region in regions}
    assert await contract.ask("regions.view", "us-east") == regions[0]
    assert await listed(contract, "regions.list-avail")
    assert (await contract.ask("regions.view-avail", "us-east"))[0]["available"]
    assert len(await listed(contract, "regions.list-vpc-avail")) == len(regions)
    assert (await contract.ask("regions.view-vpc-avail", "us-east"))["available"]
    assert len(await listed(contract, "account.get-availability")) == len(regions)
    assert (await contract.ask("account.get-account-availability", "us-east"))["unavailable"] == []
    types = await listed(contract, "linodes.types")
    assert [one["id"] for one in types][:2] == ["g6-nanode-1", "g6-standard-1"]
    assert await contract.ask("linodes.type-view", "g6-nanode-1") == types[0]
    (kernel,) = await listed(contract, "kernels.list")
    assert await contract.ask("kernels.view", kernel["id"].partition("/")[2]) == kernel
    cheap = await listed(contract, "linodes.types", where={"memory": {"+lt": 2048}, "class": "nanode"})
    assert [one["id"] for one in cheap] == ["g6-nanode-1"]
    await contract.ask("regions.view", "mars", status=404)
    await contract.ask("linodes.type-view", "huge", status=404)


async def test_keys(contract: Contract) -> None:
    wish = {"label": "My Laptop!", "ssh_key": PUBLIC_KEY}
    key = await contract.ask("sshkeys.create", json=wish)
    assert key["label"] == "My Laptop!"
    assert await contract.ask("sshkeys.view", key["id"]) == key
    assert await listed(contract, "sshkeys.list") == [key]
    assert (await contract.ask("sshkeys.update", key["id"], json={"label": "other"}))["label"] == "other"
    twice = await contract.ask("sshkeys.create", status=400, json=wish)
    assert twice["errors"][0]["field"] == "ssh_key"
    wrong = await contract.ask("sshkeys.create", status=400, json={"label": "x", "ssh_key": "none"})
    assert wrong["errors"][0]["field"] == "ssh_key"
    assert await contract.ask("sshkeys.delete", key["id"]) == {}
    assert (await contract.ask("sshkeys.view", key["id"], status=404))["errors"][0]["reason"]


async def test_tokens(contract: Contract) -> None:
    wish = {"label": "for CI", "scopes": "linodes:read_only", "expiry": "2032-01-01T00:00:00"}
    made = await contract.ask("profile.token-create", json=wish)
    assert wish.items() <= made.items()
    answer = await contract.world.call("GET", "/v4/linode/instances", made["token"])
    assert answer.status_code == 200
    refused = await contract.world.call("POST", "/v4/linode/instances", made["token"], json=CREATE)
    assert (refused.status_code, list(refused.json())) == (403, ["errors"])
    shown = await contract.ask("profile.token-view", made["id"])
    assert shown == {**made, "token": ""}
    assert shown in await listed(contract, "profile.tokens-list")
    await contract.ask("profile.token-update", made["id"], status=400, json={"label": "x"})
    assert await contract.ask("profile.token-delete", made["id"]) == {}
    assert (await contract.world.call("GET", "/v4/linode/instances", made["token"])).status_code == 401
    for scopes in ("linodes", "everything:read_write"):
        await contract.ask("profile.token-create", status=400, json={"label": "x", "scopes": scopes})
    await contract.ask("profile.token-create", status=400, json={"label": "x", "expiry": "2001-01-01T00:00:00"})


async def test_a_linodes_life(contract: Contract) -> None:
    await contract.ask("sshkeys.create", json={"label": "k", "ssh_key": PUBLIC_KEY})
    (user,) = await listed(contract, "users.list")
    data = base64.b64encode(b"#cloud-config\n").decode()
    login = {"authorized_users": [user["username"]], "metadata": {"user_data": data}}
    made = await linode(contract, "Web_1", tags=["web"], **login)
    number = made["id"]
    assert (made["label"], made["type"], made["region"]) == ("Web_1", "g6-nanode-1", "us-east")
    assert (made["image"], made["tags"], made["has_user_data"]) == ("linode/tiny", ["web"], True)
    assert (made["specs"]["memory"], made["specs"]["disk"], made["specs"]["vcpus"]) == (1024, 25 * 1024, 1)
    assert made in await listed(contract, "linodes.list", where={"label": "Web_1"})
    assert await listed(contract, "linodes.list", where={"label": "Web"}) == []
    taken = await contract.ask("linodes.create", status=400, json={**CREATE, "label": "Web_1"})
    assert taken["errors"] == [{"reason": taken["errors"][0]["reason"], "field": "label"}]
    for name, status in (
        ("linodes.shutdown", "offline"),
        ("linodes.shutdown", "offline"),
        ("linodes.boot", "running"),
        ("linodes.reboot", "running"),
    ):
        assert await contract.ask(name, number) == {}
        await reaches(contract, number, status)
    assert "already" in (await contract.ask("linodes.boot", number, status=400))["errors"][0]["reason"]
    changed = await contract.ask("linodes.update", number, json={"label": "db-1", "tags": ["db"], "alerts": {"cpu": 0}})
    assert (changed["label"], changed["tags"]) == ("db-1", ["db"])
    for other in ({"alerts": {"cpu": 90}}, {"maintenance_policy": "linode/power_off_on"}):
        await contract.ask("linodes.update", number, status=400, json=other)
    for plan, why in (("g6-nanode-1", "already running"), ("g7-highmem-1", "more disk"), ("huge", "plan type")):
        refused = await contract.ask("linodes.resize", number, status=400, json={"type": plan})
        assert why in refused["errors"][0]["reason"]
    refused = await contract.ask("linodes.rebuild", number, status=400, json={"root_pass": "correct horse"})
    assert refused["errors"][0]["field"] == "image"
    await contract.ask("linodes.boot", number, status=400, json={"config_id": 424242})
    encrypted = {"image": "linode/tiny", "disk_encryption": "enabled"}
    await contract.ask("linodes.rebuild", number, status=400, json=encrypted)
    assert await contract.ask("linodes.resize", number, json={"type": "g6-standard-1"}) == {}
    resized = await reaches(contract, number, "running")
    assert (resized["type"], resized["specs"]["disk"]) == ("g6-standard-1", 50 * 1024)
    rebuilt = await contract.ask(
        "linodes.rebuild", number, json={"image": "linode/tiny", "authorized_keys": [PUBLIC_KEY]}
    )
    assert rebuilt["id"] == number
    await reaches(contract, number, "running")
    assert (await contract.ask("linodes.transfer-view", number))["quota"] == 0
    await stats(contract, number)
    assert await listed(contract, "linodes.nodebalancers", number) == []
    for word in ("clone", "migrate", "rescue", "upgrade", "interfaces-upgrade"):
        await contract.ask(f"linodes.{word}", number, status=400, json={})
    assert await contract.ask("linodes.delete", number) == {}
    await contract.ask("linodes.view", number, status=404)


async def test_what_a_linode_cannot_be(contract: Contract) -> None:
    wishes: tuple[dict[str, Any], ...] = (
        {"type": "huge"},
        {"region": "mars"},
        {"image": "linode/none"},
        {"image": None},
        {"authorized_keys": []},
        {"booted": False},
        {"label": "-"},
        {"label": "a--b"},
        {"root_pass": "short"},
        {"metadata": {"user_data": "no base64!"}},
        {"authorized_users": ["nobody"]},
        {"firewall_id": 424242},
        {"backup_id": 1},
        {"interfaces": [{"purpose": "vpc", "subnet_id": 424242}]},
        {"stackscript_id": 1},
        {"disk_encryption": "enabled"},
        {"maintenance_policy": "linode/power_off_on"},
        {"placement_group": {"id": 1}},
    )
    for wish in wishes:
        answer = await contract.ask("linodes.create", status=400, json={**CREATE, **wish})
        assert answer["errors"][0]["reason"], wish
    both = await contract.ask("linodes.create", status=400, json={"type": "huge", "region": "mars"})
    assert both["errors"] == [
        {"field": "type", "reason": "A valid plan type by that ID was not found"},
        {"field": "region", "reason": "region is not valid"},
    ]
    async with asyncio.timeout(PATIENCE_S):
        while await contract.world.store.instances.of_project("default"):
            await asyncio.sleep(0.02)


async def test_events(contract: Contract) -> None:
    made = await linode(contract, "eventful")
    of_it = {"entity.id": made["id"], "entity.type": "linode", "+order_by": "created", "+order": "asc"}
    events = await listed(contract, "events.list", where=of_it)
    assert {event["action"] for event in events} == {"linode_create", "linode_boot"}
    assert {event["status"] for event in events} == {"finished"}
    assert await contract.ask("events.view", events[0]["id"]) == events[0]
    booted = await listed(contract, "events.list", where={**of_it, "action": "linode_boot"})
    assert len(booted) == 1
    newest = (await listed(contract, "events.list"))[0]
    assert await contract.ask("events.mark-seen", newest["id"]) == {}
    assert all(event["seen"] for event in await listed(contract, "events.list"))
    await contract.ask("linodes.shutdown", made["id"])
    await reaches(contract, made["id"], "offline")
    assert [event["seen"] for event in await listed(contract, "events.list", where={"seen": False})] == [False]
    await contract.ask("events.view", 424242, status=404)
    await contract.ask("linodes.delete", made["id"])


async def test_lists_are_filtered_ordered_and_paged(contract: Contract) -> None:
    made = [await linode(contract, f"listed-{number}", region="eu-west") for number in range(3)]
    where = {"+or": [{"label": "listed-0"}, {"label": {"+contains": "-2"}}], "+order_by": "label", "+order": "desc"}
    found = await listed(contract, "linodes.list", where=where)
    assert [one["id"] for one in found] == [made[2]["id"], made[0]["id"]]
    first = await contract.ask("linodes.list", params={"page": 1, "page_size": 25})
    assert (first["page"], first["pages"], first["results"]) == (1, 1, 3)
    await contract.ask("linodes.list", status=404, params={"page": 2})
    await contract.ask("linodes.list", status=400, params={"page_size": 3})
    for wrong in ("no JSON", "[]", '{"+and": 1}', '{"label": {"+near": 1}}', '{"+order_by": 1}'):
        await contract.ask("linodes.list", status=400, headers={"X-Filter": wrong})
    assert (await contract.world.admin("GET", "/v4beta/linode/instances")).json()["results"] == 3
    assert (await contract.world.admin("GET", "/linode/v4/linode/instances")).json()["results"] == 3
    for one in made:
        await contract.ask("linodes.delete", one["id"])


async def test_disks_and_configuration_profiles(contract: Contract) -> None:
    made = await linode(contract, "with-disk")
    (disk,) = await listed(contract, "linodes.disks-list", made["id"])
    assert await contract.ask("linodes.disk-view", made["id"], disk["id"]) == disk
    relabelled = await contract.ask("linodes.disk-update", made["id"], disk["id"], json={"label": "boot"})
    assert relabelled == {**disk, "label": "boot"}
    await contract.ask("linodes.disk-resize", made["id"], disk["id"], status=400, json={"size": 1})
    assert await contract.ask("linodes.disk-resize", made["id"], disk["id"], json={"size": 26 * 1024}) == {}
    assert (await reaches(contract, made["id"], "running"))["specs"]["disk"] == 26 * 1024
    (config,) = await listed(contract, "linodes.configs-list", made["id"])
    assert config["devices"]["sda"]["disk_id"] == disk["id"]
    assert await contract.ask("linodes.config-view", made["id"], config["id"]) == config
    renamed = await contract.ask("linodes.config-update", made["id"], config["id"], json={"label": "mine"})
    assert renamed["label"] == "mine"
    await contract.ask("linodes.disk-view", made["id"], config["id"], status=404)
    await contract.ask("linodes.disk-create", made["id"], status=400, json={"label": "x", "size": 1})
    for name in ("disk-clone", "disk-delete", "disk-reset-password"):
        await contract.ask(f"linodes.{name}", made["id"], disk["id"], status=400)
    await contract.ask("linodes.linode-reset-password", made["id"], status=400, json={"root_pass": "correct horse"})
    await contract.ask("linodes.config-delete", made["id"], config["id"], status=400)
    await contract.ask("linodes.delete", made["id"])


async def test_further_configuration_profiles(contract: Contract) -> None:
    await configs.profiles(contract)


async def test_interfaces_of_configuration_profiles(contract: Contract) -> None:
    await configs.interfaces(contract)


async def test_images(contract: Contract) -> None:
    made = await linode(contract, "imaged")
    (disk,) = await listed(contract, "linodes.disks-list", made["id"])
    wish = {"disk_id": disk["id"], "label": "Before the upgrade", "description": "as it was", "tags": ["kept"]}
    image = await contract.ask("images.create", json=wish)
    assert (image["label"], image["description"], image["tags"]) == (wish["label"], "as it was", ["kept"])
    kind, _, number = image["id"].partition("/")
    async with asyncio.timeout(PATIENCE_S):
        while (await contract.ask("images.view", kind, number))["status"] != "available":
            await asyncio.sleep(0.02)
    public = await listed(contract, "images.list", where={"is_public": True})
    assert {"linode/debian12", "linode/tiny"} <= {one["id"] for one in public}
    assert (await contract.ask("images.view", "linode", "debian12"))["vendor"] == "Debian"
    assert [one["id"] for one in await listed(contract, "images.list", where={"is_public": False})] == [image["id"]]
    changed = await contract.ask("images.update", kind, number, json={"label": "After", "tags": []})
    assert (changed["label"], changed["description"], changed["tags"]) == ("After", "as it was", [])
    other = await linode(contract, "from-image", image=image["id"])
    assert other["image"] == image["id"]
    await contract.ask("images.update", "linode", "tiny", status=400, json={"label": "x"})
    await contract.ask("images.delete", "linode", "tiny", status=403)
    await contract.ask("images.upload", status=400, json={"label": "x", "region": "us-east"})
    await contract.ask("images.create", status=400, json={"disk_id": 424242})
    for one in (made, other):
        await contract.ask("linodes.delete", one["id"])
    assert await contract.ask("images.delete", kind, number) == {}
    await contract.ask("images.view", kind, number, status=404)
    await contract.ask("images.view", "linode", "none", status=404)


async def test_backups(contract: Contract) -> None:
    made = await linode(contract, "backed-up")
    refused = await contract.ask("linodes.backups-enable", made["id"], status=400)
    assert "no backup store" in refused["errors"][0]["reason"]
    await contract.world.add_store("elsewhere")
    assert await contract.ask("linodes.backups-enable", made["id"]) == {}
    assert (await contract.ask("linodes.view", made["id"]))["backups"]["enabled"]
    backup = await contract.ask("linodes.snapshot", made["id"], json={"label": "By hand"})
    assert (backup["label"], backup["type"]) == ("By hand", "snapshot")
    async with asyncio.timeout(PATIENCE_S):
        while (await contract.ask("linodes.backup-view", made["id"], backup["id"]))["status"] != "successful":
            await asyncio.sleep(0.02)
    found = await contract.ask("linodes.backups-list", made["id"])
    assert found["snapshot"]["current"]["id"] == backup["id"]
    assert (found["automatic"], found["snapshot"]["in_progress"]) == ([], None)
    assert await contract.ask("linodes.backups-cancel", made["id"]) == {}
    await contract.ask("linodes.backups-cancel", made["id"], status=400)
    assert (await contract.ask("account.settings-update", json={"backups_enabled": True}))["backups_enabled"]
    kept = await linode(contract, "backed-up-unasked")
    assert kept["backups"]["enabled"]
    assert not (await contract.ask("account.settings-update", json={"backups_enabled": False}))["backups_enabled"]
    await contract.ask("linodes.delete", kept["id"])
    await contract.ask("linodes.backup-restore", made["id"], backup["id"], status=400, json={"linode_id": made["id"]})
    other = await linode(contract, "restored", image=None, backup_id=backup["id"])
    await contract.ask("linodes.backup-view", other["id"], backup["id"], status=404)
    for one in (made, other):
        await contract.ask("linodes.delete", one["id"])


async def test_volumes(contract: Contract) -> None:
    await volumes.volumes(contract)


async def test_firewalls(contract: Contract) -> None:
    await firewalls.firewalls(contract)
    await firewalls.templates(contract)


async def test_addresses(contract: Contract) -> None:
    await networks.addresses(contract)


async def test_vpcs(contract: Contract) -> None:
    await networks.vpcs(contract)


async def test_tags(contract: Contract) -> None:
    made = await linode(contract, "tagged", tags=["first"])
    rules = {"inbound_policy": "DROP", "outbound_policy": "ACCEPT"}
    wall = await contract.ask("firewalls.create", json={"label": "tagged", "rules": rules, "tags": ["first"]})
    assert wall["tags"] == ["first"]
    assert await contract.ask("tags.create", json={"label": "blue", "linodes": [made["id"]]}) == {"label": "blue"}
    assert {"label": "first"} in await listed(contract, "tags.list")
    (tagged,) = await listed(contract, "tags.get-tagged-objects", "blue")
    assert (tagged["type"], tagged["data"]["id"]) == ("linode", made["id"])
    await contract.ask("tags.create", status=400, json={"label": "blue"})
    for label in ("blue", "first"):
        assert await contract.ask("tags.delete", label) == {}
    assert (await contract.ask("linodes.view", made["id"]))["tags"] == []
    assert (await contract.ask("firewalls.view", wall["id"]))["tags"] == []
    await contract.ask("firewalls.delete", wall["id"])
    await contract.ask("tags.get-tagged-objects", "blue", status=404)
    await contract.ask("linodes.delete", made["id"])


async def test_what_is_not_supported_says_so(contract: Contract) -> None:
    for name in sorted(COVERAGE.empty):
        assert (await contract.ask(name))["data"] == []
    for name in ("domains.create", "nodebalancers.create", "stackscripts.create"):
        refused = await contract.ask(name, status=400, json={"label": "x"})
        assert refused["errors"][0]["reason"].startswith("There are no")
    answer = await contract.world.admin("GET", "/v4/nowhere")
    assert (answer.status_code, answer.json()) == (404, {"errors": [{"reason": "Not found"}]})


async def test_every_operation_answers_with_every_documented_field(contract: Contract) -> None:
    """The last test: what the others have seen."""
    undocumented = {one for one in COVERAGE.supported if not contract.specification.knows(one)}
    assert undocumented == {"profile.grants", "linodes.stats", "linodes.stats-month"}, (
        "which are asked above all the same"
    )
    assert COVERAGE.supported - contract.seen == undocumented
    supported = {name: fields for name, fields in contract.absent.items() if fields and name in COVERAGE.supported}
    assert not supported, json.dumps({name: sorted(some) for name, some in supported.items()})
    assert len(COVERAGE.supported) >= 50
