"""Backups: copies elsewhere, and the drills that prove that they can be restored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from insula.control.actions.backups import BackupWish
from insula.domain.backup import Backup, Drill
from insula.frontends.panel.nouns import Do, Done, Empty, Noun, accepted, serve
from insula.frontends.panel.operations import operations_of
from insula.frontends.panel.render import bytes_text, took_text
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
from insula.frontends.panel.volumes import instance_names

_MOST = 100_000
_HERE = f"{ROOT}/backups"


async def _stores(visit: Visit) -> Mapping[str, str]:
    found = await visit.actions.backup_stores.list(visit.caller, limit=_MOST)
    return {each.id: each.name for each in found.items}


async def _rows(visit: Visit) -> Sequence[Row]:
    stores = await _stores(visit)
    found = await visit.actions.backups.list(visit.caller, limit=_MOST)
    return [_row(each, stores) for each in found.items]


def _row(each: Backup, stores: Mapping[str, str]) -> Row:
    cells = (
        link(each.name, f"{_HERE}/{each.name}"),
        state(each.state.value),
        Cell(each.instance_name),
        Cell(stores.get(each.store_id, each.store_id)),
        amount(bytes_text(each.added_bytes), each.added_bytes),
        _drill(each.drills[-1]) if each.drills else Cell("not tried yet"),
        when(each.created_at),
    )
    return Row(each.id, each.name, cells, hint=each.id)


def _drill(drill: Drill) -> Cell:
    return state("passed" if drill.passed else "failed")


async def _show(visit: Visit, name: str) -> Thing:
    found = await visit.actions.backups.show(visit.caller, name)
    stores = await _stores(visit)
    return Thing(
        id=found.id,
        name=found.name,
        state=found.state.value,
        problem=found.problem,
        facts=(
            Fact("Of the instance", Cell(found.instance_name)),
            Fact("In the store", Cell(stores.get(found.store_id, found.store_id))),
            Fact("Disk", Cell(bytes_text(found.size_bytes))),
            Fact("Read", Cell(bytes_text(found.read_bytes))),
            Fact("Came to the store", Cell(bytes_text(found.added_bytes))),
            Fact("Consistent as", Cell(found.consistency.value if found.consistency else "not made yet")),
            Fact("By schedule", Cell("yes" if found.scheduled else "no")),
            Fact("Protected", Cell("yes" if found.protected else "no")),
            Fact("Use", link("restore it as an instance", f"{ROOT}/create?backup={found.name}")),
            Fact("Made", when(found.created_at)),
            Fact("Id", code(found.id)),
        ),
        parts=(_drills(found),),
        deeds=(
            Deed(
                "drill",
                "Try a restore",
                "activity",
                (Field("command", "Command that must succeed in it", placeholder="systemctl is-system-running"),),
                hint="It is booted without a network, as an instance that nobody sees, and removed afterwards.",
            ),
            Deed("rename", "Rename", "edit", (Field("name", "Name", value=found.name, required=True),)),
            Deed("unprotect", "Lift the protection", "shield")
            if found.protected
            else Deed("protect", "Protect", "shield"),
            Deed("delete", "Delete", "trash", (), "Each backup is whole by itself; others stay.", True, found.name),
        ),
        operations=await operations_of(visit, found.id),
    )


def _drills(found: Backup) -> Part:
    lines = tuple(
        Row(
            str(number),
            str(number),
            (
                when(each.at),
                _drill(each),
                Cell(took_text(each.took_ms)),
                code(each.command),
                Cell(each.problem or each.output or "it booted and answered"),
            ),
        )
        for number, each in enumerate(reversed(found.drills))
    )
    return Part("Drills", ("When", "Result", "Took", "Command", "What came of it"), lines, "No restore was tried yet.")


async def _tried(visit: Visit, name: str) -> Done:
    operation = await visit.actions.backups.drill(visit.caller, name, visit.form.text("command"))
    return accepted(operation, f"{name} is restored and tried.", f"{_HERE}/{name}")


async def _rename(visit: Visit, name: str) -> Done:
    changed = await visit.actions.backups.change(visit.caller, name, visit.form.text("name"), None)
    return Done(f"It is called {changed.name} now.", f"{_HERE}/{changed.name}")


async def _protect(visit: Visit, name: str) -> Done:
    await visit.actions.backups.change(visit.caller, name, None, True)
    return Done(f"{name} is protected.")


async def _unprotect(visit: Visit, name: str) -> Done:
    await visit.actions.backups.change(visit.caller, name, None, False)
    return Done(f"{name} is not protected any more.")


async def _delete(visit: Visit, name: str) -> Done:
    visit.form.check_typed(name, "delete")
    return accepted(await visit.actions.backups.delete(visit.caller, name), f"{name} is deleted.", _HERE)


async def _fields(visit: Visit) -> tuple[Field, ...]:
    stores = tuple((await _stores(visit)).values())
    return (
        Field("instance", "Instance", "select", "", choices(tuple((await instance_names(visit)).values()))),
        Field("store", "Store", "select", "", choices(stores), hint="`insula backup store add` adds one."),
        Field("name", "Name", placeholder="made of the instance's name and the time"),
        Field("protected", "Protect it against being deleted", "flag"),
    )


async def _make(visit: Visit) -> Done:
    form = visit.form
    wish = BackupWish(form.text("instance"), form.text("store"), form.text("name"), form.flag("protected"))
    operation = await visit.actions.backups.create(visit.caller, wish)
    return accepted(operation, f"The backup {operation.target_name} is made.", f"{_HERE}/{operation.target_name}")


_VERBS: Mapping[str, Do] = {
    "drill": _tried,
    "rename": _rename,
    "protect": _protect,
    "unprotect": _unprotect,
    "delete": _delete,
}

NOUN = serve(
    Noun(
        path="/backups",
        title="Backups",
        one="backup",
        icon="archive",
        columns=(
            Column("Name"),
            Column("State"),
            Column("Instance"),
            Column("Store"),
            Column("Added", is_number=True),
            Column("Last drill"),
            Column("Made"),
        ),
        rows=_rows,
        empty=Empty(
            "No backups yet",
            "A backup is a copy in another place, and a drill boots it to prove that it can be restored.",
            "insula backup store add offsite --folder /mnt/offsite",
        ),
        thing=_show,
        verbs=_VERBS,
        bulk=(
            Deed("drill", "Try a restore", "activity"),
            Deed("protect", "Protect", "shield"),
            Deed("delete", "Delete", "trash", hint="They cannot be restored any more.", is_danger=True),
        ),
        fields=_fields,
        make=_make,
        make_label="Make a backup",
    )
)
