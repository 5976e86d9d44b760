"""Block storage volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from insula.base.errors import Conflict, InvalidInput, Unsupported
from insula.control.actions.volumes import MAX_SIZE_GIB, VolumeWish
from insula.domain.alias import Alias
from insula.domain.ids import Kind
from insula.domain.instance import Instance
from insula.domain.operation import Operation
from insula.domain.volume import Volume, VolumeState, device_path
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.linode import regions
from insula.frontends.dialects.linode.dialect import DIALECT, nothing, page, when
from insula.frontends.dialects.linode.find import linode_of, named
from insula.frontends.dialects.linode.records import check_lettered, check_ours, in_path
from insula.frontends.dialects.records import ALL, finished, fitting, name_of, naming, patiently, unknown

_S = VolumeState
_STATUS = {_S.CREATING: "creating", _S.FAILED: "offline"}
_DEFAULT_GIB, _FEWEST_GIB = 20, 10


class _New(msgspec.Struct):
    label: str
    region: str = ""
    size: int = _DEFAULT_GIB
    linode_id: int | None = None
    config_id: int | None = None
    encryption: str = "disabled"
    tags: list[str] = []


class _Change(msgspec.Struct):
    label: str | None = None
    tags: list[str] | None = None


class _Attach(msgspec.Struct):
    linode_id: int
    config_id: int | None = None
    persist_across_boots: bool = True


class _Size(msgspec.Struct):
    size: int


async def views(ask: Ask, found: Sequence[Volume]) -> list[dict[str, Any]]:
    holders = [one.instance_id for one in found if one.instance_id is not None]
    instances = {}
    if holders:
        listed = (await ask.actions.instances.list(ask.caller, limit=ALL)).items
        instances = {one.id: one for one in listed if one.id in holders}
    aliases = await ask.actions.aliases.of([*(one.id for one in found), *instances])
    return [_view(one, aliases, instances.get(one.instance_id or "")) for one in found]


def _view(found: Volume, aliases: dict[str, Alias] | Any, holder: Instance | None) -> dict[str, Any]:
    alias = aliases[found.id]
    label = name_of(alias, found.name)
    return {
        "id": alias.number,
        "label": label,
        "size": found.size_gib,
        "status": _STATUS.get(found.state, "active"),
        "region": alias.facts.get("region", regions.DEFAULT),
        "linode_id": None if holder is None else aliases[holder.id].number,
        "linode_label": None if holder is None else name_of(aliases[holder.id], holder.name),
        "filesystem_path": device_path(found.name),
        "encryption": "disabled",
        "hardware_type": "hdd",
        "io_ready": found.state is not _S.CREATING,
        "locks": [],
        "tags": list(found.tags),
        "created": when(found.created_at),
        "updated": when(found.updated_at),
    }


async def _answer(ask: Ask, record: str) -> Answer:
    return Answer((await views(ask, [await ask.actions.volumes.show(ask.caller, record)]))[0])


async def there(ask: Ask) -> Sequence[Volume]:
    found = (await ask.actions.volumes.list(ask.caller, limit=ALL, used=False)).items
    return [one for one in found if one.state is not _S.DELETING]


async def _find(ask: Ask) -> Volume:
    found = await ask.actions.volumes.show(ask.caller, await in_path(ask, "volume", Kind.VOLUME))
    if found.state is _S.DELETING:
        raise unknown("volume", ask.path["volume"])
    return found


async def _name(ask: Ask, label: str, own: Volume | None = None) -> str:
    check_lettered(label, 32)
    others = [one for one in await there(ask) if own is None or one.id != own.id]
    aliases = await ask.actions.aliases.of(one.id for one in others)
    check_ours(label, {name_of(aliases[one.id], one.name) for one in others}, "Volumes")
    return fitting(label, {one.name for one in others}, "volume")


@DIALECT.operation("GET", "/volumes", "volumes.list")
async def list_volumes(ask: Ask) -> Answer:
    return page(ask, await views(ask, await there(ask)))


@DIALECT.operation("GET", "/linode/instances/{linode}/volumes", "linodes.volumes")
async def list_volumes_of_linode(ask: Ask) -> Answer:
    instance = await linode_of(ask)
    return page(ask, await views(ask, [one for one in await there(ask) if one.instance_id == instance.id]))


@DIALECT.operation("GET", "/volumes/types", "volumes.types")
async def list_types(ask: Ask) -> Answer:
    free = {"hourly": 0.0, "monthly": 0.0}
    return page(ask, [{"id": "volume", "label": "Storage Volume", "price": free, "region_prices": [], "transfer": 0}])


@DIALECT.operation("POST", "/volumes", "volumes.create")
async def create_volume(ask: Ask) -> Answer:
    wish = ask.read(_New)
    if not wish.region and wish.linode_id is None:
        raise InvalidInput(
            "Must provide a region or a Linode ID",
            why="One of them says where it is",
            todo="Send one",
            fields={"region": "missing"},
        )
    if wish.encryption != "disabled":
        raise Unsupported("Volumes are not encrypted here", why="The host's disk may be", todo="Leave encryption out")
    if not _FEWEST_GIB <= wish.size <= MAX_SIZE_GIB:
        bounds = f"Must be {_FEWEST_GIB}-{MAX_SIZE_GIB}"
        raise InvalidInput(bounds, why="So many GiB has a volume", todo="Send another size", fields={"size": bounds})
    region, ours = regions.check(wish.region), await _name(ask, wish.label)
    holder = (await named(ask, [wish.linode_id], "linode_id"))[0].id if wish.linode_id is not None else ""
    new = VolumeWish(ours, wish.size, attach_to=holder, tags=tuple(wish.tags))
    operation = await patiently(lambda: ask.actions.volumes.create(ask.caller, new))
    await ask.actions.aliases.note(operation.target, naming(wish.label, ours) | {"region": region}, operation.id)
    await finished(ask, operation.id)
    return await _answer(ask, operation.target)


@DIALECT.operation("GET", "/volumes/{volume}", "volumes.view")
async def get_volume(ask: Ask) -> Answer:
    return await _answer(ask, (await _find(ask)).id)


@DIALECT.operation("PUT", "/volumes/{volume}", "volumes.update")
async def update_volume(ask: Ask) -> Answer:
    """Our name of it stays; its label is kept beside that."""
    found, wish = await _find(ask), ask.read(_Change)
    tags = None if wish.tags is None else tuple(wish.tags)
    if wish.label is not None:
        await _name(ask, wish.label, found)
    await ask.actions.volumes.change(ask.caller, found.id, tags, None)
    if wish.label is not None:
        await ask.actions.aliases.note(found.id, naming(wish.label, found.name))
    return await _answer(ask, found.id)


@DIALECT.operation("DELETE", "/volumes/{volume}", "volumes.delete")
async def delete_volume(ask: Ask) -> Answer:
    found = await _find(ask)
    await finished(ask, (await patiently(lambda: ask.actions.volumes.delete(ask.caller, found.id))).id)
    return nothing()


@DIALECT.operation("POST", "/volumes/{volume}/attach", "volumes.attach")
async def attach_volume(ask: Ask) -> Answer:
    found, wish = await _find(ask), ask.read(_Attach)
    (holder,) = await named(ask, [wish.linode_id], "linode_id")
    await _done(ask, await patiently(lambda: ask.actions.volumes.attach(ask.caller, found.id, holder.id)))
    return await _answer(ask, found.id)


@DIALECT.operation("POST", "/volumes/{volume}/detach", "volumes.detach")
async def detach_volume(ask: Ask) -> Answer:
    found = await _find(ask)
    if found.instance_id is None:
        raise InvalidInput("Volume is not attached.", why="It is no Linode's", todo="Nothing is left to do")
    await _done(ask, await patiently(lambda: ask.actions.volumes.detach(ask.caller, found.id)))
    return nothing()


@DIALECT.operation("POST", "/volumes/{volume}/resize", "volumes.resize")
async def resize_volume(ask: Ask) -> Answer:
    found, wish = await _find(ask), ask.read(_Size)
    if wish.size > MAX_SIZE_GIB:
        what = f"Storage volumes cannot be resized larger than {MAX_SIZE_GIB} gigabytes"
        raise InvalidInput(what, why=f"{wish.size} are more", todo="Send another size", fields={"size": what})
    if wish.size < found.size_gib:
        what = "Storage volumes can only be resized up"
        raise InvalidInput(what, why=f"It has {found.size_gib} GiB", todo="Send another size", fields={"size": what})
    await _done(ask, await patiently(lambda: ask.actions.volumes.grow(ask.caller, found.id, wish.size)))
    return await _answer(ask, found.id)


async def _done(ask: Ask, operation: Operation) -> None:
    """Wait for its end. Raises Conflict when it failed."""
    await finished(ask, operation.id)
    ended = await ask.actions.operations.show(ask.caller, operation.id)
    if ended.error is not None:
        raise Conflict(str(ended.error["what"]), why=str(ended.error["why"]), todo=str(ended.error["todo"]))


@DIALECT.operation("POST", "/volumes/{volume}/clone", "volumes.clone")
async def clone_volume(ask: Ask) -> Answer:
    await _find(ask)
    raise Unsupported("Volumes cannot be cloned", why="There are no snapshots of them", todo="Copy what is on it")
