"""Droplets: our instances, with all that is told of them there."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from insula.domain.address import ReservedAddress
from insula.domain.alias import Alias
from insula.domain.backup import Backup
from insula.domain.image import Image
from insula.domain.instance import Instance, InstanceState
from insula.domain.project_network import ProjectNetwork
from insula.domain.schedule import BackupSchedule
from insula.domain.snapshot import Snapshot
from insula.domain.volume import Volume
from insula.frontends.dialects import sources
from insula.frontends.dialects.dialect import Ask
from insula.frontends.dialects.digitalocean import images, regions, sizes
from insula.frontends.dialects.digitalocean.dialect import when
from insula.frontends.dialects.records import ALL, name_of, uuid_of

WINDOW_HOURS = 4
_S = InstanceState
_OFF = frozenset({_S.STOPPED, _S.HIBERNATED, _S.FAILED})
_SETTLED = frozenset({_S.RUNNING, _S.PAUSED, _S.STOPPED, _S.HIBERNATED, _S.FAILED})


@dataclass
class Surroundings:
    """Everything of the project that droplets are shown with."""

    networks: Mapping[str, ProjectNetwork] = field(default_factory=dict)
    volumes: Mapping[str, list[Volume]] = field(default_factory=dict)
    snapshots: Mapping[str, list[Snapshot]] = field(default_factory=dict)
    backups: Mapping[str, list[Backup]] = field(default_factory=dict)
    schedules: Mapping[str, BackupSchedule] = field(default_factory=dict)
    addresses: Mapping[str, list[ReservedAddress]] = field(default_factory=dict)
    images: Mapping[str, Image] = field(default_factory=dict)
    aliases: Mapping[str, Alias] = field(default_factory=dict)


async def surroundings(ask: Ask, instances: Sequence[Instance]) -> Surroundings:
    """Read once for all droplets of an answer."""
    (volumes, snapshots, backups, schedules), (networks, addresses, offered) = await asyncio.gather(
        asyncio.gather(
            ask.actions.volumes.list(ask.caller, limit=ALL, used=False),
            ask.actions.snapshots.list(ask.caller, limit=ALL),
            ask.actions.backups.list(ask.caller, limit=ALL),
            ask.actions.backup_schedules.list(ask.caller),
        ),
        asyncio.gather(
            ask.actions.networks.list(ask.caller),
            ask.actions.addresses.list(ask.caller),
            ask.actions.images.list(ask.caller),
        ),
    )
    found = Surroundings(
        networks={one.id: one for one in networks.items},
        volumes=_grouped(volumes.items),
        snapshots=_grouped(snapshots.items),
        backups=_grouped(backups.items),
        schedules={one.instance_id: one for one in schedules},
        addresses=_grouped(addresses.items),
        images={image.key: image for image in offered.items},
    )
    records = [one.id for one in instances]
    for one in instances:
        records += [kept.id for kept in (*found.snapshots.get(one.id, ()), *found.backups.get(one.id, ()))]
        if one.image in found.images:
            records.append(sources.record_of(found.images[one.image]))
    found.aliases = await ask.actions.aliases.of(records)
    return found


def _grouped(items: Sequence[Any]) -> Mapping[str, list[Any]]:
    groups: defaultdict[str, list[Any]] = defaultdict(list)
    for item in items:
        if item.instance_id is not None:
            groups[item.instance_id].append(item)
    return groups


async def views(ask: Ask, instances: Sequence[Instance]) -> list[dict[str, Any]]:
    if not instances:
        return []
    around = await surroundings(ask, instances)
    return [_view(one, around) for one in instances]


async def view(ask: Ask, instance: Instance) -> dict[str, Any]:
    return (await views(ask, [instance]))[0]


def status_of(state: InstanceState) -> str:
    if state is _S.CREATING:
        return "new"
    return "off" if state in _OFF else "active"


def _view(instance: Instance, around: Surroundings) -> dict[str, Any]:
    alias = around.aliases[instance.id]
    region = alias.facts.get("region", regions.DEFAULT)
    size = sizes.OFFER.of(instance.plan, instance.resources, alias.facts.get("size", ""))
    schedule = around.schedules.get(instance.id)
    image = around.images.get(instance.image)
    return {
        "id": alias.number,
        "name": name_of(alias, instance.name),
        "memory": instance.resources.memory_mib,
        "vcpus": instance.resources.vcpus,
        "disk": instance.resources.disk_gib,
        "disk_info": sizes.disk_info(instance.resources.disk_gib),
        "locked": instance.state not in _SETTLED,
        "status": status_of(instance.state),
        "kernel": None,
        "created_at": when(instance.created_at),
        "features": _features(instance, schedule is not None, alias),
        "backup_ids": [around.aliases[one.id].number for one in around.backups.get(instance.id, ())],
        "next_backup_window": None if schedule is None else window(schedule),
        "snapshot_ids": [around.aliases[one.id].number for one in around.snapshots.get(instance.id, ())],
        "image": {} if image is None else images.view(image, around.aliases[sources.record_of(image)]),
        "volume_ids": [uuid_of(one.id) for one in around.volumes.get(instance.id, ())],
        "size": sizes.view(size, list(regions.SLUGS)),
        "size_slug": size.slug,
        "networks": _networks(instance, around),
        "region": regions.view(region),
        "tags": list(instance.tags),
        "vpc_uuid": uuid_of(instance.ports[0].network_id) if instance.ports else "",
    }


def window(schedule: BackupSchedule) -> dict[str, str]:
    """When the next backup is made."""
    return {"start": when(schedule.next_at), "end": when(schedule.next_at + timedelta(hours=WINDOW_HOURS))}


def _features(instance: Instance, has_backups: bool, alias: Alias) -> list[str]:
    found = ["backups"] if has_backups else []
    found += ["ipv6"] if any(port.ipv6 for port in instance.ports) else []
    found += ["private_networking"] if instance.ports else []
    return [*found, *(name for name in ("monitoring", "droplet_agent") if alias.facts.get(name))]


def _networks(instance: Instance, around: Surroundings) -> dict[str, list[dict[str, Any]]]:
    """Reserved addresses are public ones. Without one it is reached by what it has in its network."""
    v4: list[dict[str, Any]] = []
    v6: list[dict[str, Any]] = []
    for address in around.addresses.get(instance.id, ()):
        if ":" in address.address:
            v6.append({"ip_address": address.address, "netmask": 128, "gateway": address.address, "type": "public"})
        else:
            mask = "255.255.255.255"
            v4.append({"ip_address": address.address, "netmask": mask, "gateway": address.address, "type": "public"})
    for place, port in enumerate(instance.ports):
        network = around.networks.get(port.network_id)
        if network is None:
            continue
        if port.ipv4:
            own = _own4(port.ipv4, network)
            v4 += [own | {"type": "public"}] if place == 0 and not v4 else []
            v4.append(own | {"type": "private"})
        if port.ipv6 and place == 0 and not v6:
            prefix = ipaddress.ip_network(network.ipv6)
            v6.append(
                {
                    "ip_address": port.ipv6,
                    "netmask": prefix.prefixlen,
                    "gateway": network.network.router6,
                    "type": "public",
                }
            )
    return {"v4": v4, "v6": v6}


def _own4(address: str, network: ProjectNetwork) -> dict[str, Any]:
    prefix = ipaddress.ip_network(network.ipv4)
    return {"ip_address": address, "netmask": str(prefix.netmask), "gateway": network.network.router4}
