"""What a firewall's rules were before they were replaced here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from insula.domain.ids import Kind
from insula.domain.project_firewall import ProjectFirewall
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.linode.dialect import DIALECT, page, when
from insula.frontends.dialects.linode.firewall_view import firewall_views
from insula.frontends.dialects.linode.records import in_path
from insula.frontends.dialects.records import unknown

_PLACE = "/networking/firewalls/{firewall}/history"


def _record(firewall: ProjectFirewall, version: int) -> str:
    return f"rules:{firewall.id}:{version}"


async def keep(ask: Ask, replaced: ProjectFirewall, rules: Mapping[str, Any]) -> None:
    """Note rules that are in force no more; whoever calls has been allowed to replace them."""
    kept = {"rules": json.dumps(dict(rules)), "updated": when(replaced.updated_at)}
    await ask.actions.aliases.note(_record(replaced, int(rules["version"])), kept)


async def _versions(ask: Ask) -> Mapping[int, dict[str, Any]]:
    """The firewall as it was with each of them, the present one last."""
    found = await ask.actions.firewalls.show(ask.caller, await in_path(ask, "firewall", Kind.FIREWALL))
    present = (await firewall_views(ask, [found]))[0]
    last = int(present["rules"]["version"])
    records = {version: _record(found, version) for version in range(1, last)}
    aliases = await ask.actions.aliases.of(records.values())
    before = {version: aliases[record].facts for version, record in records.items()}
    shown = {
        version: {**present, "rules": json.loads(facts["rules"]), "updated": facts["updated"]}
        for version, facts in before.items()
        if "rules" in facts
    }
    return {**shown, last: present}


@DIALECT.operation("GET", _PLACE, "firewalls.versions-list")
async def list_versions(ask: Ask) -> Answer:
    return page(ask, list((await _versions(ask)).values()))


@DIALECT.operation("GET", f"{_PLACE}/rules/{{version}}", "firewalls.version-view")
async def get_version(ask: Ask) -> Answer:
    """As it is documented, and the rules once more beside: that is where clients look for them."""
    versions = {str(version): shown for version, shown in (await _versions(ask)).items()}
    shown = versions.get(ask.path["version"])
    if shown is None:
        raise unknown("version", ask.path["version"])
    return Answer({**shown, **shown["rules"]})
