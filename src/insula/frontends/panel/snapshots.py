"""Snapshots: what an instance's disk was at one instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from insula.control.actions.snapshots import SnapshotWish
from insula.domain.snapshot import Snapshot, SnapshotKind
from insula.frontends.panel.nouns import Do, Done, Empty, Noun, accepted, serve
from insula.frontends.panel.operations import operations_of
from insula.frontends.panel.render import bytes_text
from insula.frontends.panel.view import (
    Cell,
    Column,
    Deed,
    Fact,
    Field,
    Row,
    Thing,
    amount,
    choices,
    code,
    link,
    state,
    tags,
    when,
)
from insula.frontends.panel.visit import ROOT, Visit
from insula.frontends.panel.volumes import holder, instance_names

_MOST = 100_000
_HERE = f"{ROOT}/snapshots"


async def _rows(visit: Visit) -> Sequence[Row]:
    names = await instance_names(visit)
    found = await visit.actions.snapshots.list(visit.caller, limit=_MOST)
    return [_row(each, names) for each in found.items]


def _row(each: Snapshot, names: Mapping[str, str]) -> Row:
    cells = (
        link(each.name, f"{_HERE}/{each.name}"),
        state(each.state.value),
        holder(each.instance_id, names),
        Cell(_kind(each)),
        amount(bytes_text(each.size_bytes), each.size_bytes),
        tags(each.tags),
        when(each.created_at),
    )
    return Row(each.id, each.name, cells, hint=each.id)


def _kind(found: Snapshot) -> str:
    return "disk and memory" if found.kind is SnapshotKind.MEMORY else "disk"


async def _show(visit: Visit, name: str) -> Thing:
    found = await visit.actions.snapshots.show(visit.caller, name)
    names = await instance_names(visit)
    create = link("make an instance of it", f"{ROOT}/create?snapshot={found.name}")
    return Thing(
        id=found.id,
        name=found.name,
        state=found.state.value,
        problem=found.problem,
        facts=(
            Fact("Of the instance", holder(found.instance_id, names)),
            Fact("What it holds", Cell(_kind(found))),
            Fact("Consistent as", Cell(found.consistency.value if found.consistency else "not made yet")),
            Fact("Takes", Cell(bytes_text(found.size_bytes))),
            Fact("Image", Cell(found.image)),
            Fact("Plan then", Cell(found.plan)),
            Fact("Use", create),
            Fact("Tags", tags(found.tags)),
            Fact("Protected", Cell("yes" if found.protected else "no")),
            Fact("Made", when(found.created_at)),
            Fact("Id", code(found.id)),
        ),
        deeds=(
            Deed("rename", "Rename", "edit", (Field("name", "Name", value=found.name, required=True),)),
            Deed("tag", "Tag", "tag", (Field("tags", "Tags", value=" ".join(found.tags)),)),
            Deed("unprotect", "Lift the protection", "shield")
            if found.protected
            else Deed("protect", "Protect", "shield"),
            Deed("delete", "Delete", "trash", (), "What others are based on stays for them.", True, found.name),
        ),
        operations=await operations_of(visit, found.id),
    )


async def _rename(visit: Visit, name: str) -> Done:
    changed = await visit.actions.snapshots.change(visit.caller, name, visit.form.text("name"), None, None)
    return Done(f"It is called {changed.name} now.", f"{_HERE}/{changed.name}")


async def _tag(visit: Visit, name: str) -> Done:
    await visit.actions.snapshots.change(visit.caller, name, None, visit.form.words("tags"), None)
    return Done("The tags are changed.")


async def _protect(visit: Visit, name: str) -> Done:
    await visit.actions.snapshots.change(visit.caller, name, None, None, True)
    return Done(f"{name} is protected.")


async def _unprotect(visit: Visit, name: str) -> Done:
    await visit.actions.snapshots.change(visit.caller, name, None, None, False)
    return Done(f"{name} is not protected any more.")


async def _delete(visit: Visit, name: str) -> Done:
    visit.form.check_typed(name, "delete")
    return accepted(await visit.actions.snapshots.delete(visit.caller, name), f"{name} is deleted.", _HERE)


async def _fields(visit: Visit) -> tuple[Field, ...]:
    return (
        Field("instance", "Instance", "select", "", choices(tuple((await instance_names(visit)).values()))),
        Field("name", "Name", placeholder="a number is added to the instance's name"),
        Field("memory", "With the guest's memory, so that it can go on from there", "flag"),
        Field("tags", "Tags"),
    )


async def _make(visit: Visit) -> Done:
    form = visit.form
    kind = SnapshotKind.MEMORY if form.flag("memory") else SnapshotKind.DISK
    wish = SnapshotWish(form.text("instance"), form.text("name"), kind, form.words("tags"))
    operation = await visit.actions.snapshots.create(visit.caller, wish)
    return accepted(operation, f"The snapshot {operation.target_name} is made.", f"{_HERE}/{operation.target_name}")


_VERBS: Mapping[str, Do] = {
    "rename": _rename,
    "tag": _tag,
    "protect": _protect,
    "unprotect": _unprotect,
    "delete": _delete,
}

NOUN = serve(
    Noun(
        path="/snapshots",
        title="Snapshots",
        one="snapshot",
        icon="camera",
        columns=(
            Column("Name"),
            Column("State"),
            Column("Instance"),
            Column("Kind"),
            Column("Takes", is_number=True),
            Column("Tags"),
            Column("Made"),
        ),
        rows=_rows,
        empty=Empty(
            "No snapshots yet",
            "A snapshot is what a disk held at one instant, made in a moment: go back to it, or make instances of it.",
            "insula snapshot create web1",
        ),
        thing=_show,
        verbs=_VERBS,
        bulk=(
            Deed("protect", "Protect", "shield"),
            Deed("delete", "Delete", "trash", hint="Nobody can go back to them.", is_danger=True),
        ),
        fields=_fields,
        make=_make,
        make_label="Take a snapshot",
    )
)
