"""Configuration profiles: a Linode has one from the start, and further ones that name what it has as they like.

Whichever it is booted with, it boots from its disk, with the kernel that is there. A profile is no record of ours, but
texts beside the instance; the volumes in it are those that the Linode has.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from insula.base.clock import now_utc
from insula.base.errors import InvalidInput, Unsupported
from insula.domain.instance import Instance
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.linode.config_interfaces import (
    attach_interface,
    detach_interface,
    interface_views,
)
from insula.frontends.dialects.linode.dialect import DIALECT, nothing, page, when
from insula.frontends.dialects.linode.disks import disk_number
from insula.frontends.dialects.linode.find import linode_of
from insula.frontends.dialects.linode.types import KERNEL
from insula.frontends.dialects.records import ALL, check_text, numbers, unknown

_PLACE = "/linode/instances/{linode}/configs"
_RECORD, _FACT = "config:", "profile:"
_SHOWN = ("sda", "sdb", "sdc", "sdd", "sde", "sdf", "sdg", "sdh")  # are told also when there is nothing
_SLOT = re.compile(r"sd([a-z]|a[a-z]|b[a-l])")
_KERNELS = {KERNEL, "linode/grub2"}  # both are what the disk brings along
_OWN = "disk"  # stands for the Linode's disk in what is kept
_MOST = 20


class _Device(msgspec.Struct):
    disk_id: int | None = None
    volume_id: int | None = None


class _Wish(msgspec.Struct):
    label: str | None = None
    comments: str | None = None
    kernel: str | None = None
    devices: dict[str, _Device | None] | None = None
    memory_limit: int = 0


@dataclass(frozen=True)
class _Profile:
    """`devices` are its disk and the ids of volumes by slot; the first profile names none, it has whatever is there."""

    record: str
    label: str
    comments: str = ""
    devices: Mapping[str, str] = field(default_factory=dict)
    created: str = ""
    updated: str = ""


def _first_record(instance: Instance) -> str:
    return f"{_RECORD}{instance.id}"


async def _facts(ask: Ask, instance: Instance) -> Mapping[str, str]:
    record = _first_record(instance)
    return (await ask.actions.aliases.of([record]))[record].facts


async def _profiles(ask: Ask, instance: Instance) -> Sequence[_Profile]:
    facts = await _facts(ask, instance)
    label = facts.get("label", f"My {instance.image} Disk Profile")
    made = when(instance.created_at), when(instance.updated_at)
    first = _Profile(_first_record(instance), label, facts.get("comments", ""), {}, *made)
    further = [
        _Profile(f"{_first_record(instance)}:{name.removeprefix(_FACT)}", **json.loads(text))
        for name, text in facts.items()
        if name.startswith(_FACT)
    ]
    return [first, *sorted(further, key=lambda one: one.created)]


async def _views(ask: Ask, instance: Instance, found: Sequence[_Profile]) -> list[dict[str, Any]]:
    volumes = (await ask.actions.volumes.list(ask.caller, limit=ALL, instance=instance.id, used=False)).items
    there = [one.id for one in volumes]
    known = dict(await numbers(ask, [*there, *(one.record for one in found)]))
    known[_OWN] = await disk_number(ask, instance)
    cards = await interface_views(ask, instance)
    return [_view(one, there, known) | {"interfaces": cards} for one in found]


def _view(profile: _Profile, volumes: Sequence[str], known: Mapping[str, int]) -> dict[str, Any]:
    """A volume that the Linode has no more is in none of its profiles any more."""
    named = profile.devices or dict(zip(_SHOWN, (_OWN, *volumes), strict=False))
    devices: dict[str, dict[str, int | None] | None] = dict.fromkeys(_SHOWN)
    for slot, what in named.items():
        if what == _OWN:
            devices[slot] = {"disk_id": known[_OWN], "volume_id": None}
        elif what in volumes:
            devices[slot] = {"disk_id": None, "volume_id": known[what]}
    return {
        "id": known[profile.record],
        "label": profile.label,
        "comments": profile.comments,
        "devices": devices,
        "helpers": {
            "devtmpfs_automount": False,
            "distro": False,
            "modules_dep": False,
            "network": False,
            "updatedb_disabled": False,
        },
        "kernel": KERNEL,
        "memory_limit": 0,
        "root_device": f"/dev/{next(slot for slot, what in named.items() if what == _OWN)}",
        "run_level": "default",
        "virt_mode": "paravirt",
        "created": profile.created,
        "updated": profile.updated,
    }


async def _answer(ask: Ask, instance: Instance, profile: _Profile) -> Answer:
    return Answer((await _views(ask, instance, [profile]))[0])


async def _find(ask: Ask, instance: Instance, number: str) -> _Profile | None:
    found = await _profiles(ask, instance)
    known = await numbers(ask, [one.record for one in found])
    return next((one for one in found if str(known[one.record]) == number), None)


async def _in_path(ask: Ask) -> tuple[Instance, _Profile]:
    instance = await linode_of(ask)
    profile = await _find(ask, instance, ask.path["config"])
    if profile is None:
        raise unknown("configuration profile", ask.path["config"])
    return instance, profile


@DIALECT.operation("GET", f"{_PLACE}/{{config}}/interfaces", "linodes.config-interfaces-list")
async def list_interfaces(ask: Ask) -> Answer:
    instance, _ = await _in_path(ask)
    return Answer(await interface_views(ask, instance))


@DIALECT.operation("GET", f"{_PLACE}/{{config}}/interfaces/{{interface}}", "linodes.config-interface-view")
async def get_interface(ask: Ask) -> Answer:
    instance, _ = await _in_path(ask)
    for one in await interface_views(ask, instance):
        if str(one["id"]) == ask.path["interface"]:
            return Answer(one)
    raise unknown("interface", ask.path["interface"])


@DIALECT.operation("POST", f"{_PLACE}/{{config}}/interfaces", "linodes.config-interface-add")
async def add_interface(ask: Ask) -> Answer:
    """The Linode has it when this returns, whichever profile it is booted with."""
    instance, _ = await _in_path(ask)
    return Answer(await attach_interface(ask, instance))


@DIALECT.operation("DELETE", f"{_PLACE}/{{config}}/interfaces/{{interface}}", "linodes.config-interface-delete")
async def delete_interface(ask: Ask) -> Answer:
    instance, _ = await _in_path(ask)
    await detach_interface(ask, instance, ask.path["interface"])
    return nothing()


async def check_config(ask: Ask, instance: Instance, number: int | None) -> None:
    """Raises InvalidInput for a profile to boot with that the Linode does not have."""
    if number is not None and await _find(ask, instance, str(number)) is None:
        raise InvalidInput(
            "config_id is not valid",
            why=f"This Linode has no configuration profile {number}",
            todo="Look at its configs",
            fields={"config_id": "unknown"},
        )


@DIALECT.operation("GET", _PLACE, "linodes.configs-list")
async def list_configs(ask: Ask) -> Answer:
    instance = await linode_of(ask)
    return page(ask, await _views(ask, instance, await _profiles(ask, instance)))


@DIALECT.operation("POST", _PLACE, "linodes.config-create")
async def create_config(ask: Ask) -> Answer:
    instance, wish = await linode_of(ask), ask.read(_Wish)
    _check(wish)
    if wish.label is None:
        raise InvalidInput("label is required", why="It is missing", todo="Send it", fields={"label": "is required"})
    if len(await _profiles(ask, instance)) > _MOST:
        raise InvalidInput("There are too many profiles", why=f"A Linode has {_MOST}", todo="Delete one of them")
    now = when(now_utc())
    record = f"{_first_record(instance)}:{secrets.token_hex(6)}"
    devices = await _devices(ask, instance, wish.devices or {})
    profile = _Profile(record, wish.label, (wish.comments or "")[:1000], devices, now, now)
    await _keep(ask, instance, profile)
    return await _answer(ask, instance, profile)


def _check(wish: _Wish) -> None:
    """Raise InvalidInput and Unsupported for what cannot be had."""
    if wish.label is not None:
        check_text(wish.label, "label", 48)
    if wish.kernel is not None and wish.kernel not in _KERNELS:
        raise Unsupported(
            "There is no kernel but the disk's own", why="Guests bring theirs along", todo=f"Send kernel {KERNEL}"
        )
    if wish.memory_limit:
        raise Unsupported("A Linode has all of its memory", why="A profile limits nothing", todo="Resize it instead")


async def _devices(ask: Ask, instance: Instance, wanted: Mapping[str, _Device | None]) -> dict[str, str]:
    """What is kept of them. Raises InvalidInput."""
    volumes = (await ask.actions.volumes.list(ask.caller, limit=ALL, instance=instance.id, used=False)).items
    known = {number: record for record, number in (await numbers(ask, [one.id for one in volumes])).items()}
    disk, kept = await disk_number(ask, instance), {}
    for slot, device in wanted.items():
        if not _SLOT.fullmatch(slot):
            raise _wrong(f"devices.{slot[:20]}", f"There is no slot {slot[:20]!r}; there are sda to sdbl")
        if device is None or (device.disk_id is None and device.volume_id is None):
            continue
        if device.disk_id not in (None, disk):
            raise _wrong(f"devices.{slot}.disk_id", f"This Linode has the disk {disk}, and no {device.disk_id}")
        if device.volume_id is not None and device.volume_id not in known:
            raise _wrong(f"devices.{slot}.volume_id", f"Volume {device.volume_id} is not attached to this Linode")
        kept[slot] = _OWN if device.volume_id is None else known[device.volume_id]
    if _OWN not in kept.values():
        raise _wrong("devices", "A Linode boots from its disk, which must be one of them")
    return kept


def _wrong(where: str, why: str) -> InvalidInput:
    return InvalidInput("devices is not valid", why=why, todo="Name what the Linode has", fields={where: why})


async def _keep(ask: Ask, instance: Instance, profile: _Profile) -> None:
    texts = {name: getattr(profile, name) for name in ("label", "comments", "created", "updated")}
    fact = f"{_FACT}{profile.record.rpartition(':')[2]}"
    facts = {fact: json.dumps({**texts, "devices": dict(profile.devices)})}
    await ask.actions.aliases.describe(ask.caller, "instances.change", _first_record(instance), facts)


@DIALECT.operation("GET", f"{_PLACE}/{{config}}", "linodes.config-view")
async def get_config(ask: Ask) -> Answer:
    return await _answer(ask, *await _in_path(ask))


@DIALECT.operation("PUT", f"{_PLACE}/{{config}}", "linodes.config-update")
async def update_config(ask: Ask) -> Answer:
    """Its label and comments, and the devices of a further one; guests bring the rest along."""
    instance, profile = await _in_path(ask)
    wish = ask.read(_Wish)
    _check(wish)
    label = profile.label if wish.label is None else wish.label
    comments = profile.comments if wish.comments is None else wish.comments[:1000]
    if profile.record == _first_record(instance):
        facts = {"label": label, "comments": comments}
        await ask.actions.aliases.describe(ask.caller, "instances.change", profile.record, facts)
        return await _answer(ask, instance, (await _profiles(ask, instance))[0])
    devices = profile.devices if wish.devices is None else await _devices(ask, instance, wish.devices)
    changed = _Profile(profile.record, label, comments, devices, profile.created, when(now_utc()))
    await _keep(ask, instance, changed)
    return await _answer(ask, instance, changed)


@DIALECT.operation("DELETE", f"{_PLACE}/{{config}}", "linodes.config-delete")
async def delete_config(ask: Ask) -> Answer:
    instance, profile = await _in_path(ask)
    if profile.record == _first_record(instance):
        raise Unsupported(
            "The first configuration profile stays",
            why="The Linode boots with it unless another is asked for",
            todo="Delete further ones",
        )
    fact = f"{_FACT}{profile.record.rpartition(':')[2]}"
    await ask.actions.aliases.describe(ask.caller, "instances.change", _first_record(instance), {fact: ""})
    return nothing()
