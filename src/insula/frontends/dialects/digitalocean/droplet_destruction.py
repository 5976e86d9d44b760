"""Droplets destroyed with what belongs to them: volumes, snapshots and reserved IPs."""

from __future__ import annotations

from typing import Any

import msgspec

from insula.base.errors import InvalidInput
from insula.domain.address import ReservedAddress
from insula.domain.instance import Instance
from insula.domain.snapshot import Snapshot
from insula.domain.volume import Volume
from insula.frontends.dialects import public_ips, sources
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.digitalocean.dialect import DIALECT
from insula.frontends.dialects.digitalocean.find import droplet_of
from insula.frontends.dialects.records import ALL, finished, numbers, uuid_of
from insula.frontends.dialects.removal import remove

_PLACE = "/v2/droplets/{droplet_id}/destroy_with_associated_resources"


class _Chosen(msgspec.Struct):
    reserved_ips: list[str] = []
    floating_ips: list[str] = []
    snapshots: list[str] = []
    volumes: list[str] = []
    volume_snapshots: list[str] = []


class _Belongings(msgspec.Struct):
    addresses: list[ReservedAddress]
    snapshots: list[Snapshot]
    volumes: list[Volume]


async def _belongings(ask: Ask, instance: Instance) -> _Belongings:
    found = await ask.actions.volumes.list(ask.caller, limit=ALL, instance=instance.id, used=False)
    return _Belongings(
        [one for one in await public_ips.reserved(ask) if one.instance_id == instance.id],
        [one for one in (await sources.shelf(ask)).snapshots if one.instance_id == instance.id],
        list(found.items),
    )


@DIALECT.operation("GET", _PLACE, "droplets_list_associatedResources")
async def list_associated(ask: Ask) -> Answer:
    found = await _belongings(ask, await droplet_of(ask))
    known = await numbers(ask, [one.id for one in found.snapshots])
    addresses = [_view(one.address, one.address) for one in found.addresses]
    return Answer(
        {
            "reserved_ips": addresses,
            "floating_ips": addresses,
            "snapshots": [_view(str(known[one.id]), one.name) for one in found.snapshots],
            "volumes": [_view(uuid_of(one.id), one.name) for one in found.volumes],
            "volume_snapshots": [],
        }
    )


def _view(record: str, name: str) -> dict[str, Any]:
    return {"id": record, "name": name, "cost": "0.00"}


@DIALECT.operation("DELETE", f"{_PLACE}/dangerous", "droplets_destroy_withAssociatedResourcesDangerous")
async def destroy_with_all(ask: Ask) -> Answer:
    if ask.headers.get("x-dangerous", "").lower() != "true":
        raise InvalidInput(
            "This destroys all that belongs to the droplet",
            why="The header X-Dangerous does not say that it is meant",
            todo="Send X-Dangerous: true",
        )
    instance = await droplet_of(ask)
    await _destroy(ask, instance, await _belongings(ask, instance))
    return Answer(status=202)


@DIALECT.operation("DELETE", f"{_PLACE}/selective", "droplets_destroy_withAssociatedResourcesSelective")
async def destroy_with_some(ask: Ask) -> Answer:
    instance, chosen = await droplet_of(ask), ask.read(_Chosen)
    found = await _belongings(ask, instance)
    known = await numbers(ask, [one.id for one in found.snapshots])
    addresses = {*chosen.reserved_ips, *chosen.floating_ips}
    wanted = _Belongings(
        [one for one in found.addresses if one.address in addresses],
        [one for one in found.snapshots if str(known[one.id]) in chosen.snapshots],
        [one for one in found.volumes if uuid_of(one.id) in chosen.volumes],
    )
    await _destroy(ask, instance, wanted)
    return Answer(status=202)


async def _destroy(ask: Ask, instance: Instance, belongings: _Belongings) -> None:
    await finished(ask, (await remove(ask, instance)).id)
    for address in belongings.addresses:
        await ask.actions.addresses.unassign(ask.caller, address.id)
        await ask.actions.addresses.release(ask.caller, address.id)
    for snapshot in belongings.snapshots:
        await finished(ask, (await ask.actions.snapshots.delete(ask.caller, snapshot.id)).id)
    for volume in belongings.volumes:
        await finished(ask, (await ask.actions.volumes.delete(ask.caller, volume.id)).id)
