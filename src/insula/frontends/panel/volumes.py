"""Volumes: disks that can move from one instance to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from insula.control.actions.volumes import VolumeWish
from insula.domain.volume import FileSystem, Volume, device_path
from insula.frontends.panel.nouns import Do, Done, Empty, Noun, accepted, serve
from insula.frontends.panel.operations import operations_of
from insula.frontends.panel.render import bytes_text, gib_text
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

_MOST = 100_000
_HERE = f"{ROOT}/volumes"


async def instance_names(visit: Visit) -> Mapping[str, str]:
    """Names of the project's instances by their ids."""
    found = await visit.actions.instances.list(visit.caller, limit=_MOST)
    return {each.id: each.name for each in found.items}


def holder(instance_id: str | None, names: Mapping[str, str], none: str = "—") -> Cell:
    """The instance that has something, as a link while it is there."""
    if instance_id is None:
        return Cell(none)
    name = names.get(instance_id)
    return Cell(instance_id, "code") if name is None else link(name, f"{ROOT}/instances/{name}")


async def _rows(visit: Visit) -> Sequence[Row]:
    names = await instance_names(visit)
    found = await visit.actions.volumes.list(visit.caller, limit=_MOST)
    return [_row(each, names) for each in found.items]


def _row(each: Volume, names: Mapping[str, str]) -> Row:
    cells = (
        link(each.name, f"{_HERE}/{each.name}"),
        state(each.state.value),
        amount(gib_text(each.size_gib), each.size_gib),
        amount(bytes_text(each.used_bytes), each.used_bytes or 0),
        holder(each.instance_id, names),
        tags(each.tags),
        when(each.created_at),
    )
    return Row(each.id, each.name, cells, hint=each.id)


async def _show(visit: Visit, name: str) -> Thing:
    found = await visit.actions.volumes.show(visit.caller, name)
    names = await instance_names(visit)
    return Thing(
        id=found.id,
        name=found.name,
        state=found.state.value,
        problem=found.problem,
        facts=(
            Fact("Attached to", holder(found.instance_id, names, "nothing")),
            Fact("Size", Cell(gib_text(found.size_gib))),
            Fact("Written", Cell(bytes_text(found.used_bytes))),
            Fact("File system made with it", Cell(found.file_system.value)),
            Fact("In the guest", code(device_path(found.name))),
            Fact("Limits", Cell(f"{found.disk_iops or 'any'} operations and {found.disk_mbps or 'any'} MB a second")),
            Fact("Tags", tags(found.tags)),
            Fact("Protected", Cell("yes" if found.protected else "no")),
            Fact("Created", when(found.created_at)),
            Fact("Id", code(found.id)),
        ),
        deeds=_deeds(found, tuple(names.values())),
        operations=await operations_of(visit, found.id),
    )


def _deeds(found: Volume, instances: Sequence[str]) -> tuple[Deed, ...]:
    deeds: list[Deed] = []
    if instances:
        fields = [Field("instance", "Instance", "select", "", choices(instances))]
        if found.instance_id is not None:
            fields.append(Field("move", "Take it from the instance that has it", "flag"))
        deeds.append(Deed("attach", "Attach", "plug", tuple(fields)))
    if found.instance_id is not None:
        force = Field("force", "Even if its guest uses it, which loses what is not written yet", "flag")
        deeds.append(Deed("detach", "Detach", "x", (force,)))
    deeds += [
        Deed("grow", "Grow", "resize", (Field("size_gib", "GiB", "number", str(found.size_gib + 1), required=True),)),
        Deed(
            "limit",
            "Limit",
            "activity",
            (
                Field("disk_iops", "Operations a second; 0 for any number", "number", str(found.disk_iops)),
                Field("disk_mbps", "MB a second; 0 for any number", "number", str(found.disk_mbps)),
            ),
        ),
        Deed("tag", "Tag", "tag", (Field("tags", "Tags", value=" ".join(found.tags)),)),
        Deed("unprotect", "Lift the protection", "shield") if found.protected else Deed("protect", "Protect", "shield"),
        Deed("delete", "Delete", "trash", (), "With all that is on it.", True, found.name),
    ]
    return tuple(deeds)


async def _attach(visit: Visit, name: str) -> Done:
    form = visit.form
    operation = await visit.actions.volumes.attach(visit.caller, name, form.text("instance"), move=form.flag("move"))
    return accepted(operation, f"{name} is attached.", f"{_HERE}/{name}")


async def _detach(visit: Visit, name: str) -> Done:
    operation = await visit.actions.volumes.detach(visit.caller, name, force=visit.form.flag("force"))
    return accepted(operation, f"{name} is detached.", f"{_HERE}/{name}")


async def _grow(visit: Visit, name: str) -> Done:
    operation = await visit.actions.volumes.grow(visit.caller, name, visit.form.number("size_gib"))
    return accepted(operation, f"{name} grows.", f"{_HERE}/{name}")


async def _limit(visit: Visit, name: str) -> Done:
    limits = visit.form.number("disk_iops", 0), visit.form.number("disk_mbps", 0)
    operation = await visit.actions.volumes.limit(visit.caller, name, *limits)
    return accepted(operation, f"{name} gets other limits.", f"{_HERE}/{name}")


async def _tag(visit: Visit, name: str) -> Done:
    await visit.actions.volumes.change(visit.caller, name, visit.form.words("tags"), None)
    return Done("The tags are changed.")


async def _protect(visit: Visit, name: str) -> Done:
    await visit.actions.volumes.change(visit.caller, name, None, True)
    return Done(f"{name} is protected.")


async def _unprotect(visit: Visit, name: str) -> Done:
    await visit.actions.volumes.change(visit.caller, name, None, False)
    return Done(f"{name} is not protected any more.")


async def _delete(visit: Visit, name: str) -> Done:
    visit.form.check_typed(name, "delete")
    return accepted(await visit.actions.volumes.delete(visit.caller, name), f"{name} is deleted.", _HERE)


async def _fields(visit: Visit) -> tuple[Field, ...]:
    instances = tuple((await instance_names(visit)).values())
    return (
        Field("name", "Name", required=True, placeholder="data1"),
        Field("size_gib", "Size in GiB", "number", "10", required=True),
        Field("file_system", "File system", "select", "ext4", choices([*FileSystem])),
        Field("attach_to", "Attach to", "select", "", choices(instances, "nothing for now")),
        Field("tags", "Tags", placeholder="db env:prod"),
    )


async def _make(visit: Visit) -> Done:
    form = visit.form
    wish = VolumeWish(
        form.text("name"),
        form.number("size_gib"),
        form.chosen("file_system", FileSystem, "none"),
        form.text("attach_to"),
        form.words("tags"),
    )
    operation = await visit.actions.volumes.create(visit.caller, wish)
    return accepted(operation, f"The volume {wish.name} is made.", f"{_HERE}/{wish.name}")


_VERBS: Mapping[str, Do] = {
    "attach": _attach,
    "detach": _detach,
    "grow": _grow,
    "limit": _limit,
    "tag": _tag,
    "protect": _protect,
    "unprotect": _unprotect,
    "delete": _delete,
}

NOUN = serve(
    Noun(
        path="/volumes",
        title="Volumes",
        one="volume",
        icon="database",
        columns=(
            Column("Name"),
            Column("State"),
            Column("Size", is_number=True),
            Column("Written", is_number=True),
            Column("Attached to"),
            Column("Tags"),
            Column("Created"),
        ),
        rows=_rows,
        empty=Empty(
            "No volumes yet",
            "A volume is a disk that outlives instances: attach it to one, detach it, and attach it to another.",
            "insula volume create data1 --size 10G --format ext4",
        ),
        thing=_show,
        verbs=_VERBS,
        bulk=(
            Deed("detach", "Detach", "x"),
            Deed("delete", "Delete", "trash", hint="With all that is on them.", is_danger=True),
        ),
        fields=_fields,
        make=_make,
        make_label="Create volume",
    )
)
