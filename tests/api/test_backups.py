"""Backups over HTTP: what callers see, and what is refused before anything happens."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from insula.domain.access import Scope
from tests.api.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_lost_instance_comes_back(world: World) -> None:
    host = await world.create("lost")
    await world.add_store("safe")
    made = await world.back_up("lost", "safe")
    assert (made.instance_name, made.store_id) == (
        "lost",
        (await world.admin("GET", "/v1/backup-stores/safe")).json()["id"],
    )
    await world.finish(await world.admin("DELETE", "/v1/instances/lost"))
    for query in ({"instance": host.id}, {"instance": "lost"}, {"store": "safe"}, {"name": made.name}):
        found = (await world.admin("GET", "/v1/backups", params=query)).json()["items"]
        assert [item["id"] for item in found] == [made.id], query
    back = await world.finish(await world.admin("POST", "/v1/instances", json={"name": "back", "backup": made.name}))
    assert back.state == "succeeded", back.error
    shown = (await world.admin("GET", "/v1/instances/back")).json()
    assert (shown["plan"], shown["image"], shown["hostname"]) == ("micro-1", "tiny", "back")
    volume = await world.finish(
        await world.admin("POST", "/v1/volumes", json={"name": "disk", "backup": made.id, "size_gib": made.size_gib})
    )
    assert volume.state == "succeeded", volume.error
    sized = (await world.admin("GET", "/v1/volumes/disk")).json()
    assert sized["size_gib"] == made.size_gib


async def test_what_the_next_backup_needs_is_no_leftover(world: World) -> None:
    await world.create("kept")
    await world.add_store("steady")
    await world.back_up("kept", "steady", name="base")
    repaired = await world.admin("POST", "/v1/host/repair", json={"remove": True})
    assert repaired.json()["items"] == []
    made = await world.back_up("kept", "steady", name="on-it")
    assert made.based_on == (await world.admin("GET", "/v1/backups/base")).json()["id"]


@pytest.mark.parametrize(
    ("path", "wish", "field"),
    [
        ("/v1/instances", {"image": "debian-12"}, "image"),
        ("/v1/instances", {"disk_gib": 1}, "disk_gib"),
        ("/v1/instances", {"firmware": "uefi"}, "firmware"),
        ("/v1/volumes", {"size_gib": 1}, "disk_gib"),
        ("/v1/volumes", {"file_system": "ext4", "size_gib": 5}, "file_system"),
    ],
)
async def test_what_does_not_fit_is_refused(world: World, path: str, wish: dict[str, object], field: str) -> None:
    if (await world.admin("GET", "/v1/backups/fitting")).status_code == 404:
        await world.create("fit", disk_gib=5)
        await world.add_store("fits")
        await world.back_up("fit", "fits", name="fitting")
    refused = await world.admin("POST", path, json={"name": "misfit", "backup": "fitting", **wish})
    assert refused.status_code == 422, refused.text
    assert field in {error["field"] for error in refused.json()["errors"]}


async def test_a_store_is_known_by_its_key(world: World) -> None:
    store = await world.add_store("keyed")
    key = (await world.admin("GET", "/v1/backup-stores/keyed/key")).json()["recovery_key"]
    reader = await world.secret(Scope.BACKUPS_WRITE, Scope.BACKUPS_READ)
    assert (await world.call("GET", "/v1/backup-stores/keyed/key", reader)).status_code == 403
    assert key not in (await world.admin("GET", "/v1/backup-stores/keyed")).text
    assert key not in (await world.admin("GET", "/v1/audit")).text
    await world.create("owner")
    made = await world.back_up("owner", "keyed", name="outlives")
    gone = await world.admin("DELETE", "/v1/backup-stores/keyed")
    assert (gone.status_code, gone.json()) == (200, {"backups": 1})
    assert (await world.admin("GET", "/v1/backups/outlives")).status_code == 404
    body = {"name": "again", "kind": "folder", "path": store.place.path}
    refused = await world.admin("POST", "/v1/backup-stores", json=body)
    assert (refused.status_code, refused.json()["code"]) == (403, "backup-key-needed")
    assert (await world.admin("GET", "/v1/backup-stores/again")).status_code == 404, "nothing half is left"
    opened = await world.admin("POST", "/v1/backup-stores", json={**body, "recovery_key": key})
    assert opened.status_code == 201, opened.text
    assert not opened.json()["is_new"]
    (found,) = opened.json()["backups"]
    assert (found["id"], found["instance_name"], found["state"]) == (made.id, "owner", "available")
    restored = await world.finish(
        await world.admin("POST", "/v1/instances", json={"name": "imported", "backup": found["name"]})
    )
    assert restored.state == "succeeded", restored.error


async def test_what_the_store_lost_is_noticed(world: World) -> None:
    await world.create("losing")
    store = await world.add_store("losing")
    made = await world.back_up("losing", "losing")
    kept = await world.back_up("losing", "losing", name="kept")
    await world.control.node.remove_backups(store.id, [made.id])
    answer = await world.admin("POST", "/v1/backup-stores/losing/import")
    assert (answer.status_code, answer.json()["items"]) == (200, [])
    states = {each["id"]: each["state"] for each in (await world.admin("GET", "/v1/backups")).json()["items"]}
    assert (states[made.id], states[kept.id]) == ("failed", "available")


async def test_protection_is_taken_seriously(world: World) -> None:
    await world.create("careful")
    await world.add_store("careful")
    await world.back_up("careful", "careful", name="precious", protected=True)
    refused = await world.admin("DELETE", "/v1/backups/precious")
    assert (refused.status_code, refused.json()["code"]) == (409, "protected")
    changed = await world.admin("PATCH", "/v1/backups/precious", json={"protected": False, "name": "cheap"})
    assert (changed.json()["name"], changed.json()["protected"]) == ("cheap", False)
    assert (await world.finish(await world.admin("DELETE", "/v1/backups/cheap"))).state == "succeeded"


async def test_a_drill_tells_what_came_of_it_and_leaves_nothing(world: World) -> None:
    await world.create("tried")
    store = await world.add_store("tried")
    made = await world.back_up("tried", "tried")
    for command, passed in (("", True), ("exit 3", False)):
        ended = await world.finish(await world.admin("POST", f"/v1/backups/{made.id}/drill", json={"command": command}))
        assert ended.state == "succeeded", ended.error
        assert (ended.result or {})["passed"] is passed
    shown = (await world.admin("GET", f"/v1/backups/{made.id}")).json()
    assert [(drill["passed"], drill["exit_code"]) for drill in shown["drills"]] == [(True, None), (False, 3)]
    (stored,) = await world.control.node.stored_backups(store.id)
    assert [drill.passed for drill in stored.drills] == [True, False]
    records = {each.id for each in await world.store.instances.all()}
    assert {report.id for report in await world.control.node.observe()} <= records


async def test_a_damaged_backup_fails_its_drill(world: World) -> None:
    await world.create("damaged")
    store = await world.add_store("damaged")
    made = await world.back_up("damaged", "damaged")
    await asyncio.to_thread(shutil.rmtree, world.places / "default-damaged" / "packs")
    ended = await world.finish(await world.admin("POST", f"/v1/backups/{made.id}/drill"))
    assert ended.state == "succeeded", ended.error
    assert not (ended.result or {})["passed"]
    checked = await world.finish(await world.admin("POST", f"/v1/backup-stores/{store.name}/check"))
    assert not (checked.result or {})["is_whole"]
    assert {each["id"] for each in (checked.result or {})["backups"]} == {made.id}


async def test_schedules(world: World) -> None:
    await world.create("regular")
    await world.add_store("regular")
    path = "/v1/instances/regular/backup-schedule"
    assert (await world.admin("GET", path)).json()["code"] == "unknown-schedule"
    body = {"store": "regular", "every": "daily", "at_minute": 60, "keep": {"daily": 7}, "drill": "weekly"}
    made = await world.admin("PUT", path, json=body)
    assert made.status_code == 200, made.text
    assert (made.json()["every"], made.json()["next_at"][11:16]) == ("daily", "01:00")
    assert made.json()["drill_at"][11:16] == "02:00"
    again = await world.admin("PUT", path, json={"store": "regular", "every": "hourly"})
    assert (again.json()["keep"]["daily"], again.json()["drill"]) == (0, None)
    listed = (await world.admin("GET", "/v1/backup-schedules")).json()["items"]
    assert again.json() in listed
    refused = await world.admin("DELETE", "/v1/backup-stores/regular")
    assert (refused.status_code, refused.json()["code"]) == (409, "backup-store-scheduled")
    assert (await world.admin("DELETE", path)).status_code == 204
    assert (await world.admin("DELETE", path)).status_code == 404
    assert (await world.admin("DELETE", "/v1/backup-stores/regular")).status_code == 200


async def test_a_store_that_is_not_told_must_be_the_only_one(world: World) -> None:
    await world.create("vague", "other")
    refused = await world.admin("POST", "/v1/backups", "other", json={"instance": "vague"})
    assert (refused.status_code, refused.json()["code"]) == (404, "unknown-backup-store")
    await world.add_store("one", "other")
    ended = await world.finish(await world.admin("POST", "/v1/backups", "other", json={"instance": "vague"}), "other")
    assert ended.state == "succeeded", ended.error
    await world.add_store("two", "other")
    refused = await world.admin("POST", "/v1/backups", "other", json={"instance": "vague"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "store")
    refused = await world.admin("DELETE", "/v1/projects/other")
    assert refused.json()["code"] == "project-not-empty"


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"kind": "folder"}, "path"),
        ({"kind": "s3", "bucket": "b"}, "access_key"),
        ({"kind": "ssh", "host": "h", "user": "u", "path": "/p", "private_key": "k"}, "host_key"),
    ],
)
async def test_a_store_without_what_it_needs_is_refused(world: World, wish: dict[str, str], field: str) -> None:
    refused = await world.admin("POST", "/v1/backup-stores", json={"name": "poor", **wish})
    assert refused.status_code == 422, refused.text
    assert field in {error["field"] for error in refused.json()["errors"]}
