"""Block storage volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from insula.base.errors import InvalidInput, Unsupported
from insula.control.actions.volumes import VolumeWish
from insula.domain.alias import Alias
from insula.domain.volume import FileSystem, Volume, VolumeState
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.digitalocean import regions
from insula.frontends.dialects.digitalocean.dialect import DIALECT, page, part, when
from insula.frontends.dialects.digitalocean.find import volume
from insula.frontends.dialects.records import ALL, finished, numbers, patiently, unknown, uuid_of


class _New(msgspec.Struct):
    name: str
    size_gigabytes: int
    region: str
    description: str = ""
    filesystem_type: str = ""
    filesystem_label: str = ""
    snapshot_id: str = ""
    tags: list[str] = []


def _view(found: Volume, alias: Alias, droplet: int | None) -> dict[str, Any]:
    return {
        "id": uuid_of(found.id),
        "droplet_ids": [] if droplet is None else [droplet],
        "name": found.name,
        "description": alias.facts.get("description", ""),
        "size_gigabytes": found.size_gib,
        "created_at": when(found.created_at),
        "tags": list(found.tags),
        "region": regions.view(alias.facts.get("region", regions.DEFAULT)),
        "filesystem_type": "" if found.file_system is FileSystem.NONE else found.file_system.value,
        "filesystem_label": "",
    }


async def views(ask: Ask, found: Sequence[Volume]) -> list[dict[str, Any]]:
    aliases = await ask.actions.aliases.of(one.id for one in found)
    droplets = await numbers(ask, [one.instance_id for one in found if one.instance_id is not None])
    return [_view(one, aliases[one.id], droplets.get(one.instance_id or "")) for one in found]


async def _there(ask: Ask) -> Sequence[Volume]:
    found = (await ask.actions.volumes.list(ask.caller, limit=ALL, used=False)).items
    return [one for one in found if one.state is not VolumeState.DELETING]


@DIALECT.operation("GET", "/v2/volumes", "volumes_list")
async def list_volumes(ask: Ask) -> Answer:
    found = await _there(ask)
    if name := ask.query.get("name", ""):
        found = [one for one in found if one.name == name]
    if region := ask.query.get("region", ""):
        aliases = await ask.actions.aliases.of(one.id for one in found)
        found = [one for one in found if aliases[one.id].facts.get("region", regions.DEFAULT) == region]
    return page(ask, "volumes", await views(ask, part(ask, found)), len(found))


@DIALECT.operation("POST", "/v2/volumes", "volumes_create")
async def create_volume(ask: Ask) -> Answer:
    wish = ask.read(_New)
    region = regions.check(wish.region)
    if wish.snapshot_id or wish.filesystem_label:
        raise Unsupported(
            "snapshot_id and filesystem_label are not available",
            why="There are no snapshots of volumes, and file systems have no label",
            todo="Leave them out",
        )
    try:
        file_system = FileSystem(wish.filesystem_type.lower() or "none")
    except ValueError as error:
        raise InvalidInput("filesystem_type is not known", why="There are ext4 and xfs", todo="Choose one") from error
    new = VolumeWish(wish.name, wish.size_gigabytes, file_system, tags=tuple(wish.tags))
    operation = await ask.actions.volumes.create(ask.caller, new)
    await ask.actions.aliases.note(operation.target, {"region": region, "description": wish.description[:1000]})
    await finished(ask, operation.id)
    made = await ask.actions.volumes.show(ask.caller, operation.target)
    return Answer({"volume": (await views(ask, [made]))[0]}, 201)


@DIALECT.operation("GET", "/v2/volumes/{volume_id}", "volumes_get")
async def get_volume(ask: Ask) -> Answer:
    return Answer({"volume": (await views(ask, [await volume(ask, ask.path["volume_id"])]))[0]})


@DIALECT.operation("DELETE", "/v2/volumes/{volume_id}", "volumes_delete")
async def delete_volume(ask: Ask) -> Answer:
    await _delete(ask, await volume(ask, ask.path["volume_id"]))
    return Answer(status=204)


@DIALECT.operation("DELETE", "/v2/volumes", "volumes_delete_byName")
async def delete_volume_by_name(ask: Ask) -> Answer:
    found = await find_by_name(ask, ask.query.get("name", ""))
    await _delete(ask, found)
    return Answer(status=204)


async def find_by_name(ask: Ask, name: str) -> Volume:
    """Names are unique here, so the region need not be named. Raises NotFound."""
    for one in await _there(ask):
        if one.name == name:
            return one
    raise unknown("volume", name)


async def _delete(ask: Ask, found: Volume) -> None:
    operation = await patiently(lambda: ask.actions.volumes.delete(ask.caller, found.id))
    await finished(ask, operation.id)
