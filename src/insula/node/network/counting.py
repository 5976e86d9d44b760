"""From the packet filter's counters, and the devices', to what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from insula.domain.firewall import Direction
from insula.domain.network import Space
from insula.node.network.rules.compile import default_counter, device_of
from insula.node.network.rules.matching import counter_name
from insula.node.network.rules.table import Count
from insula.protocol.network import PortTraffic, SpaceTraffic, Traffic

_NOTHING = (0, 0, 0, 0)
_HEADER_BYTES = 14  # of Ethernet


class _Counter(msgspec.Struct):
    name: str
    packets: int
    bytes: int


class _Item(msgspec.Struct):
    counter: _Counter | None = None


class _Listing(msgspec.Struct):
    nftables: list[_Item]


# Made while the module is imported: msgspec crashes when two threads look at a type for the first time at once.
_DECODER = msgspec.json.Decoder(_Listing)


def counts_in(listing: str) -> dict[str, Count]:
    """By the counters' names, from what `nft --json list counters` prints."""
    items = _DECODER.decode(listing).nftables
    return {item.counter.name: Count(item.counter.packets, item.counter.bytes) for item in items if item.counter}


def traffic_of(space: Space, counts: dict[str, Count], devices: Mapping[str, Sequence[int]]) -> SpaceTraffic:
    """What the space's ports, rules and defaults have counted.

    `devices` are packets and bytes that came in at each device and that left there, Ethernet's headers included: the
    kernel counts these anyway, and a packet that looks up counters of its own costs time.
    """

    def of(name: str) -> Traffic:
        count = counts.get(name, Count(0, 0))
        return Traffic(count.packets, count.byte_count)

    dropped = {}
    for member in space.members:
        names = [default_counter(member.instance_id, direction) for direction in Direction]
        if any(name in counts for name in names):
            parts = [of(name) for name in names]
            dropped[member.instance_id] = Traffic(sum(p.packets for p in parts), sum(p.byte_count for p in parts))
    return SpaceTraffic(
        ports=cards_of(space, devices),
        rules={rule.id: of(counter_name(rule.id)) for firewall in space.firewalls for rule in firewall.rules},
        dropped=dropped,
        forged=of("forged"),
    )


def cards_of(space: Space, devices: Mapping[str, Sequence[int]]) -> Mapping[str, PortTraffic]:
    """What the devices of the space's ports have counted."""
    networks = {network.id: network for network in space.networks}
    return {port.id: _port(devices.get(device_of(port, networks[port.network_id]), _NOTHING)) for port in space.ports}


def _port(device: Sequence[int]) -> PortTraffic:
    """What comes in at a port's device is what the instance has sent."""
    sent, sent_bytes, received, received_bytes = device
    return PortTraffic(
        Traffic(sent, sent_bytes - sent * _HEADER_BYTES), Traffic(received, received_bytes - received * _HEADER_BYTES)
    )
