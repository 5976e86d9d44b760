"""What all resources have there: a name, an ARN, a code for support, a location."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from insula.base.errors import Conflict, InvalidInput, NotFound
from insula.control.actions import InstanceFilter
from insula.domain.access import SshKey
from insula.domain.address import ReservedAddress
from insula.domain.alias import Alias
from insula.domain.instance import Instance, InstanceState
from insula.domain.snapshot import Snapshot, SnapshotState
from insula.domain.volume import Volume, VolumeState
from insula.frontends.dialects import public_ips
from insula.frontends.dialects.dialect import Ask
from insula.frontends.dialects.lightsail import regions
from insula.frontends.dialects.lightsail.dialect import when
from insula.frontends.dialects.records import ALL, name_of, uuid_of

ANY = InstanceFilter()
INSTANCE, DISK, SNAPSHOT, KEY_PAIR, STATIC_IP = "Instance", "Disk", "InstanceSnapshot", "KeyPair", "StaticIp"
_LONGEST_NAME = 255


class HasId(Protocol):
    @property
    def id(self) -> str: ...


_T = TypeVar("_T", bound=HasId)


@dataclass(frozen=True)
class Named(Generic[_T]):
    """A record of ours with its name there."""

    thing: _T
    alias: Alias
    name: str


def head(kind: str, found: Named[Any], location: dict[str, str], created_at: datetime) -> dict[str, Any]:
    """The members that all have."""
    account = account_of(found.thing.project)
    return {
        "name": found.name,
        "arn": arn(kind, found.thing.project, found.thing.id, location["regionName"]),
        "supportCode": f"{account}/{found.thing.id}",
        "createdAt": when(created_at),
        "location": location,
        "resourceType": kind,
    }


def arn(kind: str, project: str, record: str, region: str) -> str:
    return f"arn:aws:lightsail:{region}:{account_of(project)}:{kind}/{uuid_of(record)}"


def account_of(project: str) -> str:
    """Twelve digits, which are always the same for a project."""
    return f"{int.from_bytes(hashlib.sha256(f'project {project}'.encode()).digest()[:8]) % 10**12:012}"


async def instances(ask: Ask) -> list[Named[Instance]]:
    """All of the project; what is being deleted is gone already."""
    found = (await ask.actions.instances.list(ask.caller, limit=ALL)).items
    return await _named(ask, [one for one in found if one.state is not InstanceState.DELETING])


async def disks(ask: Ask) -> list[Named[Volume]]:
    found = (await ask.actions.volumes.list(ask.caller, limit=ALL, used=False)).items
    return await _named(ask, [one for one in found if one.state is not VolumeState.DELETING])


async def snapshots(ask: Ask) -> list[Named[Snapshot]]:
    found = (await ask.actions.snapshots.list(ask.caller, limit=ALL)).items
    return await _named(ask, [one for one in found if one.state is not SnapshotState.DELETING])


async def key_pairs(ask: Ask) -> list[Named[SshKey]]:
    return await _named(ask, (await ask.actions.keys.list(ask.caller)).items)


async def static_ips(ask: Ask) -> list[Named[ReservedAddress]]:
    """Ours have no names of their own."""
    found = await public_ips.reserved(ask)
    aliases = await ask.actions.aliases.of(one.id for one in found)
    named = [(one, aliases[one.id]) for one in found]
    return [Named(one, alias, alias.facts.get("name") or _dashed(one.address)) for one, alias in named]


async def everything(ask: Ask) -> list[Named[Any]]:
    """All that has a name."""
    there = await asyncio.gather(instances(ask), disks(ask), snapshots(ask), key_pairs(ask), static_ips(ask))
    return [one for found in there for one in found]


async def instance(ask: Ask, name: str) -> Named[Instance]:
    """Raises NotFound, as do the others."""
    return _one(await instances(ask), INSTANCE, name)


async def disk(ask: Ask, name: str) -> Named[Volume]:
    return _one(await disks(ask), DISK, name)


async def snapshot(ask: Ask, name: str) -> Named[Snapshot]:
    return _one(await snapshots(ask), SNAPSHOT, name)


async def key_pair(ask: Ask, name: str) -> Named[SshKey]:
    return _one(await key_pairs(ask), KEY_PAIR, name)


async def static_ip(ask: Ask, name: str) -> Named[ReservedAddress]:
    return _one(await static_ips(ask), STATIC_IP, name)


def check_free(names: Sequence[str], taken: Sequence[Named[Any]]) -> None:
    """Raises InvalidInput for what can be no name, and Conflict for one that is taken or wanted twice."""
    for name in names:
        if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
            raise InvalidInput(
                f"{name[:80]!r} cannot be a name",
                why=f"A name has 1 to {_LONGEST_NAME} printable characters",
                todo="Choose another",
            )
    used = [name for name in names if names.count(name) > 1 or any(one.name == name for one in taken)]
    if used:
        raise Conflict(
            f"Some names are already in use: {', '.join(dict.fromkeys(used))[:200]}",
            why="A name is one thing's",
            todo="Choose others",
            code="name-taken",
        )


def where_of(alias: Alias) -> dict[str, str]:
    """The zone that was asked for."""
    return regions.in_zone(alias.facts.get("zone", ""))


async def _named(ask: Ask, found: Sequence[Any]) -> list[Named[Any]]:
    aliases = await ask.actions.aliases.of(one.id for one in found)
    return [Named(one, aliases[one.id], name_of(aliases[one.id], one.name)) for one in found]


def _one(found: Sequence[Named[_T]], kind: str, name: str) -> Named[_T]:
    for one in found:
        if one.name == name:
            return one
    raise missing(kind, name)


def missing(kind: str, name: str) -> NotFound:
    return NotFound(
        f"The {kind} does not exist: {name[:80]}",
        why="Nothing of the project has this name",
        todo="List what there is",
        code="unknown-resource",
    )


def _dashed(address: str) -> str:
    return "StaticIp-" + address.replace(".", "-")
