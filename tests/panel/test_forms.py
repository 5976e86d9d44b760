"""What forms do: making, changing and deleting; what is wrong is told at the field; what is sent twice is done once."""

from __future__ import annotations

import asyncio
import re

import pytest

from insula.domain.instance import InstanceState
from tests.api.world import World
from tests.panel.browsing import Browsing, text_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
CREATE = {"image": "tiny", "plan": "micro-1", "count": "1"}


async def _finish(world: World) -> None:
    """Wait until nothing is under way."""
    while active := await world.store.operations.active():
        await world.control.wait(active[0])


async def test_an_instance_is_made_and_led_to(world: World, browsing: Browsing) -> None:
    answer = await browsing.post("/create", {"name": "one", **CREATE, "tags": "web, env:prod"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/panel/instances/one")
    await _finish(world)
    shown = await browsing.page("/instances/one")
    assert "running" in text_of(shown)
    assert "env:prod" in text_of(shown)


async def test_several_get_numbers_behind_the_name(world: World, browsing: Browsing) -> None:
    answer = await browsing.post("/create", {"name": "many", **CREATE, "count": "3"})
    assert answer.headers["location"] == "/panel/instances"
    await _finish(world)
    listed = await browsing.page("/instances?q=many")
    assert [f"many-{number}" in listed for number in (1, 2, 3, 4)] == [True, True, True, False]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "Not A Name"),
        ("image", "nothing"),
        ("count", "9999"),
        ("count", "x"),
        ("user_data", "no mark"),
        ("pasted", "no key"),
    ],
)
async def test_what_is_wrong_stands_at_the_field_with_what_was_typed(
    browsing: Browsing, field: str, value: str
) -> None:
    answer = await browsing.post("/create", {"name": "wrong", **CREATE, field: value})
    assert answer.status_code == 422
    assert "invalid-feedback" in answer.text
    assert value in answer.text
    assert (await browsing.get("/instances/wrong")).status_code == 404


async def test_a_form_that_is_sent_twice_makes_one_thing(world: World, browsing: Browsing) -> None:
    page = await browsing.page("/create")
    found = re.search(r'name="once" value="([^"]+)"', page)
    assert found is not None
    form = {"name": "twice", **CREATE, "once": found[1]}
    answers = await asyncio.gather(browsing.post("/create", form), browsing.post("/create", form))
    assert [answer.status_code for answer in answers] == [303, 303]
    again = await browsing.post("/create", form)
    assert again.headers["location"] == "/panel/instances/twice"
    anew = await browsing.post("/create", form | {"once": "another"})
    assert anew.status_code == 409
    # One that was refused may be corrected and sent again with the same key.
    refused = await browsing.post("/create", form | {"name": "No", "once": "third"})
    assert refused.status_code == 422
    assert (await browsing.post("/create", form | {"name": "yes", "once": "third"})).status_code == 303
    await _finish(world)


async def test_the_lines_say_the_same(browsing: Browsing) -> None:
    form = {"name": "o'neil", **CREATE, "tags": "a", "user_data": "#!/bin/sh\n${x}", "once": "k"}
    told = text_of((await browsing.post("/create/lines", form)).text)
    assert """insula create 'o'"'"'neil' --image tiny --plan micro-1 --tag a --user-data user-data.txt""" in told
    assert "curl -X POST http://insula/v1/instances" in told
    assert "client.instances.create(\"o'neil\", image='tiny', plan='micro-1'" in told
    assert 'resource "digitalocean_droplet" "o_neil"' in told
    answer = await browsing.post("/create", form | {"name": "later"})
    assert answer.headers.get("location") == "/panel/instances/later", "the lines are not what the form makes"


VERBS = [
    ("stop", InstanceState.STOPPED),
    ("start", InstanceState.RUNNING),
    ("pause", InstanceState.PAUSED),
    ("resume", InstanceState.RUNNING),
    ("reboot", InstanceState.RUNNING),
    ("hibernate", InstanceState.HIBERNATED),
    ("start", InstanceState.RUNNING),
    ("cut", InstanceState.STOPPED),
]


async def test_every_verb_of_power(world: World, browsing: Browsing) -> None:
    await world.create("engine")
    for verb, then in VERBS:
        answer = await browsing.post(f"/instances/engine/{verb}")
        assert (answer.status_code, answer.headers["location"]) == (303, "/panel/instances/engine"), verb
        await _finish(world)
        assert (await world.store.instances.get("default", "engine")).state is then
    refused = await browsing.post("/instances/engine/stop")
    assert refused.status_code == 409
    assert "engine" in text_of(refused.text)


CHANGES = [
    ("tag", {"tags": "x y"}),
    ("protect", {}),
    ("unprotect", {}),
    ("lease", {"minutes": "30"}),
    ("lease", {"minutes": ""}),
    ("forward", {"guest_port": "80"}),
    ("resize", {"plan": "micro-2", "disk_gib": "10"}),
    ("snapshot", {"snapshot_name": "then"}),
    ("fork", {"names": "child"}),
    ("rebuild", {"typed": "thing"}),
    ("revert", {"snapshot": "then", "typed": "thing"}),
]


async def test_every_change_of_an_instance(world: World, browsing: Browsing) -> None:
    await world.create("thing")
    for verb, form in CHANGES:
        answer = await browsing.post(f"/instances/thing/{verb}", form)
        assert answer.status_code == 303, (verb, text_of(answer.text))
        await _finish(world)
    answer = await browsing.post("/instances/thing/rename", {"name": "renamed"})
    assert answer.headers["location"] == "/panel/instances/renamed"
    for typed in ("", "thing"):
        assert (await browsing.post("/instances/renamed/delete", {"typed": typed})).status_code == 422
    assert (await browsing.post("/instances/renamed/delete", {"typed": "renamed"})).status_code == 303
    await _finish(world)
    assert (await browsing.get("/instances/renamed")).status_code == 404
    assert (await browsing.post("/instances/renamed/nothing")).status_code == 404


async def test_volumes_networks_firewalls_and_keys_come_and_go(world: World, browsing: Browsing) -> None:
    await world.create("host")
    made = {
        "volumes": {"name": "disk", "size_gib": "1", "file_system": "none"},
        "networks": {"name": "inner", "apart": "yes"},
        "firewalls": {"name": "wall", "ssh": "yes", "inbound": "drop", "outbound": "accept"},
        "keys": {
            "name": "key",
            "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS x",
        },
    }
    for noun, form in made.items():
        wrong = await browsing.post(f"/{noun}/new", form | {"name": "Not A Name"})
        assert wrong.status_code == 422, noun
        assert "is-invalid" in wrong.text
        answer = await browsing.post(f"/{noun}/new", form)
        assert answer.status_code == 303, (noun, text_of(answer.text))
        await _finish(world)
        assert form["name"] in await browsing.page(f"/{noun}")
    assert (await browsing.post("/volumes/disk/attach", {"instance": "host"})).status_code == 303
    await _finish(world)
    assert "disk" in text_of(await browsing.page("/instances/host"))
    assert (await browsing.post("/volumes/disk/detach")).status_code == 303
    await _finish(world)
    rule = {
        "direction": "inbound",
        "action": "accept",
        "traffic": "tcp",
        "ports": "80, 8000-8100",
        "peers": "10.0.0.0/8",
    }
    assert (await browsing.post("/firewalls/wall/allow", rule)).status_code == 303
    assert "accept tcp 80, 8000-8100 from 10.0.0.0/8" in text_of(await browsing.page("/firewalls/wall"))
    assert (await browsing.post("/firewalls/wall/allow", rule | {"ports": "eighty"})).status_code == 422
    assert (await browsing.post("/firewalls/wall/apply", {"instance": "host"})).status_code == 303
    assert "8000-8100" in text_of(await browsing.page("/instances/host"))
    for noun, form in made.items():
        name = form["name"]
        assert (await browsing.post(f"/{noun}/{name}/delete", {"typed": name})).status_code == 303, noun
        await _finish(world)
        assert (await browsing.get(f"/{noun}/{name}")).status_code == 404


async def test_many_are_changed_at_once_and_a_danger_asks_first(world: World, browsing: Browsing) -> None:
    for name in ("bulk-a", "bulk-b"):
        await world.create(name)
    names = ["bulk-a", "bulk-b", "nobody"]
    answer = await browsing.post("/instances/bulk", {"verb": "stop", "names": names})
    assert answer.status_code == 303
    await _finish(world)
    told = text_of(await browsing.page("/instances?q=bulk"))
    assert "2 accepted" in told
    assert "1 refused" in told
    assert "stopped" in told
    asked = await browsing.post("/instances/bulk", {"verb": "delete", "names": names[:2]})
    assert asked.status_code == 200
    assert "Type delete to confirm" in text_of(asked.text)
    assert (await browsing.get("/instances/bulk-a")).status_code == 200
    done = await browsing.post("/instances/bulk", {"verb": "delete", "names": names[:2], "confirm": "delete"})
    assert done.status_code == 303
    await _finish(world)
    assert (await browsing.get("/instances/bulk-a")).status_code == 404
    assert (await browsing.post("/instances/bulk", {"verb": "explode", "names": names})).status_code == 422


async def test_a_tokens_secret_is_shown_once(browsing: Browsing) -> None:
    wrong = await browsing.post("/tokens/new", {"name": "ci"})
    assert wrong.status_code == 422
    shown = await browsing.post("/tokens/new", {"name": "ci", "scopes": ["instances:read"], "expires_in_days": "30"})
    found = re.search(r"insula_[A-Za-z0-9]{20,}", shown.text)
    assert found is not None
    listed = await browsing.page("/tokens")
    assert "ci" in listed
    assert found[0] not in listed
    token = re.search(r'/panel/tokens/(tok_\w+)">ci<', listed)
    assert token is not None
    assert (await browsing.post(f"/tokens/{token[1]}/revoke", {"typed": "ci"})).status_code == 303
    assert "revoked" in await browsing.page("/tokens")


async def test_the_projects_own_key_is_a_file(browsing: Browsing) -> None:
    answer = await browsing.post("/keys/own")
    assert answer.text.startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert "attachment" in answer.headers["content-disposition"]


async def test_projects_are_made_chosen_and_deleted(browsing: Browsing) -> None:
    assert (await browsing.post("/projects", {"name": "team1"})).status_code == 303
    assert (await browsing.post("/projects/choose", {"name": "team1"})).status_code == 303
    assert "Project team1" in text_of(await browsing.page("/"))
    assert (await browsing.post("/projects/choose", {"name": "nowhere"})).status_code == 404
    assert (await browsing.post("/projects/choose", {"name": "default"})).status_code == 303
    assert (await browsing.post("/projects/delete", {"name": "team1", "typed": "team1"})).status_code == 303
    assert "team1" not in text_of((await browsing.get("/projects")).text).replace("The project team1 is gone", "")


@pytest.mark.parametrize("content", [b"a=%zz%00", b"a=\xff", b"name=%00", b"a=1&" * 3000])
async def test_a_form_that_cannot_be_read_is_refused(browsing: Browsing, content: bytes) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded", "x-token": await browsing.token()}
    answer = await browsing.client.post("/panel/theme", content=content, headers=headers)
    assert answer.status_code in {303, 400}
    other = await browsing.client.post(
        "/panel/theme", content=b"{}", headers=headers | {"content-type": "application/json"}
    )
    assert other.status_code == 415
