"""Instances, with all that is told of them there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from insula.domain.address import ReservedAddress
from insula.domain.image import Image
from insula.domain.instance import Instance, InstanceState
from insula.domain.schedule import BackupSchedule
from insula.domain.volume import Volume
from insula.frontends.dialects import public_ips
from insula.frontends.dialects.dialect import Ask
from insula.frontends.dialects.lightsail import blueprints, bundles, disk_view, tags
from insula.frontends.dialects.lightsail.dialect import when
from insula.frontends.dialects.lightsail.ports import Opening, all_openings
from insula.frontends.dialects.lightsail.resource import INSTANCE, Named, disks, head, where_of

USER = "root"
_S = InstanceState
_PENDING, _RUNNING = {"code": 0, "name": "pending"}, {"code": 16, "name": "running"}
_STOPPING, _STOPPED = {"code": 64, "name": "stopping"}, {"code": 80, "name": "stopped"}
_GOING = {"code": 32, "name": "shutting-down"}
_STATES: Mapping[InstanceState, Mapping[str, Any]] = {
    _S.CREATING: _PENDING,
    _S.STARTING: _PENDING,
    _S.STOPPING: _STOPPING,
    _S.HIBERNATING: _STOPPING,
    _S.STOPPED: _STOPPED,
    _S.HIBERNATED: _STOPPED,
    _S.FAILED: _STOPPED,
    _S.DELETING: _GOING,
}
# Of tokens that guests may do without, and addresses of IPv4 only.
_METADATA = {
    "state": "applied",
    "httpTokens": "optional",
    "httpEndpoint": "enabled",
    "httpPutResponseHopLimit": 1,
    "httpProtocolIpv6": "disabled",
}


@dataclass(frozen=True)
class Addresses:
    """What leads to an instance. `is_static` says whether the public one is the account's."""

    private: str
    public: str
    ipv6: tuple[str, ...]
    is_static: bool


@dataclass(frozen=True)
class _Around:
    """Everything of the project that instances are shown with."""

    disks: Mapping[str, list[Named[Volume]]]
    addresses: Mapping[str, list[ReservedAddress]]
    own: frozenset[str]
    openings: Mapping[str, Sequence[Opening]]
    schedules: Mapping[str, BackupSchedule]
    images: Mapping[str, Image]


async def views(ask: Ask, found: Sequence[Named[Instance]], *, with_health: bool = False) -> list[dict[str, Any]]:
    if not found:
        return []
    attached: defaultdict[str, list[Named[Volume]]] = defaultdict(list)
    for disk in await disks(ask):
        attached[disk.thing.instance_id or ""].append(disk)
    around = _Around(
        disks=attached,
        addresses=_grouped((await ask.actions.addresses.list(ask.caller)).items),
        own=frozenset(one.id for one in await public_ips.own(ask)),
        openings=await all_openings(ask, [one.thing for one in found]),
        schedules={one.instance_id: one for one in await ask.actions.backup_schedules.list(ask.caller)},
        images={image.key: image for image in await blueprints.offered(ask)},
    )
    shown = [_view(one, around) for one in found]
    if with_health:
        for view, one in zip(shown, found, strict=True):
            view["instanceStatus"] = view["systemStatus"] = _health(one.thing)
    return shown


def state_of(instance: Instance) -> dict[str, Any]:
    return dict(_STATES.get(instance.state, _RUNNING))


async def addresses_of(ask: Ask, instance: Instance) -> Addresses:
    found = _grouped((await ask.actions.addresses.list(ask.caller)).items)
    own = frozenset(one.id for one in await public_ips.own(ask))
    return _addresses(instance, found.get(instance.id, ()), own)


def _addresses(instance: Instance, found: Sequence[ReservedAddress], own: frozenset[str]) -> Addresses:
    """A static address is the public one. Without any, it is reached by what it has in its network."""
    port = instance.ports[0] if instance.ports else None
    private = port.ipv4 if port is not None else ""
    ipv4 = sorted((one for one in found if ":" not in one.address), key=lambda one: one.id in own)
    ipv6 = [one.address for one in found if ":" in one.address]
    ipv6 += [port.ipv6] if port is not None and port.ipv6 and not ipv6 else []
    public = ipv4[0].address if ipv4 else private
    return Addresses(private, public, tuple(ipv6), bool(ipv4) and ipv4[0].id not in own)


def _grouped(items: Sequence[ReservedAddress]) -> Mapping[str, list[ReservedAddress]]:
    groups: defaultdict[str, list[ReservedAddress]] = defaultdict(list)
    for item in items:
        groups[item.instance_id or ""].append(item)
    return groups


def _view(found: Named[Instance], around: _Around) -> dict[str, Any]:
    instance = found.thing
    image = around.images.get(instance.image)
    size = bundles.OFFER.of(instance.plan, instance.resources, found.alias.facts.get("bundle", ""))
    reached = _addresses(instance, around.addresses.get(instance.id, ()), around.own)
    schedule = around.schedules.get(instance.id)
    shown = head(INSTANCE, found, where_of(found.alias), instance.created_at) | {
        "tags": tags.views(instance.tags, found.alias.facts),
        "blueprintId": blueprints.id_of(instance.image if image is None else image.reference),
        "blueprintName": instance.image if image is None else image.title,
        "bundleId": size.slug,
        "addOns": [] if schedule is None else [add_on(schedule)],
        "isStaticIp": reached.is_static,
        "ipAddressType": "dualstack" if reached.ipv6 else "ipv4",
        "ipv6Addresses": list(reached.ipv6),
        "hardware": _hardware(found, around.disks.get(instance.id, ())),
        "networking": {
            "monthlyTransfer": {"gbPerMonthAllocated": 0},
            "ports": [_port(one) for one in around.openings[instance.id]],
        },
        "state": state_of(instance),
        "username": USER,
        "metadataOptions": _METADATA,
    }
    if key := found.alias.facts.get("key", ""):
        shown["sshKeyName"] = key
    if reached.private:
        shown |= {"privateIpAddress": reached.private, "publicIpAddress": reached.public}
    return shown


def add_on(schedule: BackupSchedule) -> dict[str, Any]:
    """Automatic snapshots are backups by schedule."""
    at = f"{schedule.at_minute // 60:02}:{schedule.at_minute % 60:02}"
    following = f"{schedule.next_at:%H:%M}"
    return {"name": "AutoSnapshot", "status": "Enabled", "snapshotTimeOfDay": at, "nextSnapshotTimeOfDay": following}


def _hardware(found: Named[Instance], attached: Sequence[Named[Volume]]) -> dict[str, Any]:
    resources = found.thing.resources
    system = {
        "createdAt": when(found.thing.created_at),
        "sizeInGb": resources.disk_gib,
        "isSystemDisk": True,
        "iops": resources.disk_iops,
        "attachedTo": found.name,
        "isAttached": True,
        "attachmentState": "attached",
        "state": "in-use",
    }
    others = [disk_view.view(one, found.name) for one in attached]
    return {"cpuCount": resources.vcpus, "disks": [system, *others], "ramSizeInGb": resources.memory_mib / 1024}


def _port(opening: Opening) -> dict[str, Any]:
    everybody = {*opening.cidrs, *opening.ipv6_cidrs} >= {"0.0.0.0/0", "::/0"}
    return opening.view | {
        "accessFrom": "Anywhere (0.0.0.0/0 and ::/0)" if everybody else "Custom",
        "accessType": "Public",
        "commonName": "",
        "accessDirection": "inbound",
    }


def _health(instance: Instance) -> dict[str, Any]:
    """One that runs has answered."""
    if instance.state is not InstanceState.RUNNING:
        return {"status": "not-applicable", "details": []}
    return {"status": "ok", "details": [{"name": "reachability", "status": "passed"}]}
