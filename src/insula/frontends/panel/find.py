"""The command palette: pages, instances and what one does with them, by a few letters."""

from __future__ import annotations

from dataclasses import dataclass

from insula.domain.access import Scope
from insula.frontends.panel.render import MENU, page
from insula.frontends.panel.visit import ROOT, Answer, Visit, route

_MOST = 100_000
_SHOWN = 12


@dataclass(frozen=True)
class Hit:
    """Somewhere to go."""

    title: str
    kind: str
    icon: str
    href: str


@route("GET", "/find")
async def find(visit: Visit) -> Answer:
    """What fits the letters in `q`."""
    words = visit.query.get("q", "").lower().split()
    hits = [each for each in await _all(visit) if all(word in f"{each.title} {each.kind}".lower() for word in words)]
    return page(visit, "find.html", hits=hits[:_SHOWN], search=visit.query.get("q", ""))


async def _all(visit: Visit) -> list[Hit]:
    may = visit.caller.identity.may
    found = []
    if may(Scope.INSTANCES_WRITE):
        found.append(Hit("Create instance", "action", "plus", f"{ROOT}/create"))
    found += [
        Hit(each.title, "page", each.icon, f"{ROOT}{each.path}")
        for _, places in MENU
        for each in places
        if may(each.scope)
    ]
    if may(Scope.INSTANCES_READ):
        for each in (await visit.actions.instances.list(visit.caller, limit=_MOST)).items:
            place = f"{ROOT}/instances/{each.name}"
            found.append(Hit(each.name, f"instance, {each.state}", "server", place))
            if may(Scope.INSTANCES_EXEC):
                found.append(Hit(f"{each.name} console", "action", "terminal", f"{place}/console"))
    return found
