"""Disks. A Linode has one here; what else it needs room for is on volumes."""

from __future__ import annotations

from typing import Any

import msgspec

from insula.base.errors import InvalidInput, Unsupported
from insula.control.actions.sizes import SizeWish
from insula.control.actions.wishes import ResizeWish
from insula.domain.ids import Kind, is_id
from insula.domain.instance import Instance, InstanceState
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.linode.dialect import DIALECT, nothing, page, when
from insula.frontends.dialects.linode.find import linode_of
from insula.frontends.dialects.records import check_text, patiently, unknown

_PLACE = "/linode/instances/{linode}/disks"
_RECORD = "disk:"  # before the id of the instance that it is of
_MIB_A_GIB = 1024


class _Label(msgspec.Struct):
    label: str | None = None


class _Size(msgspec.Struct):
    size: int


async def disk_number(ask: Ask, instance: Instance) -> int:
    """That of the disk that it has."""
    record = f"{_RECORD}{instance.id}"
    return (await ask.actions.aliases.of([record]))[record].number


async def instance_of_disk(ask: Ask, number: int) -> Instance:
    """Raises InvalidInput."""
    record = await ask.actions.aliases.record_of(number)
    instance_id = record.removeprefix(_RECORD)
    if record == instance_id or not is_id(instance_id, Kind.INSTANCE):
        raise InvalidInput(
            "disk_id is not valid",
            why=f"There is no disk {number}",
            todo="Look at the Linode's disks",
            fields={"disk_id": "unknown"},
        )
    return await ask.actions.instances.show(ask.caller, instance_id)


async def _view(ask: Ask, instance: Instance) -> dict[str, Any]:
    record = f"{_RECORD}{instance.id}"
    alias = (await ask.actions.aliases.of([record]))[record]
    return {
        "id": alias.number,
        "label": alias.facts.get("label", f"{instance.image} Disk"),
        "filesystem": "ext4",
        "size": instance.resources.disk_gib * _MIB_A_GIB,
        "status": "not ready" if instance.state is InstanceState.CREATING else "ready",
        "disk_encryption": "disabled",
        "created": when(instance.created_at),
        "updated": when(instance.updated_at),
    }


async def _in_path(ask: Ask) -> Instance:
    instance = await linode_of(ask)
    if ask.path["disk"] != str(await disk_number(ask, instance)):
        raise unknown("disk", ask.path["disk"])
    return instance


@DIALECT.operation("GET", _PLACE, "linodes.disks-list")
async def list_disks(ask: Ask) -> Answer:
    return page(ask, [await _view(ask, await linode_of(ask))])


@DIALECT.operation("GET", f"{_PLACE}/{{disk}}", "linodes.disk-view")
async def get_disk(ask: Ask) -> Answer:
    return Answer(await _view(ask, await _in_path(ask)))


@DIALECT.operation("PUT", f"{_PLACE}/{{disk}}", "linodes.disk-update")
async def update_disk(ask: Ask) -> Answer:
    instance = await _in_path(ask)
    if (label := ask.read(_Label).label) is not None:
        check_text(label, "label", 48)
        record = f"{_RECORD}{instance.id}"
        await ask.actions.aliases.describe(ask.caller, "instances.change", record, {"label": label})
    return Answer(await _view(ask, instance))


@DIALECT.operation("POST", f"{_PLACE}/{{disk}}/resize", "linodes.disk-resize")
async def resize_disk(ask: Ask) -> Answer:
    """Disks only grow, by whole GiB."""
    instance, wish = await _in_path(ask), ask.read(_Size)
    if wish.size % _MIB_A_GIB:
        raise InvalidInput(
            "size cannot be had",
            why="Disks have whole GiB here",
            todo="Send a multiple of 1024",
            fields={"size": "is none"},
        )
    bigger = ResizeWish(size=SizeWish(disk_gib=wish.size // _MIB_A_GIB))
    await patiently(lambda: ask.actions.instances.resize(ask.caller, instance.id, bigger))
    return nothing()


async def _refuse(ask: Ask) -> Answer:
    await linode_of(ask)
    raise Unsupported(
        "A Linode has one disk here",
        why="What it boots is on it, and it is as large as its type or larger",
        todo="Attach a volume for more room, or rebuild it from another image",
    )


DIALECT.operation("POST", _PLACE, "linodes.disk-create")(_refuse)
DIALECT.operation("POST", f"{_PLACE}/{{disk}}/clone", "linodes.disk-clone")(_refuse)
DIALECT.operation("DELETE", f"{_PLACE}/{{disk}}", "linodes.disk-delete")(_refuse)


async def _refuse_password(ask: Ask) -> Answer:
    await linode_of(ask)
    raise Unsupported(
        "A root password is not changed here",
        why="A disk gets it when it is made, and nobody writes to it from outside then",
        todo="Change it inside, or rebuild the Linode with root_pass",
    )


DIALECT.operation("POST", f"{_PLACE}/{{disk}}/password", "linodes.disk-reset-password")(_refuse_password)
DIALECT.operation("POST", "/linode/instances/{linode}/password", "linodes.linode-reset-password")(_refuse_password)
REFUSED = frozenset(
    {
        *("linodes.disk-create", "linodes.disk-clone", "linodes.disk-delete"),
        *("linodes.disk-reset-password", "linodes.linode-reset-password"),
    }
)
