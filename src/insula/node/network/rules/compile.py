"""From what is wanted of a space to its table: a pure function."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from insula.domain.firewall import Action, Direction, Firewall, Peer, PeerKind
from insula.domain.network import IpNetwork, Network, Space, firewalls_by_instance, parse_prefix
from insula.domain.port import Port
from insula.node.network.doors import doors_of
from insula.node.network.rules import matching, skeleton
from insula.node.network.rules.table import Chain, Group, Table


def device_of(port: Port, network: Network) -> str:
    """The name of the port's device."""
    return f"p{network.number}-{port.number}"


def network_device(network: Network) -> str:
    """The name of the device that has the router's addresses in the network."""
    return f"n{network.number}"


def default_counter(instance_id: str, direction: Direction) -> str:
    """What an instance's firewalls dropped without a rule."""
    return f"default_{direction.value}_{instance_id}"


@dataclass(frozen=True)
class _Frame:
    """What only networks and ports decide."""

    devices: Mapping[str, str]
    groups: Mapping[str, Group]
    limits: Mapping[str, str]


@dataclass(frozen=True)
class _Compiled:
    firewall: Firewall
    chains: Mapping[str, Chain]
    counters: frozenset[str]
    groups: frozenset[Peer]  # the peers whose addresses stand in sets


class Memory:
    """What was compiled last: most of a space stays as it is from one time to the next."""

    def __init__(self) -> None:
        self._space: Space | None = None
        self._frame: _Frame | None = None
        self._known: dict[str, _Compiled] = {}

    def frame_of(self, space: Space, networks: Mapping[str, Network]) -> _Frame:
        before = self._space
        parts = (space.networks, space.ports, space.joined)
        if self._frame is None or before is None or parts != (before.networks, before.ports, before.joined):
            if before is None or space.networks != before.networks:
                self._known.clear()
            self._frame = _frame(space, networks)
        self._space = space
        return self._frame

    def firewalls_of(self, space: Space, networks: Mapping[str, Network]) -> list[_Compiled]:
        """Comes after :meth:`frame_of`, which forgets them when networks change."""
        known: dict[str, _Compiled] = {}
        for firewall in space.firewalls:
            before = self._known.get(firewall.id)
            if before is None or (before.firewall is not firewall and before.firewall != firewall):
                names = frozenset(matching.counter_name(rule.id) for rule in firewall.rules)
                before = _Compiled(firewall, _firewall_chains(firewall, networks), names, _group_peers(firewall))
            known[firewall.id] = before
        self._known = known
        return list(known.values())


def compile_table(space: Space, memory: Memory | None = None, host: Sequence[str] = ()) -> Table:
    """The whole table of a space that has passed :func:`insula.domain.network.check`.

    `host` are addresses and prefixes beyond the way out that guests may not reach: the host's own.
    """
    memory = memory or Memory()
    networks = {network.id: network for network in space.networks}
    frame = memory.frame_of(space, networks)
    firewalls = firewalls_by_instance(space)
    compiled = memory.firewalls_of(space, networks)
    chains: dict[str, Chain] = {}
    for item in compiled:
        chains.update(item.chains)
    chains.update(_instance_chains(firewalls, chains))
    groups = {
        **frame.groups,
        **_verdicts(space, frame.devices, chains),
        **_outside(space),
        **_peer_groups(space, firewalls, frozenset().union(*(item.groups for item in compiled))),
        "host4": _set("ipv4_addr", matching.collapsed(_parsed(host), 4), flags="interval"),
        "host6": _set("ipv6_addr", matching.collapsed(_parsed(host), 6), flags="interval"),
    }
    counters = skeleton.COUNTERS.union(_defaults(firewalls), *(item.counters for item in compiled))
    return Table(skeleton.chains(has_limits=bool(frame.limits)), chains, groups, counters, frame.limits)


def _frame(space: Space, networks: Mapping[str, Network]) -> _Frame:
    devices = {port.id: device_of(port, networks[port.network_id]) for port in space.ports}
    groups = {
        **_own_addresses(space, devices),
        **_reach(space, networks, devices),
        **_port_objects(space, devices),
    }
    return _Frame(devices, groups, _limits(space))


def _firewall_chains(firewall: Firewall, networks: Mapping[str, Network]) -> dict[str, Chain]:
    chains: dict[str, Chain] = {}
    for direction in Direction:
        if matching.has_rules(firewall, direction):
            chains.update(matching.firewall_chains(firewall, direction, networks))
    return chains


def _instance_chains(firewalls: Mapping[str, tuple[Firewall, ...]], known: Mapping[str, Chain]) -> dict[str, Chain]:
    chains = {}
    for instance_id, applied in firewalls.items():
        for direction in Direction:
            names = (matching.chain_name(firewall.id, direction) for firewall in applied)
            rules = [f"jump {name}" for name in names if name in known]
            if any(firewall.default_of(direction) is Action.DROP for firewall in applied):
                rules += [matching.log_of(f"default {instance_id}")]
                rules += [f"counter name {default_counter(instance_id, direction)} drop"]
            if rules:
                chains[matching.chain_name(instance_id, direction)] = Chain(tuple(rules))
    return chains


def _own_addresses(space: Space, devices: Mapping[str, str]) -> dict[str, Group]:
    macs: list[str] = []
    own4: list[str] = []
    own6: list[str] = []
    also: dict[int, list[str]] = {4: [], 6: []}
    siblings: dict[str, list[Port]] = {}
    for port in space.ports:
        siblings.setdefault(port.instance_id, []).append(port)
    for port in space.ports:
        device = devices[port.id]
        macs.append(f'"{device}" . {port.mac}')
        # An instance with several cards answers from any of its addresses by the card that its routes lead to.
        mine = siblings[port.instance_id]
        own4 += [f'"{device}" . {port.mac} . {each.ipv4}' for each in mine if each.ipv4]
        own6 += [f'"{device}" . {port.mac} . {each.ipv6}' for each in mine if each.ipv6]
        for version, elements in also.items():
            elements += [f'"{device}" . {text}' for text in matching.collapsed(_parsed(port.also), version)]
    return {
        "macs": _set("ifname . ether_addr", macs),
        "own4": _set("ifname . ether_addr . ipv4_addr", own4),
        "own6": _set("ifname . ether_addr . ipv6_addr", own6),
        "first4": _map(
            "ifname : ipv4_addr", [(f'"{devices[port.id]}"', port.ipv4) for port in space.ports if port.ipv4]
        ),
        "chosen4": Group("map", "ifname : ipv4_addr", {}, "dynamic,timeout"),  # filled by packets
        "also4": _set("ifname . ipv4_addr", also[4], flags="interval"),
        "also6": _set("ifname . ipv6_addr", also[6], flags="interval"),
    }


def _parsed(texts: Iterable[str]) -> list[IpNetwork]:
    return [prefix for prefix in map(parse_prefix, texts) if prefix is not None]


def _reach(space: Space, networks: Mapping[str, Network], devices: Mapping[str, str]) -> dict[str, Group]:
    pairs = {(network.id, network.id) for network in space.networks}
    pairs |= {pair for one, other in space.joined for pair in ((one, other), (other, one))}
    ordered = [(networks[one], networks[other]) for one, other in sorted(pairs)]
    reach4 = [f"{one.ipv4} . {other.ipv4}" for one, other in ordered if one.ipv4 and other.ipv4]
    reach6 = [f"{one.ipv6} . {other.ipv6}" for one, other in ordered if one.ipv6 and other.ipv6]
    outward = [f'"{devices[port.id]}"' for port in space.ports if networks[port.network_id].gateway]
    also = {version: _reach_also(space, ordered, version) for version in (4, 6)}
    return {
        "reach4": _set("ipv4_addr . ipv4_addr", reach4, flags="interval", opens=True),
        "reach6": _set("ipv6_addr . ipv6_addr", reach6, flags="interval", opens=True),
        "reach_also4": _set("ipv4_addr . ipv4_addr", also[4], flags="interval", opens=True),
        "reach_also6": _set("ipv6_addr . ipv6_addr", also[6], flags="interval", opens=True),
        "outward": _set("ifname", outward, opens=True),
    }


def _reach_also(space: Space, ordered: list[tuple[Network, Network]], version: int) -> list[str]:
    """What instances send from beyond their own addresses reaches what they reach themselves, and back."""
    beyond: dict[str, list[str]] = {}
    for port in space.ports:
        if port.also:
            beyond.setdefault(port.network_id, []).extend(port.also)
    near: dict[str, list[str]] = {}
    for one, other in ordered:
        prefix = other.ipv4 if version == 4 else other.ipv6
        if prefix and one.id in beyond:
            near.setdefault(prefix, []).extend(beyond[one.id])
    elements = []
    for prefix, texts in near.items():
        for text in matching.collapsed(_parsed(texts), version):
            elements += [f"{text} . {prefix}", f"{prefix} . {text}"]
    return elements


def _verdicts(space: Space, devices: Mapping[str, str], chains: Mapping[str, Chain]) -> dict[str, Group]:
    groups = {}
    for direction in Direction:
        elements = [
            (devices[port.id], matching.chain_name(port.instance_id, direction))
            for port in space.ports
            if matching.chain_name(port.instance_id, direction) in chains
        ]
        groups[direction.value] = _map("ifname : verdict", [(f'"{key}"', f"jump {name}") for key, name in elements])
    return groups


def _port_objects(space: Space, devices: Mapping[str, str]) -> dict[str, Group]:
    limited = [port for port in space.ports if port.packets_per_second]
    return {
        "limit_sent": _map("ifname : limit", [(f'"{devices[p.id]}"', f'"{_limit("sent", p)}"') for p in limited]),
        "limit_received": _map(
            "ifname : limit", [(f'"{devices[p.id]}"', f'"{_limit("received", p)}"') for p in limited]
        ),
    }


def _limit(way: str, port: Port) -> str:
    # The number is in the name, since a limit is not changed but replaced.
    return f"{way}_{port.packets_per_second}_{port.id}"


def _limits(space: Space) -> dict[str, str]:
    return {
        _limit(way, port): f"rate over {port.packets_per_second}/second burst {max(5, port.packets_per_second // 10)} "
        "packets"
        for port in space.ports
        if port.packets_per_second
        for way in ("sent", "received")
    }


def _outside(space: Space) -> dict[str, Group]:
    ports = {port.id: port for port in space.ports}
    doors = [
        (f"{protocol} . {door}", f"{ports[forward.port_id].ipv4} . {forward.forward.guest_port}")
        for (protocol, door), forward in doors_of(space).items()
        if ports[forward.port_id].ipv4
    ]
    pairs: dict[int, list[tuple[str, str]]] = {4: [], 6: []}
    for address in space.addresses:
        version = 6 if ":" in address.address else 4
        port = ports[address.port_id]
        own = port.ipv6 if version == 6 else port.ipv4
        if own:
            pairs[version].append((address.address, own))
    groups = {"doors4": _map("inet_proto . inet_service : ipv4_addr . inet_service", doors, opens=True)}
    for version, found in pairs.items():
        kind = f"ipv{version}_addr : ipv{version}_addr"
        groups[f"address_in{version}"] = _map(kind, found, opens=True)
        # An instance with several addresses answers from each, and begins with the first.
        first = dict(reversed([(own, address) for address, own in found]))
        groups[f"address_out{version}"] = _map(kind, list(first.items()), opens=True)
    return groups


def _group_peers(firewall: Firewall) -> frozenset[Peer]:
    kinds = {PeerKind.TAG, PeerKind.FIREWALL}
    return frozenset(peer for rule in firewall.rules for peer in rule.peers if peer.kind in kinds)


def _peer_groups(
    space: Space, firewalls: Mapping[str, tuple[Firewall, ...]], peers: frozenset[Peer]
) -> dict[str, Group]:
    if not peers:
        return {}
    inside: dict[Peer, set[str]] = {peer: set() for peer in peers}
    for member in space.members:
        mine = [Peer(PeerKind.TAG, tag) for tag in member.tags]
        mine += [Peer(PeerKind.FIREWALL, firewall.id) for firewall in firewalls.get(member.instance_id, ())]
        for peer in mine:
            if peer in inside:
                inside[peer].add(member.instance_id)
    ports: dict[str, list[Port]] = {}
    for port in space.ports:
        ports.setdefault(port.instance_id, []).append(port)
    groups = {}
    for peer in sorted(peers, key=lambda peer: (peer.kind, peer.value)):
        held = [port for instance_id in sorted(inside[peer]) for port in ports.get(instance_id, ())]
        groups[matching.group_name(peer, 4)] = _set("ipv4_addr", [port.ipv4 for port in held if port.ipv4])
        groups[matching.group_name(peer, 6)] = _set("ipv6_addr", [port.ipv6 for port in held if port.ipv6])
    return groups


def _defaults(firewalls: Mapping[str, tuple[Firewall, ...]]) -> list[str]:
    return [
        default_counter(instance_id, direction)
        for instance_id, applied in firewalls.items()
        for direction in Direction
        if any(firewall.default_of(direction) is Action.DROP for firewall in applied)
    ]


def _set(of: str, elements: Iterable[str], *, flags: str = "", opens: bool = False) -> Group:
    return Group("set", of, {element: element for element in elements}, flags, opens)


def _map(of: str, pairs: Iterable[tuple[str, str]], *, opens: bool = False) -> Group:
    return Group("map", of, {key: f"{key} : {value}" for key, value in pairs}, opens=opens)
