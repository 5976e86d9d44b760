"""Published images over the API: made, versioned, deprecated, shared and deleted, by whom they belong to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from insula.control.nodes import Nodes
from insula.control.reconcile import Collector
from tests.api.world import OTHER_PROJECT, World

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def publish(world: World, name: str, source: str) -> dict[str, Any]:
    answer = await world.admin("POST", "/v1/images/publish", json={"name": name, "source": source})
    ended = await world.finish(answer)
    assert ended.state == "succeeded", ended.error
    assert ended.result is not None
    return dict(ended.result)


async def listed(world: World, name: str, project: str = "default") -> list[dict[str, Any]]:
    items = (await world.admin("GET", "/v1/images", project)).json()["items"]
    return [item for item in items if item["name"] == name]


async def create(world: World, name: str, image: str, project: str = "default") -> Any:
    body = {"name": name, "image": image, "plan": "micro-1"}
    return await world.admin("POST", "/v1/instances", project, json=body)


async def delete(world: World, image: str) -> dict[str, Any]:
    ended = await world.finish(await world.admin("DELETE", f"/v1/images/{image}"))
    assert ended.state == "succeeded", ended.error
    return dict(ended.result or {})


async def on_node(world: World) -> set[str]:
    return {image.name for image in await world.control.node.images()}


async def test_an_image_of_a_running_instance_is_used_like_any_other(world: World) -> None:
    host = await world.create("origin1")
    made = await publish(world, "from-running", host.name)
    assert made["version"] == 1
    (found,) = await listed(world, "from-running")
    assert (found["state"], found["source"], found["id"], found["project"]) == (
        "ready",
        "published",
        made["id"],
        "default",
    )
    assert found["min_disk_gib"] == host.resources.disk_gib
    child = await world.create("child1", image="from-running")
    assert child.image == made["id"]
    assert await world.store.snapshots.all() == [], "the one that it was made of is let go"
    repaired = (await world.admin("POST", "/v1/host/repair", json={"remove": False})).json()
    assert repaired["items"] == [] if isinstance(repaired, dict) else repaired == []
    assert (await world.store.instances.get("default", "origin1")).state == "running"


async def test_a_snapshot_becomes_an_image(world: World) -> None:
    host = await world.create("origin2")
    snapshot = await world.create_snapshot(host.name)
    await publish(world, "from-snapshot", f"{host.name}@{snapshot.name}")
    await publish(world, "from-snapshot", snapshot.id)
    assert [found["version"] for found in await listed(world, "from-snapshot")] == ["1", "2"]
    assert (await world.store.snapshots.get("default", snapshot.id)).state == "available"
    other = await world.create("origin2-other")
    body = {"name": "x", "source": f"{other.name}@{snapshot.name}"}
    answer = await world.admin("POST", "/v1/images/publish", json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown-snapshot")


async def test_versions_and_deprecation(world: World) -> None:
    host = await world.create("origin3")
    first = await publish(world, "versioned", host.name)
    second = await publish(world, "versioned", host.name)
    assert (await world.create("v-newest", image="versioned")).image == second["id"]
    assert (await world.create("v-first", image="versioned@1")).image == first["id"]
    answer = await world.admin("POST", "/v1/images/versioned@2/deprecate")
    assert (answer.status_code, answer.json()["deprecated"]) == (200, True)
    assert (await world.create("v-other", image="versioned")).image == first["id"]

    exact = await create(world, "v-exact", "versioned@2")
    assert "deprecated" in exact.json()["params"]["warning"]
    operation = await world.finish(exact)
    messages = [event.message for event in await world.control.events(operation)]
    assert "The image versioned@2 is deprecated" in messages

    await world.admin("POST", "/v1/images/versioned/deprecate")
    refused = await create(world, "v-none", "versioned")
    assert refused.status_code == 422
    assert "deprecated" in refused.text
    await world.admin("POST", "/v1/images/versioned/deprecate", json={"deprecated": False})
    assert (await world.create("v-again", image="versioned")).image == second["id"]
    for wrong in ("versioned@9", "versioned@0", "versioned@x"):
        assert (await create(world, "v-wrong", wrong)).status_code == 422


async def test_others_use_what_is_shared_and_change_nothing(world: World) -> None:
    host = await world.create("origin4")
    made = await publish(world, "shared", host.name)
    assert await listed(world, "shared", OTHER_PROJECT) == []
    for reference in ("shared", made["id"], "shared@1"):
        assert (await create(world, "guest4", reference, OTHER_PROJECT)).status_code == 422, reference
        assert (await world.admin("GET", f"/v1/images/{reference}", OTHER_PROJECT)).status_code == 404
    answer = await world.admin("POST", "/v1/images/shared/share", json={"project": OTHER_PROJECT})
    assert answer.json()["shared_with"] == [OTHER_PROJECT]

    (seen,) = await listed(world, "shared", OTHER_PROJECT)
    assert (seen["id"], seen["project"], seen["shared_with"]) == (made["id"], "default", [])
    assert "origin4" not in str(seen), "what it was made of is its project's own business"
    child = await world.create("guest4", OTHER_PROJECT, image="shared")
    for method, path in (
        ("DELETE", "/v1/images/shared@1"),
        ("POST", "/v1/images/shared/deprecate"),
        ("POST", "/v1/images/shared/share"),
        ("POST", "/v1/images/shared/unshare"),
    ):
        body = {"json": {"project": "*"}} if "share" in path.rpartition("/")[2] else {}
        refused = await world.admin(method, path, OTHER_PROJECT, **body)
        assert (refused.status_code, refused.json()["code"]) == (403, "image-of-another-project"), path

    await world.admin("POST", "/v1/images/shared/unshare", json={"project": OTHER_PROJECT})
    assert (await create(world, "guest4b", "shared", OTHER_PROJECT)).status_code == 422
    assert (await world.store.instances.get(OTHER_PROJECT, "guest4")).image == child.image
    stopped = await world.finish(await world.admin("POST", "/v1/instances/guest4/stop", OTHER_PROJECT), OTHER_PROJECT)
    started = await world.finish(await world.admin("POST", "/v1/instances/guest4/start", OTHER_PROJECT), OTHER_PROJECT)
    assert (stopped.state, started.state) == ("succeeded", "succeeded"), "what is there goes on"
    unknown = await world.admin("POST", "/v1/images/shared/share", json={"project": "nobody"})
    assert unknown.json()["code"] == "unknown-project"


async def test_ones_own_image_comes_before_a_shared_one(world: World) -> None:
    host = await world.create("origin5")
    made = await publish(world, "both", host.name)
    await world.admin("POST", "/v1/images/both/share", json={"project": "*"})
    assert (await world.create("both1", OTHER_PROJECT, image="both")).image == made["id"]
    body = {"name": "both", "source": "both1"}
    ended = await world.finish(await world.admin("POST", "/v1/images/publish", OTHER_PROJECT, json=body), OTHER_PROJECT)
    assert ended.result is not None
    own = await world.create("both2", OTHER_PROJECT, image="both")
    assert own.image == ended.result["id"] != made["id"]
    assert len(await listed(world, "both", OTHER_PROJECT)) == 2
    assert [found["id"] for found in await listed(world, "both")] == [made["id"]], "only one of them is shared"


async def test_what_is_deleted_stays_while_it_is_used(world: World) -> None:
    host = await world.create("origin6")
    made = await publish(world, "deleted", host.name)
    user = await world.create("user6", image="deleted")
    snapshot = await world.create_snapshot(user.name)
    collector = Collector(world.store, Nodes({"local": world.control.node}))
    assert await delete(world, "deleted") == {"in_use": True}
    assert await listed(world, "deleted") == []
    assert (await create(world, "late6", "deleted")).status_code == 422
    assert (await create(world, "late6", made["id"])).status_code == 422
    await collector.look()
    assert made["id"] in await on_node(world)

    await world.finish(await world.admin("DELETE", "/v1/instances/user6"))
    await collector.look()
    assert made["id"] in await on_node(world), "a snapshot still needs it"
    again = await world.finish(
        await world.admin("POST", "/v1/instances", json={"name": "again6", "snapshot": snapshot.name})
    )
    assert again.state == "succeeded", again.error
    await world.finish(await world.admin("DELETE", f"/v1/snapshots/{snapshot.id}"))
    await collector.look()
    assert made["id"] in await on_node(world)
    await world.finish(await world.admin("DELETE", "/v1/instances/again6"))
    await collector.look()
    await collector.look()
    assert made["id"] not in await on_node(world)
    assert made["id"] not in {found.id for found in await world.store.images.all()}


async def test_an_unused_version_goes_at_once_and_its_number_never_comes_back(world: World) -> None:
    host = await world.create("origin7")
    first = await publish(world, "numbered", host.name)
    await world.admin("POST", "/v1/images/numbered/share", json={"project": OTHER_PROJECT})
    await publish(world, "numbered", host.name)
    several = await world.admin("DELETE", "/v1/images/numbered")
    assert (several.status_code, several.json()["code"]) == (409, "several-versions")
    assert await delete(world, "numbered@1") == {"in_use": False}
    assert first["id"] not in await on_node(world)
    assert await delete(world, "numbered") == {"in_use": False}
    assert (await publish(world, "numbered", host.name))["version"] == 3
    assert await listed(world, "numbered", OTHER_PROJECT) == [], "it was shared when it was something else"


async def test_what_cannot_be_published(world: World) -> None:
    await world.create("origin8")
    taken = await world.admin("POST", "/v1/images/publish", json={"name": "tiny", "source": "origin8"})
    assert (taken.status_code, taken.json()["code"]) == (409, "name-taken")
    nothing = await world.admin("POST", "/v1/images/publish", json={"name": "nothing"})
    assert nothing.status_code == 422
    foreign = await world.admin("POST", "/v1/images/publish", OTHER_PROJECT, json={"name": "f", "source": "origin8"})
    assert foreign.status_code == 404
    await world.finish(await world.admin("POST", "/v1/instances/origin8/hibernate"))
    asleep = await world.admin("POST", "/v1/images/publish", json={"name": "asleep", "source": "origin8"})
    assert (asleep.status_code, asleep.json()["code"]) == (409, "wrong-state")
    assert await listed(world, "asleep") == []
    host_image = await world.admin("POST", "/v1/images/tiny/deprecate")
    assert host_image.json()["code"] == "not-published"


async def test_a_strangers_system_is_not_published(world: World, tmp_path: Path) -> None:
    file = tmp_path / "disk.raw"
    file.write_bytes(bytes(512))
    await world.control.node.import_image("strange", str(file), "raw", lambda _message, _percent=-1: None)
    await world.create("origin9", image="strange")
    answer = await world.admin("POST", "/v1/images/publish", json={"name": "mine9", "source": "origin9"})
    assert answer.json()["code"] == "cannot-publish"


async def test_a_project_with_images_stays(world: World) -> None:
    await world.admin("POST", "/v1/projects", json={"name": "passing"})
    await world.create("origin10", "passing")
    body = {"name": "left", "source": "origin10"}
    await world.finish(await world.admin("POST", "/v1/images/publish", "passing", json=body), "passing")
    await world.finish(await world.admin("DELETE", "/v1/instances/origin10", "passing"), "passing")
    refused = await world.admin("DELETE", "/v1/projects/passing")
    assert refused.json()["code"] == "project-not-empty"
    await world.finish(await world.admin("DELETE", "/v1/images/left", "passing"), "passing")
    assert (await world.admin("DELETE", "/v1/projects/passing")).status_code == 204


async def test_an_imported_image_says_what_its_machines_are(world: World, tmp_path: Path) -> None:
    file = tmp_path / "disk.raw"
    file.write_bytes(bytes(512))
    body = {"name": "abroad", "path": str(file), "image_format": "raw"}
    refused = await world.admin("POST", "/v1/images", json={**body, "platform": "auto"})
    assert [error["field"] for error in refused.json()["errors"]] == ["platform"]
    await world.finish(await world.admin("POST", "/v1/images", json={**body, "platform": "ec2"}))
    assert (await world.admin("GET", "/v1/images/abroad")).json()["platform"] == "ec2"
    assert (await world.admin("GET", "/v1/images/tiny")).json()["platform"] == "nocloud"
    await world.finish(await world.admin("DELETE", "/v1/images/abroad"))
