"""Every supported operation of DigitalOcean's API, asked on the fake driver and held against the specification."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import pytest_asyncio

from insula.frontends.dialects.digitalocean import DIALECT
from insula.frontends.dialects.digitalocean.coverage import COVERAGE
from tests.api.probes import PUBLIC_KEY
from tests.api.world import World
from tests.dialects import digitalocean_metrics, openapi
from tests.dialects.contract import Contract

pytestmark = pytest.mark.asyncio(loop_scope="module")
_PATIENCE_S = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def contract(world: World) -> Contract:
    specification = openapi.digitalocean()
    if specification is None:
        pytest.skip("DigitalOcean's specification is not at hand")
    return Contract(world, DIALECT, specification, openapi.NEVER)


async def droplet(contract: Contract, name: str, **wish: Any) -> dict[str, Any]:
    """One that is there."""
    body = {"name": name, "region": "nyc3", "size": "s-1vcpu-512mb-10gb", "image": "tiny-x64", **wish}
    made = await contract.ask("droplets_create", status=202, json=body)
    await done(contract, made["links"]["actions"][0]["id"])
    return dict((await contract.ask("droplets_get", made["droplet"]["id"]))["droplet"])


async def done(contract: Contract, action: int) -> dict[str, Any]:
    """The action when it is over."""
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            found = dict((await contract.ask("actions_get", action))["action"])
            if found["status"] != "in-progress":
                return found
            await asyncio.sleep(0.02)


async def act(contract: Contract, number: int, **wish: Any) -> dict[str, Any]:
    """Do something to a droplet, to its end."""
    begun = (await contract.ask("dropletActions_post", number, status=201, json=wish))["action"]
    ended = await done(contract, begun["id"])
    assert ended["status"] == "completed", ended
    assert ended["type"] == wish["type"]
    assert ended["resource_id"] == number
    assert (await contract.ask("dropletActions_get", number, begun["id"]))["action"] == ended
    return ended


async def test_account_regions_and_sizes(contract: Contract) -> None:
    assert (await contract.ask("account_get"))["account"]["status"] == "active"
    regions = (await contract.ask("regions_list"))["regions"]
    assert len(regions) >= 13
    assert "nyc3" in [region["slug"] for region in regions]
    first = await contract.ask("sizes_list", params={"per_page": 5})
    assert first["meta"]["total"] >= 20
    assert [size["slug"] for size in first["sizes"]][:2] == ["s-1vcpu-512mb-10gb", "s-1vcpu-1gb"]
    assert first["links"]["pages"]["next"].endswith("/v2/sizes?page=2&per_page=5")


async def test_keys(contract: Contract) -> None:
    wish = {"name": "My Laptop!", "public_key": PUBLIC_KEY}
    key = (await contract.ask("sshKeys_create", status=201, json=wish))["ssh_key"]
    assert key["name"] == "My Laptop!"
    assert key["fingerprint"].count(":") == 15
    assert (await contract.ask("sshKeys_get", key["id"]))["ssh_key"] == key
    assert (await contract.ask("sshKeys_get", key["fingerprint"]))["ssh_key"] == key
    assert (await contract.ask("sshKeys_list"))["ssh_keys"] == [key]
    renamed = (await contract.ask("sshKeys_update", key["id"], json={"name": "other"}))["ssh_key"]
    assert renamed == {**key, "name": "other"}
    twice = await contract.ask("sshKeys_create", status=422, json=wish)
    assert twice["id"] == "unprocessable_entity"
    assert twice["message"].startswith("SSH Key is already in use on your account")
    await contract.ask("sshKeys_delete", key["id"], status=204)
    assert (await contract.ask("sshKeys_get", key["id"], status=404))["id"] == "not_found"


async def test_a_droplets_life(contract: Contract) -> None:
    key = (await contract.ask("sshKeys_create", status=201, json={"name": "k", "public_key": PUBLIC_KEY}))["ssh_key"]
    wish = {"ssh_keys": [key["id"], key["fingerprint"]], "tags": ["web"], "user_data": "#cloud-config\n"}
    made = await droplet(contract, "Web.Example.com", backups=False, monitoring=True, **wish)
    number = made["id"]
    assert (made["name"], made["status"], made["locked"]) == ("Web.Example.com", "active", False)
    assert (made["size_slug"], made["region"]["slug"]) == ("s-1vcpu-512mb-10gb", "nyc3")
    assert (made["memory"], made["vcpus"], made["disk"]) == (512, 1, 10)
    assert made["image"]["slug"] == "tiny-x64"
    assert {"monitoring", "ipv6"} <= set(made["features"])
    assert {network["type"] for network in made["networks"]["v4"]} == {"public", "private"}
    for kind, status in (
        ("power_off", "off"),
        ("power_off", "off"),
        ("shutdown", "off"),
        ("power_on", "active"),
        ("power_on", "active"),
        ("reboot", "active"),
        ("power_cycle", "active"),
        ("shutdown", "off"),
        ("power_on", "active"),
    ):
        await act(contract, number, type=kind)
        assert (await contract.ask("droplets_get", number))["droplet"]["status"] == status
    await act(contract, number, type="rename", name="db.example.com")
    await act(contract, number, type="resize", size="s-1vcpu-1gb", disk=True)
    await act(contract, number, type="rebuild", image="tiny-x64")
    found = (await contract.ask("droplets_get", number))["droplet"]
    assert (found["name"], found["size_slug"], found["disk"]) == ("db.example.com", "s-1vcpu-1gb", 25)
    types = [one["type"] for one in (await contract.ask("dropletActions_list", number))["actions"]]
    assert types[:3] == ["rebuild", "resize", "rename"]
    assert types[-1] == "create"
    assert (await contract.ask("droplets_list_kernels", number))["kernels"] == []
    assert (await contract.ask("droplets_list_neighbors", number))["droplets"] == []
    await contract.ask("droplets_destroy", number, status=204)
    assert (await contract.ask("droplets_get", number, status=404))["id"] == "not_found"
    await contract.ask("sshKeys_delete", key["id"], status=204)


async def test_lists_are_filtered_and_paged(contract: Contract) -> None:
    wish = {"region": "fra1", "size": "micro-1", "image": "tiny-x64", "tags": ["listed"]}
    names = [f"listed-{number}.example.com" for number in range(3)]
    made = await contract.ask("droplets_create", status=202, json={"names": names, **wish})
    for link in made["links"]["actions"]:
        await done(contract, link["id"])
    ids = [one["id"] for one in made["droplets"]]
    told = [one for one in await contract.world.store.instances.all() if one.number in ids]  # to their guests
    assert [(one.hostname, one.region) for one in told] == [(name, "fra1") for name in names]
    second = await contract.ask("droplets_list", params={"tag_name": "listed", "per_page": 1, "page": 2})
    assert [one["id"] for one in second["droplets"]] == [ids[1]]
    assert second["meta"]["total"] == 3
    assert set(second["links"]["pages"]) == {"first", "prev", "next", "last"}
    assert "tag_name=listed" in second["links"]["pages"]["next"]
    named = await contract.ask("droplets_list", params={"name": names[2]})
    assert [(one["id"], one["region"]["slug"]) for one in named["droplets"]] == [(ids[2], "fra1")]
    acted = await contract.ask(
        "dropletActions_post_byTag", status=201, params={"tag_name": "listed"}, json={"type": "power_off"}
    )
    for one in acted["actions"]:
        await done(contract, one["id"])
    assert len((await contract.ask("actions_list", params={"per_page": 200}))["actions"]) >= 6
    await contract.ask("droplets_destroy_byTag", status=204, params={"tag_name": "listed"})
    assert (await contract.ask("droplets_list", params={"tag_name": "listed"}))["droplets"] == []


async def test_of_several_droplets_all_are_made_or_none(contract: Contract) -> None:
    names = ["fine-1.example.com", "fine-2.example.com", "not fine"]
    body = {"names": names, "region": "nyc3", "size": "micro-1", "image": "tiny-x64"}
    refused = await contract.ask("droplets_create", status=422, json=body)
    assert "not fine" in refused["message"]
    async with asyncio.timeout(_PATIENCE_S):
        while (await contract.ask("droplets_list"))["droplets"]:
            await asyncio.sleep(0.02)


async def test_snapshots_and_images(contract: Contract) -> None:
    number = (await droplet(contract, "shot"))["id"]
    await act(contract, number, type="snapshot", name="Before the upgrade")
    (shot,) = (await contract.ask("droplets_list_snapshots", number))["snapshots"]
    assert (shot["name"], shot["type"]) == ("Before the upgrade", "snapshot")
    listed = (await contract.ask("snapshots_list", params={"resource_type": "droplet"}))["snapshots"]
    assert [(one["id"], one["resource_id"]) for one in listed] == [(str(shot["id"]), str(number))]
    assert (await contract.ask("snapshots_list", params={"resource_type": "volume"}))["snapshots"] == []
    assert (await contract.ask("snapshots_get", shot["id"]))["snapshot"] == listed[0]
    private = (await contract.ask("images_list", params={"private": "true"}))["images"]
    assert [one["id"] for one in private] == [shot["id"]]
    public = (await contract.ask("images_list", params={"type": "distribution"}))["images"]
    assert {"debian-12-x64", "tiny-x64"} <= {one["slug"] for one in public}
    by_slug = (await contract.ask("images_get", "tiny-x64"))["image"]
    assert (await contract.ask("images_get", by_slug["id"]))["image"] == by_slug
    renamed = (await contract.ask("images_update", shot["id"], json={"name": "After"}))["image"]
    assert renamed["name"] == "After"
    await act(contract, number, type="restore", image=shot["id"])
    other = await droplet(contract, "from-shot", image=shot["id"])
    for one in (number, other["id"]):
        await contract.ask("droplets_destroy", one, status=204)
    await contract.ask("snapshots_delete", shot["id"], status=204)
    assert (await contract.ask("snapshots_list"))["snapshots"] == []
    number = (await droplet(contract, "shot-again"))["id"]
    await act(contract, number, type="snapshot", name="once more")
    (shot,) = (await contract.ask("droplets_list_snapshots", number))["snapshots"]
    await contract.ask("images_delete", shot["id"], status=204)
    await contract.ask("images_get", shot["id"], status=404)
    await contract.ask("droplets_destroy", number, status=204)


async def test_backups(contract: Contract) -> None:
    made = await droplet(contract, "kept")
    refused = await contract.ask("dropletActions_post", made["id"], status=422, json={"type": "enable_backups"})
    assert "no backup store" in refused["message"]
    await contract.world.add_store("elsewhere")
    policies = (await contract.ask("droplets_list_supported_backup_policies"))["supported_policies"]
    assert [one["name"] for one in policies] == ["weekly", "daily"]
    policy = {"plan": "daily", "hour": 8}
    await act(contract, made["id"], type="enable_backups", backup_policy=policy)
    assert "backups" in (await contract.ask("droplets_get", made["id"]))["droplet"]["features"]
    shown = (await contract.ask("droplets_get_backup_policy", made["id"]))["policy"]
    assert policy.items() <= shown["backup_policy"].items()
    assert (await contract.ask("droplets_list_backup_policies"))["policies"] == {str(made["id"]): shown}
    assert (await contract.ask("droplets_list_backups", made["id"]))["backups"] == []
    await act(contract, made["id"], type="disable_backups")
    assert not (await contract.ask("droplets_get_backup_policy", made["id"]))["policy"]["backup_enabled"]
    await contract.ask("droplets_destroy", made["id"], status=204)


async def test_volumes(contract: Contract) -> None:
    made = await droplet(contract, "holder")
    wish = {"name": "data", "region": "nyc3", "size_gigabytes": 1, "description": "What lasts", "tags": ["t"]}
    volume = (await contract.ask("volumes_create", status=201, json={**wish, "filesystem_type": "ext4"}))["volume"]
    assert {**wish, "region": volume["region"]}.items() <= volume.items()
    assert (await contract.ask("volumes_create", status=409, json=wish))["id"] == "conflict"
    # One right after the other, as clients do without waiting.
    for body in (
        {"type": "attach", "droplet_id": made["id"]},
        {"type": "resize", "size_gigabytes": 2},
    ):
        begun = (await contract.ask("volumeActions_post_byId", volume["id"], status=202, json=body))["action"]
    await done(contract, begun["id"])
    assert (await contract.ask("volumeActions_get", volume["id"], begun["id"]))["action"]["status"] == "completed"
    found = (await contract.ask("volumes_get", volume["id"]))["volume"]
    assert (found["size_gigabytes"], found["droplet_ids"]) == (2, [made["id"]])
    assert (await contract.ask("droplets_get", made["id"]))["droplet"]["volume_ids"] == [volume["id"]]
    by_name = {"type": "detach", "volume_name": "data", "droplet_id": made["id"], "region": "nyc3"}
    begun = (await contract.ask("volumeActions_post", status=202, json=by_name))["action"]
    await done(contract, begun["id"])
    assert len((await contract.ask("volumeActions_list", volume["id"]))["actions"]) == 4
    listed = await contract.ask("volumes_list", params={"name": "data", "region": "nyc3"})
    assert [one["id"] for one in listed["volumes"]] == [volume["id"]]
    assert (await contract.ask("volumes_list", params={"region": "ams3"}))["volumes"] == []
    assert (await contract.ask("volumeSnapshots_list", volume["id"]))["snapshots"] == []
    refused = await contract.ask("volumeSnapshots_create", volume["id"], status=422, json={"name": "s"})
    assert "not available" in refused["message"]
    await contract.ask("volumes_delete", volume["id"], status=204)
    await contract.ask("volumes_create", status=201, json=wish)
    await contract.ask("volumes_delete_byName", status=204, params={"name": "data", "region": "nyc3"})
    await contract.ask("droplets_destroy", made["id"], status=204)


async def test_vpcs(contract: Contract) -> None:
    wish = {"name": "Backend.One", "region": "nyc3", "ip_range": "10.9.0.0/24", "description": "for databases"}
    vpc = (await contract.ask("vpcs_create", status=201, json=wish))["vpc"]
    assert wish.items() <= vpc.items()
    assert (await contract.ask("vpcs_get", vpc["id"]))["vpc"] == vpc
    made = await droplet(contract, "inside", vpc_uuid=vpc["id"])
    assert made["vpc_uuid"] == vpc["id"]
    assert made["networks"]["v4"][0]["ip_address"].startswith("10.9.0.")
    members = (await contract.ask("vpcs_list_members", vpc["id"]))["members"]
    assert [one["urn"] for one in members] == [f"do:droplet:{made['id']}"]
    await contract.ask("vpcs_delete", vpc["id"], status=422)
    await contract.ask("droplets_destroy", made["id"], status=204)
    patched = (await contract.ask("vpcs_patch", vpc["id"], json={"name": "back2"}))["vpc"]
    assert (patched["name"], patched["description"]) == ("back2", "for databases")
    put = (await contract.ask("vpcs_update", vpc["id"], json={"name": "back3", "description": "x"}))["vpc"]
    assert (put["name"], put["description"]) == ("back3", "x")
    assert (await contract.ask("vpcs_list_peerings", vpc["id"]))["peerings"] == []
    assert [one["default"] for one in (await contract.ask("vpcs_list"))["vpcs"]].count(True) == 1
    async with asyncio.timeout(_PATIENCE_S):
        while await contract.world.store.instances.of_project("default"):
            await asyncio.sleep(0.02)
    await contract.ask("vpcs_delete", vpc["id"], status=204)


async def test_firewalls(contract: Contract) -> None:
    one, two = await droplet(contract, "walled"), await droplet(contract, "friend")
    inbound = {
        "protocol": "tcp",
        "ports": "8000-9000",
        "sources": {"addresses": ["192.0.2.0/24", "2001:db8::/32"], "droplet_ids": [two["id"]], "tags": ["lb"]},
    }
    outbound = {"protocol": "icmp", "ports": "0", "destinations": {"addresses": ["0.0.0.0/0", "::/0"]}}
    wish = {"name": "Web.wall", "droplet_ids": [one["id"]], "tags": ["web"]}
    body = {**wish, "inbound_rules": [inbound], "outbound_rules": [outbound]}
    wall = (await contract.ask("firewalls_create", status=202, json=body))["firewall"]
    assert wish.items() <= wall.items()
    assert inbound["sources"].items() <= wall["inbound_rules"][0]["sources"].items()  # type: ignore[attr-defined]
    assert wall["inbound_rules"][0]["ports"] == "8000-9000"
    assert wall["outbound_rules"][0]["destinations"]["addresses"] == ["0.0.0.0/0", "::/0"]
    assert (await contract.ask("firewalls_get", wall["id"]))["firewall"] == wall
    assert (await contract.ask("firewalls_create", status=409, json=body))["message"].startswith("duplicate name")
    listed = (await contract.ask("droplets_list_firewalls", one["id"]))["firewalls"]
    assert [each["id"] for each in listed] == [wall["id"]]
    ssh = {"protocol": "tcp", "ports": "22", "sources": {"addresses": ["0.0.0.0/0"]}}
    await contract.ask("firewalls_add_rules", wall["id"], status=204, json={"inbound_rules": [ssh]})
    assert len((await contract.ask("firewalls_get", wall["id"]))["firewall"]["inbound_rules"]) == 2
    await contract.ask("firewalls_delete_rules", wall["id"], status=204, json={"inbound_rules": [inbound]})
    left = (await contract.ask("firewalls_get", wall["id"]))["firewall"]["inbound_rules"]
    assert [rule["ports"] for rule in left] == ["22"]
    ids = {"droplet_ids": [two["id"]]}
    await contract.ask("firewalls_assign_droplets", wall["id"], status=204, json=ids)
    await contract.ask("firewalls_delete_droplets", wall["id"], status=204, json={"droplet_ids": [one["id"]]})
    await contract.ask("firewalls_add_tags", wall["id"], status=204, json={"tags": ["db"]})
    await contract.ask("firewalls_delete_tags", wall["id"], status=204, json={"tags": ["web"]})
    found = (await contract.ask("firewalls_list"))["firewalls"][0]
    assert (found["droplet_ids"], found["tags"]) == ([two["id"]], ["db"])
    put = (await contract.ask("firewalls_update", wall["id"], json={**body, "name": "other"}))["firewall"]
    assert (put["name"], put["droplet_ids"], put["tags"]) == ("other", [one["id"]], ["web"])
    assert [rule["ports"] for rule in put["inbound_rules"]] == ["8000-9000"]
    await contract.ask("firewalls_delete", wall["id"], status=204)
    for each in (one, two):
        await contract.ask("droplets_destroy", each["id"], status=204)


@pytest.mark.parametrize(
    ("words", "actions", "field"),
    [("reservedIPs", "reservedIPsActions", "reserved_ip"), ("floatingIPs", "floatingIPsAction", "floating_ip")],
)
async def test_reserved_ips(contract: Contract, words: str, actions: str, field: str) -> None:
    await contract.world.admin("POST", "/v1/address-pools", json={"name": "public", "addresses": "203.0.113.0/28"})
    made = await droplet(contract, "reached")
    body = {"droplet_id": made["id"]}
    created = await contract.ask(f"{words}_create", status=202, json=body)
    ip = created[field]["ip"]
    assert created["links"]["droplets"][0]["id"] == made["id"]
    assert created[field]["droplet"]["id"] == made["id"]
    shown = (await contract.ask("droplets_get", made["id"]))["droplet"]["networks"]["v4"]
    public = [one["ip_address"] for one in shown if one["type"] == "public"]
    assert len(public) == 2, "its own and the reserved one"
    assert ip in public
    for wish in ({"type": "unassign"}, {"type": "assign", **body}):
        done_at_once = (await contract.ask(f"{actions}_post", ip, status=201, json=wish))["action"]
        assert done_at_once["status"] == "completed"
        assert (await contract.ask(f"{actions}_get", ip, done_at_once["id"]))["action"]["id"] == done_at_once["id"]
    assert len((await contract.ask(f"{actions}_list", ip))["actions"]) == 3
    assert (await contract.ask(f"{words}_get", ip))[field]["locked"] is False
    assert [one["ip"] for one in (await contract.ask(f"{words}_list"))[f"{field}s"]] == [ip]
    await contract.ask(f"{words}_delete", ip, status=204)
    loose = (await contract.ask(f"{words}_create", status=202, json={"region": "nyc3"}))[field]
    assert loose["droplet"] is None
    await contract.ask(f"{words}_delete", loose["ip"], status=204)
    await contract.ask("droplets_destroy", made["id"], status=204)


async def test_tags(contract: Contract) -> None:
    made = await droplet(contract, "tagged", tags=["first"])
    assert (await contract.ask("tags_create", status=201, json={"name": "blue"}))["tag"]["resources"]["count"] == 0
    body = {"resources": [{"resource_id": str(made["id"]), "resource_type": "droplet"}]}
    await contract.ask("tags_assign_resources", "blue", status=204, json=body)
    tag = (await contract.ask("tags_get", "blue"))["tag"]
    assert tag["resources"]["droplets"]["count"] == 1
    assert tag["resources"]["last_tagged_uri"].endswith(f"/v2/droplets/{made['id']}")
    assert [one["name"] for one in (await contract.ask("tags_list"))["tags"]] == ["blue", "first"]
    await contract.ask("tags_unassign_resources", "blue", status=204, json=body)
    assert (await contract.ask("droplets_get", made["id"]))["droplet"]["tags"] == ["first"]
    for name in ("blue", "first"):
        await contract.ask("tags_delete", name, status=204)
    assert (await contract.ask("droplets_get", made["id"]))["droplet"]["tags"] == []
    await contract.ask("tags_get", "blue", status=404)
    await contract.ask("droplets_destroy", made["id"], status=204)


async def test_projects(contract: Contract) -> None:
    made = await droplet(contract, "resource")
    (project,) = (await contract.ask("projects_list"))["projects"]
    assert (await contract.ask("projects_get_default"))["project"] == project
    assert (await contract.ask("projects_get", project["id"]))["project"] == project
    wish = {"name": "Mine", "description": "All of it", "purpose": "Web", "environment": "Staging"}
    for name, places in (("projects_update_default", ()), ("projects_update", (project["id"],))):
        changed = (await contract.ask(name, *places, json=wish))["project"]
        assert wish.items() <= changed.items()
    for name, places in (("projects_patch_default", ()), ("projects_patch", (project["id"],))):
        changed = (await contract.ask(name, *places, json={"name": "Ours"}))["project"]
        assert (changed["name"], changed["description"]) == ("Ours", "All of it")
    assert (
        "environment"
        in (await contract.ask("projects_patch_default", status=422, json={"environment": "x"}))["message"]
    )
    urn = f"do:droplet:{made['id']}"
    for name, places in (("projects_list_resources_default", ()), ("projects_list_resources", (project["id"],))):
        assert [one["urn"] for one in (await contract.ask(name, *places))["resources"]] == [urn]
    body = {"resources": [urn]}
    for name, places in (("projects_assign_resources_default", ()), ("projects_assign_resources", (project["id"],))):
        assert (await contract.ask(name, *places, json=body))["resources"][0]["status"] == "already_assigned"
    await contract.ask("droplets_destroy", made["id"], status=204)


async def test_metrics(contract: Contract) -> None:
    await digitalocean_metrics.story(contract, (await droplet(contract, "measured"))["id"])


async def test_what_is_not_supported_says_so(contract: Contract) -> None:
    for name in ("domains_list", "loadBalancers_list", "certificates_list", "oneClicks_list"):
        await contract.ask(name)
    refused = await contract.ask("domains_create", status=422, json={"name": "example.com"})
    assert refused["message"].startswith("There are no domains here")
    assert set(refused) == {"id", "message", "request_id"}


async def test_every_operation_answers_with_every_documented_field(contract: Contract) -> None:
    """The last test: what the others have seen."""
    elsewhere = {one for one in COVERAGE.supported if "ssociatedResources" in one}
    assert COVERAGE.supported - contract.seen == elsewhere
    assert {name: fields for name, fields in contract.absent.items() if fields} == {}
    assert len(COVERAGE.supported) >= 60
    assert {one.name for one in DIALECT.operations} >= COVERAGE.supported
