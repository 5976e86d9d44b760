"""Cloud firewalls and their rules."""

from __future__ import annotations

from typing import Any

import msgspec

from insula.base.errors import InvalidInput, Unsupported
from insula.control.actions.firewalls import FirewallChange, FirewallWish
from insula.domain.ids import Kind
from insula.domain.names import check_tags
from insula.domain.project_firewall import ProjectFirewall
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.linode import firewall_history
from insula.frontends.dialects.linode.dialect import DIALECT, nothing, page
from insula.frontends.dialects.linode.find import linode_of, named
from insula.frontends.dialects.linode.firewall_rules import Rules, policy, rules_of, rules_view, translated
from insula.frontends.dialects.linode.firewall_view import firewall_views, tags_kept
from insula.frontends.dialects.linode.records import check_label, check_ours, in_path
from insula.frontends.dialects.records import fitting, name_of, naming

_PLACE = "/networking/firewalls"


class _Devices(msgspec.Struct):
    linodes: list[int] = []
    nodebalancers: list[int] = []
    linode_interfaces: list[int] = []


class _New(msgspec.Struct):
    label: str
    rules: Rules = msgspec.field(default_factory=Rules)
    devices: _Devices = msgspec.field(default_factory=_Devices)
    tags: list[str] = []


class _Change(msgspec.Struct):
    label: str | None = None
    status: str | None = None
    tags: list[str] | None = None


class _Ids(msgspec.Struct):
    firewall_ids: list[int] = []


async def find(ask: Ask) -> ProjectFirewall:
    """The one in the path. Raises NotFound."""
    return await ask.actions.firewalls.show(ask.caller, await in_path(ask, "firewall", Kind.FIREWALL))


async def _answer(ask: Ask, found: ProjectFirewall) -> Answer:
    return Answer((await firewall_views(ask, [found]))[0])


async def _name(ask: Ask, label: str, own: str = "") -> str:
    check_label(label, most=32)
    others = [one for one in (await ask.actions.firewalls.list(ask.caller)).items if one.id != own]
    aliases = await ask.actions.aliases.of(one.id for one in others)
    check_ours(label, {name_of(aliases[one.id], one.name) for one in others}, "Cloud Firewalls")
    return fitting(label, {one.name for one in others}, "firewall")


@DIALECT.operation("GET", _PLACE, "firewalls.list")
async def list_firewalls(ask: Ask) -> Answer:
    return page(ask, await firewall_views(ask, (await ask.actions.firewalls.list(ask.caller)).items))


@DIALECT.operation("POST", _PLACE, "firewalls.create")
async def create_firewall(ask: Ask) -> Answer:
    wish = ask.read(_New)
    if wish.devices.nodebalancers or wish.devices.linode_interfaces:
        raise Unsupported(
            "Firewalls are for Linodes here", why="There are no NodeBalancers", todo="Send devices.linodes"
        )
    tags = check_tags(tuple(wish.tags))
    _check_policies(wish.rules)
    ours, rules = await _name(ask, wish.label), translated(wish.rules)
    instances = tuple(one.id for one in await named(ask, wish.devices.linodes, "devices.linodes"))
    inbound, outbound = policy(wish.rules.inbound_policy), policy(wish.rules.outbound_policy)
    new = FirewallWish(ours, rules_of(rules), instances, (), inbound, outbound)
    made = await ask.actions.firewalls.create(ask.caller, new)
    await _note(ask, made, rules)
    await ask.actions.aliases.note(made.id, naming(wish.label, ours) | tags_kept(tags))
    return await _answer(ask, made)


def _check_policies(rules: Rules) -> None:
    """Raises InvalidInput."""
    for name in ("inbound_policy", "outbound_policy"):
        if getattr(rules, name) is None:
            raise InvalidInput(
                f"{name} is required",
                why="It says what becomes of traffic that no rule is about",
                todo="Send ACCEPT or DROP",
                fields={f"rules.{name}": f"{name} is required"},
            )


async def _note(ask: Ask, made: ProjectFirewall, rules: list[tuple[Any, dict[str, str]]]) -> None:
    for rule, (_, facts) in zip(made.rules, rules, strict=True):
        await ask.actions.aliases.note(rule.id, facts)


@DIALECT.operation("GET", f"{_PLACE}/{{firewall}}", "firewalls.view")
async def get_firewall(ask: Ask) -> Answer:
    return await _answer(ask, await find(ask))


@DIALECT.operation("PUT", f"{_PLACE}/{{firewall}}", "firewalls.update")
async def update_firewall(ask: Ask) -> Answer:
    found, wish = await find(ask), ask.read(_Change)
    tags = None if wish.tags is None else check_tags(tuple(wish.tags))
    if wish.status not in (None, "enabled"):
        raise Unsupported(
            "A firewall is always enabled here",
            why="One that shall do nothing accepts everything, or has no devices",
            todo="Leave status out",
        )
    if wish.label is not None:
        ours = await _name(ask, wish.label, found.id)
        found = await ask.actions.firewalls.change(ask.caller, found.id, FirewallChange(ours))
        await ask.actions.aliases.note(found.id, naming(wish.label, ours))
    if tags is not None:
        await ask.actions.aliases.describe(ask.caller, "firewalls.change", found.id, tags_kept(tags))
    return await _answer(ask, found)


@DIALECT.operation("DELETE", f"{_PLACE}/{{firewall}}", "firewalls.delete")
async def delete_firewall(ask: Ask) -> Answer:
    await ask.actions.firewalls.delete(ask.caller, (await find(ask)).id)
    return nothing()


async def _rules(ask: Ask, found: ProjectFirewall) -> dict[str, Any]:
    aliases = await ask.actions.aliases.of([found.id, *(rule.id for rule in found.rules)])
    return rules_view(found, aliases)


@DIALECT.operation("GET", f"{_PLACE}/{{firewall}}/rules", "firewalls.rules-list")
async def list_rules(ask: Ask) -> Answer:
    return Answer(await _rules(ask, await find(ask)))


@DIALECT.operation("PUT", f"{_PLACE}/{{firewall}}/rules", "firewalls.rules-update")
async def update_rules(ask: Ask) -> Answer:
    """All of them are replaced; what is left out of a request is emptied, policies stay.

    The same again is no new version.
    """
    found, wish = await find(ask), ask.read(Rules)
    rules = translated(wish)
    inbound = found.inbound_default if wish.inbound_policy is None else policy(wish.inbound_policy)
    outbound = found.outbound_default if wish.outbound_policy is None else policy(wish.outbound_policy)
    before = await _rules(ask, found)
    change = FirewallChange(None, rules_of(rules), inbound, outbound)
    changed = await ask.actions.firewalls.change(ask.caller, found.id, change)
    await _note(ask, changed, rules)
    if (await _rules(ask, changed))["fingerprint"] != before["fingerprint"]:
        await firewall_history.keep(ask, found, before)
        await ask.actions.aliases.note(found.id, {"version": str(before["version"] + 1)})
    return Answer(await _rules(ask, changed))


@DIALECT.operation("GET", f"{_PLACE}/settings", "firewalls.firewall-settings-list")
async def get_settings(ask: Ask) -> Answer:
    """No firewall is given to what is new unless it is asked for."""
    kinds = ("linode", "nodebalancer", "public_interface", "vpc_interface")
    return Answer({"default_firewall_ids": dict.fromkeys(kinds)})


@DIALECT.operation("GET", "/linode/instances/{linode}/firewalls", "linodes.firewalls-list")
async def list_of_linode(ask: Ask) -> Answer:
    instance = await linode_of(ask)
    found = [
        one
        for one in (await ask.actions.firewalls.list(ask.caller)).items
        if instance.id in one.instances or set(one.tags) & set(instance.tags)
    ]
    return page(ask, await firewall_views(ask, found))


@DIALECT.operation("PUT", "/linode/instances/{linode}/firewalls", "linodes.firewalls-update")
async def set_of_linode(ask: Ask) -> Answer:
    """These and no others are for it then."""
    instance, wish = await linode_of(ask), ask.read(_Ids)
    there = (await ask.actions.firewalls.list(ask.caller)).items
    aliases = await ask.actions.aliases.of(one.id for one in there)
    known = {aliases[one.id].number: one for one in there}
    if missing := [number for number in wish.firewall_ids if number not in known]:
        raise InvalidInput(
            "firewall_ids names a firewall that is not there",
            why=f"There is no {missing[0]}",
            todo="Look at /networking/firewalls",
            fields={"firewall_ids": "unknown"},
        )
    for number, one in known.items():
        if number in wish.firewall_ids:
            await ask.actions.firewalls.apply(ask.caller, one.id, (instance.id,), ())
        elif instance.id in one.instances:
            await ask.actions.firewalls.lift(ask.caller, one.id, (instance.id,), ())
    return await list_of_linode(ask)


@DIALECT.operation("POST", "/linode/instances/{linode}/firewalls/apply", "linodes.post-apply-firewalls")
async def apply_again(ask: Ask) -> Answer:
    """They are in force already."""
    await linode_of(ask)
    return nothing()
