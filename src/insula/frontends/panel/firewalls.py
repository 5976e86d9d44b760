"""Firewalls: ordered rules, whom they apply to, and what has matched them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from insula.base.errors import InsulaError, InvalidInput
from insula.control.actions.firewalls import FirewallWish, Question
from insula.domain.firewall import Action, Direction, Peer, PeerKind, PortRange, Rule, Traffic
from insula.domain.project_firewall import ProjectFirewall, rule_text
from insula.frontends.panel.nouns import Do, Done, Empty, Noun, serve
from insula.frontends.panel.render import bytes_text
from insula.frontends.panel.view import (
    Cell,
    Choice,
    Column,
    Deed,
    Fact,
    Field,
    Part,
    Row,
    Thing,
    amount,
    choices,
    code,
    tags,
    when,
)
from insula.frontends.panel.view import link as link_to
from insula.frontends.panel.visit import ROOT, Visit
from insula.frontends.panel.volumes import instance_names

_HERE = f"{ROOT}/firewalls"
_DIRECTIONS = choices([*Direction])
_ACTIONS = choices([*Action])


async def _rows(visit: Visit) -> Sequence[Row]:
    names = await instance_names(visit)
    return [_row(each, names) for each in (await visit.actions.firewalls.list(visit.caller)).items]


def _row(each: ProjectFirewall, names: Mapping[str, str]) -> Row:
    cells = (
        link_to(each.name, f"{_HERE}/{each.name}"),
        amount(str(len(each.rules)), len(each.rules)),
        Cell(", ".join(names.get(one, one) for one in each.instances) or "—"),
        tags(each.tags),
        Cell(f"in: {each.inbound_default}, out: {each.outbound_default}"),
        when(each.updated_at),
    )
    return Row(each.id, each.name, cells, hint=each.id)


async def _show(visit: Visit, name: str) -> Thing:
    found = await visit.actions.firewalls.show(visit.caller, name)
    names = await instance_names(visit)
    return Thing(
        id=found.id,
        name=found.name,
        facts=(
            Fact(
                "Applies to", Cell(", ".join(names.get(one, one) for one in found.instances) or "no instance by name")
            ),
            Fact("And to all tagged", tags(found.tags)),
            Fact("Inbound, if no rule matches", Cell(found.inbound_default.value)),
            Fact("Outbound, if no rule matches", Cell(found.outbound_default.value)),
            Fact("Changed last", when(found.updated_at)),
            Fact("Id", code(found.id)),
        ),
        parts=(await _rules(visit, found),),
        deeds=_deeds(found, names),
    )


async def _rules(visit: Visit, found: ProjectFirewall) -> Part:
    try:
        counts = await visit.actions.firewalls.traffic(visit.caller, found.id)
    except InsulaError:
        counts = {}  # a node that does not answer hides no rule
    lines = []
    for number, rule in enumerate(found.rules, 1):
        count = counts.get(rule.id)
        cells = (
            Cell(str(number)),
            Cell(rule.direction.value),
            code(rule_text(rule)),
            Cell("—" if count is None else str(count.packets)),
            Cell("—" if count is None else bytes_text(count.byte_count)),
        )
        lines.append(Row(rule.id, str(number), cells))
    columns = ("#", "Direction", "Rule", "Packets", "Bytes")
    return Part("Rules", columns, tuple(lines), "No rules: what happens is what the firewall does by default.")


def _deeds(found: ProjectFirewall, names: Mapping[str, str]) -> tuple[Deed, ...]:
    rules = tuple(Choice(rule.id, f"{n}. {rule.direction} {rule_text(rule)}") for n, rule in enumerate(found.rules, 1))
    others = [name for one, name in names.items() if one not in found.instances]
    applied = tuple(Choice(one, names.get(one, one)) for one in found.instances)
    deeds = [Deed("allow", "Add a rule", "plus", _rule_fields())]
    if rules:
        deeds.append(Deed("unrule", "Remove a rule", "x", (Field("rule", "Rule", "select", "", rules),)))
    if others:
        deeds.append(Deed("apply", "Apply to an instance", "server", (_instance(choices(others)),)))
    if applied:
        deeds.append(Deed("lift", "Lift from an instance", "x", (_instance(applied),)))
    deeds.append(Deed("tag", "Apply to tags", "tag", (Field("tags", "Tags", value=" ".join(found.tags)),)))
    if names:
        deeds.append(_question(names))
    deeds.append(
        Deed("delete", "Delete", "trash", (), "Its instances are open unless another applies.", True, found.name)
    )
    return tuple(deeds)


def _instance(known: tuple[Choice, ...]) -> Field:
    return Field("instance", "Instance", "select", "", known)


def _rule_fields() -> tuple[Field, ...]:
    return (
        Field("direction", "Direction", "select", "inbound", _DIRECTIONS),
        Field("action", "Action", "select", "accept", _ACTIONS),
        Field("traffic", "Traffic", "select", "tcp", choices([*Traffic])),
        Field("ports", "Ports", placeholder="80, 443, 8000-8100", hint="Empty for all of them."),
        Field("peers", "From or to", placeholder="10.0.0.0/8, tag:web", hint="Empty for anybody."),
        Field("position", "Before the rule number", "number", hint="Empty for the end."),
    )


def _question(names: Mapping[str, str]) -> Deed:
    fields = (
        _instance(choices(tuple(names.values()))),
        Field("peer", "The other side", placeholder="192.0.2.7 or an instance", required=True),
        Field("direction", "Direction", "select", "inbound", _DIRECTIONS),
        Field("traffic", "Traffic", "select", "tcp", choices(["tcp", "udp", "icmp"])),
        Field("port", "Port", "number", "80"),
    )
    return Deed("test", "Would it pass?", "activity", fields, hint="Told from the rules; nothing is sent.")


async def _add_rule(visit: Visit, name: str) -> Done:
    form = visit.form
    rule = Rule(
        "",
        form.chosen("direction", Direction),
        form.chosen("action", Action),
        form.chosen("traffic", Traffic),
        tuple(_range(text) for text in form.words("ports")),
        tuple(_peer(text) for text in form.words("peers")),
    )
    await visit.actions.firewalls.add_rule(visit.caller, name, rule, form.number("position", 0) or None)
    return Done(f"{name} has the rule: {rule_text(rule)}.")


def _range(text: str) -> PortRange:
    first, _, last = text.partition("-")
    if (
        not (first.isascii() and first.isdigit() and (not last or (last.isascii() and last.isdigit())))
        or len(text) > 11
    ):
        raise InvalidInput(
            f"{text[:40]!r} is no port",
            why="Ports are numbers or ranges",
            todo="Write them like 80, 443 or 8000-8100",
            fields={"ports": f"{text[:40]!r} is neither a number nor a range like 8000-8100"},
        )
    return PortRange(int(first), int(last or first))


def _peer(text: str) -> Peer:
    kind, colon, value = text.partition(":")
    if colon and kind in {PeerKind.TAG, PeerKind.NETWORK, PeerKind.FIREWALL}:
        return Peer(PeerKind(kind), value)
    return Peer(PeerKind.PREFIX, text)


async def _remove_rule(visit: Visit, name: str) -> Done:
    await visit.actions.firewalls.remove_rule(visit.caller, name, visit.form.text("rule"))
    return Done("The rule is gone. Connections that it let in go on.")


async def _apply(visit: Visit, name: str) -> Done:
    await visit.actions.firewalls.apply(visit.caller, name, (visit.form.text("instance"),), ())
    return Done(f"{name} applies to {visit.form.text('instance')}.")


async def _lift(visit: Visit, name: str) -> Done:
    await visit.actions.firewalls.lift(visit.caller, name, (visit.form.text("instance"),), ())
    return Done(f"{name} does not apply there any more.")


async def _tag(visit: Visit, name: str) -> Done:
    found, wanted = await visit.actions.firewalls.show(visit.caller, name), visit.form.words("tags")
    await visit.actions.firewalls.apply(visit.caller, name, (), wanted)
    gone = tuple(tag for tag in found.tags if tag not in wanted)
    if gone:
        await visit.actions.firewalls.lift(visit.caller, name, (), gone)
    return Done("The tags are changed.")


async def _test(visit: Visit, name: str) -> Done:
    form = visit.form
    question = Question(
        form.text("instance"),
        form.text("peer"),
        form.chosen("direction", Direction),
        form.chosen("traffic", Traffic),
        0 if form.text("traffic") == "icmp" else form.number("port", 0),
    )
    told = await visit.actions.firewalls.test(visit.caller, question)
    return Done(f"It {'passes' if told.passes else 'does not pass'}: {told.why}")


async def _delete(visit: Visit, name: str) -> Done:
    visit.form.check_typed(name, "delete")
    await visit.actions.firewalls.delete(visit.caller, name)
    return Done(f"{name} is gone.", _HERE)


async def _fields(visit: Visit) -> tuple[Field, ...]:
    names = tuple((await instance_names(visit)).values())
    return (
        Field("name", "Name", required=True, placeholder="web"),
        Field("instance", "Apply to", "select", "", choices(names, "nobody for now")),
        Field("tags", "And to all tagged", placeholder="web"),
        Field("inbound", "Inbound, if no rule matches", "select", "drop", _ACTIONS),
        Field("outbound", "Outbound, if no rule matches", "select", "accept", _ACTIONS),
        Field("ssh", "Let SSH in", "flag", "yes"),
        Field("web", "Let HTTP and HTTPS in", "flag"),
    )


async def _make(visit: Visit) -> Done:
    form = visit.form
    ports = [*([22] if form.flag("ssh") else []), *([80, 443] if form.flag("web") else [])]
    ranges = tuple(PortRange(port, port) for port in ports)
    rules = (Rule("", Direction.INBOUND, traffic=Traffic.TCP, ports=ranges),) if ranges else ()
    wish = FirewallWish(
        form.text("name"),
        rules,
        form.all("instance") if form.text("instance") else (),
        form.words("tags"),
        form.chosen("inbound", Action, "drop"),
        form.chosen("outbound", Action, "accept"),
    )
    made = await visit.actions.firewalls.create(visit.caller, wish)
    return Done(f"The firewall {made.name} stands.", f"{_HERE}/{made.name}")


_VERBS: Mapping[str, Do] = {
    "allow": _add_rule,
    "unrule": _remove_rule,
    "apply": _apply,
    "lift": _lift,
    "tag": _tag,
    "test": _test,
    "delete": _delete,
}

NOUN = serve(
    Noun(
        path="/firewalls",
        title="Firewalls",
        one="firewall",
        icon="shield",
        columns=(
            Column("Name"),
            Column("Rules", is_number=True),
            Column("Instances"),
            Column("Tags"),
            Column("By default"),
            Column("Changed"),
        ),
        rows=_rows,
        empty=Empty(
            "No firewalls yet",
            "A firewall decides which connections reach instances, and counts what matched each of its rules.",
            "insula firewall create web --to web1",
        ),
        thing=_show,
        verbs=_VERBS,
        bulk=(Deed("delete", "Delete", "trash", hint="What they kept out may come in.", is_danger=True),),
        fields=_fields,
        make=_make,
        make_label="Create firewall",
    )
)
