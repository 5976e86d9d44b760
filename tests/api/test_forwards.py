"""Ports of the host that lead to instances, opened and closed over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from insula.base.errors import Conflict
from insula.domain.network import Forward
from insula.domain.project_network import space_id_of
from insula.node.network.none import NoNetwork
from insula.protocol.network import SpaceOrder, SpaceReport
from tests.api.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


def network(world: World) -> NoNetwork:
    found = world.control.node._parts.network
    assert isinstance(found, NoNetwork)
    return found


def told(world: World) -> tuple[Forward, ...]:
    return network(world).orders[space_id_of("default")].space.forwards


async def forwards(world: World, instance: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await world.admin("GET", f"/v1/instances/{instance}")).json()["forwards"]
    return found


async def test_a_port_is_opened_and_closed_while_it_runs(world: World) -> None:
    await world.create("web1")
    ssh = (await forwards(world, "web1"))[0]
    answer = await world.admin("POST", "/v1/instances/web1/forwards", json={"guest_port": 80})
    assert answer.status_code == 201, answer.text
    opened = answer.json()["forwards"][-1]
    assert (opened["guest_port"], opened["protocol"]) == (80, "tcp")
    assert opened["host_port"] not in {0, ssh["host_port"]}
    assert [each.forward.guest_port for each in told(world)] == [22, 80]
    port = opened["host_port"]
    taken = await world.admin("POST", "/v1/instances/web1/forwards", json={"guest_port": 81, "host_port": port})
    assert (taken.status_code, taken.json()["code"]) == (409, "port-taken")
    path = f"/v1/instances/web1/forwards/{port}"
    other = await world.admin("DELETE", path, params={"protocol": "udp"})
    assert (other.status_code, other.json()["code"]) == (404, "unknown-forward")
    assert (await world.admin("DELETE", path)).json()["forwards"] == [ssh]
    assert [each.forward.guest_port for each in told(world)] == [22]
    again = await world.admin("POST", "/v1/instances/web1/forwards", json={"guest_port": 81, "host_port": port})
    assert again.status_code == 201, "the port is free again"


async def test_a_port_that_another_program_holds_leaves_nothing_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.create("web2")
    before = await forwards(world, "web2")

    async def refuse(order: SpaceOrder) -> SpaceReport:
        raise Conflict("Port 127.0.0.1:8080/tcp is already in use", why="Somebody has it", code="port-in-use")

    with monkeypatch.context() as patched:
        patched.setattr(network(world), "apply_space", refuse)
        wish = {"guest_port": 80, "host_port": 18080}
        answer = await world.admin("POST", "/v1/instances/web2/forwards", json=wish)
    assert (answer.status_code, answer.json()["code"]) == (409, "port-in-use")
    assert await forwards(world, "web2") == before
    answer = await world.admin("POST", "/v1/instances/web2/forwards", json=wish)
    assert answer.status_code == 201, answer.text


async def test_what_is_no_port_is_told(world: World) -> None:
    await world.create("web3")
    for wish in ({"guest_port": 0}, {"guest_port": 70000}, {"guest_port": 1, "host_address": "::1"}):
        assert (await world.admin("POST", "/v1/instances/web3/forwards", json=wish)).status_code == 422
    for port in ("x", "0", "99999", "1e3"):
        answer = await world.admin("DELETE", f"/v1/instances/web3/forwards/{port}")
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown-forward")
