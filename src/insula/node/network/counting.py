"""From the packet filter's counters to what they mean."""

from __future__ import annotations

import msgspec

from insula.domain.firewall import Direction
from insula.domain.network import Space
from insula.node.network.rules.compile import default_counter, received_counter, sent_counter
from insula.node.network.rules.matching import counter_name
from insula.node.network.rules.table import Count
from insula.protocol.network import PortTraffic, SpaceTraffic, Traffic


class _Counter(msgspec.Struct):
    name: str
    packets: int
    bytes: int


class _Item(msgspec.Struct):
    counter: _Counter | None = None


class _Listing(msgspec.Struct):
    nftables: list[_Item]


def counts_in(listing: str) -> dict[str, Count]:
    """By the counters' names, from what `nft --json list counters` prints."""
    items = msgspec.json.decode(listing, type=_Listing).nftables
    return {item.counter.name: Count(item.counter.packets, item.counter.bytes) for item in items if item.counter}


def traffic_of(space: Space, counts: dict[str, Count]) -> SpaceTraffic:
    """What the space's ports, rules and defaults have counted."""

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
        ports={port.id: PortTraffic(of(sent_counter(port)), of(received_counter(port))) for port in space.ports},
        rules={rule.id: of(counter_name(rule.id)) for firewall in space.firewalls for rule in firewall.rules},
        dropped=dropped,
        forged=of("forged"),
    )
