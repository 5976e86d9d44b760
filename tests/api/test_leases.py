"""Leases over HTTP: given, renewed, taken off, refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def lease(world: World, instance: str, lease_s: Any) -> Any:
    return await world.admin("POST", f"/v1/instances/{instance}/lease", json={"lease_s": lease_s})


async def test_a_new_instance_may_have_one(world: World) -> None:
    made = await world.create("leased", lease_s=600)
    shown = (await world.admin("GET", f"/v1/instances/{made.id}")).json()
    assert shown["lease_s"] == 600
    left = datetime.fromisoformat(shown["lease_until"]) - datetime.now(UTC)
    assert timedelta(seconds=540) < left <= timedelta(seconds=600)
    assert (await world.create("plain")).lease_until is None


async def test_renewing_and_taking_off(world: World) -> None:
    made = await world.create("renewed", lease_s=10)
    renewed = (await lease(world, "renewed", 86400)).json()
    assert renewed["lease_s"] == 86400
    assert renewed["lease_until"] > (made.lease_until or datetime.now(UTC)).isoformat()
    off = (await lease(world, made.id, None)).json()
    assert (off["lease_s"], off["lease_until"]) == (None, None)


@pytest.mark.parametrize("wrong", [9, 0, -1, 30 * 86400 + 1, "soon", 10.5, True])
async def test_a_length_that_cannot_be(world: World, wrong: Any) -> None:
    made = await world.store.instances.list("default", limit=1) or [await world.create("any")]
    for answer in (
        await lease(world, made[0].id, wrong),
        await world.admin("POST", "/v1/instances", json={"name": "never", "image": "tiny", "lease_s": wrong}),
    ):
        assert answer.status_code == 422, answer.text
        assert [error["field"] for error in answer.json()["errors"]] == ["lease_s"]
        assert "10" in answer.text or "int" in answer.text


async def test_it_must_be_said_what_is_wished(world: World) -> None:
    await world.create("mute")
    answer = await world.admin("POST", "/v1/instances/mute/lease", json={})
    assert [error["field"] for error in answer.json()["errors"]] == ["lease_s"]


async def test_it_and_protection_exclude_each_other(world: World) -> None:
    both = {"name": "both", "image": "tiny", "protected": True, "lease_s": 600}
    answer = await world.admin("POST", "/v1/instances", json=both)
    assert [error["field"] for error in answer.json()["errors"]] == ["lease_s"]
    await world.create("either", protected=True)
    answer = await lease(world, "either", 600)
    assert (answer.status_code, answer.json()["code"]) == (409, "protected")
    await world.admin("PATCH", "/v1/instances/either", json={"protected": False})
    assert (await lease(world, "either", 600)).status_code == 200
    answer = await world.admin("PATCH", "/v1/instances/either", json={"protected": True})
    assert (answer.status_code, answer.json()["code"]) == (409, "leased")
    assert (await lease(world, "either", None)).status_code == 200
    assert (await world.admin("PATCH", "/v1/instances/either", json={"protected": True})).json()["protected"]


async def test_the_audit_log_tells_who_gave_and_who_was_refused(world: World) -> None:
    made = await world.create("told", protected=True)
    await lease(world, made.id, 600)
    await world.admin("PATCH", f"/v1/instances/{made.id}", json={"protected": False})
    for lease_s in (600, 600, None):
        await lease(world, made.id, lease_s)
    entries = (await world.admin("GET", "/v1/audit?limit=4")).json()["items"]
    assert [(e["action"], e["outcome"]) for e in entries] == [
        ("instances.lease", "taken off"),
        ("instances.lease", "given"),
        ("instances.change", "done"),
        ("instances.lease", "refused: protected"),
    ]
