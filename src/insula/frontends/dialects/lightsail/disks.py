"""Disks: created, attached, detached and deleted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from insula.base.errors import Unsupported
from insula.control.actions.volumes import VolumeWish
from insula.domain.volume import Volume
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.lightsail import disk_view, operations, regions, tags
from insula.frontends.dialects.lightsail.add_ons import AddOn
from insula.frontends.dialects.lightsail.dialect import New, answer, operation, page
from insula.frontends.dialects.lightsail.resource import Named, check_free, disk, disks, instance, instances
from insula.frontends.dialects.records import ALL, check_text, fitting, naming, patiently, under_a_name


class _Which(New):
    disk_name: str


class _New(_Which):
    availability_zone: str
    size_in_gb: int
    tags: tuple[tags.Tag, ...] = ()
    add_ons: tuple[AddOn, ...] = ()


class _Attach(_Which):
    instance_name: str
    disk_path: str
    auto_mounting: bool = False


async def _views(ask: Ask, found: Sequence[Named[Volume]]) -> list[dict[str, Any]]:
    holders = {one.thing.id: one.name for one in await instances(ask)}
    return [disk_view.view(one, holders.get(one.thing.instance_id or "", "")) for one in found]


@operation("GetDisks")
async def get_disks(ask: Ask) -> Answer:
    shown, more = page(ask, await disks(ask), lambda one: one.thing.id)
    return answer(disks=await _views(ask, shown), **more)


@operation("GetDisk")
async def get_disk(ask: Ask) -> Answer:
    return answer(disk=(await _views(ask, [await disk(ask, ask.read(_Which).disk_name)]))[0])


@operation("CreateDisk")
async def create_disk(ask: Ask) -> Answer:
    wish = ask.read(_New)
    regions.check_zone(wish.availability_zone)
    check_free([wish.disk_name], await disks(ask))
    if wish.add_ons:
        raise Unsupported(
            "Disks have no add-ons", why="Backups by schedule are made of instances", todo="Leave addOns out"
        )
    words = tags.words(wish.tags)
    taken = {one.name for one in (await ask.actions.volumes.list(ask.caller, limit=ALL, used=False)).items}
    ours, begun = await under_a_name(
        fitting(wish.disk_name, taken, "disk"),
        lambda ours: ask.actions.volumes.create(ask.caller, VolumeWish(ours, wish.size_in_gb, tags=words)),
    )
    facts = naming(wish.disk_name, ours) | {"zone": wish.availability_zone} | tags.facts(wish.tags)
    await ask.actions.aliases.note(begun.target, facts, begun.id)
    return await operations.begun(ask, begun)


@operation("AttachDisk")
async def attach_disk(ask: Ask) -> Answer:
    """The path is kept and told, and says nothing to the guest, which finds the disk by its name."""
    wish = ask.read(_Attach)
    if wish.auto_mounting:
        raise Unsupported(
            "Disks are not mounted by themselves", why="Guests do that", todo="Leave autoMounting out, and mount it"
        )
    check_text(wish.disk_path, "diskPath")
    found, holder = await disk(ask, wish.disk_name), await instance(ask, wish.instance_name)
    begun = await patiently(lambda: ask.actions.volumes.attach(ask.caller, found.thing.id, holder.thing.id))
    await ask.actions.aliases.note(found.thing.id, {"path": wish.disk_path}, begun.id)
    return await operations.begun(ask, begun)


@operation("DetachDisk")
async def detach_disk(ask: Ask) -> Answer:
    found = await disk(ask, ask.read(_Which).disk_name)
    begun = await patiently(lambda: ask.actions.volumes.detach(ask.caller, found.thing.id))
    return await operations.begun(ask, begun)


@operation("DeleteDisk")
async def delete_disk(ask: Ask) -> Answer:
    found = await disk(ask, ask.read(_Which).disk_name)
    begun = await patiently(lambda: ask.actions.volumes.delete(ask.caller, found.thing.id))
    return await operations.begun(ask, begun)
