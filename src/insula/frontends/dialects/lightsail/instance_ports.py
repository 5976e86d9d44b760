"""Public ports of instances: shown, opened, closed and replaced."""

from __future__ import annotations

from insula.domain.instance import Instance
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.lightsail import operations
from insula.frontends.dialects.lightsail.dialect import answer, operation
from insula.frontends.dialects.lightsail.instances import Which
from insula.frontends.dialects.lightsail.ports import (
    PortInfo,
    check_alone,
    check_open,
    opening_of,
    openings,
    own_openings,
    put,
)
from insula.frontends.dialects.lightsail.resource import INSTANCE, Named, instance, where_of


class _One(Which):
    port_info: PortInfo


class _All(Which):
    port_infos: list[PortInfo]


@operation("GetInstancePortStates")
async def get_port_states(ask: Ask) -> Answer:
    found = await instance(ask, ask.read(Which).instance_name)
    return answer(portStates=[one.view | {"state": "open"} for one in await openings(ask, found.thing)])


@operation("OpenInstancePublicPorts")
async def open_ports(ask: Ask) -> Answer:
    """Ports that are open already are open from there, from now on."""
    wish = ask.read(_One)
    found, opened = await instance(ask, wish.instance_name), opening_of(wish.port_info)
    others = [one for one in await own_openings(ask, found.thing) if one.ports != opened.ports]
    await put(ask, found.thing, [*others, opened])
    return await _done(ask, found, "OpenInstancePublicPorts")


@operation("CloseInstancePublicPorts")
async def close_ports(ask: Ask) -> Answer:
    wish = ask.read(_One)
    found, closed = await instance(ask, wish.instance_name), opening_of(wish.port_info)
    check_open(await openings(ask, found.thing), closed)
    left = [one for one in await own_openings(ask, found.thing) if one.ports != closed.ports]
    await check_alone(ask, found.thing, left)
    await put(ask, found.thing, left)
    return await _done(ask, found, "CloseInstancePublicPorts")


@operation("PutInstancePublicPorts")
async def put_ports(ask: Ask) -> Answer:
    wish = ask.read(_All)
    found = await instance(ask, wish.instance_name)
    wanted = list({one.ports: one for one in map(opening_of, wish.port_infos)}.values())
    await check_alone(ask, found.thing, wanted)
    await put(ask, found.thing, wanted)
    return await _done(ask, found, "PutInstancePublicPorts")


async def _done(ask: Ask, found: Named[Instance], of: str) -> Answer:
    return answer(operation=await operations.done(ask, INSTANCE, found.name, of=of, location=where_of(found.alias)))
