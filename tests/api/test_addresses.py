"""Reserved addresses over HTTP: where they lead, what the node is told, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from insula.base.errors import Unsupported
from insula.domain.network import PublicAddress
from insula.domain.project_network import space_id_of
from insula.node.network.none import NoNetwork
from insula.protocol.network import SpaceOrder, SpaceReport
from tests.api.world import OTHER_PROJECT, World

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def ask(world: World, method: str, path: str, status: int = 200, project: str = "default", **body: Any) -> Any:
    given: dict[str, Any] = {"json": body} if body else {}
    answer = await world.admin(method, f"/v1/{path}", project, **given)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def network(world: World) -> NoNetwork:
    found = world.control.node._parts.network
    assert isinstance(found, NoNetwork)
    return found


def told(world: World) -> tuple[PublicAddress, ...]:
    return network(world).orders[space_id_of("default")].space.addresses


async def test_an_address_leads_where_it_is_told_and_remembers_where_it_led(world: World) -> None:
    pool = await ask(world, "POST", "address-pools", 201, name="life", addresses="203.0.113.0/29")
    assert (pool["first"], pool["last"], pool["node"]) == ("203.0.113.1", "203.0.113.6", "local")
    one, other = await world.create("web1"), await world.create("web2")
    made = await ask(world, "POST", "addresses", 201, pool="life", instance="web1")
    assert (made["address"], made["instance_id"]) == ("203.0.113.1", one.id)
    assert told(world) == (PublicAddress("203.0.113.1", one.ports[0].id),)
    for _ in range(2):  # repeatable
        changed = await ask(world, "POST", "addresses/203.0.113.1/assign", instance="web2")
        assert changed["instance_id"] == other.id
        assert told(world) == (PublicAddress("203.0.113.1", other.ports[0].id),)
    assert (await ask(world, "DELETE", "addresses/203.0.113.1", 409))["code"] == "address-in-use"
    await world.finish(await world.admin("DELETE", "/v1/instances/web2"))
    left = await ask(world, "GET", f"addresses/{made['id']}")
    assert left["instance_id"] is None
    assert told(world) == ()
    lines = (await ask(world, "GET", "addresses/203.0.113.1/history"))["items"]
    assert [(line["instance_name"], line["ended_at"] is not None) for line in lines] == [("web2", True), ("web1", True)]
    await ask(world, "POST", "addresses/203.0.113.1/assign", instance=one.id)
    await ask(world, "POST", "addresses/203.0.113.1/unassign")
    await ask(world, "DELETE", "addresses/203.0.113.1", 204)
    assert len((await ask(world, "GET", "addresses/203.0.113.1/history"))["items"]) == 3
    await ask(world, "GET", "addresses/203.0.113.1", 404)


async def test_each_address_is_reserved_once_and_by_one_project(world: World) -> None:
    await ask(world, "POST", "address-pools", 201, name="few", addresses="198.51.100.8-198.51.100.9")
    mine = await ask(world, "POST", "addresses", 201, address="198.51.100.9")
    theirs = await ask(world, "POST", "addresses", 201, OTHER_PROJECT, pool="few")
    assert (mine["address"], theirs["address"]) == ("198.51.100.9", "198.51.100.8")
    assert (await ask(world, "POST", "addresses", 409, pool="few"))["code"] == "no-address-left"
    assert (await ask(world, "POST", "addresses", 409, address="198.51.100.8"))["code"] == "address-taken"
    assert (await ask(world, "POST", "addresses", 404, address="192.0.2.1"))["code"] == "unknown-address"
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/unassign"), ("GET", "/history")):
        await ask(world, method, f"addresses/198.51.100.8{path}", 404)
    refused = await ask(world, "DELETE", "address-pools/few", 409)
    assert "198.51.100.8" in refused["detail"]
    overlap = await ask(world, "POST", "address-pools", 409, name="more", addresses="198.51.100.0/24")
    assert "few" in overlap["detail"]
    await ask(world, "DELETE", "addresses/198.51.100.9", 204)
    await ask(world, "DELETE", f"addresses/{theirs['id']}", 204, OTHER_PROJECT)
    await ask(world, "DELETE", "address-pools/few", 204)


@pytest.mark.parametrize("text", ["203.0.113.0/33", "203.0.113.5/24", "10.0.0.9-10.0.0.1", "10.0.0.1-2001:db8::1", "x"])
async def test_what_is_no_range_is_told(world: World, text: str) -> None:
    problem = await ask(world, "POST", "address-pools", 422, name="wrong", addresses=text)
    assert [error["field"] for error in problem["errors"]] == ["addresses"]


async def test_an_ipv6_address_needs_an_instance_that_has_ipv6(world: World) -> None:
    await ask(world, "POST", "networks", 201, name="four", ipv6="none")
    await ask(world, "POST", "address-pools", 201, name="six", addresses="2001:db8:6::/64")
    await world.create("only4", network="four")
    problem = await ask(world, "POST", "addresses", 409, version=6, pool="six", instance="only4")
    assert problem["code"] == "not-connected"
    assert not [
        one for one in (await ask(world, "GET", "addresses"))["items"] if one["address"].startswith("2001:db8:6:")
    ]
    both = await world.create("both")
    made = await ask(world, "POST", "addresses", 201, pool="six", instance="both")
    assert PublicAddress("2001:db8:6::1", both.ports[0].id) in told(world)
    await ask(world, "POST", f"addresses/{made['id']}/unassign")


async def test_what_the_node_refuses_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await ask(world, "POST", "address-pools", 201, name="refused", addresses="192.0.2.64")
    instance = await world.create("rootless")
    apply = network(world).apply_space

    async def refusing(order: SpaceOrder) -> SpaceReport:
        if any(item.address == "192.0.2.64" for item in order.space.addresses):
            raise Unsupported("No addresses here", why="It needs root", code="no-routed-networks")
        return await apply(order)

    monkeypatch.setattr(network(world), "apply_space", refusing)
    problem = await ask(world, "POST", "addresses", 409, pool="refused", instance="rootless")
    assert problem["code"] == "no-routed-networks"
    made = await ask(world, "POST", "addresses", 201, pool="refused")
    await ask(world, "POST", f"addresses/{made['id']}/assign", 409, instance=instance.id)
    assert (await ask(world, "GET", f"addresses/{made['id']}"))["instance_id"] is None
