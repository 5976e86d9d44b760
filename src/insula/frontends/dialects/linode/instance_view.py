"""Linodes: our instances, with all that is told of them there."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from insula.domain.address import ReservedAddress
from insula.domain.alias import Alias
from insula.domain.backup import Backup
from insula.domain.image import Image
from insula.domain.instance import Instance, InstanceState
from insula.domain.project_network import ProjectNetwork
from insula.domain.schedule import BackupSchedule, Every
from insula.domain.snapshot import Snapshot
from insula.frontends.dialects.dialect import Ask
from insula.frontends.dialects.linode import regions
from insula.frontends.dialects.linode.account import POLICY
from insula.frontends.dialects.linode.dialect import when
from insula.frontends.dialects.linode.images import id_of
from insula.frontends.dialects.linode.types import TYPES
from insula.frontends.dialects.records import ALL, name_of
from insula.frontends.dialects.sources import record_of

_S = InstanceState
_STATUS: Mapping[InstanceState, str] = {
    _S.CREATING: "provisioning",
    _S.STARTING: "booting",
    _S.RUNNING: "running",
    _S.FORKING: "cloning",
    _S.RESUMING: "booting",
    _S.PAUSING: "shutting_down",
    _S.HIBERNATING: "shutting_down",
    _S.STOPPING: "shutting_down",
    _S.REBOOTING: "rebooting",
    _S.RESIZING: "resizing",
    _S.REBUILDING: "rebuilding",
    _S.REVERTING: "restoring",
    _S.DELETING: "deleting",
}
_HOURS = 2  # that their backups have, from an even hour on


@dataclass(frozen=True)
class Surroundings:
    """Everything of the project that Linodes are shown with."""

    aliases: Mapping[str, Alias]
    addresses: Mapping[str, Sequence[ReservedAddress]]
    schedules: Mapping[str, BackupSchedule]
    last_backups: Mapping[str, Backup]
    images: Mapping[str, Image | Snapshot]
    networks: Mapping[str, ProjectNetwork]


async def surroundings(ask: Ask, instances: Sequence[Instance]) -> Surroundings:
    """Read once for all Linodes of an answer."""
    addresses, schedules, backups, offered, snapshots, networks = await asyncio.gather(
        ask.actions.addresses.list(ask.caller),
        ask.actions.backup_schedules.list(ask.caller),
        ask.actions.backups.list(ask.caller, limit=ALL),
        ask.actions.images.list(ask.caller),
        ask.actions.snapshots.list(ask.caller, limit=ALL),
        ask.actions.networks.list(ask.caller),
    )
    held: dict[str, list[ReservedAddress]] = defaultdict(list)
    for address in addresses.items:
        held[address.instance_id or ""].append(address)
    images: dict[str, Image | Snapshot] = {one.key: one for one in offered.items}
    images |= {one.id: one for one in snapshots.items}
    sources = [images[key] for one in instances for key in (one.snapshot_id or "", one.image) if key in images]
    records = [*(one.id for one in instances), *(record_of(one) for one in sources)]
    return Surroundings(
        aliases=await ask.actions.aliases.of(records),
        addresses=held,
        schedules={one.instance_id: one for one in schedules},
        last_backups={one.instance_id: one for one in backups.items},  # oldest first
        images=images,
        networks={one.id: one for one in networks.items},
    )


async def views(ask: Ask, instances: Sequence[Instance]) -> list[dict[str, Any]]:
    around = await surroundings(ask, instances)
    return [_view(one, around) for one in instances]


async def view(ask: Ask, instance: Instance) -> dict[str, Any]:
    return (await views(ask, [instance]))[0]


def _view(instance: Instance, around: Surroundings) -> dict[str, Any]:
    alias = around.aliases[instance.id]
    size = instance.resources
    return {
        "id": alias.number,
        "label": name_of(alias, instance.name),
        "status": _STATUS.get(instance.state, "offline"),
        "type": TYPES.of(instance.plan, size, alias.facts.get("type", "")).slug,
        "region": alias.facts.get("region", regions.DEFAULT),
        "image": _image(instance, around),
        "ipv4": public4(instance, around) + _private4(instance, around),
        "ipv6": public6(instance, around),
        "specs": {
            "disk": size.disk_gib * 1024,
            "memory": size.memory_mib,
            "vcpus": size.vcpus,
            "gpus": 0,
            "accelerated_devices": 0,
            "transfer": 0,
        },
        "alerts": dict.fromkeys(("cpu", "io", "network_in", "network_out", "transfer_quota"), 0),
        "backups": _backups(instance, around),
        "tags": list(instance.tags),
        "group": "",
        "hypervisor": "kvm",
        "host_uuid": "",
        "has_user_data": bool(instance.user_data.strip()),
        "watchdog_enabled": instance.restart_policy == "always",
        "disk_encryption": "disabled",
        "interface_generation": "legacy_config",
        "lke_cluster_id": None,
        "locks": [],
        "maintenance_policy": POLICY,
        "placement_group": None,
        "capabilities": [],
        "site_type": "core",
        "created": when(instance.created_at),
        "updated": when(instance.updated_at),
    }


def _image(instance: Instance, around: Surroundings) -> str | None:
    for key in (instance.snapshot_id or "", instance.image):
        if (found := around.images.get(key)) is not None:
            alias = around.aliases.get(record_of(found))
            return id_of(found, alias) if alias is not None else None
    return None


def public4(instance: Instance, around: Surroundings) -> list[str]:
    """Reserved addresses are public ones. Without one it is reached by what it has in its network."""
    held = [one.address for one in around.addresses.get(instance.id, ()) if ":" not in one.address]
    return held or [port.ipv4 for port in instance.ports[:1] if port.ipv4]


def _private4(instance: Instance, around: Surroundings) -> list[str]:
    own = [port.ipv4 for port in instance.ports if port.ipv4]
    return [one for one in own if one not in public4(instance, around)]


def public6(instance: Instance, around: Surroundings) -> str | None:
    held = [one.address for one in around.addresses.get(instance.id, ()) if ":" in one.address]
    found = held or [port.ipv6 for port in instance.ports[:1] if port.ipv6]
    return f"{found[0]}/128" if found else None


def _backups(instance: Instance, around: Surroundings) -> dict[str, Any]:
    schedule, last = around.schedules.get(instance.id), around.last_backups.get(instance.id)
    day = window = None
    if schedule is not None:
        day = "Monday" if schedule.every is Every.WEEKLY else "Scheduling"
        window = f"W{schedule.at_minute // 60 // _HOURS * _HOURS}"
    return {
        "enabled": schedule is not None,
        "available": last is not None,
        "last_successful": None if last is None else when(last.created_at),
        "schedule": {"day": day, "window": window},
    }
