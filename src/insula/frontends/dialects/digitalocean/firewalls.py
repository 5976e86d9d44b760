"""Cloud firewalls. What no rule of one lets through is dropped, in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from insula.base.errors import Conflict
from insula.control.actions.firewalls import FirewallChange, FirewallWish
from insula.domain.firewall import Action, Rule
from insula.domain.ids import Kind
from insula.domain.project_firewall import ProjectFirewall
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.digitalocean.dialect import DIALECT, page, part
from insula.frontends.dialects.digitalocean.find import named_droplets
from insula.frontends.dialects.digitalocean.firewall_view import Rules, Translated, firewall_views, translated
from insula.frontends.dialects.records import check_text, fitting, name_of, naming, of_uuid


class _New(Rules):
    name: str = ""
    droplet_ids: list[int] = msgspec.field(default_factory=list)
    tags: list[str] = msgspec.field(default_factory=list)


class _Droplets(msgspec.Struct):
    droplet_ids: list[int]


class _Tags(msgspec.Struct):
    tags: list[str]


async def _find(ask: Ask) -> ProjectFirewall:
    return await ask.actions.firewalls.show(ask.caller, of_uuid(ask.path["firewall_id"], Kind.FIREWALL))


async def _answer(ask: Ask, found: ProjectFirewall, status: int = 200) -> Answer:
    return Answer({"firewall": (await firewall_views(ask, [found]))[0]}, status)


async def _name(ask: Ask, wanted: str, own: ProjectFirewall | None = None) -> str:
    """Ours for theirs, which may be there once only."""
    check_text(wanted, "name")
    others = [one for one in (await ask.actions.firewalls.list(ask.caller)).items if own is None or one.id != own.id]
    aliases = await ask.actions.aliases.of(one.id for one in others)
    if wanted in {name_of(aliases[one.id], one.name) for one in others}:
        why = f"There is a firewall {wanted} already"
        raise Conflict("duplicate name", why=why, todo="Choose another name", code="name-taken")
    return fitting(wanted, {one.name for one in others}, "firewall")


async def _note(ask: Ask, rules: Sequence[Rule], theirs: Sequence[Translated]) -> None:
    """Keep what cannot be read from our rules."""
    for rule, one in zip(rules, theirs, strict=True):
        await ask.actions.aliases.note(rule.id, one.facts)


@DIALECT.operation("GET", "/v2/firewalls", "firewalls_list")
async def list_firewalls(ask: Ask) -> Answer:
    found = (await ask.actions.firewalls.list(ask.caller)).items
    return page(ask, "firewalls", await firewall_views(ask, part(ask, found)), len(found))


@DIALECT.operation("POST", "/v2/firewalls", "firewalls_create")
async def create_firewall(ask: Ask) -> Answer:
    wish = ask.read(_New)
    ours, rules = await _name(ask, wish.name), await translated(ask, wish)
    instances = tuple(one.id for one in await named_droplets(ask, wish.droplet_ids, "droplet_ids"))
    new = FirewallWish(ours, tuple(one.rule for one in rules), instances, tuple(wish.tags), Action.DROP, Action.DROP)
    made = await ask.actions.firewalls.create(ask.caller, new)
    await _note(ask, made.rules, rules)
    await ask.actions.aliases.note(made.id, naming(wish.name, ours))
    return await _answer(ask, made, 202)


@DIALECT.operation("GET", "/v2/firewalls/{firewall_id}", "firewalls_get")
async def get_firewall(ask: Ask) -> Answer:
    return await _answer(ask, await _find(ask))


@DIALECT.operation("PUT", "/v2/firewalls/{firewall_id}", "firewalls_update")
async def update_firewall(ask: Ask) -> Answer:
    """All of it is replaced."""
    found, wish = await _find(ask), ask.read(_New)
    ours, rules = await _name(ask, wish.name, found), await translated(ask, wish)
    instances = tuple(one.id for one in await named_droplets(ask, wish.droplet_ids, "droplet_ids"))
    change = FirewallChange(ours, tuple(one.rule for one in rules), Action.DROP, Action.DROP)
    changed = await ask.actions.firewalls.change(ask.caller, found.id, change)
    await _note(ask, changed.rules, rules)
    await ask.actions.aliases.note(found.id, naming(wish.name, ours))
    await ask.actions.firewalls.apply(ask.caller, found.id, instances, tuple(wish.tags))
    too_many = tuple(one for one in found.instances if one not in instances)
    tags = tuple(tag for tag in found.tags if tag not in wish.tags)
    return await _answer(ask, await ask.actions.firewalls.lift(ask.caller, found.id, too_many, tags))


@DIALECT.operation("DELETE", "/v2/firewalls/{firewall_id}", "firewalls_delete")
async def delete_firewall(ask: Ask) -> Answer:
    await ask.actions.firewalls.delete(ask.caller, (await _find(ask)).id)
    return Answer(status=204)


async def _droplets(ask: Ask) -> tuple[str, ...]:
    return tuple(one.id for one in await named_droplets(ask, ask.read(_Droplets).droplet_ids, "droplet_ids"))


@DIALECT.operation("POST", "/v2/firewalls/{firewall_id}/droplets", "firewalls_assign_droplets")
async def assign_droplets(ask: Ask) -> Answer:
    await ask.actions.firewalls.apply(ask.caller, (await _find(ask)).id, await _droplets(ask), ())
    return Answer(status=204)


@DIALECT.operation("DELETE", "/v2/firewalls/{firewall_id}/droplets", "firewalls_delete_droplets")
async def remove_droplets(ask: Ask) -> Answer:
    await ask.actions.firewalls.lift(ask.caller, (await _find(ask)).id, await _droplets(ask), ())
    return Answer(status=204)


@DIALECT.operation("POST", "/v2/firewalls/{firewall_id}/tags", "firewalls_add_tags")
async def add_tags(ask: Ask) -> Answer:
    await ask.actions.firewalls.apply(ask.caller, (await _find(ask)).id, (), tuple(ask.read(_Tags).tags))
    return Answer(status=204)


@DIALECT.operation("DELETE", "/v2/firewalls/{firewall_id}/tags", "firewalls_delete_tags")
async def remove_tags(ask: Ask) -> Answer:
    await ask.actions.firewalls.lift(ask.caller, (await _find(ask)).id, (), tuple(ask.read(_Tags).tags))
    return Answer(status=204)


@DIALECT.operation("POST", "/v2/firewalls/{firewall_id}/rules", "firewalls_add_rules")
async def add_rules(ask: Ask) -> Answer:
    found, rules = await _find(ask), await translated(ask, ask.read(Rules))
    wanted = FirewallChange(rules=(*found.rules, *(one.rule for one in rules)))
    changed = await ask.actions.firewalls.change(ask.caller, found.id, wanted)
    await _note(ask, changed.rules[len(found.rules) :], rules)
    return Answer(status=204)


@DIALECT.operation("DELETE", "/v2/firewalls/{firewall_id}/rules", "firewalls_delete_rules")
async def remove_rules(ask: Ask) -> Answer:
    """Those that are alike, whichever their ids."""
    found = await _find(ask)
    unwanted = [one.rule for one in await translated(ask, ask.read(Rules))]
    kept = tuple(rule for rule in found.rules if replace(rule, id="") not in unwanted)
    await ask.actions.firewalls.change(ask.caller, found.id, FirewallChange(rules=kept))
    return Answer(status=204)
