"""Networks over HTTP: what callers see, what the node is told, and what is refused."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from insula.domain.instance import Instance
from insula.domain.network import Space
from insula.domain.project_network import space_id_of
from insula.node.hypervisor.driver import CanPlugCards
from insula.node.network.none import NoNetwork
from tests.api.world import OTHER_PROJECT, World

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def ask(world: World, method: str, path: str, status: int = 200, **body: Any) -> Any:
    given: dict[str, Any] = {"json": body} if body else {}
    answer = await world.admin(method, f"/v1/{path}", **given)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def told(world: World) -> Space:
    network = world.control.node._parts.network
    assert isinstance(network, NoNetwork)
    return network.orders[space_id_of("default")].space


def machine_of(world: World, instance: Instance) -> CanPlugCards:
    machine = world.control.node._keepers[instance.id].require_machine()
    assert isinstance(machine, CanPlugCards)
    return machine


async def test_instances_are_where_they_were_wished(world: World) -> None:
    first = await world.create("web1")
    made = await ask(world, "POST", "networks", 201, name="backend", gateway=False)
    assert (made["number"], made["gateway"]) == (2, False)
    second = await world.create("db1", network="backend")
    default = (await ask(world, "GET", "networks/default"))["id"]
    assert [one.ports[0].network_id for one in (first, second)] == [default, made["id"]]
    for version in ("ipv4", "ipv6"):
        own = [getattr(one.ports[0], version) for one in (first, second)]
        prefixes = [ip_network(getattr(one, version)) for one in told(world).networks]
        assert not prefixes[0].overlaps(prefixes[1])
        assert all(ip_address(address) in prefix for address, prefix in zip(own, prefixes, strict=True))
    ended = await world.finish(await world.admin("POST", "/v1/instances/db1/fork", json={"names": ["db2"]}))
    assert ended.state == "succeeded", ended.error
    child = await world.store.instances.get("default", "db2")
    assert child.ports[0].network_id == made["id"]
    assert child.ports[0].ipv4 != second.ports[0].ipv4


async def test_what_is_used_stays(world: World) -> None:
    made = await ask(world, "POST", "networks", 201, name="used", ipv4="10.200.0.0/24", ipv6="none")
    assert (made["ipv4"], made["ipv6"]) == ("10.200.0.0/24", "")
    host = await world.create("host", network=made["id"])
    assert (host.ports[0].ipv4, host.ports[0].ipv6) == ("10.200.0.16", "")
    rule = {"direction": "inbound", "peers": [{"kind": "network", "value": "used"}]}
    await ask(world, "POST", "firewalls", 201, name="about", rules=[rule])
    problem = await ask(world, "DELETE", "networks/used", 409)
    assert problem["code"] == "network-in-use"
    assert "host" in problem["detail"]
    await world.finish(await world.admin("DELETE", "/v1/instances/host"))
    assert "about" in (await ask(world, "DELETE", "networks/used", 409))["detail"]
    await ask(world, "DELETE", "firewalls/about", 204)
    await ask(world, "DELETE", "networks/used", 204)
    assert (await ask(world, "GET", "networks/used", 404))["code"] == "unknown-network"


@pytest.mark.parametrize(
    "wish",
    [
        {"name": "Bad"},
        {"name": "x", "ipv4": "10.42.0.0/24"},  # the first one has that
        {"name": "x", "ipv4": "10.7.0.1/24"},
        {"name": "x", "ipv4": "169.254.0.0/16"},
        {"name": "x", "ipv4": "fd00:9::/64"},
        {"name": "x", "ipv6": "nonsense"},
        {"name": "x", "ipv4": "none", "ipv6": "none"},
    ],
)
async def test_what_cannot_be_is_told_and_changes_nothing(world: World, wish: dict[str, str]) -> None:
    if not (before := await ask(world, "GET", "networks"))["items"]:
        await ask(world, "POST", "networks", 201, name="default")
        before = await ask(world, "GET", "networks")
    await ask(world, "POST", "networks", 422, **wish)
    assert await ask(world, "GET", "networks") == before


async def test_names_are_taken_once_and_each_project_has_its_own(world: World) -> None:
    await ask(world, "POST", "networks", 201, name="twice")
    assert (await ask(world, "POST", "networks", 409, name="twice"))["code"] == "name-taken"
    answer = await world.admin("POST", "/v1/networks", OTHER_PROJECT, json={"name": "twice"})
    assert answer.status_code == 201, answer.text
    names = [one["name"] for one in (await world.admin("GET", "/v1/networks", OTHER_PROJECT)).json()["items"]]
    assert names == ["default", "twice"]
    wish = {"name": "lost", "image": "tiny", "plan": "micro-1", "network": "nowhere"}
    problem = await ask(world, "POST", "instances", 422, **wish)
    assert [error["field"] for error in problem["errors"]] == ["network"]


async def test_one_is_renamed_and_leads_outside_or_not(world: World) -> None:
    await world.create("walled", network=(await ask(world, "POST", "networks", 201, name="wall", gateway=False))["id"])
    changed = await ask(world, "PATCH", "networks/wall", gateway=True, name="door")
    assert (changed["name"], changed["gateway"]) == ("door", True)
    assert next(network for network in told(world).networks if network.id == changed["id"]).gateway
    assert (await ask(world, "PATCH", "networks/door", 409, name="default"))["code"] == "name-taken"
    assert (await ask(world, "PATCH", "networks/door", name="door"))["gateway"], "what is left out stays"
    await ask(world, "PATCH", "networks/wall", 404, gateway=False)


async def test_joined_ones_are_told_and_asked_about(world: World) -> None:
    one, other = [await ask(world, "POST", "networks", 201, name=name) for name in ("left", "right")]
    await world.create("near", network="left")
    await world.create("far", network="right")
    question: dict[str, Any] = {"instance": "near", "peer": "far", "port": 1}
    assert (await ask(world, "POST", "firewall-test", **question))["stage"] == "reach"
    for _ in range(2):
        await ask(world, "POST", "networks/right/join", 204, network="left")
    pair = dict(zip(("one", "other"), sorted((one["id"], other["id"])), strict=True))
    assert (await ask(world, "GET", "network-joins"))["items"] == [pair]
    assert told(world).joined == ((pair["one"], pair["other"]),)
    assert (await ask(world, "POST", "firewall-test", **question))["passes"]
    assert (await ask(world, "POST", "networks/left/join", 422, network="left"))["code"] == "invalid-network"
    assert (await ask(world, "POST", "networks/left/join", 404, network="no"))["code"] == "unknown-network"
    for _ in range(2):
        await ask(world, "POST", "networks/left/part", 204, network="right")
    assert told(world).joined == ()


async def test_an_instance_gets_and_loses_further_cards(world: World) -> None:
    first = await world.create("many")
    for name in ("one", "two", "three", "four"):
        await ask(world, "POST", "networks", 201, name=f"many-{name}")
    for _ in range(2):  # repeatable
        changed = await ask(world, "POST", "instances/many/networks", 201, network="many-one")
    assert changed["ports"][0]["mac"] == first.mac
    assert len(changed["ports"]) == 2
    new = changed["ports"][1]
    assert new["id"] in {port.id for port in told(world).ports}
    machine = machine_of(world, first)
    assert await machine.cards() == {new["mac"]}
    for name in ("two", "three"):
        await ask(world, "POST", "instances/many/networks", 201, network=f"many-{name}")
    problem = await ask(world, "POST", "instances/many/networks", 409, network="many-four")
    assert problem["code"] == "too-many-cards"
    assert (await ask(world, "DELETE", "networks/many-one", 409))["code"] == "network-in-use"
    await ask(world, "DELETE", "instances/many/networks/many-one")
    assert new["mac"] not in await machine.cards()
    assert new["id"] not in {port.id for port in told(world).ports}
    assert (await ask(world, "DELETE", "instances/many/networks/default", 409))["code"] == "first-card"
    assert (await ask(world, "DELETE", "instances/many/networks/many-four", 404))["code"] == "not-in-network"
    await ask(world, "DELETE", "networks/many-one", 204)


async def test_further_cards_are_there_after_a_start_and_keep_memory_from_being_kept(world: World) -> None:
    instance = await world.create("again")
    await ask(world, "POST", "networks", 201, name="again-net")
    await ask(world, "POST", "instances/again/networks", 201, network="again-net")
    for verb in ("stop", "start"):
        ended = await world.finish(await world.admin("POST", f"/v1/instances/again/{verb}"))
        assert ended.state == "succeeded", ended.error
    machine = machine_of(world, instance)
    assert len(await machine.cards()) == 1
    for verb in ("hibernate", "fork"):
        ended = await world.finish(await world.admin("POST", f"/v1/instances/again/{verb}"))
        assert ended.error is not None
        assert ended.error["code"] == "several-cards"
    await ask(world, "DELETE", "instances/again/networks/again-net")
    ended = await world.finish(await world.admin("POST", "/v1/instances/again/hibernate"))
    assert ended.state == "succeeded", ended.error
    problem = await ask(world, "POST", "instances/again/networks", 409, network="again-net")
    assert problem["code"] == "instance-hibernated"
    kept = (await ask(world, "GET", "instances/again"))["ports"]
    assert len(kept) == 1, "nothing is changed"
