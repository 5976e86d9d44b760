"""Volumes over HTTP: what callers see, and what is refused before anything happens."""

from __future__ import annotations

import pytest

from insula.domain.access import Scope
from tests.api.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_volume_over_http(world: World) -> None:
    host = await world.create("host")
    made = await world.create_volume("data", file_system="ext4", attach_to="host", tags=["b", "a"])
    shown = (await world.admin("GET", "/v1/volumes/data")).json()
    assert (shown["id"], shown["state"], shown["instance_id"]) == (made.id, "attached", host.id)
    assert shown["device"] == "/dev/disk/by-id/scsi-0Insula_Volume_data"
    assert (shown["size_gib"], shown["file_system"], shown["tags"]) == (1, "ext4", ["a", "b"])
    assert 0 < shown["used_bytes"] < 1 << 20, "it is thin"
    (capacity,) = (await world.admin("GET", "/v1/host/capacity")).json()["items"]
    assert capacity["written_volumes_gib"] * (1 << 30) >= shown["used_bytes"]
    assert capacity["written_instances_gib"] > 0
    assert capacity["physical_disk_gib"] > capacity["physical_disk_free_gib"]

    await world.create_volume("other")
    for query, names in (
        ({"instance": "host"}, ["data"]),
        ({"tag": "a"}, ["data"]),
        ({"state": "available"}, ["other"]),
    ):
        found = (await world.admin("GET", "/v1/volumes", params=query)).json()
        assert [item["name"] for item in found["items"]] == names
        assert all(item["used_bytes"] for item in found["items"])
    part = (await world.admin("GET", "/v1/volumes", params={"limit": 1})).json()
    rest = (await world.admin("GET", part["next"])).json()
    assert [item["name"] for item in (*part["items"], *rest["items"])] == ["data", "other"]

    grown = await world.finish(await world.admin("POST", "/v1/volumes/data/grow", json={"size_gib": 5}))
    assert grown.result is not None
    assert grown.result["size_gib"] == 5
    await world.finish(await world.admin("POST", "/v1/volumes/data/limit", json={"disk_mbps": 7}))
    await world.finish(await world.admin("POST", "/v1/volumes/data/detach"))
    shown = (await world.admin("GET", "/v1/volumes/data")).json()
    assert (shown["size_gib"], shown["disk_mbps"], shown["disk_iops"], shown["instance_id"]) == (5, 7, 0, None)


async def test_protection_is_taken_seriously(world: World) -> None:
    await world.create_volume("precious", protected=True)
    refused = await world.admin("DELETE", "/v1/volumes/precious")
    assert (refused.status_code, refused.json()["code"]) == (409, "protected")
    await world.admin("PATCH", "/v1/volumes/precious", json={"protected": False})
    ended = await world.finish(await world.admin("DELETE", "/v1/volumes/precious"))
    assert ended.state == "succeeded"
    assert (await world.admin("GET", "/v1/volumes/precious")).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "Bad Name", "size_gib": 1}, "name"),
        ({"name": "good", "size_gib": 0}, "size_gib"),
        ({"name": "good"}, "size_gib"),
        ({"name": "good", "size_gib": 1, "file_system": "ntfs"}, "file_system"),
        ({"name": "good", "size_gib": 1, "disk_iops": -1}, "disk_iops"),
    ],
)
async def test_wrong_wishes_are_named(world: World, body: dict[str, object], field: str) -> None:
    answer = await world.admin("POST", "/v1/volumes", json=body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_a_volume_never_shrinks(world: World) -> None:
    await world.create_volume("large", size_gib=4)
    for size_gib in (3, 4):
        answer = await world.admin("POST", "/v1/volumes/large/grow", json={"size_gib": size_gib})
        assert (answer.status_code, answer.json()["code"]) == (422, "volume-shrink")


async def test_names_are_taken_once_and_instances_must_exist(world: World) -> None:
    await world.create_volume("once")
    again = await world.admin("POST", "/v1/volumes", json={"name": "once", "size_gib": 1})
    assert again.json()["code"] == "name-taken"
    nowhere = await world.admin("POST", "/v1/volumes", json={"name": "homeless", "size_gib": 1, "attach_to": "nobody"})
    assert (nowhere.status_code, nowhere.json()["code"]) == (404, "unknown-instance")
    assert (await world.admin("GET", "/v1/volumes/homeless")).status_code == 404


async def test_every_change_is_audited(world: World) -> None:
    made = await world.create_volume("watched")
    await world.admin("PATCH", "/v1/volumes/watched", json={"tags": ["x"]})
    await world.finish(await world.admin("DELETE", "/v1/volumes/watched"))
    entries = (await world.admin("GET", "/v1/audit", params={"limit": 500})).json()["items"]
    actions = [entry["action"] for entry in reversed(entries) if entry["target"] == made.id]
    assert actions == ["volumes.create", "volumes.change", "volumes.delete"]


async def test_a_project_with_volumes_is_not_empty(world: World) -> None:
    await world.admin("POST", "/v1/projects", json={"name": "shop"})
    await world.create_volume("stock", "shop")
    refused = await world.admin("DELETE", "/v1/projects/shop")
    assert refused.json()["code"] == "project-not-empty"
    await world.finish(await world.admin("DELETE", "/v1/volumes/stock", "shop"), "shop")
    assert (await world.admin("DELETE", "/v1/projects/shop")).status_code == 204


async def test_reading_needs_no_right_to_write(world: World) -> None:
    secret = await world.secret(Scope.VOLUMES_READ)
    assert (await world.call("GET", "/v1/volumes", secret)).status_code == 200
    assert (await world.call("POST", "/v1/volumes", secret, json={"name": "x", "size_gib": 1})).status_code == 403
