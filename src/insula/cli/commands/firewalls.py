"""firewall: create, allow, deny, remove-rule, apply, lift, set, list, show, test, delete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from insula.base.errors import InvalidInput
from insula.cli.options import read_peer, read_ports
from insula.cli.output import ago, json_option, print_fields, print_json, print_table, say
from insula.cli.session import Session
from insula.domain.firewall import Action, Direction, Rule, Traffic
from insula.domain.project_firewall import ProjectFirewall, rule_text

_actions = click.Choice([kind.value for kind in Action])
_to_option = click.option("--to", "instances", multiple=True, metavar="INSTANCE", help="An instance; repeat.")
_tag_option = click.option("--tag", "tags", multiple=True, metavar="TAG", help="All instances with this tag; repeat.")


@click.group()
def firewall() -> None:
    """Firewalls: who may reach which instances, and whom these may reach."""


@firewall.command()
@click.argument("name")
@_to_option
@_tag_option
@click.option("--inbound", type=_actions, default="drop", help="What no rule matches on its way in; drop otherwise.")
@click.option("--outbound", type=_actions, default="accept", help="The same on its way out; accept otherwise.")
@json_option
@click.pass_obj
def create(
    session: Session,
    name: str,
    instances: tuple[str, ...],
    tags: tuple[str, ...],
    inbound: str,
    outbound: str,
    as_json: bool,
) -> None:
    """Make a firewall without rules: insula firewall create web --to web1."""
    made = session.client.firewalls.create(
        name,
        instances=instances,
        tags=tags,
        inbound_default=Action(inbound),
        outbound_default=Action(outbound),
    )
    if as_json:
        print_json(made)
        return
    say(f"Firewall {made.name} is there. Let somebody in: insula firewall allow {made.name} --tcp 22")


def _rule_options(command: Callable[..., Any]) -> Callable[..., Any]:
    options: list[Callable[..., Any]] = [
        click.argument("name"),
        click.option("--tcp", default="", metavar="PORTS", help="TCP to these ports, like 22,8000-8999, or all."),
        click.option("--udp", default="", metavar="PORTS", help="UDP to these ports, or all."),
        click.option("--icmp", is_flag=True, help="ICMP, such as ping, of IPv4 and IPv6."),
        click.option("--out", "outbound", is_flag=True, help="Connections that the instances begin."),
        click.option(
            "--peer",
            "peers",
            multiple=True,
            metavar="WHO",
            help="The other side: an address, a prefix, tag:NAME, network:NAME or firewall:NAME; repeat.",
        ),
        click.option("--at", "position", type=int, help="Ask it before the rule of this number; it is last otherwise."),
        click.option("--log", is_flag=True, help="Tell of each match in the host's log."),
        json_option,
        click.pass_obj,
    ]
    for option in reversed(options):
        command = option(command)
    return command


@firewall.command()
@_rule_options
def allow(session: Session, name: str, **given: Any) -> None:
    """Add a rule that lets connections pass: insula firewall allow web --tcp 80,443."""
    _add_rule(session, name, Action.ACCEPT, given)


@firewall.command()
@_rule_options
def deny(session: Session, name: str, **given: Any) -> None:
    """Add a rule that drops connections: insula firewall deny web --tcp 22 --peer 192.0.2.0/24 --at 1."""
    _add_rule(session, name, Action.DROP, given)


def _add_rule(session: Session, name: str, action: Action, given: dict[str, Any]) -> None:
    kinds = [kind for kind in Traffic if given.get(kind.value)]
    if len(kinds) > 1:
        raise InvalidInput(
            "A rule is about one kind of traffic",
            why=f"{' and '.join(f'--{kind}' for kind in kinds)} were given",
            todo="Add one rule for each",
            code="invalid-rule",
        )
    traffic = kinds[0] if kinds else Traffic.ANY
    ports = read_ports(given[traffic.value], f"--{traffic}") if traffic in {Traffic.TCP, Traffic.UDP} else ()
    direction = Direction.OUTBOUND if given["outbound"] else Direction.INBOUND
    peers = tuple(read_peer(text) for text in given["peers"])
    rule = Rule("", direction, action, traffic, ports, peers, given["log"])
    changed = session.client.firewalls.add_rule(name, rule, position=given["position"])
    if given["as_json"]:
        print_json(changed)
        return
    say(f"Firewall {changed.name} has {len(changed.rules)} rules: {rule_text(rule)}, {direction}")


@firewall.command("remove-rule")
@click.argument("name")
@click.argument("rule")
@json_option
@click.pass_obj
def remove_rule(session: Session, name: str, rule: str, as_json: bool) -> None:
    """Remove a rule by its number or id; connections that it let in go on."""
    changed = session.client.firewalls.remove_rule(name, rule)
    if as_json:
        print_json(changed)
        return
    say(f"Firewall {changed.name} has {len(changed.rules)} rules")


@firewall.command()
@click.argument("name")
@_to_option
@_tag_option
@json_option
@click.pass_obj
def apply(session: Session, name: str, instances: tuple[str, ...], tags: tuple[str, ...], as_json: bool) -> None:
    """Let a firewall apply to further instances: insula firewall apply web --to web2."""
    changed = session.client.firewalls.apply(name, instances=instances, tags=tags)
    _say_extent(session, changed, as_json)


@firewall.command()
@click.argument("name")
@_to_option
@_tag_option
@json_option
@click.pass_obj
def lift(session: Session, name: str, instances: tuple[str, ...], tags: tuple[str, ...], as_json: bool) -> None:
    """Let a firewall apply to some instances no more."""
    changed = session.client.firewalls.lift(name, instances=instances, tags=tags)
    _say_extent(session, changed, as_json)


@firewall.command("set")
@click.argument("name")
@click.option("--inbound", type=_actions, help="What no rule matches on its way in.")
@click.option("--outbound", type=_actions, help="What no rule matches on its way out.")
@click.option("--name", "new_name", help="Another name.")
@json_option
@click.pass_obj
def set_(
    session: Session, name: str, inbound: str | None, outbound: str | None, new_name: str | None, as_json: bool
) -> None:
    """Change what no rule decides, or the name."""
    given = {"inbound_default": inbound, "outbound_default": outbound, "name": new_name}
    changed = session.client.firewalls.change(
        name, **{field: value for field, value in given.items() if value is not None}
    )
    if as_json:
        print_json(changed)
        return
    say(f"Firewall {changed.name}: inbound {changed.inbound_default}, outbound {changed.outbound_default} by default")


@firewall.command("list")
@json_option
@click.pass_obj
def list_(session: Session, as_json: bool) -> None:
    """List firewalls, in the order in which they are asked."""
    found = session.client.firewalls.list()
    if as_json:
        print_json(found)
        return
    names = _names(session)
    rows = [
        (one.name, str(len(one.rules)), _applies(one, names), f"{one.inbound_default}/{one.outbound_default}")
        for one in found
    ]
    empty = "No firewall. Every instance is open to its project and to its forwards: insula firewall create NAME"
    print_table(("NAME", "RULES", "APPLIES TO", "DEFAULT IN/OUT"), rows, empty=empty)


@firewall.command()
@click.argument("name")
@json_option
@click.pass_obj
def show(session: Session, name: str, as_json: bool) -> None:
    """Show a firewall: its rules in order, and how much matched each."""
    found = session.client.firewalls.get(name)
    if as_json:
        print_json(found)
        return
    print_fields(
        {
            "name": found.name,
            "id": found.id,
            "applies to": _applies(found, _names(session)),
            "inbound": f"{found.inbound_default} by default",
            "outbound": f"{found.outbound_default} by default",
            "changed": ago(found.updated_at),
        }
    )
    counts = session.client.firewalls.traffic(found.id)
    rows = [
        (str(number), rule.direction.value, rule_text(rule), str(counts[rule.id].packets) if rule.id in counts else "")
        for number, rule in enumerate(found.rules, 1)
    ]
    print_table(("RULE", "DIRECTION", "WHAT", "MATCHED"), rows, empty="No rules: the defaults decide")


@firewall.command()
@click.argument("instance")
@click.option("--from", "source", default="", metavar="WHO", help="An address or an instance that begins it.")
@click.option("--to", "target", default="", metavar="WHO", help="An address or an instance that it goes to instead.")
@click.option("--port", type=int, default=22, help="Where it goes to (22).")
@click.option("--udp", is_flag=True, help="UDP; TCP otherwise.")
@click.option("--icmp", is_flag=True, help="ICMP, such as ping.")
@json_option
@click.pass_obj
def test(
    session: Session, instance: str, source: str, target: str, port: int, udp: bool, icmp: bool, as_json: bool
) -> None:
    """Tell which rule decides: insula firewall test web1 --from 192.0.2.7 --port 22."""
    if bool(source) == bool(target):
        raise InvalidInput(
            "One other side is needed",
            why="A connection comes --from somebody, or goes --to somebody",
            todo="Give one of the two",
            code="invalid-question",
        )
    direction = Direction.INBOUND if source else Direction.OUTBOUND
    traffic = Traffic.ICMP if icmp else Traffic.UDP if udp else Traffic.TCP
    found = session.client.firewalls.test(instance, source or target, direction=direction, traffic=traffic, port=port)
    if as_json:
        print_json(found)
        return
    say(f"It {'passes' if found.passes else 'is dropped'}. {found.why}")


@firewall.command()
@click.argument("name")
@click.pass_obj
def delete(session: Session, name: str) -> None:
    """Delete a firewall; its instances are open again unless another one applies."""
    session.client.firewalls.delete(name)
    say(f"Firewall {name} is deleted")


def _names(session: Session) -> dict[str, str]:
    return {one.id: one.name for one in session.client.instances.list()}


def _say_extent(session: Session, changed: ProjectFirewall, as_json: bool) -> None:
    if as_json:
        print_json(changed)
        return
    say(f"Firewall {changed.name} applies to {_applies(changed, _names(session)) or 'nobody'}")


def _applies(found: ProjectFirewall, names: dict[str, str]) -> str:
    those = [names[one] for one in found.instances if one in names]
    return ", ".join([*those, *(f"tag:{tag}" for tag in found.tags)])
