"""Reserved addresses: they stay the project's, whichever instance they lead to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from insula.control.actions.addresses import AddressWish
from insula.domain.access import Scope
from insula.frontends.panel.nouns import Do, Done, Empty, Noun, serve
from insula.frontends.panel.operations import operations_of
from insula.frontends.panel.view import (
    Choice,
    Column,
    Deed,
    Fact,
    Field,
    Part,
    Row,
    Thing,
    choices,
    code,
    link,
    when,
)
from insula.frontends.panel.visit import ROOT, Visit
from insula.frontends.panel.volumes import holder, instance_names

_HERE = f"{ROOT}/addresses"


async def _rows(visit: Visit) -> Sequence[Row]:
    names = await instance_names(visit)
    return [
        Row(
            each.id,
            each.address,
            (
                link(each.address, f"{_HERE}/{each.id}"),
                holder(each.instance_id, names, "nowhere"),
                when(each.created_at),
            ),
            hint=each.id,
        )
        for each in (await visit.actions.addresses.list(visit.caller)).items
    ]


async def _show(visit: Visit, name: str) -> Thing:
    found = await visit.actions.addresses.show(visit.caller, name)
    names = await instance_names(visit)
    held = await visit.actions.addresses.history(visit.caller, found.address)
    lines = tuple(
        Row(
            str(number),
            each.instance_name,
            (holder(each.instance_id, names), when(each.began_at), when(each.ended_at, "until now")),
        )
        for number, each in enumerate(held)
    )
    deeds = []
    if names:
        fields = (Field("instance", "Instance", "select", "", choices(tuple(names.values()))),)
        deeds.append(Deed("assign", "Let it lead to an instance", "arrow-right", fields))
    if found.instance_id is not None:
        deeds.append(Deed("unassign", "Let it lead nowhere", "x", hint="It stays reserved."))
    deeds.append(Deed("release", "Give it back", "trash", (), "Others may get it then.", True, found.address))
    return Thing(
        id=found.id,
        name=found.address,
        facts=(
            Fact("Leads to", holder(found.instance_id, names, "nowhere")),
            Fact("Reserved", when(found.created_at)),
            Fact("Id", code(found.id)),
        ),
        parts=(Part("History", ("Instance", "From", "Until"), lines, "It has led nowhere yet."),),
        deeds=tuple(deeds),
        operations=await operations_of(visit, found.id),
    )


async def _assign(visit: Visit, name: str) -> Done:
    changed = await visit.actions.addresses.assign(visit.caller, name, visit.form.text("instance"))
    return Done(f"{changed.address} leads to {visit.form.text('instance')}.")


async def _unassign(visit: Visit, name: str) -> Done:
    changed = await visit.actions.addresses.unassign(visit.caller, name)
    return Done(f"{changed.address} leads nowhere now.")


async def _release(visit: Visit, name: str) -> Done:
    found = await visit.actions.addresses.show(visit.caller, name)
    visit.form.check_typed(found.address, "release")
    await visit.actions.addresses.release(visit.caller, found.id)
    return Done(f"{found.address} is given back.", _HERE)


async def _fields(visit: Visit) -> tuple[Field, ...]:
    pools: Sequence[str] = ()
    if visit.caller.identity.may(Scope.HOST_READ):
        pools = [each.name for each in await visit.actions.addresses.pools(visit.caller)]
    names = tuple((await instance_names(visit)).values())
    return (
        Field("address", "Address", placeholder="a free one", hint="Empty for any that is free."),
        Field("pool", "Pool", "select", "", choices(pools, "any")),
        Field("version", "Kind", "select", "4", (Choice("4", "IPv4"), Choice("6", "IPv6"))),
        Field("instance", "Let it lead to", "select", "", choices(names, "nowhere for now")),
    )


async def _make(visit: Visit) -> Done:
    form = visit.form
    wish = AddressWish(form.text("address"), form.text("pool"), form.number("version", 4), form.text("instance"))
    made = await visit.actions.addresses.reserve(visit.caller, wish)
    return Done(f"{made.address} is reserved.", f"{_HERE}/{made.id}")


_VERBS: Mapping[str, Do] = {"assign": _assign, "unassign": _unassign, "release": _release}

NOUN = serve(
    Noun(
        path="/addresses",
        title="Addresses",
        one="address",
        icon="map-pin",
        columns=(Column("Address"), Column("Leads to"), Column("Reserved")),
        rows=_rows,
        empty=Empty(
            "No addresses reserved yet",
            "A reserved address stays yours: let it lead to one instance today and to another one tomorrow.",
            "insula address reserve --to web1",
        ),
        thing=_show,
        verbs=_VERBS,
        bulk=(
            Deed("unassign", "Let them lead nowhere", "x"),
            Deed("release", "Give back", "trash", hint="Others may get them then.", is_danger=True),
        ),
        fields=_fields,
        make=_make,
        make_label="Reserve address",
    )
)
