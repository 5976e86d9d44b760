"""Snapshots over HTTP: what callers see, and what is refused before anything happens."""

from __future__ import annotations

from typing import Any

import pytest

from insula.domain.access import Scope
from insula.domain.operation import Operation
from tests.api.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def reverted(world: World, name: str, snapshot: str, **wish: Any) -> Operation:
    body = {"snapshot": snapshot, **wish}
    return await world.finish(await world.admin("POST", f"/v1/instances/{name}/revert", json=body))


async def test_snapshots_are_a_tree(world: World) -> None:
    host = await world.create("tree")
    one = await world.create_snapshot("tree", tags=["b", "a"])
    two = await world.create_snapshot("tree", name="two", kind="memory")
    assert (one.name, one.kind, one.parent_id, one.tags) == ("tree-1", "disk", None, ("a", "b"))
    assert (two.kind, two.parent_id, two.consistency) == ("memory", one.id, "crash")
    ended = await reverted(world, "tree", "tree-1")
    assert ended.state == "succeeded", ended.error
    three = await world.create_snapshot("tree", name="three")
    assert three.parent_id == one.id
    shown = (await world.admin("GET", "/v1/instances/tree")).json()
    assert shown["snapshot_id"] == three.id
    for query, names in (
        ({"instance": "tree"}, ["tree-1", "two", "three"]),
        ({"instance": host.id, "tag": "a"}, ["tree-1"]),
        ({"name": "two"}, ["two"]),
        ({"instance": "unknown"}, []),
    ):
        found = (await world.admin("GET", "/v1/snapshots", params=query)).json()
        assert [item["name"] for item in found["items"]] == names
    part = (await world.admin("GET", "/v1/snapshots", params={"limit": 2, "instance": "tree"})).json()
    rest = (await world.admin("GET", part["next"])).json()
    assert [item["name"] for item in (*part["items"], *rest["items"])] == ["tree-1", "two", "three"]
    await world.finish(await world.admin("DELETE", "/v1/snapshots/tree-1"))
    found = (await world.admin("GET", "/v1/snapshots", params={"instance": "tree"})).json()
    assert [(item["name"], item["parent_id"]) for item in found["items"]] == [("two", None), ("three", None)]


async def test_another_instance_goes_on_from_one(world: World) -> None:
    await world.create("source", tags=["kept"])
    await world.create_snapshot("source", name="memory", kind="memory")
    await world.create_snapshot("source", name="disk")
    await world.finish(await world.admin("DELETE", "/v1/instances/source"))
    for name, wish in (
        ("warm", {"snapshot": "memory"}),
        ("cold", {"snapshot": "memory", "cold": True, "plan": "entry-2"}),
        ("other", {"snapshot": "disk", "disk_gib": 77}),
    ):
        ended = await world.finish(await world.admin("POST", "/v1/instances", json={"name": name, **wish}))
        assert ended.state == "succeeded", ended.error
        made = (await world.admin("GET", f"/v1/instances/{name}")).json()
        snapshot = (await world.admin("GET", f"/v1/snapshots/{wish['snapshot']}")).json()
        assert (made["image"], made["snapshot_id"]) == ("tiny", snapshot["id"])
        assert made["hostname"] == name
        first = made["boot_phases"][0]["name"]
        assert (first == "renew") == (name == "warm")
    assert made["resources"]["disk_gib"] == 77


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"image": "debian-12"}, "image"),
        ({"disk_gib": 1}, "disk_gib"),
        ({"memory_mib": 4096}, "memory_mib"),
        ({"plan": "entry-2"}, "memory_mib"),
        ({"firmware": "uefi"}, "firmware"),
        ({"machine_type": "microvm"}, "machine_type"),
    ],
)
async def test_what_does_not_fit_the_snapshot_is_refused(world: World, wish: dict[str, Any], field: str) -> None:
    if (await world.admin("GET", "/v1/snapshots/fitting")).status_code == 404:
        await world.create("fit", disk_gib=5)
        await world.create_snapshot("fit", name="fitting", kind="memory")
    body = {"name": "misfit", "snapshot": "fitting", **wish}
    refused = await world.admin("POST", "/v1/instances", json=body)
    assert refused.status_code == 422, refused.text
    assert field in {error["field"] for error in refused.json()["errors"]}


async def test_what_it_is_not_of_does_not_go_back_to_it(world: World) -> None:
    await world.create("one")
    await world.create("two")
    await world.create_snapshot("one", name="of-one")
    refused = await world.admin("POST", "/v1/instances/two/revert", json={"snapshot": "of-one"})
    assert (refused.status_code, refused.json()["code"]) == (409, "snapshot-elsewhere")
    await world.admin("PATCH", "/v1/instances/one", json={"protected": True})
    refused = await world.admin("POST", "/v1/instances/one/revert", json={"snapshot": "of-one"})
    assert (refused.status_code, refused.json()["code"]) == (409, "protected")
    await world.admin("PATCH", "/v1/instances/one", json={"protected": False})
    await world.finish(await world.admin("POST", "/v1/instances/one/resize", json={"plan": "micro-2"}))
    await world.create_snapshot("one", name="with-memory", kind="memory")
    await world.finish(await world.admin("POST", "/v1/instances/one/resize", json={"plan": "entry-1"}))
    refused = await world.admin("POST", "/v1/instances/one/revert", json={"snapshot": "with-memory"})
    assert (refused.status_code, refused.json()["code"]) == (409, "snapshot-unfit")
    assert (await reverted(world, "one", "with-memory", disk_only=True)).state == "succeeded"


async def test_a_revert_gives_back_the_size_of_the_disk(world: World) -> None:
    made = await world.create("grown")
    await world.create_snapshot("grown", name="small")
    size = made.resources.disk_gib
    await world.finish(await world.admin("POST", "/v1/instances/grown/resize", json={"disk_gib": size + 3}))
    await reverted(world, "grown", "small")
    shown = (await world.admin("GET", "/v1/instances/grown")).json()
    assert shown["resources"]["disk_gib"] == size


async def test_volumes_are_in_the_way(world: World) -> None:
    await world.create("laden")
    await world.create_snapshot("laden", name="unladen")
    await world.create_volume("load", attach_to="laden")
    for path, body in (
        ("/v1/snapshots", {"instance": "laden"}),
        ("/v1/instances/laden/revert", {"snapshot": "unladen"}),
    ):
        refused = await world.admin("POST", path, json=body)
        assert (refused.status_code, refused.json()["code"]) == (409, "volume-attached")


async def test_hibernated_ones_are_not_snapshotted(world: World) -> None:
    await world.create("asleep")
    await world.finish(await world.admin("POST", "/v1/instances/asleep/hibernate"))
    refused = await world.admin("POST", "/v1/snapshots", json={"instance": "asleep"})
    assert (refused.status_code, refused.json()["code"]) == (409, "wrong-state")


async def test_protection_is_taken_seriously(world: World) -> None:
    await world.create("host")
    await world.create_snapshot("host", name="precious", protected=True)
    refused = await world.admin("DELETE", "/v1/snapshots/precious")
    assert (refused.status_code, refused.json()["code"]) == (409, "protected")
    changed = await world.admin("PATCH", "/v1/snapshots/precious", json={"protected": False, "name": "cheap"})
    assert (changed.json()["name"], changed.json()["protected"]) == ("cheap", False)
    await world.create_snapshot("host", name="taken")
    refused = await world.admin("PATCH", "/v1/snapshots/cheap", json={"name": "taken"})
    assert (refused.status_code, refused.json()["code"]) == (409, "name-taken")
    refused = await world.admin("POST", "/v1/snapshots", json={"instance": "host", "name": "taken"})
    assert (refused.status_code, refused.json()["code"]) == (409, "name-taken")
    assert (await world.finish(await world.admin("DELETE", "/v1/snapshots/cheap"))).state == "succeeded"
    assert (await world.admin("GET", "/v1/snapshots/cheap")).status_code == 404


async def test_an_image_under_a_snapshot_stays(world: World) -> None:
    await world.finish(await world.admin("POST", "/v1/images/debian-12/prepare"))
    await world.create("based", image="debian-12", plan="entry-2")
    await world.create_snapshot("based", name="base")
    await world.finish(await world.admin("DELETE", "/v1/instances/based"))
    refused = await world.admin("DELETE", "/v1/images/debian-12")
    assert (refused.status_code, refused.json()["code"]) == (409, "image-in-use")


async def test_a_project_with_snapshots_stays(world: World) -> None:
    await world.create("gone", "other")
    await world.create_snapshot("gone", "other")
    await world.finish(await world.admin("DELETE", "/v1/instances/gone", "other"), "other")
    refused = await world.admin("DELETE", "/v1/projects/other")
    assert (refused.status_code, refused.json()["code"]) == (409, "project-not-empty")
    elsewhere = await world.call("GET", "/v1/snapshots/gone-1", await world.secret(Scope.ADMIN))
    assert elsewhere.status_code == 404
