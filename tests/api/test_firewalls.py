"""Firewalls over HTTP: what callers see, what the node is told, and what is refused before anything happens."""

from __future__ import annotations

from typing import Any

import pytest

from insula.domain.network import Space
from insula.domain.project_network import space_id_of
from insula.node.network.none import NoNetwork
from tests.api.world import OTHER_PROJECT, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

_SSH = {"direction": "inbound", "traffic": "tcp", "ports": [{"first": 22, "last": 22}]}


async def ask(world: World, method: str, path: str, status: int = 200, **body: Any) -> Any:
    given: dict[str, Any] = {"json": body} if body else {}
    answer = await world.admin(method, f"/v1/{path}", **given)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def told(world: World, project: str = "default") -> Space:
    """What the node knows of a project."""
    network = world.control.node._parts.network
    assert isinstance(network, NoNetwork)
    return network.orders[space_id_of(project)].space


async def test_a_firewall_is_in_force_when_it_is_answered(world: World) -> None:
    host = await world.create("host", tags=["web"])
    made = await ask(world, "POST", "firewalls", 201, name="web", rules=[_SSH], instances=["host"])
    assert made["instances"] == [host.id]
    (firewall,) = told(world).firewalls
    assert (firewall.id, firewall.instances, firewall.inbound_default) == (made["id"], (host.id,), "drop")
    assert firewall.rules[0].id == made["rules"][0]["id"]

    first = {"direction": "inbound", "action": "drop", "peers": [{"kind": "firewall", "value": "web"}]}
    changed = await ask(world, "POST", "firewalls/web/rules", 201, rule=first, position=1)
    assert [rule["action"] for rule in changed["rules"]] == ["drop", "accept"]
    assert changed["rules"][0]["peers"] == [{"kind": "firewall", "value": made["id"]}]
    assert [rule.action for rule in told(world).firewalls[0].rules] == ["drop", "accept"]
    await ask(world, "DELETE", f"firewalls/web/rules/{changed['rules'][1]['id']}")
    assert len((await ask(world, "DELETE", "firewalls/web/rules/1"))["rules"]) == 0

    await ask(world, "POST", "firewalls/web/lift", instances=["host"])
    assert (await ask(world, "POST", "firewalls/web/apply", tags=["web"]))["tags"] == ["web"]
    assert (told(world).firewalls[0].instances, told(world).firewalls[0].tags) == ((), ("web",))
    changed = await ask(world, "PATCH", "firewalls/web", name="www", rules=[_SSH], outbound_default="drop")
    assert told(world).firewalls[0].outbound_default == "drop"
    assert await ask(world, "GET", "firewalls/www/traffic") == {
        "rules": {changed["rules"][0]["id"]: {"packets": 0, "byte_count": 0}}
    }
    await ask(world, "DELETE", "firewalls/www", 204)
    assert told(world).firewalls == ()


async def test_a_firewall_is_lifted_from_what_is_gone(world: World) -> None:
    gone = await world.create("gone")
    await ask(world, "POST", "firewalls", 201, name="left", rules=[_SSH], instances=["gone"])
    await world.finish(await world.admin("DELETE", "/v1/instances/gone"))
    assert (await ask(world, "POST", "firewalls/left/lift", instances=[gone.id]))["instances"] == []
    await ask(world, "POST", "firewalls/left/lift", 404, instances=[gone.id])
    await ask(world, "DELETE", "firewalls/left", 204)


async def test_who_asks_is_told_which_rule_decides(world: World) -> None:
    for name in ("front", "back"):
        await world.create(name)
    await ask(world, "POST", "firewalls", 201, name="ssh", rules=[_SSH], instances=["back"])

    async def verdict(**question: Any) -> tuple[bool, str, str, int]:
        found = await ask(world, "POST", "firewall-test", instance="back", **question)
        return found["passes"], found["stage"], found["firewall"], found["rule"]

    assert await verdict(peer="192.0.2.7", port=22) == (True, "inbound", "ssh", 1)
    assert await verdict(peer="2001:db8::7", port=23) == (False, "inbound", "ssh", 0)
    assert await verdict(peer="front", port=22) == (True, "inbound", "ssh", 1)
    assert await verdict(peer="front", traffic="icmp") == (False, "inbound", "ssh", 0)
    assert await verdict(peer="192.0.2.7", direction="outbound", port=443) == (True, "passed", "", 0)
    front = (await world.store.instances.get("default", "front")).ports[0]
    assert await verdict(peer=front.ipv6, direction="outbound", port=1) == (True, "passed", "", 0)
    assert await verdict(peer="10.42.99.99", direction="outbound", port=1) == (False, "reach", "", 0)
    await ask(world, "DELETE", "firewalls/ssh", 204)


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"traffic": "icmp", "ports": [{"first": 1, "last": 2}]}, "rules[0]"),
        ({"traffic": "tcp", "ports": [{"first": 9, "last": 2}]}, "rules[0]"),
        ({"peers": [{"kind": "prefix", "value": "10.0.0.1/8"}]}, "rules[0]"),
        ({"peers": [{"kind": "tag", "value": "a b"}]}, "rules[0]"),
        ({"peers": [{"kind": "firewall", "value": "nobody"}]}, "rules[0]"),
        ({"peers": [{"kind": "network", "value": "nowhere"}]}, "rules[0]"),
        ({"ports": [{"first": 0, "last": 2}], "traffic": "tcp"}, "rules[0].ports[0].first"),
    ],
)
async def test_what_cannot_be_a_rule_is_told_and_changes_nothing(
    world: World, rule: dict[str, Any], field: str
) -> None:
    problem = await ask(world, "POST", "firewalls", 422, name="bad", rules=[{"direction": "inbound", **rule}])
    assert [error["field"] for error in problem["errors"]] == [field]
    assert await ask(world, "GET", "firewalls") == {"items": [], "next_after": None, "next": None}


async def test_what_contradicts_what_is_there_is_refused(world: World) -> None:
    await ask(world, "POST", "firewalls", 201, name="one", rules=[_SSH])
    about_one = {"direction": "inbound", "peers": [{"kind": "firewall", "value": "one"}]}
    await ask(world, "POST", "firewalls", 201, name="two", rules=[about_one])
    assert (await ask(world, "POST", "firewalls", 409, name="one"))["code"] == "name-taken"
    assert (await ask(world, "PATCH", "firewalls/two", 409, name="one"))["code"] == "name-taken"
    assert (await ask(world, "DELETE", "firewalls/one", 409))["code"] == "firewall-in-use"
    assert (await ask(world, "DELETE", "firewalls/one/rules/7", 404))["code"] == "unknown-rule"
    wrong = await ask(world, "POST", "firewalls/one/rules", 422, rule=_SSH, position=9)
    assert [error["field"] for error in wrong["errors"]] == ["position"]
    assert (await ask(world, "POST", "firewalls/one/apply", 404, instances=["nobody"]))["code"] == "unknown-instance"
    for name in ("two", "one"):
        await ask(world, "DELETE", f"firewalls/{name}", 204)


async def test_instances_of_other_projects_are_none_of_its_business(world: World) -> None:
    await world.create("theirs", OTHER_PROJECT)
    problem = await ask(world, "POST", "firewalls", 404, name="nosy", instances=["theirs"])
    assert problem["code"] == "unknown-instance"
    problem = await ask(world, "POST", "firewall-test", 404, instance="theirs", peer="192.0.2.7", port=1)
    assert problem["code"] == "unknown-instance"
