"""Wishes for instances: what is accepted, and how what cannot be is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from insula.domain.access import Scope
from tests.api.probes import PUBLIC_KEY
from tests.api.world import World

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # The service lives in threads of this process; hypothesis takes its use of chance for the strategies'.
    pytest.mark.filterwarnings("ignore:Do not use the `random` module"),
]

PRIVATE_KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk=\n-----END OPENSSH PRIVATE KEY-----\n"
often = settings(
    max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


async def wrong_fields(world: World, **wish: Any) -> dict[str, str]:
    body = {"name": "wish", "image": "tiny", "plan": "micro-1", **wish}
    answer = await world.admin("POST", "/v1/instances", json=body)
    assert answer.status_code == 422, answer.text
    return {error["field"]: error["message"] for error in answer.json()["errors"]}


async def test_all_wrong_fields_are_told_at_once(world: World) -> None:
    found = await wrong_fields(
        world, image="nix", plan="huge", ssh_keys=["nobody"], user_data="- a\n", forwards=[{"guest_port": 1}] * 1
    )
    assert set(found) == {"image", "plan", "ssh_keys[0]", "user_data"}


async def test_shapes_are_told_at_once_too(world: World) -> None:
    found = await wrong_fields(
        world,
        name="Web 1",
        vcpus=0,
        memory_mib=10**9,
        disk_gib="ten",
        hostname="-x",
        tags=["a b"],
        forwards=[{"guest_port": 70000}],
        surprise=1,
    )
    assert set(found) == {
        "name",
        "vcpus",
        "memory_mib",
        "disk_gib",
        "hostname",
        "tags[0]",
        "forwards[0].guest_port",
        "surprise",
    }


async def test_a_cold_one_boots_where_others_go_on_from_a_template(world: World) -> None:
    warmed = await world.finish(await world.admin("POST", "/v1/images/tiny/warm", json={"plan": "micro-1"}))
    assert warmed.state == "succeeded"
    image = (await world.admin("GET", "/v1/images/tiny")).json()
    assert [(each["vcpus"], each["memory_mib"], each["in_memory"]) for each in image["templates"]] == [(1, 256, True)]
    assert [phase.name for phase in (await world.create("warm")).boot_phases] == ["renew", "ready"]
    assert (await world.create("cold", cold=True)).boot_phases[0].name == "firmware"


async def test_a_million_vcpus(world: World) -> None:
    assert set(await wrong_fields(world, vcpus=1_000_000)) == {"vcpus"}


async def test_a_private_key_is_refused_and_not_repeated(world: World) -> None:
    body = {"name": "wish", "image": "tiny", "ssh_keys": [PRIVATE_KEY]}
    answer = await world.admin("POST", "/v1/instances", json=body)
    assert answer.status_code == 422
    assert answer.json()["code"] == "private-key"
    assert "b3BlbnNzaC1rZXk" not in answer.text


async def test_a_key_that_is_not_ascii(world: World) -> None:
    assert set(await wrong_fields(world, ssh_keys=["ssh-ed25519 äöü"])) == {"ssh_keys[0]"}


async def test_the_line_of_a_fault_in_user_data(world: World) -> None:
    found = await wrong_fields(world, user_data="#cloud-config\npackages: [nginx\nruncmd: x\n")
    assert found["user_data"].startswith("line 3:")


async def test_one_host_port_twice(world: World) -> None:
    twice = [{"guest_port": 80, "host_port": 18080}, {"guest_port": 81, "host_port": 18080}]
    assert set(await wrong_fields(world, forwards=twice)) == {"forwards[1].host_port"}


async def test_too_small_for_the_image(world: World) -> None:
    image = (await world.admin("GET", "/v1/images/tiny")).json()
    if image["min_memory_mib"] > 64:
        assert set(await wrong_fields(world, memory_mib=64)) == {"memory_mib"}


async def test_more_than_the_host_has_is_told_with_numbers(world: World) -> None:
    body = {"name": "whale", "image": "tiny", "plan": "enterprise-16", "vcpus": 256, "memory_mib": 4 * 1024 * 1024}
    answer = await world.admin("POST", "/v1/instances", json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "capacity-exceeded")
    assert any(character.isdigit() for character in answer.json()["why"])


async def test_a_plan_with_departures_and_a_stored_key(world: World) -> None:
    added = await world.admin("POST", "/v1/keys", json={"name": "laptop", "public_key": PUBLIC_KEY})
    assert added.json()["fingerprint"].startswith("SHA256:")
    instance = await world.create(
        "departs", vcpus=2, memory_mib=512, ssh_keys=["laptop", PUBLIC_KEY], tags=["b", "a", "b"]
    )
    assert (instance.resources.vcpus, instance.resources.memory_mib) == (2, 512)
    assert instance.resources.cpu_percent == 50
    assert instance.ssh_keys == (PUBLIC_KEY,)
    assert instance.tags == ("a", "b")
    assert instance.ssh_port is not None


async def test_user_data_is_never_shown(world: World) -> None:
    text = "#!/bin/sh\necho hunter2\n"
    instance = await world.create("quiet", user_data=text)
    rebuilt = await world.admin("POST", f"/v1/instances/{instance.id}/rebuild", json={"user_data": text + "#"})
    operation = await world.finish(rebuilt)
    assert operation.params["user_data"] == text + "#"
    pages = ["/v1/instances", f"/v1/instances/{instance.id}", "/v1/operations", f"/v1/operations/{operation.id}"]
    pages += [f"/v1/operations/{operation.id}/events", "/v1/audit"]
    for path in pages:
        assert "hunter2" not in (await world.admin("GET", path)).text
    assert "hunter2" not in rebuilt.text


async def test_resizing(world: World) -> None:
    instance = await world.create("grows")
    path = f"/v1/instances/{instance.id}/resize"
    assert (await world.admin("POST", path, json={"plan": "micro-1"})).json()["code"] == "nothing-to-change"
    shrink = await world.admin("POST", path, json={"disk_gib": instance.resources.disk_gib - 1})
    assert [error["field"] for error in shrink.json()["errors"]] == ["disk_gib"]
    await world.finish(await world.admin("POST", path, json={"plan": "micro-2", "disk_gib": 12}))
    grown = await world.store.instances.get("default", "grows")
    assert (grown.plan, grown.resources.memory_mib, grown.resources.disk_gib) == ("micro-2", 512, 12)
    assert (grown.resources.network_mbps, grown.resources.network_pps) == (250, 41_500)
    wish = {"network_mbps": 5, "network_pps": 0}
    await world.finish(await world.admin("POST", path, json=wish))
    limited = await world.store.instances.get("default", "grows")
    assert limited.resources == replace(grown.resources, network_mbps=5, network_pps=0)
    absurd = await world.admin("POST", path, json={"network_pps": -1})
    assert [error["field"] for error in absurd.json()["errors"]] == ["network_pps"]


async def test_states_and_protection(world: World) -> None:
    instance = await world.create("guarded", protected=True)
    path = f"/v1/instances/{instance.id}"
    assert (await world.admin("POST", f"{path}/start")).json()["code"] == "wrong-state"
    assert (await world.admin("DELETE", path)).json()["code"] == "protected"
    assert (await world.admin("POST", f"{path}/rebuild")).json()["code"] == "protected"
    await world.finish(await world.admin("POST", f"{path}/stop", json={"graceful_s": 0}))
    assert (await world.admin("POST", f"{path}/stop")).json()["code"] == "wrong-state"
    silent = await world.admin("POST", f"{path}/exec", json={"argv": ["id"]})
    assert (silent.status_code, silent.json()["code"]) == (409, "wrong-state")


async def test_writes_are_audited_refused_ones_too(world: World) -> None:
    instance = await world.create("audited")
    denied = await world.secret(Scope.INSTANCES_READ)
    headers = {"X-Request-Id": "audit-me"}
    assert (await world.call("DELETE", f"/v1/instances/{instance.id}", denied, headers=headers)).status_code == 403
    await world.admin("POST", f"/v1/instances/{instance.id}/exec", json={"argv": ["echo", "hunter2"]})
    entries = (await world.admin("GET", "/v1/audit?limit=3")).json()["items"]
    assert [(e["action"], e["target"], e["outcome"]) for e in entries[:2]] == [
        ("guest.exec", instance.id, "done"),
        ("instances.delete", instance.id, "refused: missing-scope"),
    ]
    assert entries[1]["request_id"] == "audit-me"
    assert entries[2]["outcome"].startswith("accepted: op_")
    assert "hunter2" not in str(entries)
    assert await world.store.audit.verify() is None


async def test_nobody_gives_more_than_they_hold(world: World) -> None:
    secret = await world.secret(Scope.TOKENS_WRITE, Scope.INSTANCES_READ)
    body = {"name": "up", "scopes": ["instances:write"]}
    assert (await world.call("POST", "/v1/tokens", secret, json=body)).status_code == 403
    body = {"name": "same", "scopes": ["instances:read"]}
    assert (await world.call("POST", "/v1/tokens", secret, json=body)).status_code == 201


text = st.text(max_size=80)
wild = st.one_of(
    text, st.integers(), st.floats(), st.booleans(), st.none(), st.lists(text, max_size=3), st.dictionaries(text, text)
)


@given(
    name=wild,
    sizes=st.fixed_dictionaries({}, optional={"vcpus": wild, "memory_mib": wild, "disk_gib": wild}),
    user_data=wild,
    extra=st.dictionaries(st.sampled_from(["hostname", "tags", "ssh_keys", "forwards", "plan", "image"]), wild),
)
@often
async def test_whatever_is_wished_nothing_breaks(
    world: World, name: Any, sizes: dict[str, Any], user_data: Any, extra: dict[str, Any]
) -> None:
    body = {"name": name, "image": "tiny", "user_data": user_data, **sizes, **extra}
    try:
        answer = await world.admin("POST", "/v1/instances", json=body)
    except (ValueError, UnicodeEncodeError):  # what JSON itself cannot carry
        return
    assert answer.status_code in {202, 400, 409, 422}, answer.text


@given(user_data=st.text(alphabet="#cloud-config\n:[]{}&*!|>-'\"%@`a1 ", max_size=200))
@often
async def test_whatever_user_data_is_sent(world: World, user_data: str) -> None:
    body = {"name": "-", "user_data": "#cloud-config\n" + user_data}
    assert (await world.admin("POST", "/v1/instances", json=body)).status_code == 422


@given(path=st.text(min_size=1, max_size=60))
@often
async def test_whatever_is_looked_up(world: World, path: str) -> None:
    answer = await world.admin("GET", "/v1/instances/" + quote(path, safe="", errors="surrogatepass"))
    assert answer.status_code in {200, 404, 422}


async def test_a_platform_is_kept_and_shown(world: World) -> None:
    assert (await world.create("somewhere", platform="ec2")).platform == "ec2"
    assert (await world.create("anywhere")).platform == "auto"


async def test_a_microvm_can_be_on_no_platform(world: World) -> None:
    assert set(await wrong_fields(world, platform="azure")) == {"platform"}
    assert set(await wrong_fields(world, platform="akamai", machine_type="microvm")) == {"platform"}
