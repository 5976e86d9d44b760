"""Guests get their addresses, their router and each other's names, and nobody else's."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import replace

from insula.domain.network import Member, Network
from tests.network import clients, frames
from tests.network.world import World, port_of, space_of

_RED = Network("net_red", 1, "10.1.0.0/24", "fd00:1::/64", mtu=1400)
_CLOSED = Network("net_closed", 2, "10.2.0.0/24", "fd00:2::/64", gateway=False)
_PORTS = (port_of(1, _RED), port_of(2, _RED), port_of(3, _CLOSED), replace(port_of(4, _CLOSED), instance_id="ins_1"))
_SPACE = space_of([_RED, _CLOSED], _PORTS)


async def test_a_guest_gets_its_reserved_address_whatever_it_calls_itself(world: World) -> None:
    await world.apply(_SPACE)
    for name, client_id in (("prt_1", b""), ("prt_2", b"\xffsomething"), ("prt_2", b"\xffsomething else")):
        lease = await clients.dhcp(world, name, client_id)
        assert lease.address == world.port(name).ipv4
        assert (lease.addresses(1), lease.addresses(3), lease.addresses(6)) == (
            ["255.255.255.0"],
            ["10.1.0.1"],
            ["10.1.0.1"],
        )
        assert lease.options[26] == struct.pack("!H", 1400)
        assert (lease.text(12), lease.text(15)) == (f"ins-{name[-1]}", "internal")


async def test_without_a_gateway_there_is_only_the_way_to_the_metadata(world: World) -> None:
    await world.apply(_SPACE)
    lease = await clients.dhcp(world, "prt_3")
    assert lease.address == "10.2.0.19"
    assert lease.addresses(3) == []
    assert lease.options[121] == bytes([32, 169, 254, 169, 254, 10, 2, 0, 1])
    advertisement = await clients.router_advertisement(world, "prt_3")
    assert struct.unpack_from("!H", advertisement, 6)[0] == 0, "its lifetime: it is no default router"


async def test_only_an_instances_first_card_leads_outside(world: World) -> None:
    opened = replace(_CLOSED, gateway=True)
    await world.apply(replace(_SPACE, networks=(_RED, opened)))
    assert (await clients.dhcp(world, "prt_3")).addresses(3) == ["10.2.0.1"]
    assert (await clients.dhcp(world, "prt_1")).addresses(3) == ["10.1.0.1"]
    further = await clients.dhcp(world, "prt_4")
    assert (further.address, further.addresses(3)) == ("10.2.0.20", [])


async def test_ipv6_addresses_come_by_dhcp_and_the_router_by_advertisement(world: World) -> None:
    await world.apply(_SPACE)
    advertisement = await clients.router_advertisement(world, "prt_1")
    assert advertisement[5] & 0x80, "addresses are managed"
    assert struct.unpack_from("!H", advertisement, 6)[0] == 1800
    prefix = advertisement.index(b"\x03\x04\x40")
    assert advertisement[prefix + 3] & 0xC0 == 0, (
        "neither on the guest's own segment nor for addresses of its own making"
    )
    assert await clients.dhcp6(world, "prt_1") == "fd00:1::11"
    assert await clients.dhcp6(world, "prt_2") == "fd00:1::12"


async def test_names_lead_to_addresses(world: World) -> None:
    await world.apply(_SPACE)
    assert await clients.resolve(world, "prt_1", "ins-2.internal", "10.1.0.1") == ["10.1.0.18"]
    assert await clients.resolve(world, "prt_1", "ins-2.internal", "fd00:1::1") == ["fd00:1::12"]
    # One that is in both networks is found in the one that the question comes from.
    assert await clients.resolve(world, "prt_2", "ins-1.internal", "10.1.0.1") == ["10.1.0.17"]
    assert await clients.resolve(world, "prt_3", "ins-1.internal", "10.2.0.1") == ["10.2.0.20"]
    assert await clients.resolve(world, "prt_2", "nobody.internal", "10.1.0.1") == []


async def test_changes_are_served_at_once_also_an_address_that_another_had(world: World) -> None:
    await world.apply(_SPACE)
    assert (await clients.dhcp(world, "prt_2")).address == "10.1.0.18"
    heir = replace(port_of(5, _RED), ipv4="10.1.0.18", ipv6="fd00:1::12")
    members = (*_SPACE.members, Member("ins_5", "heir"))
    ports = tuple(port for port in _PORTS if port.id != "prt_2")
    await world.apply(replace(_SPACE, ports=(*ports, heir), members=members))
    assert (await clients.dhcp(world, "prt_5")).address == "10.1.0.18"
    assert await clients.resolve(world, "prt_1", "heir.internal", "10.1.0.1") == ["10.1.0.18"]
    assert await clients.resolve(world, "prt_1", "ins-2.internal", "10.1.0.1") == []
    more = port_of(6, _RED)
    await world.apply(replace(_SPACE, ports=(*ports, heir, more), members=(*members, Member("ins_6", "more"))))
    assert (await clients.dhcp(world, "prt_6")).address == "10.1.0.22"


async def test_a_guest_gets_no_address_that_is_not_its_own(world: World) -> None:
    """With another card's hardware address it is not even heard."""
    await world.apply(_SPACE)
    await world.clear()
    world.send("prt_1", clients.dhcp_frame(world.port("prt_2").mac, 1))
    await asyncio.sleep(0.3)
    assert not any(map(clients.read_dhcp, world.frames_at("prt_1")))
    # An address of another that it asks for with its own is refused.
    world.send("prt_1", clients.dhcp_frame(world.port("prt_1").mac, 3, (50, bytes([10, 1, 0, 18]))))
    await asyncio.sleep(0.3)
    answers = [lease for lease in map(clients.read_dhcp, world.frames_at("prt_1")) if lease]
    assert [lease.options[53] for lease in answers] in ([], [b"\x06"])
    assert world.frames_at("prt_2") == [] or all(
        packet is None or packet.protocol != frames.UDP for packet in map(frames.parse, world.frames_at("prt_2"))
    )
