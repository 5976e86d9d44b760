"""Public ports of instances: firewalls of ours, one for each set of open ports, shared by all instances that have it.

Instances of one network reach each other whatever is open, as there.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from insula.base.errors import Conflict, InvalidInput, NotFound
from insula.control.actions.firewalls import FirewallWish
from insula.domain.firewall import Direction, Peer, PeerKind, PortRange, Rule, Traffic
from insula.domain.instance import Instance
from insula.domain.project_firewall import ProjectFirewall
from insula.frontends.dialects.dialect import Ask
from insula.frontends.dialects.lightsail.dialect import New

PREFIX = "public-ports-"
_ANY4, _ANY6 = "0.0.0.0/0", "::/0"
_HIGHEST = 65535
_PROTOCOLS = ("tcp", "udp", "all", "icmp", "icmpv6")
_changing: WeakKeyDictionary[asyncio.AbstractEventLoop, defaultdict[str, asyncio.Lock]] = WeakKeyDictionary()


class PortInfo(New):
    """Ports, or the type and code of ICMP."""

    from_port: int = 0
    to_port: int = _HIGHEST
    protocol: str = "tcp"
    cidrs: tuple[str, ...] = ()
    ipv6_cidrs: tuple[str, ...] = ()
    cidr_list_aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Opening:
    """What is let in, and from where."""

    protocol: str
    first: int
    last: int
    cidrs: tuple[str, ...]
    ipv6_cidrs: tuple[str, ...]

    @property
    def ports(self) -> tuple[str, int, int]:
        return self.protocol, self.first, self.last

    @property
    def view(self) -> dict[str, Any]:
        return {
            "fromPort": self.first,
            "toPort": self.last,
            "protocol": self.protocol,
            "cidrs": list(self.cidrs),
            "ipv6Cidrs": list(self.ipv6_cidrs),
            "cidrListAliases": [],
        }

    @property
    def rule(self) -> Rule:
        traffic = {"all": Traffic.ANY, "icmp": Traffic.ICMP, "icmpv6": Traffic.ICMP}.get(self.protocol)
        peers = tuple(Peer(PeerKind.PREFIX, prefix) for prefix in (*self.cidrs, *self.ipv6_cidrs))
        ports = () if traffic is not None or (self.first, self.last) == (0, _HIGHEST) else (_range(self),)
        return Rule("", Direction.INBOUND, traffic=traffic or Traffic(self.protocol), ports=ports, peers=peers)


EVERYTHING = (Opening("all", 0, _HIGHEST, (_ANY4,), (_ANY6,)),)
AT_FIRST = tuple(Opening("tcp", port, port, (_ANY4,), (_ANY6,)) for port in (22, 80))


def opening_of(info: PortInfo) -> Opening:
    """Raises InvalidInput for what cannot be opened."""
    wrong, protocol = "", info.protocol.lower()
    is_icmp = protocol in {"icmp", "icmpv6"}
    lowest = -1 if is_icmp else 0
    if protocol not in _PROTOCOLS:
        wrong = f"the protocol is none of {', '.join(_PROTOCOLS)}"
    elif not (lowest <= info.from_port <= _HIGHEST and lowest <= info.to_port <= _HIGHEST):
        wrong = f"ports are from 0 to {_HIGHEST}"
    elif not is_icmp and (info.from_port > info.to_port or info.to_port == 0):
        wrong = "fromPort is above toPort, or both are 0"
    elif info.cidr_list_aliases:
        wrong = "there are no lists of addresses with names here"
    if wrong:
        raise _unfit(wrong)
    cidrs, ipv6_cidrs = _prefixes(info.cidrs, 4), _prefixes(info.ipv6_cidrs, 6)
    if not (cidrs or ipv6_cidrs):
        cidrs, ipv6_cidrs = (_ANY4,), (_ANY6,)
    if protocol == "icmp":
        cidrs, ipv6_cidrs = cidrs or (_ANY4,), ()
    if protocol == "icmpv6":
        cidrs, ipv6_cidrs = (), ipv6_cidrs or (_ANY6,)
    first, last = (0, _HIGHEST) if protocol == "all" else (info.from_port, info.to_port)
    return Opening(protocol, first, last, cidrs, ipv6_cidrs)


async def openings(ask: Ask, instance: Instance) -> tuple[Opening, ...]:
    """What is open of an instance, by whichever firewalls apply to it. Without any, everything is."""
    found = [one for one in await _firewalls(ask) if _applies(one, instance)]
    if not found:
        return EVERYTHING
    return tuple([opening for one in found for opening in await _openings(ask, one)])


async def own_openings(ask: Ask, instance: Instance) -> tuple[Opening, ...]:
    """What was opened by this API. It is everything as long as no firewall applies at all."""
    found = [one for one in await _firewalls(ask) if _applies(one, instance)]
    own = [one for one in found if one.name.startswith(PREFIX)]
    return tuple([opening for one in own for opening in await _openings(ask, one)]) if found else EVERYTHING


async def check_alone(ask: Ask, instance: Instance, wanted: Sequence[Opening]) -> None:
    """Raise Conflict when another firewall opens more of the instance than is wanted."""
    for one in await _firewalls(ask):
        if not _applies(one, instance) or one.name.startswith(PREFIX):
            continue
        if any(opening not in wanted for opening in await _openings(ask, one)):
            raise Conflict(
                f"The firewall {one.name} opens other ports of it",
                why="It was made elsewhere, and what it lets in stays open whatever is closed here",
                todo=f"Change it: `insula firewall show {one.name}`",
                code="port-opened-elsewhere",
            )


async def all_openings(ask: Ask, instances: Sequence[Instance]) -> dict[str, tuple[Opening, ...]]:
    """The same for many, by their ids."""
    found = await _firewalls(ask)
    known = {one.id: await _openings(ask, one) for one in found}
    shown = {}
    for instance in instances:
        applying = [one for one in found if _applies(one, instance)]
        shown[instance.id] = tuple(each for one in applying for each in known[one.id]) if applying else EVERYTHING
    return shown


async def put(ask: Ask, instance: Instance, wanted: Sequence[Opening]) -> None:
    """Let nothing but this be open of an instance."""
    async with _alone(ask.caller.project):
        there = {one.name: one for one in await _firewalls(ask) if one.name.startswith(PREFIX)}
        networks = tuple(dict.fromkeys(port.network_id for port in instance.ports))
        name = _name(networks, wanted)
        if name in there:
            await ask.actions.firewalls.apply(ask.caller, there[name].id, (instance.id,), ())
        else:
            await _make(ask, FirewallWish(name, _inside(networks), (instance.id,)), wanted)
        for one in there.values():
            if one.name != name and instance.id in one.instances:
                await _lift(ask, one, instance.id)


async def _make(ask: Ask, new: FirewallWish, wanted: Sequence[Opening]) -> None:
    """A firewall that lets this in as well."""
    rules = (*new.rules, *(one.rule for one in wanted))
    made = await ask.actions.firewalls.create(ask.caller, replace(new, rules=rules))
    for rule, opening in zip(made.rules[len(new.rules) :], wanted, strict=True):
        await ask.actions.aliases.note(rule.id, {"opening": json.dumps(asdict(opening))})


def _inside(networks: Sequence[str]) -> tuple[Rule, ...]:
    """Who is in the same network is let in whatever is open."""
    peers = tuple(Peer(PeerKind.NETWORK, network) for network in networks)
    return (Rule("", Direction.INBOUND, peers=peers),) if peers else ()


async def _firewalls(ask: Ask) -> Sequence[ProjectFirewall]:
    return (await ask.actions.firewalls.list(ask.caller)).items


async def _openings(ask: Ask, firewall: ProjectFirewall) -> list[Opening]:
    rules = [rule for rule in firewall.rules if rule.direction is Direction.INBOUND and rule.action == "accept"]
    aliases = await ask.actions.aliases.of(rule.id for rule in rules)
    return [opening for rule in rules for opening in _of_rule(rule, aliases[rule.id].facts.get("opening", ""))]


def _of_rule(rule: Rule, known: str) -> Sequence[Opening]:
    """What a rule opens to the outside; what was kept of it tells what the rule does not, while it says the same."""
    if known:
        told = json.loads(known)
        opening = Opening(**told | {"cidrs": tuple(told["cidrs"]), "ipv6_cidrs": tuple(told["ipv6_cidrs"])})
        if replace(rule, id="") == opening.rule:
            return (opening,)
    prefixes = [peer.value for peer in rule.peers if peer.kind is PeerKind.PREFIX]
    if rule.peers and not prefixes:
        return ()
    cidrs = tuple(one for one in prefixes if ":" not in one) if rule.peers else (_ANY4,)
    ipv6_cidrs = tuple(one for one in prefixes if ":" in one) if rule.peers else (_ANY6,)
    if rule.traffic is Traffic.ANY:
        return (Opening("all", 0, _HIGHEST, cidrs, ipv6_cidrs),)
    if rule.traffic is Traffic.ICMP:
        return (Opening("icmp", -1, -1, cidrs, ipv6_cidrs),)
    ranges = rule.ports or (PortRange(0, _HIGHEST),)
    return [Opening(rule.traffic.value, each.first, each.last, cidrs, ipv6_cidrs) for each in ranges]


def _applies(firewall: ProjectFirewall, instance: Instance) -> bool:
    return instance.id in firewall.instances or bool(set(firewall.tags) & set(instance.tags))


def _name(networks: Sequence[str], wanted: Sequence[Opening]) -> str:
    text = json.dumps([networks, *(asdict(one) for one in wanted)])
    return PREFIX + hashlib.sha256(text.encode()).hexdigest()[:20]


def _range(opening: Opening) -> PortRange:
    return PortRange(max(opening.first, 1), opening.last)


def _prefixes(texts: Sequence[str], version: int) -> tuple[str, ...]:
    found = []
    for text in texts:
        try:
            prefix: ipaddress.IPv4Network | ipaddress.IPv6Network = ipaddress.ip_network(text, strict=False)
        except ValueError as error:
            raise _unfit(str(error)) from error
        if prefix.version != version:
            raise _unfit(f"{text[:60]} is of IPv{prefix.version}")
        found.append(str(prefix))
    return tuple(dict.fromkeys(found))


def _unfit(why: str) -> InvalidInput:
    return InvalidInput(
        "These ports cannot be opened", why=why[0].upper() + why[1:], todo="Correct them", fields={"portInfo": why}
    )


@asynccontextmanager
async def _alone(project: str) -> AsyncIterator[None]:
    """One after the other: a firewall that nobody has any more is deleted, and must not be given meanwhile."""
    locks = _changing.setdefault(asyncio.get_running_loop(), defaultdict(asyncio.Lock))
    async with locks[project]:
        yield


def check_open(found: Sequence[Opening], closed: Opening) -> None:
    """Raise Conflict for what is to be closed and is not open."""
    if all(one.ports != closed.ports for one in found):
        raise Conflict(
            f"{closed.protocol} {closed.first}-{closed.last} is not open",
            why="No public port of the instance is like this",
            todo="Look at GetInstancePortStates",
            code="port-not-open",
        )


async def forget(ask: Ask, instance_id: str) -> None:
    """Nothing is open of an instance that is gone."""
    async with _alone(ask.caller.project):
        for one in await _firewalls(ask):
            if one.name.startswith(PREFIX) and instance_id in one.instances:
                await _lift(ask, one, instance_id)


async def _lift(ask: Ask, firewall: ProjectFirewall, instance_id: str) -> None:
    """Take it from an instance, and delete it when it was the last one."""
    left = await ask.actions.firewalls.lift(ask.caller, firewall.id, (instance_id,), ())
    if not left.instances and not left.tags:
        with suppress(NotFound):  # somebody else did
            await ask.actions.firewalls.delete(ask.caller, left.id)
