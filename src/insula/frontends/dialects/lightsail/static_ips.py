"""Static IPs: reserved addresses, which have names there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from insula.control.actions.addresses import AddressWish
from insula.domain.address import ReservedAddress
from insula.domain.operation import Verb
from insula.frontends.dialects import history
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.lightsail import operations, regions
from insula.frontends.dialects.lightsail.dialect import New, answer, operation, page
from insula.frontends.dialects.lightsail.resource import (
    STATIC_IP,
    Named,
    check_free,
    head,
    instance,
    instances,
    static_ip,
    static_ips,
)


class _Which(New):
    static_ip_name: str


class _Attach(_Which):
    instance_name: str


async def _holders(ask: Ask) -> Mapping[str, str]:
    return {one.thing.id: one.name for one in await instances(ask)}


def _view(found: Named[ReservedAddress], holders: Mapping[str, str]) -> dict[str, Any]:
    holder = holders.get(found.thing.instance_id or "", "")
    shown = head(STATIC_IP, found, _location(found), found.thing.created_at)
    shown |= {"ipAddress": found.thing.address, "isAttached": bool(holder)}
    return shown | ({"attachedTo": holder} if holder else {})


def _location(found: Named[ReservedAddress]) -> dict[str, str]:
    return regions.in_region(found.alias.facts.get("region", ""))


@operation("GetStaticIps")
async def get_static_ips(ask: Ask) -> Answer:
    found = sorted(await static_ips(ask), key=lambda one: one.thing.id)
    shown, more = page(ask, found, lambda one: one.thing.id)
    holders = await _holders(ask)
    return answer(staticIps=[_view(one, holders) for one in shown], **more)


@operation("GetStaticIp")
async def get_static_ip(ask: Ask) -> Answer:
    found = await static_ip(ask, ask.read(_Which).static_ip_name)
    return answer(staticIp=_view(found, await _holders(ask)))


@operation("AllocateStaticIp")
async def allocate_static_ip(ask: Ask) -> Answer:
    name = ask.read(_Which).static_ip_name
    check_free([name], await static_ips(ask))
    made = await ask.actions.addresses.reserve(ask.caller, AddressWish())
    await ask.actions.aliases.note(made.id, {"name": name, "region": regions.asked(ask)})
    return await _done(ask, await static_ip(ask, name), "AllocateStaticIp")


@operation("AttachStaticIp")
async def attach_static_ip(ask: Ask) -> Answer:
    wish = ask.read(_Attach)
    found, holder = await static_ip(ask, wish.static_ip_name), await instance(ask, wish.instance_name)
    await ask.actions.addresses.assign(ask.caller, found.thing.id, holder.thing.id)
    return await operations.begun(ask, await history.last(ask, found.thing.id, Verb.ASSIGN_ADDRESS))


@operation("DetachStaticIp")
async def detach_static_ip(ask: Ask) -> Answer:
    found = await static_ip(ask, ask.read(_Which).static_ip_name)
    await ask.actions.addresses.unassign(ask.caller, found.thing.id)
    return await operations.begun(ask, await history.last(ask, found.thing.id, Verb.UNASSIGN_ADDRESS))


@operation("ReleaseStaticIp")
async def release_static_ip(ask: Ask) -> Answer:
    """One that leads to an instance is taken from it first, as there."""
    found = await static_ip(ask, ask.read(_Which).static_ip_name)
    if found.thing.instance_id is not None:
        await ask.actions.addresses.unassign(ask.caller, found.thing.id)
    await ask.actions.addresses.release(ask.caller, found.thing.id)
    return await _done(ask, found, "ReleaseStaticIp")


async def _done(ask: Ask, found: Named[ReservedAddress], of: str) -> Answer:
    done = await operations.done(ask, STATIC_IP, found.name, of=of, location=_location(found))
    return answer(operations=[done])
