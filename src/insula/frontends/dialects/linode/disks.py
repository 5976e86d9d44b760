"""Disks and configuration profiles. A Linode has one disk and one profile here; volumes are in the profile as well."""

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
from insula.frontends.dialects.linode.types import KERNEL
from insula.frontends.dialects.records import ALL, check_text, numbers, patiently, unknown

_DISK, _CONFIG = "disk:", "config:"  # before the id of the instance that it is of
_DEVICES = ("sda", "sdb", "sdc", "sdd", "sde", "sdf", "sdg", "sdh")
_MIB_A_GIB = 1024


class _Label(msgspec.Struct):
    label: str | None = None


class _Size(msgspec.Struct):
    size: int


async def _number(ask: Ask, prefix: str, instance: Instance) -> int:
    record = f"{prefix}{instance.id}"
    return (await ask.actions.aliases.of([record]))[record].number


async def instance_of_disk(ask: Ask, number: int) -> Instance:
    """Raises InvalidInput."""
    record = await ask.actions.aliases.record_of(number)
    instance_id = record.removeprefix(_DISK)
    if record == instance_id or not is_id(instance_id, Kind.INSTANCE):
        raise InvalidInput(
            "disk_id is not valid",
            why=f"There is no disk {number}",
            todo="Look at the Linode's disks",
            fields={"disk_id": "unknown"},
        )
    return await ask.actions.instances.show(ask.caller, instance_id)


async def _facts(ask: Ask, prefix: str, instance: Instance) -> dict[str, str]:
    record = f"{prefix}{instance.id}"
    return dict((await ask.actions.aliases.of([record]))[record].facts)


async def _disk_view(ask: Ask, instance: Instance) -> dict[str, Any]:
    facts = await _facts(ask, _DISK, instance)
    return {
        "id": await _number(ask, _DISK, instance),
        "label": facts.get("label", f"{instance.image} Disk"),
        "filesystem": "ext4",
        "size": instance.resources.disk_gib * _MIB_A_GIB,
        "status": "not ready" if instance.state is InstanceState.CREATING else "ready",
        "disk_encryption": "disabled",
        "created": when(instance.created_at),
        "updated": when(instance.updated_at),
    }


async def _disk_of(ask: Ask) -> Instance:
    instance = await linode_of(ask)
    if ask.path["disk"] != str(await _number(ask, _DISK, instance)):
        raise unknown("disk", ask.path["disk"])
    return instance


@DIALECT.operation("GET", "/linode/instances/{linode}/disks", "linodes.disks-list")
async def list_disks(ask: Ask) -> Answer:
    return page(ask, [await _disk_view(ask, await linode_of(ask))])


@DIALECT.operation("GET", "/linode/instances/{linode}/disks/{disk}", "linodes.disk-view")
async def get_disk(ask: Ask) -> Answer:
    return Answer(await _disk_view(ask, await _disk_of(ask)))


@DIALECT.operation("PUT", "/linode/instances/{linode}/disks/{disk}", "linodes.disk-update")
async def update_disk(ask: Ask) -> Answer:
    return await _relabel(ask, _DISK, await _disk_of(ask))


async def _relabel(ask: Ask, prefix: str, instance: Instance) -> Answer:
    if (label := ask.read(_Label).label) is not None:
        check_text(label, "label", 48)
        record = f"{prefix}{instance.id}"
        await ask.actions.aliases.describe(ask.caller, "instances.change", record, {"label": label})
    view = _disk_view if prefix == _DISK else _config_view
    return Answer(await view(ask, instance))


@DIALECT.operation("POST", "/linode/instances/{linode}/disks/{disk}/resize", "linodes.disk-resize")
async def resize_disk(ask: Ask) -> Answer:
    """Disks only grow, by whole GiB."""
    instance, wish = await _disk_of(ask), ask.read(_Size)
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


async def _config_view(ask: Ask, instance: Instance) -> dict[str, Any]:
    facts = await _facts(ask, _CONFIG, instance)
    volumes = (await ask.actions.volumes.list(ask.caller, limit=ALL, instance=instance.id, used=False)).items
    known = await numbers(ask, [one.id for one in volumes])
    devices: dict[str, dict[str, int | None] | None] = dict.fromkeys(_DEVICES)
    devices["sda"] = {"disk_id": await _number(ask, _DISK, instance), "volume_id": None}
    for device, volume in zip(_DEVICES[1:], volumes, strict=False):
        devices[device] = {"disk_id": None, "volume_id": known[volume.id]}
    return {
        "id": await _number(ask, _CONFIG, instance),
        "label": facts.get("label", f"My {instance.image} Disk Profile"),
        "comments": "",
        "devices": devices,
        "helpers": {
            "devtmpfs_automount": False,
            "distro": False,
            "modules_dep": False,
            "network": False,
            "updatedb_disabled": False,
        },
        "interfaces": [],
        "kernel": KERNEL,
        "memory_limit": 0,
        "root_device": "/dev/sda",
        "run_level": "default",
        "virt_mode": "paravirt",
        "created": when(instance.created_at),
        "updated": when(instance.updated_at),
    }


async def _config_of(ask: Ask) -> Instance:
    instance = await linode_of(ask)
    if ask.path["config"] != str(await _number(ask, _CONFIG, instance)):
        raise unknown("configuration profile", ask.path["config"])
    return instance


@DIALECT.operation("GET", "/linode/instances/{linode}/configs", "linodes.configs-list")
async def list_configs(ask: Ask) -> Answer:
    return page(ask, [await _config_view(ask, await linode_of(ask))])


@DIALECT.operation("GET", "/linode/instances/{linode}/configs/{config}", "linodes.config-view")
async def get_config(ask: Ask) -> Answer:
    return Answer(await _config_view(ask, await _config_of(ask)))


@DIALECT.operation("PUT", "/linode/instances/{linode}/configs/{config}", "linodes.config-update")
async def update_config(ask: Ask) -> Answer:
    """Its label; guests bring the rest along."""
    return await _relabel(ask, _CONFIG, await _config_of(ask))


async def _refuse(ask: Ask) -> Answer:
    await linode_of(ask)
    raise Unsupported(
        "A Linode has one disk and one configuration profile here",
        why="What it boots is on its disk",
        todo="Attach a volume for more room, or rebuild it from another image",
    )


for _path, _word in (("disks", "disk"), ("configs", "config")):
    DIALECT.operation("POST", f"/linode/instances/{{linode}}/{_path}", f"linodes.{_word}-create")(_refuse)
    DIALECT.operation("DELETE", f"/linode/instances/{{linode}}/{_path}/{{{_word}}}", f"linodes.{_word}-delete")(_refuse)
REFUSED = frozenset({"linodes.disk-create", "linodes.disk-delete", "linodes.config-create", "linodes.config-delete"})
