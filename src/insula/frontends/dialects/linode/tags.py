"""Tags. Ours are no records of their own; those that nothing carries are kept as facts of the project."""

from __future__ import annotations

from typing import Any

import msgspec

from insula.base.errors import InvalidInput, Unsupported
from insula.control.actions.wishes import ChangeWish
from insula.domain.ids import Kind
from insula.domain.instance import Instance
from insula.domain.names import check_tags
from insula.domain.volume import Volume
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.linode import volumes
from insula.frontends.dialects.linode.dialect import DIALECT, nothing, page
from insula.frontends.dialects.linode.find import linodes, named
from insula.frontends.dialects.linode.firewall_view import tags_kept, tags_of
from insula.frontends.dialects.linode.instance_view import views
from insula.frontends.dialects.records import numbered, unknown

_FACT = "tag:"


class _New(msgspec.Struct):
    label: str
    linodes: list[int] = []
    volumes: list[int] = []
    domains: list[int] = []
    nodebalancers: list[int] = []
    reserved_ipv4_addresses: list[str] = []


class _Carriers(msgspec.Struct):
    """Firewalls' tags by their ids, as they are told there."""

    linodes: list[Instance]
    volumes: list[Volume]
    firewalls: dict[str, list[str]]


async def _carriers(ask: Ask) -> _Carriers:
    walls = [one.id for one in (await ask.actions.firewalls.list(ask.caller)).items]
    aliases = await ask.actions.aliases.of(walls)
    firewalls = {record: tags_of(aliases[record]) for record in walls}
    return _Carriers(list(await linodes(ask)), list(await volumes.there(ask)), firewalls)


async def _labels(ask: Ask, there: _Carriers) -> list[str]:
    facts = await ask.actions.aliases.of_project(ask.caller)
    declared = {name.removeprefix(_FACT) for name in facts if name.startswith(_FACT)}
    carriers = [*(one.tags for one in there.linodes), *(one.tags for one in there.volumes), *there.firewalls.values()]
    return sorted(declared | {tag for tags in carriers for tag in tags})


@DIALECT.operation("GET", "/tags", "tags.list")
async def list_tags(ask: Ask) -> Answer:
    return page(ask, [{"label": label} for label in await _labels(ask, await _carriers(ask))])


@DIALECT.operation("POST", "/tags", "tags.create")
async def create_tag(ask: Ask) -> Answer:
    wish = ask.read(_New)
    check_tags((wish.label,))
    if wish.domains or wish.nodebalancers or wish.reserved_ipv4_addresses:
        raise Unsupported(
            "Only Linodes and volumes are tagged like this",
            why="The rest has no tags, or gets its own",
            todo="Leave the rest out",
        )
    if wish.label in await _labels(ask, await _carriers(ask)):
        raise InvalidInput("Tag already exists", why="It is there", todo="Use it", fields={"label": "is taken"})
    instances = await named(ask, wish.linodes, "linodes")
    records = [await numbered(ask, str(number), Kind.VOLUME) for number in wish.volumes]
    disks = [await ask.actions.volumes.show(ask.caller, record) for record in records]
    await ask.actions.aliases.describe_project(ask.caller, {f"{_FACT}{wish.label}": "declared"})
    for instance in instances:
        await ask.actions.instances.change(ask.caller, instance.id, ChangeWish(tags=(*instance.tags, wish.label)))
    for disk in disks:
        await ask.actions.volumes.change(ask.caller, disk.id, (*disk.tags, wish.label), None)
    return Answer({"label": wish.label})


async def _find(ask: Ask) -> tuple[str, _Carriers]:
    label, there = ask.path["tag"], await _carriers(ask)
    if label not in await _labels(ask, there):
        raise unknown("tag", label)
    return label, there


@DIALECT.operation("GET", "/tags/{tag}", "tags.get-tagged-objects")
async def list_tagged(ask: Ask) -> Answer:
    label, there = await _find(ask)
    shown: list[dict[str, Any]] = [
        {"type": "linode", "data": one} for one in await views(ask, [one for one in there.linodes if label in one.tags])
    ]
    tagged = [one for one in there.volumes if label in one.tags]
    return page(ask, shown + [{"type": "volume", "data": one} for one in await volumes.views(ask, tagged)])


@DIALECT.operation("DELETE", "/tags/{tag}", "tags.delete")
async def delete_tag(ask: Ask) -> Answer:
    """It is taken from everything that carries it."""
    label, there = await _find(ask)
    for instance in [one for one in there.linodes if label in one.tags]:
        left = tuple(tag for tag in instance.tags if tag != label)
        await ask.actions.instances.change(ask.caller, instance.id, ChangeWish(tags=left))
    for disk in [one for one in there.volumes if label in one.tags]:
        left = tuple(tag for tag in disk.tags if tag != label)
        await ask.actions.volumes.change(ask.caller, disk.id, left, None)
    for record, tags in there.firewalls.items():
        if label in tags:
            rest = tags_kept([tag for tag in tags if tag != label])
            await ask.actions.aliases.describe(ask.caller, "firewalls.change", record, rest)
    await ask.actions.aliases.describe_project(ask.caller, {f"{_FACT}{label}": ""})
    return nothing()
