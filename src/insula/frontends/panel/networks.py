"""Networks that instances are in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from insula.control.actions.networks import NetworkWish
from insula.frontends.panel.nouns import Do, Done, Empty, Noun, serve
from insula.frontends.panel.view import (
    Cell,
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
    link,
    state,
    when,
)
from insula.frontends.panel.visit import ROOT, Visit

_MOST = 100_000
_HERE = f"{ROOT}/networks"


async def _rows(visit: Visit) -> Sequence[Row]:
    instances = (await visit.actions.instances.list(visit.caller, limit=_MOST)).items
    lines = []
    for each in (await visit.actions.networks.list(visit.caller)).items:
        members = sum(any(port.network_id == each.id for port in one.ports) for one in instances)
        cells = (
            link(each.name, f"{_HERE}/{each.name}"),
            code(each.ipv4),
            code(each.ipv6),
            Cell("leads outside" if each.gateway else "apart"),
            amount(str(members), members),
            when(each.created_at),
        )
        lines.append(Row(each.id, each.name, cells, hint=each.id))
    return lines


async def _show(visit: Visit, name: str) -> Thing:
    found = await visit.actions.networks.show(visit.caller, name)
    known = (await visit.actions.networks.list(visit.caller)).items
    pairs = await visit.actions.networks.joined(visit.caller)
    joined = {one for pair in pairs if found.id in pair for one in pair} - {found.id}
    names = [each.name for each in known if each.id in joined]
    others = [each.name for each in known if each.id not in joined | {found.id}]
    return Thing(
        id=found.id,
        name=found.name,
        facts=(
            Fact("IPv4", code(found.ipv4)),
            Fact("IPv6", code(found.ipv6)),
            Fact("Outside", Cell("it leads there" if found.gateway else "it does not lead there")),
            Fact("Joined with", Cell(", ".join(names) or "no other network")),
            Fact("Made", when(found.created_at)),
            Fact("Id", code(found.id)),
        ),
        parts=(await _members(visit, found.id),),
        deeds=(
            Deed("rename", "Rename", "edit", (Field("name", "Name", value=found.name, required=True),)),
            Deed("close", "Close the way outside", "x", hint="Connections that stand go on.")
            if found.gateway
            else Deed("open", "Open the way outside", "arrow-right"),
            *([_pair("join", "Join with another network", others)] if others else []),
            *([_pair("part", "Part from another network", names)] if names else []),
            Deed("delete", "Delete", "trash", (), "Only possible while nobody is in it.", True, found.name),
        ),
    )


def _pair(verb: str, label: str, names: Sequence[str]) -> Deed:
    return Deed(verb, label, "network", (Field("other", "Network", "select", "", choices(names)),))


async def _members(visit: Visit, network_id: str) -> Part:
    lines = []
    for each in (await visit.actions.instances.list(visit.caller, limit=_MOST)).items:
        for port in each.ports:
            if port.network_id == network_id:
                cells = (
                    link(each.name, f"{ROOT}/instances/{each.name}"),
                    state(each.state.value),
                    code(port.ipv4),
                    code(port.ipv6),
                )
                lines.append(Row(port.id, each.name, cells))
    return Part("Instances", ("Name", "State", "IPv4", "IPv6"), tuple(lines), "Nobody is in it.")


async def _rename(visit: Visit, name: str) -> Done:
    changed = await visit.actions.networks.change(visit.caller, name, visit.form.text("name"), None)
    return Done(f"It is called {changed.name} now.", f"{_HERE}/{changed.name}")


async def _open(visit: Visit, name: str) -> Done:
    await visit.actions.networks.change(visit.caller, name, None, True)
    return Done(f"{name} leads outside.")


async def _close(visit: Visit, name: str) -> Done:
    await visit.actions.networks.change(visit.caller, name, None, False)
    return Done(f"{name} does not lead outside any more.")


async def _join(visit: Visit, name: str) -> Done:
    await visit.actions.networks.join(visit.caller, name, visit.form.text("other"))
    return Done("The two networks reach each other.")


async def _part(visit: Visit, name: str) -> Done:
    await visit.actions.networks.part(visit.caller, name, visit.form.text("other"))
    return Done("The two networks do not reach each other any more.")


async def _delete(visit: Visit, name: str) -> Done:
    visit.form.check_typed(name, "delete")
    await visit.actions.networks.delete(visit.caller, name)
    return Done(f"{name} is gone.", _HERE)


async def _fields(visit: Visit) -> tuple[Field, ...]:
    prefix = "Empty for one that is free; none for none."
    return (
        Field("name", "Name", required=True, placeholder="backend"),
        Field("ipv4", "IPv4", hint=prefix, placeholder="10.50.0.0/16"),
        Field("ipv6", "IPv6", hint=prefix),
        Field("apart", "Keep it apart: it does not lead outside", "flag"),
    )


async def _make(visit: Visit) -> Done:
    form = visit.form
    wish = NetworkWish(form.text("name"), form.text("ipv4"), form.text("ipv6"), not form.flag("apart"))
    made = await visit.actions.networks.create(visit.caller, wish)
    return Done(f"The network {made.name} stands.", f"{_HERE}/{made.name}")


_VERBS: Mapping[str, Do] = {
    "rename": _rename,
    "open": _open,
    "close": _close,
    "join": _join,
    "part": _part,
    "delete": _delete,
}

NOUN = serve(
    Noun(
        path="/networks",
        title="Networks",
        one="network",
        icon="network",
        columns=(
            Column("Name"),
            Column("IPv4"),
            Column("IPv6"),
            Column("Outside"),
            Column("Instances", is_number=True),
            Column("Made"),
        ),
        rows=_rows,
        empty=Empty(
            "No networks yet",
            "The first instance brings one along. Make further ones to keep instances apart from each other.",
            "insula network create backend --no-gateway",
        ),
        thing=_show,
        verbs=_VERBS,
        bulk=(Deed("delete", "Delete", "trash", hint="Only those in which nobody is.", is_danger=True),),
        fields=_fields,
        make=_make,
        make_label="Create network",
    )
)
