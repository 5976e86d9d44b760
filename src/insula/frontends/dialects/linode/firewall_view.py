"""Firewalls as they are told there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from insula.domain.alias import Alias
from insula.domain.instance import Instance
from insula.domain.project_firewall import ProjectFirewall
from insula.frontends.dialects.dialect import Ask
from insula.frontends.dialects.linode.dialect import when
from insula.frontends.dialects.linode.find import linodes
from insula.frontends.dialects.linode.firewall_rules import rules_view
from insula.frontends.dialects.records import name_of

_TAGS = "tags"  # no tag has a comma


def tags_of(alias: Alias) -> list[str]:
    """Those that a firewall carries there; ours say which instances it is for."""
    return [tag for tag in alias.facts.get(_TAGS, "").split(",") if tag]


def tags_kept(tags: Sequence[str]) -> dict[str, str]:
    """The facts that keep them."""
    return {_TAGS: ",".join(tags)}


async def entities(ask: Ask, instances: Sequence[Instance]) -> dict[str, dict[str, Any]]:
    """Linodes as what a firewall is for, by our ids."""
    aliases = await ask.actions.aliases.of(one.id for one in instances)
    return {
        one.id: {
            "id": aliases[one.id].number,
            "label": name_of(aliases[one.id], one.name),
            "type": "linode",
            "url": f"/v4/linode/instances/{aliases[one.id].number}",
            "parent_entity": None,
        }
        for one in instances
    }


async def firewall_views(ask: Ask, found: Sequence[ProjectFirewall]) -> list[dict[str, Any]]:
    records = [record for one in found for record in (one.id, *(rule.id for rule in one.rules))]
    aliases = await ask.actions.aliases.of(records)
    known = await entities(ask, await linodes(ask))
    return [
        {
            "id": aliases[one.id].number,
            "label": name_of(aliases[one.id], one.name),
            "status": "enabled",
            "rules": rules_view(one, aliases),
            "entities": [known[instance] for instance in one.instances if instance in known],
            "tags": tags_of(aliases[one.id]),
            "created": when(one.created_at),
            "updated": when(one.updated_at),
        }
        for one in found
    ]
