"""Volumes attached, detached and grown."""

from __future__ import annotations

import msgspec

from insula.base.errors import InvalidInput
from insula.domain.ids import Kind
from insula.domain.operation import Operation
from insula.domain.volume import Volume
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.digitalocean import actions
from insula.frontends.dialects.digitalocean.dialect import DIALECT
from insula.frontends.dialects.digitalocean.find import droplet, volume
from insula.frontends.dialects.digitalocean.volumes import find_by_name
from insula.frontends.dialects.records import numbered, of_uuid, patiently, unknown


class _Wish(msgspec.Struct):
    type: str
    droplet_id: int | None = None
    size_gigabytes: int | None = None
    volume_name: str = ""


async def _act(ask: Ask, found: Volume, wish: _Wish) -> Answer:
    operation = await patiently(lambda: _begin(ask, found, wish))
    return Answer({"action": await actions.view(ask, operation)}, 202)


async def _begin(ask: Ask, found: Volume, wish: _Wish) -> Operation:
    if wish.type == "attach" and wish.droplet_id is not None:
        host = await droplet(ask, str(wish.droplet_id))
        return await ask.actions.volumes.attach(ask.caller, found.id, host.id)
    if wish.type == "detach":
        return await ask.actions.volumes.detach(ask.caller, found.id)
    if wish.type == "resize" and wish.size_gigabytes is not None:
        return await ask.actions.volumes.grow(ask.caller, found.id, wish.size_gigabytes)
    raise InvalidInput(
        "This action of a volume cannot be done",
        why="There are attach and detach with a droplet_id, and resize with size_gigabytes",
        todo="Send one of them",
        fields={"type": "unknown, or something is missing"},
    )


@DIALECT.operation("POST", "/v2/volumes/{volume_id}/actions", "volumeActions_post_byId")
async def act(ask: Ask) -> Answer:
    return await _act(ask, await volume(ask, ask.path["volume_id"]), ask.read(_Wish))


@DIALECT.operation("POST", "/v2/volumes/actions", "volumeActions_post")
async def act_by_name(ask: Ask) -> Answer:
    wish = ask.read(_Wish)
    return await _act(ask, await find_by_name(ask, wish.volume_name), wish)


@DIALECT.operation("GET", "/v2/volumes/{volume_id}/actions", "volumeActions_list")
async def list_actions(ask: Ask) -> Answer:
    return await actions.listed(ask, (await volume(ask, ask.path["volume_id"])).id)


@DIALECT.operation("GET", "/v2/volumes/{volume_id}/actions/{action_id}", "volumeActions_get")
async def get_action(ask: Ask) -> Answer:
    number = ask.path["action_id"]
    operation = await ask.actions.operations.show(ask.caller, await numbered(ask, number, Kind.OPERATION))
    if operation.target != of_uuid(ask.path["volume_id"], Kind.VOLUME):
        raise unknown("action", number)
    return Answer({"action": await actions.view(ask, operation)})
