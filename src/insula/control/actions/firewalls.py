"""Firewalls: who may reach which instances, and whom these may reach."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from insula.base.clock import now_utc
from insula.base.errors import Conflict, InvalidInput, NotFound
from insula.control.actions.caller import Audit, Caller, Page, action
from insula.control.actions.faults import Faults
from insula.control.actions.ports import Spaces
from insula.control.store import Store
from insula.domain.access import Scope
from insula.domain.firewall import Action, Direction, Peer, PeerKind, Rule, Traffic
from insula.domain.ids import Kind, new_id
from insula.domain.instance import Instance
from insula.domain.names import check_name, check_tags
from insula.domain.network import Space
from insula.domain.packet_judge import Decision, Judge, Packet, Stage
from insula.domain.project_firewall import MAX_RULES, ProjectFirewall, rule_problem, rule_text
from insula.protocol.network import USER_GATEWAYS, Way
from insula.protocol.network import Traffic as Count


@dataclass(frozen=True)
class FirewallWish:
    """A new firewall. Instances are names or ids; peers of rules that are networks or firewalls, too."""

    name: str
    rules: tuple[Rule, ...] = ()
    instances: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    inbound_default: Action = Action.DROP
    outbound_default: Action = Action.ACCEPT


@dataclass(frozen=True)
class FirewallChange:
    """What changes; None stays."""

    name: str | None = None
    rules: tuple[Rule, ...] | None = None
    inbound_default: Action | None = None
    outbound_default: Action | None = None


@dataclass(frozen=True)
class Question:
    """Whether an instance can be reached from a peer, or can reach it (`direction`).

    `peer` is an address, or the name or id of an instance of the project.
    """

    instance: str
    peer: str
    direction: Direction = Direction.INBOUND
    traffic: Traffic = Traffic.TCP
    port: int = 0


@dataclass(frozen=True)
class Answer:
    """What happens to the first packet of such a connection, and why.

    `stage` says what had the last word; `rule` is the deciding rule's position in `firewall`, 0 for its default.
    """

    passes: bool
    stage: Stage
    why: str
    firewall: str = ""
    rule: int = 0


class FirewallActions:
    """Changes are in force when the action returns."""

    def __init__(self, store: Store, spaces: Spaces) -> None:
        self.store = store
        self._spaces = spaces

    @action("firewalls.list", Scope.FIREWALLS_READ, audit=Audit.NEVER)
    async def list(self, caller: Caller) -> Page[ProjectFirewall]:
        """In the order in which they are asked."""
        return Page(tuple(await self.store.firewalls.list(caller.project)))

    @action("firewalls.show", Scope.FIREWALLS_READ, audit=Audit.NEVER)
    async def show(self, caller: Caller, firewall: str) -> ProjectFirewall:
        return await self.store.firewalls.get(caller.project, firewall)

    @action("firewalls.create", Scope.FIREWALLS_WRITE, audit=Audit.AFTER)
    async def create(self, caller: Caller, wish: FirewallWish) -> ProjectFirewall:
        """Raises InvalidInput with all that is wrong, NotFound for unknown instances, Conflict for a taken name."""
        faults = Faults()
        with faults.of("name"):
            check_name(wish.name)
        with faults.of("tags"):
            check_tags(wish.tags)
        rules = await self._rules(caller, wish.rules, faults)
        faults.raise_if_any(f"Firewall {wish.name[:80]!r} cannot be made like this")
        now = now_utc()
        instances = await self._ids(caller, wish.instances)
        made = ProjectFirewall(
            *(new_id(Kind.FIREWALL), caller.project, wish.name, rules, instances, check_tags(wish.tags)),
            *(wish.inbound_default, wish.outbound_default, now, now),
        )
        return await self._in_force(await self.store.firewalls.add(made))

    @action("firewalls.change", Scope.FIREWALLS_WRITE, audit=Audit.AFTER)
    async def change(self, caller: Caller, firewall: str, wish: FirewallChange) -> ProjectFirewall:
        """Raises InvalidInput, NotFound and Conflict."""
        faults = Faults()
        changes: dict[str, object] = {}
        if wish.name is not None:
            changes["name"] = wish.name
            with faults.of("name"):
                check_name(wish.name)
        if wish.rules is not None:
            changes["rules"] = await self._rules(caller, wish.rules, faults)
        if wish.inbound_default is not None:
            changes["inbound_default"] = wish.inbound_default
        if wish.outbound_default is not None:
            changes["outbound_default"] = wish.outbound_default
        faults.raise_if_any(f"Firewall {firewall[:80]} cannot be changed like this")
        return await self._edit(caller, firewall, changes)

    @action("firewalls.delete", Scope.FIREWALLS_WRITE, audit=Audit.AFTER)
    async def delete(self, caller: Caller, firewall: str) -> None:
        """Instances that it applied to are open again, unless another one applies."""
        found = await self.store.firewalls.get(caller.project, firewall)
        await self.store.firewalls.delete(caller.project, found.id)
        await self._spaces.tell_project(caller.project)

    @action("firewalls.add_rule", Scope.FIREWALLS_WRITE, audit=Audit.AFTER)
    async def add_rule(self, caller: Caller, firewall: str, rule: Rule, position: int | None = None) -> ProjectFirewall:
        """Before the one at `position`, by default the last."""
        faults = Faults()
        (checked,) = await self._rules(caller, (rule,), faults) or (rule,)
        faults.raise_if_any("Such a rule cannot be")
        found = await self.store.firewalls.edit(
            caller.project, firewall, lambda record: record.with_rule(checked, position)
        )
        return await self._in_force(found)

    @action("firewalls.remove_rule", Scope.FIREWALLS_WRITE, audit=Audit.AFTER)
    async def remove_rule(self, caller: Caller, firewall: str, rule: str) -> ProjectFirewall:
        """`rule` is an id or a position. Connections that it let in go on."""
        found = await self.store.firewalls.edit(caller.project, firewall, lambda record: record.without_rule(rule))
        return await self._in_force(found)

    @action("firewalls.apply", Scope.FIREWALLS_WRITE, audit=Audit.AFTER)
    async def apply(
        self, caller: Caller, firewall: str, instances: tuple[str, ...], tags: tuple[str, ...]
    ) -> ProjectFirewall:
        """Let it apply to these instances and tags as well."""
        ids, names = await self._ids(caller, instances), check_tags(tags)
        found = await self.store.firewalls.edit(
            caller.project,
            firewall,
            lambda record: replace(
                record,
                instances=tuple(dict.fromkeys((*record.instances, *ids))),
                tags=check_tags((*record.tags, *names)),
            ),
        )
        return await self._in_force(found)

    @action("firewalls.lift", Scope.FIREWALLS_WRITE, audit=Audit.AFTER)
    async def lift(
        self, caller: Caller, firewall: str, instances: tuple[str, ...], tags: tuple[str, ...]
    ) -> ProjectFirewall:
        """Let it apply to these no more. Instances that are gone are known by their ids."""
        applied = set((await self.store.firewalls.get(caller.project, firewall)).instances)
        ids = {*(applied & {*instances}), *await self._ids(caller, [one for one in instances if one not in applied])}
        found = await self.store.firewalls.edit(
            caller.project,
            firewall,
            lambda record: replace(
                record,
                instances=tuple(one for one in record.instances if one not in ids),
                tags=tuple(tag for tag in record.tags if tag not in tags),
            ),
        )
        return await self._in_force(found)

    @action("firewalls.traffic", Scope.FIREWALLS_READ, audit=Audit.NEVER)
    async def traffic(self, caller: Caller, firewall: str) -> Mapping[str, Count]:
        """What matched each rule, by its id, since the network stands."""
        found = await self.store.firewalls.get(caller.project, firewall)
        counts = await self._spaces.rule_traffic(caller.project)
        return {rule.id: counts.get(rule.id, Count()) for rule in found.rules}

    @action("firewalls.test", Scope.FIREWALLS_READ, audit=Audit.NEVER)
    async def test(self, caller: Caller, question: Question) -> Answer:
        """Told from the records, by the same rules that packets meet. Raises InvalidInput, NotFound, Conflict."""
        _check_question(question)
        instance = await self.store.instances.get(caller.project, question.instance)
        space = await self._spaces.space_of(caller.project, instance.node)
        own, peer = _port_id(space, instance), await self._peer(caller, question.peer, space)
        is_hidden = self._spaces.way_of(caller.project, instance.node) is not Way.ROUTED
        packet = _packet(space, question, own, peer, is_hidden=is_hidden)
        return _told(await self.store.firewalls.list(caller.project), Judge(space).decide(packet), question)

    async def _peer(self, caller: Caller, peer: str, space: Space) -> str:
        """The id of its port, or its address."""
        try:
            ipaddress.ip_address(peer)
        except ValueError:
            return _port_id(space, await self.store.instances.get(caller.project, peer))
        return next((port.id for port in space.ports if peer in {port.ipv4, port.ipv6}), peer)

    async def _rules(self, caller: Caller, rules: Sequence[Rule], faults: Faults) -> tuple[Rule, ...]:
        """With ids, and peers by theirs."""
        if len(rules) > MAX_RULES:
            faults.note("rules", f"must be at most {MAX_RULES}")
            return ()
        found = []
        for index, rule in enumerate(rules):
            if problem := rule_problem(rule):
                faults.note(f"rules[{index}]", problem)
                continue
            try:
                peers = tuple([await self._resolved(caller, peer) for peer in rule.peers])
            except NotFound as error:
                faults.note(f"rules[{index}]", error.what)
                continue
            found.append(replace(rule, id=rule.id or new_id(Kind.RULE), peers=peers))
        ids = [rule.id for rule in found]
        if len(set(ids)) < len(ids):
            faults.note("rules", "must not have one id twice; leave ids of new rules empty")
        return tuple(found)

    async def _resolved(self, caller: Caller, peer: Peer) -> Peer:
        if peer.kind is PeerKind.FIREWALL:
            return replace(peer, value=(await self.store.firewalls.get(caller.project, peer.value)).id)
        if peer.kind is PeerKind.NETWORK:
            return replace(peer, value=(await self.store.networks.get(caller.project, peer.value)).id)
        return peer

    async def _ids(self, caller: Caller, instances: Sequence[str]) -> tuple[str, ...]:
        found = [await self.store.instances.get(caller.project, name) for name in instances]
        return tuple(dict.fromkeys(instance.id for instance in found))

    async def _edit(self, caller: Caller, firewall: str, changes: dict[str, object]) -> ProjectFirewall:
        def changed(record: ProjectFirewall) -> ProjectFirewall:
            return replace(record, **changes)  # type: ignore[arg-type]  # the fields of a FirewallChange fit

        return await self._in_force(await self.store.firewalls.edit(caller.project, firewall, changed))

    async def _in_force(self, firewall: ProjectFirewall) -> ProjectFirewall:
        await self._spaces.tell_project(firewall.project)
        return firewall


def _check_question(question: Question) -> None:
    needs_port = question.traffic in {Traffic.TCP, Traffic.UDP}
    if needs_port and not 1 <= question.port <= 65535:
        raise InvalidInput(
            "A port is missing",
            why=f"Connections of {question.traffic} go to one of the ports 1 to 65535",
            todo="Name it, like --port 22",
            code="invalid-question",
            fields={"port": "must be from 1 to 65535"},
        )


def _port_id(space: Space, instance: Instance) -> str:
    found = next((port.id for port in space.ports if port.instance_id == instance.id), None)
    if found is None:
        raise Conflict(
            f"Instance {instance.name} is in no network",
            why="Nobody reaches it, and it reaches nobody",
            todo="Ask about another one",
            code="not-connected",
        )
    return found


def _packet(space: Space, question: Question, own: str, peer: str, *, is_hidden: bool) -> Packet:
    """The first one. Who comes from outside comes by the way out, under its address if the way hides him."""
    ports = {port.id: port for port in space.ports}
    mine, theirs = ports[own], ports.get(peer)
    is_ipv6 = ":" in peer if theirs is None else not (mine.ipv4 and theirs.ipv4)
    address = mine.ipv6 if is_ipv6 else mine.ipv4
    if question.direction is Direction.OUTBOUND:
        other = peer if theirs is None else (theirs.ipv6 if is_ipv6 else theirs.ipv4)
        return Packet(address, other, question.traffic, question.port, own)
    if theirs is None:
        return Packet(USER_GATEWAYS[is_ipv6] if is_hidden else peer, address, question.traffic, question.port)
    return Packet(theirs.ipv6 if is_ipv6 else theirs.ipv4, address, question.traffic, question.port, peer)


_REASONS = {
    Stage.GUARD: "The sender may not use that address",
    Stage.REACH: "There is no way: nobody is there, or the networks are not joined",
    Stage.PASSED: "No firewall applies to it",
}


def _told(firewalls: Sequence[ProjectFirewall], decision: Decision, question: Question) -> Answer:
    firewall = next((one for one in firewalls if one.id == decision.firewall_id), None)
    if firewall is None:
        return Answer(decision.passes, decision.stage, _REASONS.get(decision.stage, _REASONS[Stage.PASSED]))
    rules = {rule.id: (number, rule) for number, rule in enumerate(firewall.rules, 1)}
    if decision.rule_id in rules:
        number, rule = rules[decision.rule_id]
        why = f"Rule {number} of {firewall.name}: {rule_text(rule)}"
        return Answer(decision.passes, decision.stage, why, firewall.name, number)
    side = Direction.INBOUND if decision.stage is Stage.INBOUND else Direction.OUTBOUND
    why = f"No rule matches, and {firewall.name} {'drops' if not decision.passes else 'accepts'} {side} by default"
    return Answer(decision.passes, decision.stage, why, firewall.name)
